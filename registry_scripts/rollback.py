"""Gives the championship back to the version before, or to the one named.

    mlflow run . -e rollback --env-manager local
    python -m registry_scripts.rollback --version 1

No gate: going back to a version that has been champion must always work, as long as its model is there, also where the champion
was deleted. The champion that is left becomes `previous` (stage Archived), so that a second rollback goes forward again; the
challenger loses its alias. The decision is kept as a run of its own, with the `reason` if one is given.
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
        left = champion.number if champion else None
        decision = audit.decide(audit.ROLLBACK, target.number, left, given.reason)
        targets: aliases.Move = {registry.CHAMPION: target.number, registry.PREVIOUS: left, registry.CHALLENGER: None}
        aliases.move(ours, targets, decision)
    before = f"version {left} the previous one" if left else "there was none to leave"
    print(f"rollback: version {target.number} is the champion, {before}")


def contenders(number: int | None) -> tuple[Version | None, Version]:
    """Return the champion to leave, if it is still there, and the version to go back to.

    Raises:
        InputError: there is no such version, or it cannot be gone back to.
    """
    champion = registry.with_alias(registry.CHAMPION)
    target = aliases.named(number, "version") if number else registry.with_alias(registry.PREVIOUS)
    if number and target and target.stage not in ("Archived", "Production"):
        raise InputError(
            f"--version: {target.number} has never been champion; allowed: a version that has; promote judges new ones"
        )
    if target is None:
        before = f"before version {champion.number}" if champion else "to leave, nor one before; run promote first, or"
        raise InputError(f"there is no champion {before}; name a version that has been champion with --version")
    if champion and target.number == champion.number:
        raise InputError(f"--version: {target.number} is the champion already; allowed: another version")
    aliases.refuse_without_model(target)
    return champion, target


if __name__ == "__main__":
    command_line.run(main, "rollback")
