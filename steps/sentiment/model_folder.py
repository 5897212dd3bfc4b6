"""The folder in which MLflow keeps a model: fetched from where a URI says, and who the model is. Loads nothing."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.artifacts
import yaml
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from steps.sentiment import reference
from steps.sentiment.command_line import InputError, first_line

#: What MLflow writes beside the files of a version that it fetches from the registry.
REGISTERED = "registered_model_meta"


@dataclass(frozen=True)
class Identity:
    """Who a model is. `version` is its number in the registry, or its id where it does not come from there."""

    name: str
    version: str
    model_id: str
    family: str
    dataset_digest: str

    def as_dict(self) -> dict[str, str]:
        """Return it as the answers of /health and /version show it."""
        return {
            "model": self.name,
            "version": self.version,
            "model_id": self.model_id,
            "family": self.family,
            "dataset_digest": self.dataset_digest,
        }


def fetch(uri: str, beside: Path, flag: str = "model") -> Path:
    """Return the folder of the model that a URI names: a copy below `beside`, or the folder itself if it is one.

    Args:
        uri: what the person gave.
        beside: folder for a copy.
        flag: that named it, for messages.

    Raises:
        InputError: there is no such model.
    """
    if ":/" not in uri:
        folder = Path(uri).resolve()
    else:
        beside.mkdir(parents=True, exist_ok=True)
        try:
            folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(beside)))
        except (MlflowException, OSError) as error:
            reason = f"not found ({first_line(error)})"
            raise InputError(f"{flag}={uri}: {reason}; allowed: a version that was registered, or a folder") from error
    if not (folder / "MLmodel").is_file():
        raise InputError(
            f"{flag}={uri}: no model there; allowed: models:/<name>@<alias>, models:/<name>/<version>, a folder"
        )
    return folder


def identify(folder: Path) -> Identity:
    """Read who the model in a folder is."""
    described = Model.load(str(folder))
    registered = folder / REGISTERED
    names = yaml.safe_load(registered.read_text(encoding="utf-8")) if registered.is_file() else {}
    metadata = described.metadata or {}
    model_id = described.model_id or described.model_uuid or "unknown"
    return Identity(
        name=str(names.get("model_name", folder.name)),
        version=str(names.get("model_version", model_id)),
        model_id=str(model_id),
        family=str(metadata.get("family", "unknown")),
        dataset_digest=str(metadata.get("dataset_digest", "unknown")),
    )


def profile(uri: str) -> tuple[str, Mapping[str, Any]]:
    """Return the version of the model that a URI names, as its endpoint tells it, and its profile.

    Raises:
        InputError: there is no such model, or it has no profile.
    """
    with tempfile.TemporaryDirectory(prefix="model-") as temporary:
        folder = fetch(uri, Path(temporary))
        try:
            found = json.loads((folder / "artifacts/model/profile.json").read_text(encoding="utf-8"))
            reference.features(found)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"model={uri}: it has no profile.json; allowed: a model that this project trained"
            ) from error
        return identify(folder).version, found
