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

import mlflow.artifacts
import yaml

from steps.sentiment import bundled, command_line, comparison, evidence, folders, registry, runs, tracking
from steps.sentiment.command_line import Flags, InputError, RefusedError
from steps.sentiment.comparison import Comparison
from steps.sentiment.registry import Version

#: Bytes of the folder at most.
MOST = 30_000_000


def flags() -> Flags:
    """Return the flags of this step: none."""
    return Flags("bundle", __doc__)


def card(facts: dict[str, Any]) -> str:
    """Return the model card in Markdown."""
    test, training = facts["test_metrics"], facts["training_metrics"]
    accuracy, auc, human = (
        evidence.figure(test, name) for name in ("test_accuracy", "test_roc_auc", "human_test_accuracy")
    )
    return f"""# The bundled model: {facts["name"]}

Made by `make bundle` from version {facts["version"]} of a registry (run `{facts["run_id"][:8]}`, commit `{facts["commit"][:8]}`).

- **Does**: tells whether the author of an English tweet feels negative or positive, with a calibrated score and a mark
  where it is not to be trusted. It knows no neutral tweet, and no other language.
- **Trained on** {training["train_rows"]:,.0f} tweets of {facts["dataset_source"]} (dataset `{facts["dataset_digest"]}`),
  labelled by the emoticon that they held, of April to June 2009: labels are noisy, and newer words unknown to it.
- **Reached** on {facts["test_rows"]:,} test tweets: accuracy {accuracy}, ROC AUC {auc},
  ECE {test["test_ece"]:.4f}; on {facts["human_test_rows"]} tweets labelled by people: accuracy {human}.
  Intervals are 95 %.
- **Costs** {training["model_size_mb"]:.1f} MB, {test["predict_ms_single"]:.1f} ms for one tweet and
  {test["predict_ms_per_tweet"]:.2f} ms in a batch on the machine that compared it.
- **Not for** decisions about people: what it makes of names and groups has not been measured yet.

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
    shutil.copytree(mlflow.artifacts.download_artifacts(f"models:/{version.model_id}"), folder / bundled.MODEL)
    (folder / bundled.MODEL / "registered_model_meta").unlink(missing_ok=True)
    _without_places(folder / bundled.MODEL / "MLmodel")
    bundled.write_seen(texts, folder / bundled.SEEN)
    facts = {"version": version.number, **evidence.reached(run, found.entry(version.model_id), found)}
    (folder / bundled.FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card(facts), encoding="utf-8")


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
