"""Lets the model that comes with the project (`data/champion/`) take part in a comparison.

    mlflow run . -e bundled --env-manager local

It was trained on real tweets and is logged as it is, with its own calibration; nothing is trained here. Refused on a dataset on
whose tweets it was trained. Takes seconds. Leaves a finished run of family `bundled` with the model and what it says of the
validation tweets.
"""

from steps.sentiment import bundled, command_line, tracking
from steps.sentiment.command_line import Flags, InputError, RefusedError


def flags() -> Flags:
    """Return the flags of this step."""
    flags = Flags("bundled", __doc__)
    flags.flag("dataset", "", "runs:/<id>/dataset or a folder; default: the newest prepared")
    return flags


def main(argv: list[str] | None = None) -> None:
    """Log the bundled model as a candidate."""
    given = flags().read(argv)
    dataset = tracking.find_dataset(given.dataset)
    if not bundled.there():
        raise InputError(f"no model comes with this copy of the project: there is no {bundled.FOLDER}/{bundled.FACTS}")
    validation = dataset.split("validation")
    if bundled.was_trained_on(validation["text"].tolist()):
        raise RefusedError(f"the bundled model was trained on tweets of dataset {dataset.digest}")
    with tracking.step("bundled", given.texts, f"{dataset.digest} {bundled.digest()}"):
        uri = tracking.log_bundled(dataset, validation)
    print(f"bundled: {uri}, {bundled.facts()['name']}")


if __name__ == "__main__":
    command_line.run(main, "bundled")
