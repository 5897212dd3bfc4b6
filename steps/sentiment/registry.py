"""The read side of the model registry. Writing it is registry_scripts/registry's alone."""

from dataclasses import dataclass, field
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

MODEL = "tweet-sentiment"
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"


@dataclass(frozen=True)
class Version:
    """A registered model version and what it was registered with."""

    number: int
    model_id: str
    run_id: str
    stage: str
    created: int
    aliases: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    description: str = ""


def versions() -> dict[int, Version]:
    """Return all versions of the registered model by number, oldest first; none if it is not registered yet."""
    client = MlflowClient()
    model = _registered(client)
    if model is None:
        return {}
    aliases: dict[int, list[str]] = {}
    for alias, number in model.aliases.items():
        aliases.setdefault(int(number), []).append(alias)
    found = client.search_model_versions(f"name = '{MODEL}'")
    return {
        int(version.version): Version(
            number=int(version.version),
            model_id=_model_id(version.source or ""),
            run_id=version.run_id or "",
            stage=version.current_stage or "None",
            created=version.creation_timestamp,
            aliases=tuple(sorted(aliases.get(int(version.version), []))),
            tags=dict(version.tags),
            description=version.description or "",
        )
        for version in sorted(found, key=lambda version: int(version.version))
    }


def with_alias(alias: str) -> Version | None:
    """Return the version that holds `alias`, or None."""
    return next((version for version in versions().values() if alias in version.aliases), None)


def model_tags() -> dict[str, str]:
    """Return the tags of the registered model; none if it is not registered yet."""
    model = _registered(MlflowClient())
    return dict(model.tags) if model else {}


def created() -> str:
    """Return when the registered model was made, in milliseconds: it tells this registry from any other; or an empty text."""
    model = _registered(MlflowClient())
    return str(model.creation_timestamp) if model else ""


def has_model(version: Version) -> bool:
    """Return whether the logged model of a version is still there, so that it can be loaded."""
    try:
        MlflowClient().get_logged_model(version.model_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True


def uri(alias: str) -> str:
    """Return the URI under which MLflow loads the version with `alias`."""
    return f"models:/{MODEL}@{alias}"


def _model_id(source: str) -> str:
    # What the registry loads, which nobody can change, and no tag; `model_id` of MLflow's own is None in some stores.
    return source.removeprefix("models:/") if source.startswith("models:/m-") else ""


def _registered(client: MlflowClient) -> Any:
    try:
        return client.get_registered_model(MODEL)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
