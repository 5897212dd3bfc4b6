"""Registers a compared model as the challenger.

    mlflow run . -e register --env-manager local
    python -m registry_scripts.register --model m-0123...

Takes the winner of the newest comparison, or the model named. Leaves a model version with the alias `challenger` (stage
Staging) and its model card as description; the challenger before it returns to stage None. A model that is registered
already gets no second version.
"""

from registry_scripts.registry import aliases, lock
from steps.sentiment import command_line, comparison, model_card, registry, runs
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
                f"--model: no finished comparison holds {given.model!r}; allowed: the id (m-...) of a model of a comparison, as the "
                "model_id of its training run has it; run the entry point compare first"
            )
    else:
        compared = runs.finished(step="compare")
        if not compared:
            raise InputError("nothing has been compared yet; run the entry point compare first")
        found = comparison.read(compared[0].info.run_id)
    model_id = given.model or found.result["winner"]
    facts = found.facts(model_id)
    tags = {
        "family": facts["family"],
        "dataset_digest": facts["trained_on"],
        "comparison_run": found.run_id,
    }
    with lock.held("register") as ours:
        aliases.resume(ours)
        version = aliases.add(ours, model_id, facts["run_id"], model_card.render(facts), tags)
        if registry.CHAMPION in version.aliases:
            print(f"register: version {version.number} ({facts['family']}) is the champion already")
            return
        aliases.move(ours, {registry.CHALLENGER: version.number})
    print(f"register: version {version.number} ({facts['family']}) is the challenger")


if __name__ == "__main__":
    command_line.run(main, "register")
