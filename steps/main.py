"""The whole thread: prepare, train every family, compare, register, promote.

    mlflow run . --env-manager local
    python -m steps.main --data ../shared/data/sentiment140.parquet --holdout sample=random --test_rows 15000

On the bundled sample it takes about three minutes on two cores. Each step is an MLflow run of its own under this one; a finished
run with equal inputs (flags, data, code) is reused. Ends with a champion in the registry, the comparison table, and the two commands
with which to serve and ask it.
"""

import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import mlflow
import yaml
from mlflow.exceptions import ExecutionException

from steps.sentiment import bundled, command_line, comparison, keys, registry, runs, sources, tracking
from steps.sentiment.command_line import Flags, InputError, Values, names
from steps.sentiment.dataset import Dataset

#: The step that brings in each family, by its name: those that are trained, and what comes with the project.
FAMILIES = {path.stem.removeprefix("train_"): path.stem for path in sorted(Path(__file__).parent.glob("train_*.py"))}
FAMILIES["bundled"] = "bundled"
#: Flags of `main` that are those of `prepare`.
PREPARE_FLAGS = ("data", "human_test", "holdout", "validation_rows", "test_rows", "max_rows", "seed")


def flags() -> Flags:
    """Return the flags of this step."""
    flags = Flags("main", __doc__)
    entry_points = _entry_points()
    for name in PREPARE_FLAGS:
        flags.flag(
            name,
            entry_points["prepare"][name],
            "as for prepare; the seed goes to every step" if name == "seed" else "as for prepare",
        )
    flags.flag(
        "families",
        "",
        f"of {', '.join(FAMILIES)}, separated by commas; default: all",
        lambda text: names(list(FAMILIES))(text or ",".join(FAMILIES)),
    )
    return flags


def _entry_points() -> dict[str, dict[str, str]]:
    project = yaml.safe_load((keys.PROJECT / "MLproject").read_text(encoding="utf-8"))
    return {
        entry_point: {name: str(parameter["default"]) for name, parameter in block.get("parameters", {}).items()}
        for entry_point, block in project["entry_points"].items()
    }


class Thread:
    """Runs entry points one after the other, with one line of progress each."""

    def __init__(self, steps: int) -> None:
        self._steps, self._done = steps, 0
        self.running = ""
        self._defaults = _entry_points()

    def step(self, entry_point: str, given: Mapping[str, str], data: str) -> str:
        """Run an entry point, or reuse its finished run with equal inputs.

        Args:
            entry_point: its name in MLproject.
            given: its flags, where they differ from the defaults.
            data: digest of the data that it reads.

        Returns:
            The id of the finished run.
        """
        key = keys.step_key(entry_point, {**self._defaults[entry_point], **given}, data)
        for run in runs.finished(step_key=key):
            self.tell(entry_point, f"reused, run {run.info.run_id}")
            return run.info.run_id
        start = time.perf_counter()
        run_id = self._run(entry_point, given)
        self.tell(entry_point, f"done in {time.perf_counter() - start:.1f} s, run {run_id}")
        return run_id

    def script(self, entry_point: str, given: Mapping[str, str]) -> None:
        """Run a registry script; it decides itself whether there is anything to do."""
        start = time.perf_counter()
        self._run(entry_point, given)
        self.tell(entry_point, f"done in {time.perf_counter() - start:.1f} s")

    def tell(self, entry_point: str, what: str) -> None:
        """Print the line of a step."""
        self._done += 1
        print(f"[{self._done}/{self._steps}] {entry_point}: {what}")

    def _run(self, entry_point: str, given: Mapping[str, str]) -> str:
        self.running = entry_point
        parent = mlflow.active_run()
        submitted = mlflow.projects.run(
            str(keys.PROJECT),
            entry_point=entry_point,
            parameters=dict(given),
            env_manager="local",
            experiment_id=parent.info.experiment_id if parent else None,
            run_name=entry_point,
        )
        return str(submitted.run_id)


