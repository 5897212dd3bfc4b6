"""Family `distilled`: a bag of n-grams that learns from what a large model says of the tweets, for ten times its speed and more.

    mlflow run . -e distill --env-manager local
    python -m steps.distill --teacher RUN_ID --max_rows 100000

The teacher is the newest finished model of family `bert` on the dataset, or the run named; it scores the training tweets
(kept by 50,000: killed, the same command goes on), and the student is fitted to its scores in place of
the labels (Hinton, Vinyals and Dean 2015). Leaves a finished run with a model like the baseline's.
"""

import functools
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.entities import Run

from steps.sentiment import bag_of_ngrams, command_line, derived, runs, tracking
from steps.sentiment.command_line import Flags, InputError
from steps.sentiment.dataset import Dataset

#: Texts whose scores are kept together.
CHUNK = 50_000


def flags() -> Flags:
    """Return the flags of this step."""
    flags = Flags("distill", __doc__)
    flags.flag("dataset", "", "runs:/<id>/dataset or a folder; default: the newest prepared")
    flags.flag("teacher", "", "id of a training run on the dataset; default: the newest of family bert")
    bag_of_ngrams.fitting_flags(flags)
    return flags


def find_teacher(given: str, dataset: Dataset) -> Run:
    """Return the run of the teacher.

    Raises:
        InputError: it is no finished training on this dataset, or there is none.
    """
    trained = [run for run in runs.finished(dataset_digest=dataset.digest) if "model_id" in run.data.tags]
    found = [run for run in trained if run.info.run_id == given or (not given and run.data.tags["family"] == "bert")]
    if not found:
        raise InputError(
            f"teacher={given}: allowed: the id of a finished training with a model on dataset {dataset.digest}; without one "
            "there must be one of train_bert"
        )
    return found[0]


def teach(teacher: Run, dataset: Dataset, texts: pd.Series) -> np.ndarray:
    """Return how positive the teacher finds each training text, 0 to 1, shape (n_texts,)."""
    model_id, parts = teacher.data.tags["model_id"], []
    loaded = functools.cache(mlflow.pyfunc.load_model)  # not at all where all scores are there
    for start in command_line.progress(range(0, len(texts), CHUNK), desc="teacher", unit="chunk"):
        some = texts[start : start + CHUNK].tolist()

        def score(folder: Path, some: list[str] = some) -> None:
            scores = [answer["score"] for answer in loaded(f"models:/{model_id}").predict(some)]
            (folder / "scores.json").write_text(json.dumps(scores), encoding="utf-8")

        # The first texts of the split are the same whatever max_rows: a larger run goes on from a smaller.
        key = {"model_id": model_id, "start": start, "count": len(some)}
        folder = derived.folder("teacher", dataset.digest, key, score)
        parts.append(np.array(json.loads((folder / "scores.json").read_text(encoding="utf-8"))))
    return np.concatenate(parts)


def main(argv: list[str] | None = None) -> None:
    """Let the teacher score, fit the student, check and log it."""
    given = flags().read(argv)
    dataset = tracking.find_dataset(given.dataset)
    teacher = find_teacher(given.teacher, dataset)
    name = f"distilled {teacher.data.tags['model_name']}"
    read = f"{dataset.digest} {teacher.data.tags['model_id']}"
    with tracking.step("distill", given.texts, read, name), tempfile.TemporaryDirectory() as beside:
        (folder := Path(beside, "model")).mkdir()
        train, validation = dataset.split("train", given.max_rows), dataset.split("validation")
        positive = teach(teacher, dataset, train["text"])
        trained = bag_of_ngrams.fit(train["text"], positive, validation, given, folder)
        facts = trained.facts | {"teacher_validation_roc_auc": teacher.data.metrics["validation_roc_auc"]}
        trained = replace(trained, family="distilled", name=name, facts=facts)
        uri = tracking.log_training_run(trained, dataset, validation)
    print(f"distill: {uri}, taught by {teacher.data.tags['model_name']}, {trained.facts['train_rows']:,} tweets")


if __name__ == "__main__":
    command_line.run(main, "distill")
