"""The one place that moves aliases, and the classic stages with them (the stages are MLflow's past: delete them here).

Aliases are the truth; a version's stage follows from its aliases. MLflow moves one alias a call, so a move is first
written down whole as a tag of the registered model, then carried out, then struck off. A crash between any two calls
leaves the tag, and the next command of any kind finishes the move: never two champions, never none.
"""

import json
import warnings

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from steps.sentiment import registry
from steps.sentiment.command_line import InputError
from steps.sentiment.registry import CHALLENGER, CHAMPION, MODEL, PREVIOUS, Version

PENDING = "pending_move"
STAGES = {CHAMPION: "Production", CHALLENGER: "Staging", PREVIOUS: "Archived"}
#: The stage of a version that has lost its alias.
LEFT = {"Production": "Archived", "Staging": "None"}

Move = dict[str, int | None]


def move(command: str, targets: Move) -> None:
    """Give each alias to the version named, or take it away (None), and bring the stages in step.

    Args:
        command: whose move it is, `promote` for example.
        targets: version by alias; aliases that are not named stay.
    """
    MlflowClient().set_registered_model_tag(MODEL, PENDING, json.dumps([command, targets]))
    _carry_out(targets)


def resume(command: str, version: int | None = None) -> bool:
    """Finish a move that a crash has interrupted; every command begins with this.

    Args:
        command: the command that begins.
        version: the version that it was given, if any.

    Returns:
        Whether the finished move was what the command was called for, so that nothing is left to do.
    """
    pending = registry.model_tags().get(PENDING)
    if not pending:
        return False
    by, targets = json.loads(pending)
    _carry_out(targets)
    champion = targets.get(CHAMPION)
    print(f"{command}: finished an interrupted {by}" + (f": version {champion} is the champion" if champion else ""))
    return bool(by == command and version in (None, champion))


def _carry_out(targets: Move) -> None:
    client = MlflowClient()
    held = {alias: version.number for version in registry.versions().values() for alias in version.aliases}
    for alias, number in targets.items():
        if number is None and alias in held:
            client.delete_registered_model_alias(MODEL, alias)
        elif number is not None and held.get(alias) != number:
            client.set_registered_model_alias(MODEL, alias, str(number))
    _follow_with_stages(client)
    client.delete_registered_model_tag(MODEL, PENDING)


def _follow_with_stages(client: MlflowClient) -> None:
    for version in registry.versions().values():
        stage = next((STAGES[alias] for alias in STAGES if alias in version.aliases), None)
        stage = stage or LEFT.get(version.stage, version.stage)
        if stage != version.stage:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                client.transition_model_version_stage(MODEL, str(version.number), stage)


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


def note(version: Version, tags: dict[str, str]) -> None:
    """Set tags of a version."""
    for name, text in tags.items():
        MlflowClient().set_model_version_tag(MODEL, str(version.number), name, text)


def add(model_id: str, run_id: str, description: str, tags: dict[str, str]) -> Version:
    """Register a logged model as a new version; one that is registered already is returned as it is."""
    client = MlflowClient()
    try:
        client.create_registered_model(MODEL, description="Tweet sentiment, negative or positive")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = next((version for version in registry.versions().values() if version.model_id == model_id), None)
    if known:
        return known
    made = client.create_model_version(
        MODEL,
        f"models:/{model_id}",
        run_id=run_id,
        tags={**tags, "model_id": model_id},
        description=description,
        model_id=model_id,
    )
    return registry.versions()[int(made.version)]
