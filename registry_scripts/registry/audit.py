"""The trail of decisions: each is an MLflow run of its own, and holds the sha256 of the one before.

A decision's tags are its content; their sha256, which covers that of its artifacts and of the decision before, is a tag
too. The registered model names the last one (`last_decision`). So what was changed, taken away or put in later shows when
`versions` reads the trail, unless everything after it and the registered model's tag was made anew as well: keep the
last sha256 elsewhere to know even that.

Runs are written here and not in tracking.py, which loads ML frameworks. They carry the tag `step=decision` and none of those
by which steps find each other's runs.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

import mlflow
from mlflow.entities import Run

from registry_scripts.registry.lock import Lock, person
from steps.sentiment import registry, runs
from steps.sentiment.command_line import InputError

STEP = "decision"
#: The registered model's tag that holds number and sha256 of the last decision.
LAST = "last_decision"
PROMOTE, REFUSE, FORCE, ROLLBACK = "promote", "refuse", "force", "rollback"
#: The decisions that make their version the champion.
MAKING = (PROMOTE, FORCE, ROLLBACK)
#: What is hashed, beside the sha256 of the artifacts.
CONTENT = (
    "registry", "number", "previous", "when", "who", "decision", "from_version", "to_version", "reason", "comparison_run",
    "comparison_sha256", "scores_sha256",
)  # fmt: skip
#: The artifacts, and the tag with the sha256 of each.
TABLE, LIMITS = "decision.md", "limits.yaml"
ARTIFACTS = {TABLE: "table_sha256", LIMITS: "limits_sha256"}
#: Letters of a reason at most: MLflow cuts longer tags off without a word.
MOST = 4000


@dataclass(frozen=True)
class Decision:
    """A decision: `content` by the names of CONTENT, `files` are the texts of its artifacts by name."""

    content: dict[str, str]
    files: dict[str, str]

    @property
    def tags(self) -> dict[str, str]:
        """The content and the hashes of the artifacts: what the decision's own hash is made of."""
        return self.content | {tag: _sha256(self.files.get(name, "")) for name, tag in ARTIFACTS.items()}

    @property
    def sha256(self) -> str:
        """The decision's hash."""
        return _sha256(_canonical(self.tags))

    @property
    def to_version(self) -> int:
        """The version that was decided on."""
        return int(self.content["to_version"])


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(tags: dict[str, str]) -> str:
    # Without what is empty: a name that is hashed from some day on leaves the decisions of before as they were.
    return json.dumps({name: tags[name] for name in (*CONTENT, *ARTIFACTS.values()) if tags.get(name)}, sort_keys=True)


def decide(
    what: str,
    to_version: int,
    from_version: int | None,
    reason: str,
    comparison: tuple[str, str, str] = ("", "", ""),
    files: dict[str, str] | None = None,
) -> Decision:
    """Return a decision that follows the last one; nothing is written yet.

    Args:
        what: one of PROMOTE, REFUSE, FORCE, ROLLBACK.
        to_version: the version that is decided on.
        from_version: the champion, if there is one.
        reason: why.
        comparison: that it rests on, if any: its run, and the sha256 of its result and of its scores.
        files: texts to be kept with it, by the names of ARTIFACTS.
    """
    number, previous = _named(registry.model_tags().get(LAST, ""))
    if not number and (found := trail()):
        number, previous = number_of(found[-1]), found[-1].data.tags.get("sha256", "")
    content = {
        "registry": registry.created(),
        "number": str(number + 1),
        "previous": previous,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": person(),
        "decision": what,
        "from_version": str(from_version or ""),
        "to_version": str(to_version),
        "reason": reason[:MOST],
        "comparison_run": comparison[0],
        "comparison_sha256": comparison[1],
        "scores_sha256": comparison[2],
    }
    return Decision(content, files or {})


def _named(last: str) -> tuple[int, str]:
    # Number and hash of the last decision, as the registered model names it.
    number, _, sha256 = last.partition(" ")
    return (int(number), sha256) if number.isdecimal() else (0, "")


