"""Makes a version the champion, if it is better than the present one and breaks no limit.

    mlflow run . -e promote --env-manager local
    python -m registry_scripts.promote --version 3 --dry_run true
    python -m registry_scripts.promote --force true --reason "the champion leaks memory"

Better means: on one comparison's test rows, right more often than the champion by McNemar's paired test; or surely not less
often, and failing fewer written cases of behaviour. What that means in figures, and the limits (slices, behaviour, calibration,
latency, size), stands in `registry_scripts/limits.yaml`. Prints what was required and what was found. A refusal ends with exit
code 1, and the champion stays. Each decision is kept as a run of its own. Loads no model and no ML framework, and writes nothing
with `dry_run`.

`force` promotes a version that is refused, or that was never compared, and needs a `reason`; the decision says both for
ever. It cannot promote a version whose model was deleted.
"""

from registry_scripts.registry import aliases, audit, gate, history, limits, lock
from registry_scripts.registry.gate import Verdict
from registry_scripts.registry.limits import Limits
from steps.sentiment import command_line, registry
from steps.sentiment.command_line import Flags, InputError, RefusedError, Values, boolean, integer, one_line, optional
from steps.sentiment.comparison import EvidenceError
from steps.sentiment.registry import Version

#: Letters of a reason that a person gives.
REASON = 500


def flags() -> Flags:
    """Return the flags of this script."""
    flags = Flags("promote", __doc__)
    flags.flag("version", "", "number of the version; default: the challenger", optional(integer(1)))
    flags.flag("limits", "", "file of what is required; default: registry_scripts/limits.yaml")
    flags.flag("dry_run", "false", "true: judge, and write nothing", boolean)
    flags.flag("force", "false", "true: promote though refused; needs a reason", boolean)
    flags.flag("reason", "", "why it is forced", one_line(REASON))
    return flags


def main(argv: list[str] | None = None) -> None:
    """Judge the version, and move the aliases if it passes."""
    given = flags().read(argv)
    if given.force and not given.reason:
        raise InputError(
            f"--reason: got ''; allowed with --force true: why, in one line of at most {REASON} characters"
        )
    if given.reason and not given.force:
        raise InputError(f"--reason: got {given.reason!r}; allowed: with --force true only")
    required = limits.read(given.limits)
    if given.dry_run:
        dry_run(given, required)
        return
    with lock.held("promote") as ours:
        finished = aliases.resume(ours, given.version)
        number = finished.version if finished else decide(ours, given, required)
    tell(number)


def decide(ours: lock.Lock, given: Values, required: Limits) -> int | None:
    """Judge, record the decision and carry it out; return the version decided on, or None if it is the champion already."""
    challenger, champion = contenders(given.version)
    lost = lost_champion(champion, given.force)
    if champion and champion.number == challenger.number:
        print(f"promote: version {champion.number} is the champion already")
        return None
    verdict = judge(challenger, champion, required, given.force)
    print(verdict.table)
    what, reason, targets = audit.REFUSE, verdict.reason, aliases.Move()
    if verdict.accepted or given.force:
        what = audit.PROMOTE
        targets = {registry.CHAMPION: challenger.number, registry.CHALLENGER: None}
        if champion:
            targets[registry.PREVIOUS] = champion.number
    if lost:
        what, reason = audit.FORCE, f"{given.reason}; the champion, version {lost}, was lost; the gate: {reason}"
    elif given.force and verdict.accepted:
        reason = f"{reason}; who asked to force it said: {given.reason}"
    elif given.force:
        what, reason = audit.FORCE, f"{given.reason}; the gate had refused: {reason}"
    before = champion.number if champion else None
    files = {audit.TABLE: verdict.table + "\n", audit.LIMITS: required.text}
    decision = audit.decide(what, challenger.number, before, reason, verdict.comparison, files)
    aliases.move(ours, targets, decision)
    return challenger.number


def contenders(number: int | None) -> tuple[Version, Version | None]:
    """Return the version to be judged (the challenger by default) and the champion, if there is one.

    Raises:
        InputError: there is no such version, or its model was deleted.
    """
    champion = registry.with_alias(registry.CHAMPION)
    challenger = aliases.named(number, "version") if number else registry.with_alias(registry.CHALLENGER)
    if challenger is None:
        raise InputError("there is no challenger; run register first, or name a version with --version")
    aliases.refuse_without_model(challenger)
    return challenger, champion


def lost_champion(champion: Version | None, force: bool) -> str:
    """Return the number of the version that was made champion and is so no longer, by no decision; an empty text if there is none.

    Raises:
        InputError: there is one, and the promotion is not forced: without a champion the gate would ask for little.
    """
    champions = [] if champion else history.champions(audit.trail())
    lost = champions[-1]["champion"] if champions else ""
    if lost and not force:
        raise InputError(
            f"no version is the champion, though the last decision made version {lost} that; allowed: rollback --version {lost} "
            "(or another that has been champion), or --force true with a reason"
        )
    return lost


def judge(challenger: Version, champion: Version | None, required: Limits, force: bool) -> Verdict:
    """Return the gate's verdict; evidence that cannot be used ends here, unless the promotion is forced."""
    try:
        return gate.judge(challenger, champion, required)
    except EvidenceError as error:
        if not force:
            raise
        return gate.without_evidence(str(error))


def dry_run(given: Values, required: Limits) -> None:
    """Judge and tell what would be decided; write nothing.

    Raises:
        RefusedError: the version would be refused, or another command is changing the aliases.
    """
    if aliases.pending():
        raise RefusedError(
            "(dry run) the registry is being changed, or a command has died; run versions, then this again"
        )
    challenger, champion = contenders(given.version)
    lost_champion(champion, given.force)
    if champion and champion.number == challenger.number:
        print(f"promote: (dry run) version {champion.number} is the champion already")
        return
    verdict = judge(challenger, champion, required, given.force)
    print(verdict.table)
    if not verdict.accepted and not given.force:
        raise RefusedError(f"(dry run) version {challenger.number}: {verdict.reason}")
    how = "promoted" if verdict.accepted else "forced, though refused"
    print(f"promote: (dry run) version {challenger.number} would be {how}: {verdict.reason}")


def tell(number: int | None) -> None:
    """Say what was decided, as the version's page has it.

    Raises:
        RefusedError: it was refused.
    """
    if number is None:
        return
    version = registry.versions().get(number)
    if version is None:
        raise RefusedError(f"version {number} was deleted in the meantime; the champion before stays")
    what, _, reason = version.tags["decision"].partition(": ")
    if what == "refused":
        raise RefusedError(f"version {number}: {reason}")
    print(f"promote: version {number} is the champion{', forced' if what == 'forced' else ''}: {reason}")


if __name__ == "__main__":
    command_line.run(main, "promote")
