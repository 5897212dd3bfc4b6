"""Shows the registered versions, who was champion when and why, and whether the trail of decisions is whole.

    mlflow run . -e versions --env-manager local
    python -m registry_scripts.versions

Ends with exit code 1 where a decision was changed, taken away or put in. Finishes a move that a crash has cut short.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from mlflow.entities import Run
from tabulate import tabulate

from registry_scripts.registry import aliases, audit, history, lock
from steps.sentiment import command_line, registry
from steps.sentiment.command_line import Flags

#: Seconds for which a decision that is just being written is waited for.
PATIENCE = 20.0


def flags() -> Flags:
    """Return the flags of this script: none."""
    return Flags("versions", __doc__)


def main(argv: list[str] | None = None) -> None:
    """Print the tables."""
    flags().read(argv)
    if aliases.pending():
        finish()
    if not (known := registry.versions()):
        print(f"versions: no version of {registry.MODEL} is registered yet")
        return
    rows = [
        {
            "version": version.number,
            "aliases": ", ".join(version.aliases),
            "stage": version.stage,
            "family": version.tags.get("family", ""),
            "dataset": version.tags.get("dataset_digest", ""),
            "registered": datetime.fromtimestamp(version.created / 1000, UTC).isoformat(timespec="seconds"),
            "decided": version.tags.get("decided_at", ""),
            "decision": version.tags.get("decision", ""),
        }
        for version in known.values()
    ]
    show(rows)
    found = settled()
    if found is None:
        print("versions: a decision is being written, so the trail was not checked; run this again")
        return
    trail, last, champion = found
    wrong = audit.problems(trail, last)
    if champions := history.champions(trail):
        show(champions)
        if champions[-1]["champion"] != champion:
            wrong.append(
                f"version {champion or 'none'} is the champion, and the last decision made {champions[-1]['champion']}"
            )
    if wrong:
        raise SystemExit("versions: error: the trail of decisions is broken: " + "; ".join(wrong))
    if trail:
        print(f"versions: the trail of {len(trail)} decision(s) is whole; the last has sha256 {last.partition(' ')[2]}")


def show(rows: Sequence[Mapping[str, object]]) -> None:
    """Print a table and an empty line; the last column is wrapped."""
    widths = [None] * (len(rows[0]) - 1) + [60]
    print(f"{tabulate(rows, headers='keys', tablefmt='simple', maxcolwidths=widths)}\n")


def finish() -> None:
    """Finish a move that was cut short, unless its command is still at it."""
    try:
        with lock.held("versions", patience=0) as ours:
            aliases.resume(ours)
    except lock.BusyError as busy:
        print(f"versions: {busy}")


def settled() -> tuple[list[Run], str, str] | None:
    """Return the trail of decisions, what the registered model says of the last one, and its champion, of one moment.

    None where decisions are written all the time.
    """
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        before = registry.model_tags()
        trail, champion = audit.trail(), registry.with_alias(registry.CHAMPION)
        if before == registry.model_tags() and aliases.PENDING not in before:
            return trail, before.get(audit.LAST, ""), str(champion.number) if champion else ""
        time.sleep(0.3)
    return None


if __name__ == "__main__":
    command_line.run(main, "versions")
