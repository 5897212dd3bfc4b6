"""The order and the speed of training: batches of texts of about equal length, and the learning rate of each step.

Padding every text to the longest wastes most of a network's work on tweets; sorting all of them by length would give
every epoch the same batches. Buckets of shuffled batches, sorted within, do neither.
"""

import math
from dataclasses import dataclass

import numpy as np

from steps.sentiment.vocabulary import Encoded

#: Batches whose texts are sorted by length together: enough for little padding, few enough to stay shuffled.
BUCKET = 50
#: Share of the steps in which the learning rate grows.
WARM_UP = 0.05


@dataclass(frozen=True)
class Rows:
    """Encoded texts and their labels (0 or 1, shape (n_texts,))."""

    texts: Encoded
    labels: np.ndarray


def batches(lengths: np.ndarray, batch_size: int, random: np.random.Generator) -> list[np.ndarray]:
    """Return the rows of each batch of an epoch, shuffled, with texts of about equal length together.

    Args:
        lengths: words of each text, shape (n_texts,).
        batch_size: rows in a batch; the last one of a bucket may be smaller.
        random: decides the order.
    """
    order = random.permutation(len(lengths))
    found = []
    for start in range(0, len(order), BUCKET * batch_size):
        bucket = order[start : start + BUCKET * batch_size]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        found += [bucket[first : first + batch_size] for first in range(0, len(bucket), batch_size)]
    return [found[place] for place in random.permutation(len(found))]


def learning_rate(step: int, steps: int, highest: float) -> float:
    """Return the learning rate of a step: a linear warm-up, then half a cosine down to zero."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return highest * (step + 1) / warm
    return highest * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def linear_rate(step: int, steps: int, warm_up: float) -> float:
    """Return the share of the highest learning rate at a step: up to 1 in the first `warm_up` of them, then down to 0."""
    warm = max(1, round(warm_up * steps))
    return (step + 1) / warm if step < warm else (steps - step) / max(1, steps - warm)
