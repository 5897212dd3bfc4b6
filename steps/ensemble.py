"""Family `ensemble`: trained models that answer together.

    mlflow run . -e ensemble --env-manager local
    python -m steps.ensemble --members RUN_ID,RUN_ID

Takes the newest finished model of each family `baseline` and `bert` on the dataset, or the runs named. A text's logit is the
weighted sum of its members'; the weights are fitted on validation. Costs the time and memory of all members. Takes a minute
per 15,000 validation tweets. Leaves a finished run with the model.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.entities import Run
from sklearn.linear_model import LogisticRegression

from steps.sentiment import command_line, runs, tracking
from steps.sentiment.command_line import Flags, InputError, RefusedError, words
from steps.sentiment.dataset import Dataset
from steps.sentiment.model import LOADERS, in_chunks

FAMILIES = ("bert", "baseline")


def flags() -> Flags:
    """Return the flags of this step."""
    flags = Flags("ensemble", __doc__)
    flags.flag("dataset", "", "runs:/<id>/dataset or a folder; default: the newest prepared")
    flags.flag(
        "members", "", f"ids of training runs, separated by commas; default: the newest {', '.join(FAMILIES)}", words
    )
    return flags


def members(given: list[str], dataset: Dataset) -> list[Run]:
    """Return the runs whose models are to answer together.

    Raises:
        InputError: less than two, or one that is no finished training on this dataset.
    """
    found = [runs.get(run_id, "members") for run_id in dict.fromkeys(given)]
    for run in found:
        if run.info.status != "FINISHED" or run.data.tags.get("dataset_digest") != dataset.digest:
            raise InputError(f"members={run.info.run_id}: not a finished training on dataset {dataset.digest}")
    if not given:
        trained = [run for run in runs.finished(dataset_digest=dataset.digest) if "model_id" in run.data.tags]
        newest = [next((run for run in trained if run.data.tags["family"] == family), None) for family in FAMILIES]
        found = [run for run in newest if run]
    if len(found) < 2 or any("model_id" not in run.data.tags for run in found):
        raise InputError(
            f"members={','.join(given)}: allowed: two or more finished trainings with a model on dataset {dataset.digest}"
        )
    return found


def gather(found: list[Run], folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Copy the files of each member into a folder of its own; return how each is loaded, and what they require."""
    loading, requirements = [], set[str]()
    for number, run in enumerate(found):
        whole = runs.fetched(f"models:/{run.data.tags['model_id']}")
        shutil.copytree(whole / "artifacts/model", folder / str(number))
        requirements |= set((whole / "requirements.txt").read_text(encoding="utf-8").split())
        content = json.loads((folder / str(number) / "model.json").read_text(encoding="utf-8"))
        (folder / str(number) / "model.json").unlink()
        (folder / str(number) / "profile.json").unlink()
        settings = content.get(content["loader"], {})
        loading.append({"folder": str(number), "loader": content["loader"], "settings": settings})
    return loading, sorted(requirements)


def weigh(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return the weight of each member, from its logits on validation, shape (n_texts, n_members).

    Raises:
        RefusedError: a member would count against what it says: it adds nothing.
    """
    weights: np.ndarray = LogisticRegression(C=np.inf).fit(logits, labels).coef_[0]
    if (weights <= 0).any():
        raise RefusedError(
            f"member {int(weights.argmin()) + 1} adds nothing to the others (weight {weights.min():.3f})"
        )
    return weights


def main(argv: list[str] | None = None) -> None:
    """Put the models together, check and log them as one."""
    given = flags().read(argv)
    dataset = tracking.find_dataset(given.dataset)
    found = members(given.members, dataset)
    name = "ensemble " + " + ".join(run.data.tags["model_name"] for run in found)
    read = " ".join([dataset.digest, *(run.data.tags["model_id"] for run in found)])
    validation = dataset.split("validation")
    with tracking.step("ensemble", given.texts, read, name), tempfile.TemporaryDirectory() as beside:
        (folder := Path(beside, "model")).mkdir()
        loading, requirements = gather(found, folder)
        texts = validation["text"].tolist()
        logits = np.column_stack(
            [
                in_chunks(LOADERS[member["loader"]](folder / member["folder"], member["settings"]), texts)[0]
                for member in command_line.progress(loading, desc="score", unit="model")
            ]
        )
        weights = weigh(validation["label"].to_numpy(), logits)
        for member, weight in zip(loading, weights.tolist(), strict=True):
            member["weight"] = weight
        trained = tracking.Trained(
            family="ensemble",
            name=name,
            loader="ensemble",
            folder=folder,
            settings={"members": loading},
            requirements=requirements,
            validation_logits=logits @ weights,
            seconds=sum(run.data.metrics["train_seconds"] for run in found),
            facts={"train_rows": max(run.data.metrics["train_rows"] for run in found)}
            | {f"weight_{number}": weight for number, weight in enumerate(weights.tolist(), 1)},
        )
        uri = tracking.log_training_run(trained, dataset, validation)
    shares = ", ".join(
        f"{run.data.tags['model_name']} {weight:.2f}" for run, weight in zip(found, weights, strict=True)
    )
    print(f"ensemble: {uri}, weights {shares}")


if __name__ == "__main__":
    command_line.run(main, "ensemble")