def main(argv: list[str] | None = None) -> None:
    """Run the thread and tell what to type next."""
    given = flags().read(argv)
    thread = Thread(steps=len(given.families) + 4)
    fingerprint = sources.fingerprint(given.data, given.human_test)
    try:
        found = run(thread, given, fingerprint)
    except ExecutionException:
        raise SystemExit(f"main: error: {thread.running} failed; its own error stands above") from None
    print(f"\n{comparison.table_of(found.run_id)}\n{next_commands()}")


def run(thread: Thread, given: Values, fingerprint: str) -> comparison.Comparison:
    """Run or reuse every step and return the comparison at their end."""
    with tracking.step("main", given.texts, fingerprint):
        prepared = thread.step("prepare", {name: given.texts[name] for name in PREPARE_FLAGS}, fingerprint)
        dataset = tracking.find_dataset(f"runs:/{prepared}/dataset")
        candidates = [
            run_id for family in given.families if (run_id := candidate(thread, family, dataset, given.texts["seed"]))
        ]
        if not candidates:
            raise InputError(f"families={given.texts['families']}: none of them can take part on these tweets")
        entrants = comparison.entrants(dataset.digest, candidates)
        compared = thread.step(
            "compare",
            {"dataset": dataset.uri, "candidates": ",".join(candidates), "seed": given.texts["seed"]},
            comparison.inputs_digest(dataset.digest, entrants),
        )
        found = comparison.read(compared)
        decide(thread, found)
    return found


def candidate(thread: Thread, family: str, dataset: Dataset, seed: str) -> str | None:
    """Train a family, or bring in the bundled model; return its run, or None where it may not take part."""
    entry_point = FAMILIES[family]
    if family != "bundled":
        return thread.step(entry_point, {"dataset": dataset.uri, "seed": seed}, dataset.digest)
    if not bundled.there():
        thread.tell(entry_point, f"nothing to do, no model comes with this copy of the project ({bundled.FOLDER})")
        return None
    if bundled.was_trained_on(dataset.split("validation")["text"].tolist()):
        thread.tell(entry_point, "left out, it was trained on tweets of this dataset")
        return None
    return thread.step(entry_point, {"dataset": dataset.uri}, f"{dataset.digest} {bundled.digest()}")


def decide(thread: Thread, found: comparison.Comparison) -> None:
    """Register the comparison's winner and put it before the gate, unless that has been done."""
    winner = found.result["winner"]
    known = next((version for version in registry.versions().values() if version.model_id == winner), None)
    if known and registry.CHAMPION in known.aliases:
        thread.tell("register", f"nothing to do, the best is registered as version {known.number}")
        thread.tell("promote", f"nothing to do, version {known.number} is the champion")
        return
    if known and known.tags.get("decided_on") == found.run_id:
        # Refused, or left again by a rollback: a person's decision is not overruled on the same evidence.
        thread.tell("register", f"nothing to do, the best is registered as version {known.number}")
        thread.tell("promote", f"nothing to do, version {known.number} was decided on before: {known.tags['decision']}")
        return
    thread.script("register", {"model": winner})
    try:
        thread.script("promote", {})
    except ExecutionException:
        # A refusal is an answer, and its reason stands on the version; anything else is a failure.
        challenger = registry.with_alias(registry.CHALLENGER)
        decision = challenger.tags.get("decision", "") if challenger else ""
        if not decision.startswith("refused"):
            raise
        thread.tell("promote", decision)


def next_commands() -> str:
    """Return the two commands to type next."""
    environment = Path(sys.prefix)
    try:
        activate = f". {shlex.quote(str(environment.relative_to(keys.PROJECT) / 'bin/activate'))} && "
    except ValueError:
        activate = ""  # an environment that is not ours is active already
    question = '{"inputs": ["@AirParadis lost my bag again", "not bad at all, thanks to the crew :)"]}'
    return (
        "Serve the champion:\n"
        f"  {activate}mlflow models serve -m {registry.uri(registry.CHAMPION)} --env-manager local -p 5001\n"
        "and ask it from another terminal:\n"
        f"  curl -s http://127.0.0.1:5001/invocations -H 'Content-Type: application/json' -d '{question}'"
    )


if __name__ == "__main__":
    command_line.run(main, "main")
