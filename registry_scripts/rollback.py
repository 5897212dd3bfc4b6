"""Gives the championship back to the version before, or to the one named.

    mlflow run . -e rollback --env-manager local
    python -m registry_scripts.rollback --version 1

No gate: going back to a version that has been champion must always work. The champion that is left becomes `previous`
(stage Archived), so that a second rollback goes forward again; the challenger loses its alias.
"""

from datetime import UTC, datetime

from registry_scripts.registry import aliases
from steps.sentiment import command_line, registry
from steps.sentiment.command_line import Flags, InputError, integer, optional


def flags() -> Flags:
    """Return the flags of this script."""
    flags = Flags("rollback", __doc__)
    flags.flag(
        "version", "", "number of the version; default: the champion before the present one", optional(integer(1))
    )
    return flags


def main(argv: list[str] | None = None) -> None:
    """Move the aliases back."""
    given = flags().read(argv)
    if aliases.resume("rollback", given.version):
        return
    champion = registry.with_alias(registry.CHAMPION)
    if champion is None:
        raise InputError("there is no champion to leave; run promote first")
    target = aliases.named(given.version, "version") if given.version else registry.with_alias(registry.PREVIOUS)
    if given.version and target and target.stage not in ("Archived", "Production"):
        raise InputError(
            f"--version: {target.number} has never been champion; allowed: a version that has; promote judges new ones"
        )
    if target is None:
        raise InputError(f"there is no champion before version {champion.number}; name a version with --version")
    if target.number == champion.number:
        raise InputError(f"--version: {target.number} is the champion already; allowed: another version")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    aliases.note(target, {"decision": f"rolled back to, from version {champion.number}", "decided_at": now})
    aliases.move(
        "rollback", {registry.CHAMPION: target.number, registry.PREVIOUS: champion.number, registry.CHALLENGER: None}
    )
    print(f"rollback: version {target.number} is the champion, version {champion.number} the previous one")


if __name__ == "__main__":
    command_line.run(main, "rollback")
