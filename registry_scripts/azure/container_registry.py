"""The image registry that provision has made: lets an engine in, and tells the digest of what it has pushed."""

from collections.abc import Mapping
from typing import Any

from registry_scripts.azure import az
from registry_scripts.image import build

#: Who logs in to a registry with a token of Azure's.
_TOKEN_USER = "00000000-0000-0000-0000-000000000000"


def enter(engine: str, made: Mapping[str, Any]) -> None:
    """Let an engine in, for three hours.

    az asks for this token by another name than for all others. After a login of GitHub's it can ask for a few minutes only, so
    this comes before a build, which takes longer.

    Args:
        engine: docker or podman.
        made: outputs of provision.

    Raises:
        AzError, EngineError: it was not let in.
    """
    token = az.call("acr", "login", "--name", made["registryName"], "--expose-token")
    build.login(engine, made["registryServer"], _TOKEN_USER, token["accessToken"])


def push(engine: str, made: Mapping[str, Any], built: str) -> str:
    """Push an image, and return it by its digest.

    Args:
        engine: docker or podman.
        made: outputs of provision.
        built: the image as registry/name:tag.

    Raises:
        AzError, EngineError: it failed.
    """
    build.push(engine, built)
    named = built.partition("/")[2]
    found = az.call("acr", "repository", "show", "--name", made["registryName"], "--image", named)
    return f"{built.rpartition(':')[0]}@{found['digest']}"
