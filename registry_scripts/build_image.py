"""Builds the image of a version: MLflow's own image of the model, and from it a slim one with the endpoint.

    mlflow run . -e build_image --env-manager local
    python -m registry_scripts.build_image --model models:/tweet-sentiment/3 --engine podman

The Dockerfile is the one that `mlflow models build-docker` builds, with `registry_scripts/image/Dockerfile` as a second stage: the
model, its own packages, those of the endpoint and `steps/serve.py`, for a user who is not root and a root file system that cannot be
written. Leaves an image `name:tag` with the version, the digest of its dataset and the commit as labels. A build that fails ends
with exit code 1 and the step that failed; an image that had the name before keeps it. Needs docker or podman; loads no model.
"""

import re

from registry_scripts.image import build
from steps.sentiment import command_line, registry
from steps.sentiment.command_line import Flags, one_of, something

_NAME = re.compile(r"([a-z0-9.-]+(:\d+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def name(text: str) -> str:
    """Read the name of an image, with or without a registry before it."""
    if not _NAME.fullmatch(text):
        raise ValueError(
            "small letters and digits with . _ - / between them, behind a registry's host:port/ if need be"
        )
    return text


def tag(text: str) -> str:
    """Read the tag of an image; it may be empty."""
    if text and not _TAG.fullmatch(text):
        raise ValueError("up to 128 letters, digits and _ . -")
    return text


def flags() -> Flags:
    """Return the flags of this script."""
    flags = Flags("build_image", __doc__)
    flags.flag(
        "model",
        registry.uri(registry.CHAMPION),
        "models:/<name>@<alias>, models:/<name>/<version>, or a folder",
        something,
    )
    flags.flag("name", registry.MODEL, "name of the image", name)
    flags.flag("tag", "", "tag of the image; default: the version", tag)
    flags.flag(
        "base", "", "image that both stages stand on; default: the slim Python that MLflow chooses for the model"
    )
    flags.flag("engine", "docker", "docker or podman", one_of(build.ENGINES))
    return flags


def main(argv: list[str] | None = None) -> None:
    """Build the image."""
    given = flags().read(argv)
    build.ready(given.engine)
    try:
        build.make(given.engine, given.model, given.name, given.tag, given.base)
    except build.EngineError as error:
        raise SystemExit(f"build_image: error: {error}") from error


if __name__ == "__main__":
    command_line.run(main, "build_image")
