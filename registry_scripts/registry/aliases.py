"""The one place that moves aliases, and the classic stages with them (the stages are MLflow's past: delete them here).

Aliases are the truth; a version's stage follows from its aliases. MLflow moves one alias a call, so a move is first
written down whole as tags of the registered model, together with the decision behind it, then carried out, then struck off. A crash
between any two calls leaves the tag, and the next command of any kind finishes the move: never two champions, never
none, and one run for each decision.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from mlflow.exceptions import MlflowException

from registry_scripts.registry import audit, history
from registry_scripts.registry.audit import Decision
from registry_scripts.registry.lock import Lock
from steps.sentiment import registry
from steps.sentiment.command_line import InputError
from steps.sentiment.registry import CHALLENGER, CHAMPION, MODEL, PREVIOUS, Version

PENDING = "pending_move"
#: The decision behind a move, in parts that fit into a tag.
PART, PART_LETTERS = "pending_decision.", 4000
STAGES = {CHAMPION: "Production", CHALLENGER: "Staging", PREVIOUS: "Archived"}
#: The stage of a version that has lost its alias.
LEFT = {"Production": "Archived", "Staging": "None"}

Move = dict[str, int | None]


@dataclass(frozen=True)
class Pending:
    """A move as it is written down before it is carried out.

    `version` is the one that it is about, `before` who held each alias; `parts` says in how many tags the decision lies.
    """

    command: str
    targets: Move
    version: int | None
    before: Move
    parts: int


def move(ours: Lock, targets: Move, decision: Decision | None = None) -> None:
    """Give each alias to the version named, or take it away (None), bring the stages in step, and record the decision.

    Args:
        ours: the lock that is held.
        targets: version by alias; aliases that are not named stay.
        decision: what the move carries out, if it is one; a refusal moves nothing.
    """
    text = json.dumps(asdict(decision)) if decision else ""
    parts = [text[at : at + PART_LETTERS] for at in range(0, len(text), PART_LETTERS)]
    for number, part in enumerate(parts):
        ours.client.set_registered_model_tag(MODEL, f"{PART}{number}", part)
    about = decision.to_version if decision else next((number for number in targets.values() if number), None)
    held = _held(registry.versions())
    move = Pending(ours.command, targets, about, {alias: held.get(alias) for alias in STAGES}, len(parts))
    ours.client.set_registered_model_tag(MODEL, PENDING, json.dumps(asdict(move)))
    _carry_out(ours, move)


def pending() -> Pending | None:
    """Return the move that was written down and is not struck off yet, if any."""
    text = registry.model_tags().get(PENDING)
    return Pending(**json.loads(text)) if text else None


def resume(ours: Lock, version: int | None = None) -> Pending | None:
    """Finish a move that a crash has interrupted; every command that writes begins with this.

    Args:
        ours: the lock that is held.
        version: the version that the command was given, if any.

    Returns:
        The finished move, if it was what the command was called for, so that nothing is left to do.
    """
    move = pending()
    if move is None:
        return None
    _carry_out(ours, move)
    champion = registry.with_alias(CHAMPION)
    what = f": version {champion.number} is the champion" if champion and CHAMPION in move.targets else ""
    print(f"{ours.command}: finished an interrupted {move.command}{what}")
    return move if move.command == ours.command and version in (None, move.version) else None


def _carry_out(ours: Lock, move: Pending) -> None:
    tags = registry.model_tags()
    parts = [tags.get(f"{PART}{number}") for number in range(move.parts)]
    # The parts are written before the move and go after it: where one is missing, all has been done but the striking off.
    if None not in parts:
        decision = Decision(**json.loads("".join(map(str, parts)))) if parts else None
        run_id = audit.log(ours, decision) if decision else ""
        _move_aliases(ours, move)
        _follow_with_stages(ours)
        if decision:
            audit.name_last(ours, decision)
            _tell(ours, decision, run_id)
    for tag in sorted(tags):
        if tag.startswith(PART):
            ours.client.delete_registered_model_tag(MODEL, tag)
    ours.client.delete_registered_model_tag(MODEL, PENDING)


def _move_aliases(ours: Lock, move: Pending) -> None:
    known = registry.versions()
    held = _held(known)
    champion = move.targets.get(CHAMPION)
    # Of a champion that was deleted in the meantime nothing stays: who held what before has it, or gets it back.
    targets = move.targets if champion is None or champion in known else move.before
    for alias, number in targets.items():
        if number not in known and alias in held:
            ours.client.delete_registered_model_alias(MODEL, alias)
        elif number in known and held.get(alias) != number:
            ours.client.set_registered_model_alias(MODEL, alias, str(number))


def _held(known: Mapping[int, Version]) -> dict[str, int]:
    return {alias: version.number for version in known.values() for alias in version.aliases}


def _follow_with_stages(ours: Lock) -> None:
    # The champion first, and in one call with the one before, so that Production names one version at any moment.
    for version in sorted(registry.versions().values(), key=lambda version: CHAMPION not in version.aliases):
        stage = next((STAGES[alias] for alias in STAGES if alias in version.aliases), None)
        stage = stage or LEFT.get(version.stage, version.stage)
        if stage != version.stage:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                ours.client.transition_model_version_stage(
                    MODEL, str(version.number), stage, archive_existing_versions=stage == STAGES[CHAMPION]
                )


def _tell(ours: Lock, decision: Decision, run_id: str) -> None:
    # On the pages of the versions: the decision as tags of the one, and in the descriptions of both.
    known, trail = registry.versions(), audit.trail()
    if decision.to_version in known:
        for name, text in history.tags(decision.content, run_id).items():
            ours.client.set_model_version_tag(MODEL, str(decision.to_version), name, text)
    for number in (decision.content["to_version"], decision.content["from_version"]):
        if number and int(number) in known:
            told = history.page(int(number), known[int(number)].description, trail)
            ours.client.update_model_version(MODEL, number, told)


def named(number: int, flag: str) -> Version:
    """Return the version that a flag names.

    Raises:
        InputError: there is no such version.
    """
    known = registry.versions()
    if number not in known:
        allowed = ", ".join(map(str, known)) or "none is registered yet; run register first"
        raise InputError(f"--{flag}: no version {number} of {MODEL}; allowed: {allowed}")
    return known[number]


def refuse_without_model(version: Version) -> None:
    """Check that the model of a version can still be served.

    Raises:
        InputError: it was deleted.
    """
    if not registry.has_model(version):
        raise InputError(
            f"--version: the model of version {version.number} ({version.model_id or 'unknown'}) was deleted; "
            "allowed: a version whose model is there"
        )


def add(ours: Lock, model_id: str, run_id: str, description: str, tags: dict[str, str]) -> Version:
    """Register a logged model as a new version; one that is registered already is returned as it is."""
    try:
        ours.client.create_registered_model(MODEL, description="Tweet sentiment, negative or positive")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = next((version for version in registry.versions().values() if version.model_id == model_id), None)
    if known:
        return known
    made = ours.client.create_model_version(
        MODEL,
        f"models:/{model_id}",
        run_id=run_id,
        tags=tags,
        description=description,
        model_id=model_id,
    )
    return registry.versions()[int(made.version)]
