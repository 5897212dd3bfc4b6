"""Makes a version the champion, if it is better than the present one.

    mlflow run . -e promote --env-manager local
    python -m registry_scripts.promote --version 3

Better means: on one comparison's test rows, right more often than the champion by McNemar's paired test. Otherwise the
promotion is refused with the reason (exit code 1) and the champion stays. Loads no model and no ML framework.
"""

from datetime import UTC, datetime

from registry_scripts.registry import aliases, gate
from steps.sentiment import command_line, registry
from steps.sentiment.command_line import Flags, InputError, RefusedError, integer, optional


def flags() -> Flags:
    """Return the flags of this script."""
    flags = Flags("promote", __doc__)
    flags.flag("version", "", "number of the version; default: the challenger", optional(integer(1)))
    return flags


def main(argv: list[str] | None = None) -> None:
    """Judge the version, and move the aliases if it passes."""
    given = flags().read(argv)
    if aliases.resume("promote", given.version):
        return
    champion = registry.with_alias(registry.CHAMPION)
    challenger = aliases.named(given.version, "version") if given.version else registry.with_alias(registry.CHALLENGER)
    if challenger is None:
        raise InputError("there is no challenger; run register first, or name a version with --version")
    if champion and champion.number == challenger.number:
        print(f"promote: version {champion.number} is the champion already")
        return
    verdict = gate.judge(challenger, champion)
    decision = "promoted" if verdict.accepted else "refused"
    aliases.note(
        challenger,
        {
            "decision": f"{decision}: {verdict.reason}",
            "decided_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "decided_on": verdict.comparison_run,
            "decided_against": str(champion.number) if champion else "",
        },
    )
    if not verdict.accepted:
        raise RefusedError(f"version {challenger.number}: {verdict.reason}")
    targets: aliases.Move = {registry.CHAMPION: challenger.number, registry.CHALLENGER: None}
    if champion:
        targets[registry.PREVIOUS] = champion.number
    aliases.move("promote", targets)
    print(f"promote: version {challenger.number} is the champion: {verdict.reason}")


if __name__ == "__main__":
    command_line.run(main, "promote")
