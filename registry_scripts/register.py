"""Registers a compared model as the challenger.

    mlflow run . -e register --env-manager local
    python -m registry_scripts.register --model m-0123...

Takes the winner of the newest comparison, or the model named. Leaves a model version with the alias `challenger` (stage
Staging); the challenger before it returns to stage None. A model that is registered already gets no second version.
"""

from registry_scripts.registry import aliases, lock
from steps.sentiment import command_line, comparison, registry, runs
from steps.sentiment.command_line import Flags, InputError


def flags() -> Flags:
    """Return the flags of this script."""
    flags = Flags("register", __doc__)
    flags.flag("model", "", "id of a compared model (m-...); default: the winner of the newest comparison")
    return flags


def main(argv: list[str] | None = None) -> None:
    """Register the model and make it the challenger."""
    given = flags().read(argv)
    if given.model:
        found = comparison.newest(given.model)
        if found is None:
            raise InputError(
                f"--model: no finished comparison holds {given.model!r}; run the entry point compare first"
            )
    else:
        compared = runs.finished(step="compare")
        if not compared:
            raise InputError("nothing has been compared yet; run the entry point compare first")
        found = comparison.read(compared[0].info.run_id)
    entry = found.entry(given.model or found.result["winner"])
    figures = entry["metrics"]
    description = (
        f"{entry['family']}: test accuracy {figures['test_accuracy']:.4f}, ROC AUC {figures['test_roc_auc']:.4f} on "
        f"{found.result['test_rows']} rows of dataset {found.result['dataset_digest']} ({found.result['dataset_source']})"
    )
    tags = {
        "family": entry["family"],
        "dataset_digest": runs.get(entry["run_id"], "model").data.tags["dataset_digest"],
        "comparison_run": found.run_id,
    }
    with lock.held("register") as ours:
        aliases.resume(ours)
        version = aliases.add(ours, entry["model_id"], entry["run_id"], description, tags)
        if registry.CHAMPION in version.aliases:
            print(f"register: version {version.number} ({entry['family']}) is the champion already")
            return
        aliases.move(ours, {registry.CHALLENGER: version.number})
    print(f"register: version {version.number} ({entry['family']}) is the challenger")


if __name__ == "__main__":
    command_line.run(main, "register")
