"""Puts the champion into `data/champion/`, so that it comes with the project.

    mlflow run . -e bundle --env-manager local

Only a champion that was compared on real tweets, and only up to 30 MB: git keeps every copy, so do this when a better one has
been promoted. Writes the model as MLflow serves it, a model card, what it reached, and hashes of the texts that it was trained
on; the folder is replaced whole or not at all. Loads no model; takes seconds.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from steps.sentiment import (
    bundled,
    command_line,
    comparison,
    folders,
    model_card,
    model_folder,
    registry,
    runs,
    tracking,
)
from steps.sentiment.command_line import Flags, InputError, RefusedError
from steps.sentiment.comparison import Comparison
from steps.sentiment.registry import Version

#: Bytes of the folder at most.
MOST = 30_000_000


def flags() -> Flags:
    """Return the flags of this step: none."""
    return Flags("bundle", __doc__)


def readme(facts: dict[str, Any]) -> str:
    """Return the model card with what stands beside it, in Markdown."""
    return f"""# The bundled model

Made by `make bundle` from version {facts["version"]} of a registry.

{model_card.render(facts)}

Serve it at once: `mlflow models serve -m data/champion/model --env-manager local -p 5001`. `seen.npz` holds a 32-bit hash
of each training text, so that it is never compared on these; no text can be read from it.
"""


def write(version: Version, found: Comparison, folder: Path) -> None:
    """Write the bundle of a version into an empty folder.

    Raises:
        InputError: the dataset that it was trained on is gone.
    """
    run = runs.get(version.run_id, "champion")
    dataset = tracking.find_dataset(run.data.tags["dataset_uri"])
    texts = dataset.split("train", int(run.data.metrics["train_rows"]))["text"]
    shutil.copytree(runs.fetched(f"models:/{version.model_id}"), folder / bundled.MODEL)
    (folder / bundled.MODEL / model_folder.REGISTERED).unlink(missing_ok=True)
    _without_places(folder / bundled.MODEL / "MLmodel")
    bundled.write_seen(texts, folder / bundled.SEEN)
    facts = {"version": version.number, **found.facts(version.model_id)}
    (folder / bundled.FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(readme(facts), encoding="utf-8")


def _without_places(path: Path) -> None:
    # MLflow notes where the files lay on this machine; it loads a model without knowing.
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    flavor = content["flavors"]["python_function"]
    content["artifact_path"] = bundled.MODEL
    flavor["model_code_path"] = Path(flavor["model_code_path"]).name
    for artifact in flavor["artifacts"].values():
        artifact["uri"] = artifact["path"]
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    """Replace the bundled model by the champion."""
    flags().read(argv)
    champion = registry.with_alias(registry.CHAMPION)
    if champion is None:
        raise InputError("there is no champion; run the entry point promote first")
    found = comparison.newest(champion.model_id)
    if found is None or found.result["dataset_source"] == "sample":
        raise RefusedError(f"version {champion.number} was compared on the bundled sample only; allowed: real tweets")
    if runs.get(champion.run_id, "champion").data.tags["family"] == "bundled":
        raise RefusedError(f"version {champion.number} is the bundled model itself")
    with folders.replaced(bundled.FOLDER) as beside:
        write(champion, found, beside)
        size = sum(path.stat().st_size for path in beside.rglob("*") if path.is_file())
        if size > MOST:
            raise RefusedError(f"version {champion.number} takes {size / 1e6:.1f} MB; allowed: {MOST / 1e6:.0f} MB")
    print(f"bundle: version {champion.number} is in {bundled.FOLDER}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    command_line.run(main, "bundle")
