"""Family `baseline`: TF-IDF of word 1- to 3-grams and logistic regression.

    mlflow run . -e train_baseline --env-manager local
    python -m steps.train_baseline --max_rows 100000 --C 4

Fitted on 1.5 million tweets in about two minutes on two cores (6 GiB), on the bundled sample in a second.
Tokens keep negation, emoticons, emoji and punctuation; C is chosen on validation by ROC AUC. Leaves a finished run with
the model (no pickle, no scikit-learn object: words as JSON, weights as npz), its metrics and figures.
"""

import tempfile
from pathlib import Path

from steps.sentiment import bag_of_ngrams, command_line, tracking
from steps.sentiment.command_line import Flags

#: The smallest honest settings: the contract test and the continuous integration train with them.
SMOKE_PARAMETERS = {"C": "1", "max_rows": "600"}


def flags() -> Flags:
    """Return the flags of this step."""
    flags = Flags("train_baseline", __doc__)
    flags.flag("dataset", "", "runs:/<id>/dataset or a folder; default: the newest prepared")
    bag_of_ngrams.fitting_flags(flags)
    return flags


def main(argv: list[str] | None = None) -> None:
    """Train, check and log the baseline."""
    given = flags().read(argv)
    dataset = tracking.find_dataset(given.dataset)
    with tracking.step("train_baseline", given.texts, dataset.digest), tempfile.TemporaryDirectory() as beside:
        (folder := Path(beside, "model")).mkdir()
        train, validation = dataset.split("train", given.max_rows), dataset.split("validation")
        trained = bag_of_ngrams.fit(train["text"], train["label"].to_numpy(), validation, given, folder)
        uri = tracking.log_training_run(trained, dataset, validation)
    print(
        f"train_baseline: {uri}, C={trained.facts['chosen_C']:g}, {trained.seconds:.1f} s on {trained.facts['train_rows']:,} tweets"
    )


if __name__ == "__main__":
    command_line.run(main, "train_baseline")