def log(ours: Lock, decision: Decision) -> str:
    """Write a decision's run, or finish the one that a crash left, and return its id."""
    begun = [run for run in trail() if run.data.tags.get("sha256") == decision.sha256]
    if begun:
        run_id = begun[0].info.run_id
    else:
        name = f"decision {decision.content['number']}: {decision.content['decision']} version {decision.to_version}"
        user = decision.content["who"].partition("@")[0]
        tags = {"step": STEP, "sha256": decision.sha256, "mlflow.user": user, **decision.tags}
        run_id = ours.client.create_run(_experiment(ours), run_name=name, tags=tags).info.run_id
    for name, text in decision.files.items():
        ours.client.log_text(run_id, text, name)
    ours.client.set_terminated(run_id)
    return str(run_id)


def _experiment(ours: Lock) -> str:
    found = ours.client.get_experiment_by_name(runs.EXPERIMENT)
    return str(found.experiment_id if found else ours.client.create_experiment(runs.EXPERIMENT))


def name_last(ours: Lock, decision: Decision) -> None:
    """Let the registered model name a decision as the last one."""
    ours.client.set_registered_model_tag(registry.MODEL, LAST, f"{decision.content['number']} {decision.sha256}")


def trail() -> list[Run]:
    """Return the runs of all decisions on this registered model, the first one first."""
    conditions = f"tags.step = '{STEP}' and tags.registry = '{registry.created()}'"
    found: list[Run] = mlflow.search_runs(search_all_experiments=True, filter_string=conditions, output_format="list")
    return sorted(found, key=lambda run: (number_of(run), run.info.start_time))


def content_of(run: Run) -> dict[str, str]:
    """Return the content of a decision, with an empty text for what somebody has taken away."""
    return {name: run.data.tags.get(name, "") for name in CONTENT}


def number_of(run: Run) -> int:
    """Return the number of a decision, from 1; 0 where there is none."""
    number = run.data.tags.get("number", "")
    return int(number) if number.isdecimal() else 0


def problems(found: list[Run], last: str) -> list[str]:
    """Check a trail and return what is wrong with it, a line each.

    Args:
        found: its runs, as `trail` returns them.
        last: what the registered model says of the last decision, an empty text where it says nothing.
    """
    wrong = [
        f"decision {number_of(run)} was changed ({why}; run {run.info.run_id})"
        for run in found
        if (why := _changed(run))
    ]
    counted = Counter(map(number_of, found))
    count, sha256 = _named(last)
    wrong += [
        f"decision {number} stands {times} times: one was put in" for number, times in counted.items() if times > 1
    ]
    before = 0
    for number in sorted({*counted, max([count, *counted]) + 1}):
        if number > before + 1:
            wrong.append(
                f"decision {before + 1} is missing" + (f", and all up to {number - 1}" if number > before + 2 else "")
            )
        before = number
    for one, run in zip([None, *found], found, strict=False):
        expected = one.data.tags.get("sha256", "") if one else ""
        if run.data.tags.get("previous", "") != expected:
            wrong.append(f"decision {number_of(run)} does not follow the one before it (run {run.info.run_id})")
    champion = ""
    for content in map(content_of, found):
        left = content["from_version"]
        # A champion may be lost, as when its version is deleted; but then somebody has to say what follows.
        if left != champion and (left or content["decision"] == PROMOTE):
            wrong.append(
                f"decision {content['number']} tells version {left or 'none'} for the champion before it, "
                f"which was {champion or 'none'}"
            )
        if content["decision"] in MAKING:
            champion = content["to_version"]
    if found and (number_of(found[-1]), found[-1].data.tags.get("sha256")) != (count, sha256):
        said = f"decision {count}" if count else "no decision"
        wrong.append(f"the registered model names {said} as the last one, and not decision {number_of(found[-1])}")
    return wrong


def _changed(run: Run) -> str:
    # Which part of a decision is not as it was written, if any.
    if _sha256(_canonical(run.data.tags)) != run.data.tags.get("sha256"):
        return "its tags"
    for name, tag in ARTIFACTS.items():
        if run.data.tags.get(tag) != _sha256(_text(run, name)):
            return name
    return ""


def _text(run: Run, name: str) -> str:
    try:
        return runs.artifact(f"runs:/{run.info.run_id}/{name}", "decision").read_bytes().decode(errors="replace")
    except InputError:
        return ""
