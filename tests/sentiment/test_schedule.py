"""Every row once an epoch, little padding, an order that the seed alone decides; a learning rate that grows, then falls to 0."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steps.sentiment import schedule

#: As tweets: most are short, some are long.
LENGTHS = np.random.default_rng(0).geometric(0.07, 20_000).clip(1, 64)


def epoch(seed: int, lengths: np.ndarray = LENGTHS, batch_size: int = 32) -> list[np.ndarray]:
    return schedule.batches(lengths, batch_size, np.random.default_rng(seed))


def padding(batches: list[np.ndarray]) -> float:
    """Return the share of an epoch's numbers that are padding."""
    read = sum(len(batch) * LENGTHS[batch].max() for batch in batches)
    return float(1 - LENGTHS.sum() / read)


@settings(deadline=None)
@given(st.integers(0, 700), st.integers(1, 9), st.integers(0, 5))
def test_every_row_comes_once_an_epoch(rows, batch_size, seed):
    batches = epoch(seed, np.arange(rows) % 7 + 1, batch_size)
    assert sorted(row for batch in batches for row in batch) == list(range(rows))
    assert all(1 <= len(batch) <= batch_size for batch in batches)
    assert len(batches) == -(-rows // batch_size), "as few batches as hold all rows"


def test_texts_of_a_batch_are_about_equally_long():
    shuffled = np.random.default_rng(0).permutation(len(LENGTHS))
    unsorted = padding([shuffled[start : start + 32] for start in range(0, len(shuffled), 32)])
    assert unsorted > 0.5
    assert padding(epoch(0)) < 0.1


def test_lengths_do_not_decide_the_order_of_batches():
    means = np.array([LENGTHS[batch].mean() for batch in epoch(0)])
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.15


def test_the_same_seed_gives_the_same_batches():
    assert [batch.tolist() for batch in epoch(3)] == [batch.tolist() for batch in epoch(3)]


def test_another_seed_and_another_epoch_mix_other_rows():
    random, lengths = np.random.default_rng(3), np.arange(20_000)
    first, second = (schedule.batches(lengths, 32, random) for _ in range(2))
    for other in (second, epoch(4, lengths)):
        together = {frozenset(batch.tolist()) for batch in first}
        assert not together & {frozenset(batch.tolist()) for batch in other}, "the very same rows share a batch again"


@pytest.mark.parametrize("steps", [100, 1000, 48_000])
def test_learning_rate_grows_to_the_highest_then_falls_to_0(steps):
    rates = np.array([schedule.learning_rate(step, steps, 0.002) for step in range(steps)])
    warm = round(schedule.WARM_UP * steps)
    assert 0 < rates[0] == pytest.approx(0.002 / warm)
    assert (np.diff(rates[:warm]) > 0).all()
    assert rates[warm - 1] == rates[warm] == rates.max() == 0.002
    assert (np.diff(rates[warm:]) < 0).all()
    assert rates[warm + (steps - warm) // 2] == pytest.approx(0.001, rel=0.02)
    assert 0 <= rates[-1] < 0.002 * 0.001


@settings(deadline=None)
@given(st.integers(1, 3000), st.floats(1e-6, 1.0), st.data())
def test_learning_rate_is_never_negative_and_never_too_high(steps, highest, data):
    step = data.draw(st.integers(0, steps))
    assert 0 <= schedule.learning_rate(step, steps, highest) <= highest
    assert schedule.learning_rate(0, steps, highest) > 0


@pytest.mark.parametrize("steps", [100, 1000, 48_000])
def test_linear_rate_grows_to_all_of_it_then_falls_in_a_line_to_0(steps):
    rates = np.array([schedule.linear_rate(step, steps, 0.06) for step in range(steps + 1)])
    warm = round(0.06 * steps)
    assert rates[0] == pytest.approx(1 / warm)
    assert rates[warm - 1] == rates[warm] == rates.max() == 1
    assert rates[-1] == 0
    assert np.allclose(np.diff(rates[:warm]), 1 / warm)
    assert np.allclose(np.diff(rates[warm:]), -1 / (steps - warm))


@settings(deadline=None)
@given(st.integers(1, 3000), st.floats(0, 1), st.data())
def test_linear_rate_is_a_share_and_every_step_learns(steps, warm_up, data):
    step = data.draw(st.integers(0, steps - 1))
    assert 0 < schedule.linear_rate(step, steps, warm_up) <= 1
