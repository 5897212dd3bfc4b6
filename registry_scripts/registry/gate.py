"""Whether a challenger may become champion, from logged evidence alone: no model is loaded."""

from dataclasses import dataclass

import numpy as np

from steps.sentiment import comparison
from steps.sentiment.paired import mcnemar
from steps.sentiment.registry import Version

#: Chance at which the paired test may take two equal models for different ones.
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Verdict:
    """The gate's decision, its reason, and the comparison run that it rests on."""

    accepted: bool
    reason: str
    comparison_run: str = ""


def judge(challenger: Version, champion: Version | None) -> Verdict:
    """Decide whether the challenger is better than the champion, by a paired test on the rows of one comparison.

    Without a champion the challenger must beat the answer that never changes: the majority class.
    """
    found = comparison.newest(*(version.model_id for version in (challenger, champion) if version))
    if found is None:
        if champion is None:
            return Verdict(False, f"no comparison holds version {challenger.number}; run the entry point compare first")
        return Verdict(
            False,
            f"no comparison holds both version {challenger.number} (dataset {challenger.tags.get('dataset_digest')}) and "
            f"champion {champion.number} (dataset {champion.tags.get('dataset_digest')}) on the same digest; "
            "run the entry point compare first",
        )
    scores = found.scores()
    labels = scores["label"].to_numpy()
    ours = scores[challenger.model_id].to_numpy()
    if champion is None:
        theirs, opponent = np.full(len(labels), round(labels.mean())), "the majority class"
    else:
        theirs, opponent = scores[champion.model_id].to_numpy(), f"champion {champion.number}"
    test = mcnemar(labels, ours, theirs)
    accuracies = [float(((values >= 0.5) == (labels == 1)).mean()) for values in (ours, theirs)]
    evidence = (
        f"test accuracy {accuracies[0]:.4f} against {accuracies[1]:.4f} of {opponent} on {len(labels)} rows of dataset "
        f"{found.result['dataset_digest']}, right alone on {test.better} rows against {test.worse} (McNemar p={test.p_value:.2g})"
    )
    accepted = test.better > test.worse and test.p_value < SIGNIFICANCE
    required = "" if accepted else f"; required: a higher accuracy at p < {SIGNIFICANCE}"
    return Verdict(accepted, evidence + required, found.run_id)
