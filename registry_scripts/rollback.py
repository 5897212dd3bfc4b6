"""Gives the championship back to the version before, or to the one named.

    mlflow run . -e rollback --env-manager local
    python -m registry_scripts.rollback --version 1

No gate: going back to a version that has been champion must always work, as long as its model is there. The champion that
is left becomes `previous` (stage Archived), so that a second rollback goes forward again; the challenger loses its
alias. The decision is kept as a run of its own, with the `reason` if one is given.
"""

from registry_scripts.registry import aliases, audit, lock
from steps.sentiment import command_line, registry
from steps.sentiment.command_line import Flags, InputError, integer, one_line, optional
from steps.sentiment.registry import Version

#: Letters of a reason that a person gives.
REASON = 500


def flags() -> Flags:
    """Return the flags of this script."""
    flags = Flags("rollback", __doc__)
    flags.flag(
        "version", "", "number of the version; default: the champion before the present one", optional(integer(1))
    )
    flags.flag("reason", "", "why", one_line(REASON))
    return flags


def main(argv: list[str] | None = None) -> None:
    """Move the aliases back."""
    given = flags().read(argv)
    with lock.held("rollback") as ours:
        if aliases.resume(ours, given.version):
            return
        champion, target = contenders(given.version)
        decision = audit.decide(audit.ROLLBACK, target.number, champion.number, given.reason)
        targets: aliases.Move = {
            registry.CHAMPION: target.number,
            registry.PREVIOUS: champion.number,
            registry.CHALLENGER: None,
        }
        aliases.move(ours, targets, decision)
    print(f"rollback: version {target.number} is the champion, version {champion.number} the previous one")


def contenders(number: int | None) -> tuple[Version, Version]:
    """Return the champion to leave, and the version to go back to.

    Raises:
        InputError: there is none of them, or the version cannot be gone back to.
    """
    champion = registry.with_alias(registry.CHAMPION)
    if champion is None:
        raise InputError("there is no champion to leave; run promote first")
    target = aliases.named(number, "version") if number else registry.with_alias(registry.PREVIOUS)
    if number and target and target.stage not in ("Archived", "Production"):
        raise InputError(
            f"--version: {target.number} has never been champion; allowed: a version that has; promote judges new ones"
        )
    if target is None:
        raise InputError(f"there is no champion before version {champion.number}; name a version with --version")
    if target.number == champion.number:
        raise InputError(f"--version: {target.number} is the champion already; allowed: another version")
    aliases.refuse_without_model(target)
    return champion, target


if __name__ == "__main__":
    command_line.run(main, "rollback")
