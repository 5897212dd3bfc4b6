"""What the trail of decisions tells people: who was champion when and why, and what was decided about a version."""

from collections.abc import Sequence

from mlflow.entities import Run

from registry_scripts.registry.audit import FORCE, MAKING, PROMOTE, REFUSE, ROLLBACK, content_of

SAID = {PROMOTE: "promoted", REFUSE: "refused", FORCE: "forced"}
#: What begins the history in a version's description; the text before it is that of the registration.
HEADING = "\n\nDecisions, the newest first:\n"
#: Letters of a description at most: MLflow's tables take 5000.
MOST = 4900


def said(content: dict[str, str]) -> str:
    """Return a decision in a sentence, as a version's tag `decision` and its page have it."""
    reason = content["reason"]
    if content["decision"] == ROLLBACK:
        left = f"from version {content['from_version']}" if content["from_version"] else "from no champion"
        return f"rolled back to, {left}" + (f": {reason}" if reason else "")
    return f"{SAID.get(content['decision'], 'decided')}: {reason}"


def tags(content: dict[str, str], run_id: str) -> dict[str, str]:
    """Return the tags of a version that tell the last decision about it."""
    judged = {} if content["decision"] == ROLLBACK else {
        "decided_on": content["comparison_run"],
        "decided_against": content["from_version"],
    }  # fmt: skip
    return {
        "decision": said(content),
        "decided_at": content["when"],
        "decided_by": content["who"],
        "decision_run": run_id,
        **judged,
    }


def champions(trail: Sequence[Run]) -> list[dict[str, str]]:
    """Return one row for each time that a version was champion, the first one first."""
    rows: list[dict[str, str]] = []
    for run in trail:
        content = content_of(run)
        if content["decision"] not in MAKING:
            continue
        if rows:
            rows[-1]["until"] = content["when"]
        rows.append(
            {
                "champion": content["to_version"],
                "since": content["when"],
                "until": "",
                "by": content["who"],
                "why": said(content),
            }
        )
    return rows


def page(version: int, description: str, trail: Sequence[Run]) -> str:
    """Return a version's description with what was decided about it, the newest first, as far as there is room."""
    text = description.partition(HEADING)[0] + HEADING
    for run in reversed(trail):
        content = content_of(run)
        if content["to_version"] == str(version):
            line = said(content)
        elif content["from_version"] == str(version) and content["decision"] != REFUSE:
            line = f"champion until then; version {content['to_version']} was {said(content)}"
        else:
            continue
        line = f"- {content['when']}, {content['who']}: {line} (run {run.info.run_id})\n"
        if len(text) + len(line) > MOST:
            return text + "- earlier ones: the runs with the tag step=decision\n"
        text += line
    return text.rstrip("\n")
