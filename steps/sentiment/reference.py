"""A model's profile as bins that events can be counted into: the same for `monitor` and for the rules of Application Insights.

Imports nothing: the registry scripts, which reach no ML framework, read it too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Traits of a text that an endpoint tells, each as 0 or 1: their means are rates.
TRAITS = ("mention", "link", "emoji", "capitals")
#: Texts below which a difference may be chance alone, whatever its size, and what stands for an empty bin, which has no logarithm.
FEWEST, LEAST = 500, 0.0001


@dataclass(frozen=True)
class Bins:
    """Texts by a feature: those with `edges[i] <= value < edges[i + 1]`; the outer bins take what lies beyond them too."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    mean: float


def features(profile: Mapping[str, Any]) -> dict[str, Bins]:
    """Return the features that events are compared by, each with the texts of the profile in its bins.

    Args:
        profile: profile.json of a model.

    Raises:
        KeyError: it is no profile of a model.
    """
    named = {"characters": profile["characters"], "words": profile["words"], "score": profile["scores"]}
    found = {name: Bins(tuple(one["edges"]), tuple(one["counts"]), one["mean"]) for name, one in named.items()}
    shares = {name: profile["shares"][name] for name in TRAITS} | {"unsure": profile["unsure_share"]}
    for name, share in shares.items():
        there = round(share * profile["rows"])
        found[name] = Bins((0, 1, 2), (profile["rows"] - there, there), share)
    return found
