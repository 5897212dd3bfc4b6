"""Whether a challenger may become champion, from logged evidence alone: no model is loaded."""

from dataclasses import dataclass

import numpy as np
from tabulate import tabulate

from registry_scripts.registry import checks
from registry_scripts.registry.checks import Check, Pair
from registry_scripts.registry.limits import Limits
from steps.sentiment import comparison
from steps.sentiment.comparison import Comparison
from steps.sentiment.registry import Version

#: Failed checks that a reason names; the table has them all.
NAMED = 3


@dataclass(frozen=True)
class Verdict:
    """The gate's decision.

    `evidence` says in words what the first check found, `comparison` what it was found in: the run, and the sha256 of
    its result and of its scores.
    """

    checks: tuple[Check, ...]
    evidence: str
    comparison: tuple[str, str, str] = ("", "", "")

    @property
    def accepted(self) -> bool:
        """Whether nothing speaks against the challenger."""
        return not self._failed()

    @property
    def reason(self) -> str:
        """What was found, and of the checks that failed what they require, in one line."""
        failed = self._failed()
        told = [
            f"required: {check.required}"
            if check is self.checks[0]
            else f"{check.name}: {check.found}, required: {check.required}"
            for check in failed[:NAMED]
        ]
        more = [f"and {len(failed) - NAMED} more"] if len(failed) > NAMED else []
        return "; ".join([self.evidence, *told, *more])

    @property
    def table(self) -> str:
        """All checks as a Markdown table."""
        rows = [
            {"check": check.name, "required": check.required, "found": check.found, "verdict": check.verdict}
            for check in self.checks
        ]
        return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)

    def _failed(self) -> list[Check]:
        return [check for check in self.checks if check.passed is False]


def judge(challenger: Version, champion: Version | None, limits: Limits) -> Verdict:
    """Decide whether the challenger is better than the champion and breaks no limit, on the rows of one comparison.

    Without a champion the challenger must beat the answer that never changes: the majority class.

    Raises:
        EvidenceError: the comparison cannot be judged from.
        InputError: the limits name what the comparison does not know.
    """
    found = comparison.newest(*(version.model_id for version in (challenger, champion) if version))
    if found is None:
        return without_evidence(_no_comparison(challenger, champion))
    pair = _pair(found, challenger, champion)
    better = checks.better(pair, limits)
    evidence = f"test accuracy {better.found} on {len(pair.rows)} rows of dataset {found.result['dataset_digest']}"
    judged = [better, *checks.slices(pair, limits), *checks.behaviours(pair, limits), *checks.metrics(pair, limits)]
    return Verdict(tuple(judged), evidence, (found.run_id, *found.hashes))


def without_evidence(why: str) -> Verdict:
    """Return the verdict where there is nothing to judge from."""
    return Verdict((Check("evidence", "a comparison on the same test rows", why, False),), why)


def _no_comparison(challenger: Version, champion: Version | None) -> str:
    if champion is None:
        return f"no comparison holds version {challenger.number}; run the entry point compare first"
    return (
        f"no comparison holds both version {challenger.number} (dataset {challenger.tags.get('dataset_digest')}) and "
        f"champion {champion.number} (dataset {champion.tags.get('dataset_digest')}) on the same digest; "
        "run the entry point compare first"
    )


def _pair(found: Comparison, challenger: Version, champion: Version | None) -> Pair:
    rows = found.scores()
    ours = rows[challenger.model_id].to_numpy()
    slices = [str(name) for name in rows.columns if name != "label" and name not in found.model_ids]
    if champion is None:
        majority = np.full(len(rows), round(rows["label"].mean()))
        against, measured, opponent = majority, None, "the majority class"
    else:
        against, opponent = rows[champion.model_id].to_numpy(), f"champion {champion.number}"
        measured = found.entry(champion.model_id)["metrics"]
    return Pair(rows, slices, (ours, against), (found.entry(challenger.model_id)["metrics"], measured), opponent)
