"""What a model costs: measured of the texts that are said, and worked out by hand."""

import time
from typing import Any

import pytest

from steps.sentiment import costs


class Slow:
    """A model of a known speed: some seconds for each call and text, worked or waited for."""

    def __init__(self, call: float, text: float, works: bool) -> None:
        self.call, self.text, self.works = call, text, works
        self.asked: list[int] = []

    def predict(self, texts: list[str], params: dict[str, Any] | None = None) -> list[Any]:
        self.asked.append(len(texts))
        clock = time.process_time if self.works else time.perf_counter
        end = clock() + self.call + self.text * len(texts)
        while clock() < end:
            if not self.works:
                time.sleep(1e-3)
        return []


def test_single_texts_are_asked_one_by_one_and_a_batch_at_once() -> None:
    model = Slow(0, 0, works=True)
    costs.measure(model, ["a"] * 1000, 1.0)
    assert model.asked == [1] * costs.SINGLE + [costs.BATCH]
    model.asked.clear()
    costs.measure(model, ["a"] * 3, 1.0)
    assert model.asked == [1, 1, 1, 3]


def test_milliseconds_are_those_of_a_text() -> None:
    found = costs.measure(Slow(2e-3, 1e-3, works=False), ["a"] * 20, 1.0)
    assert found["predict_ms_single"] >= 3.0
    assert found["predict_ms_per_tweet"] >= 1.1
    assert found["predict_ms_per_tweet"] < found["predict_ms_single"]


def test_the_price_is_that_of_the_time_of_the_cores_not_of_the_wait() -> None:
    works, waits = (costs.measure(Slow(0, 1e-3, works=kind), ["a"] * 40, 3.6) for kind in (True, False))
    assert works["predict_core_ms_per_tweet"] == pytest.approx(1, rel=0.3)
    assert works["usd_per_million_tweets"] == pytest.approx(works["predict_core_ms_per_tweet"])
    assert waits["predict_core_ms_per_tweet"] < 0.5 * waits["predict_ms_per_tweet"]


@pytest.mark.parametrize(("core_ms", "price", "usd"), [(1.0, 0.05, 0.05 / 3.6), (3.6, 1.0, 1.0), (0.0, 0.05, 0.0)])
def test_the_price_worked_out_by_hand(core_ms: float, price: float, usd: float) -> None:
    # A million tweets of 3.6 ms each are an hour of one core.
    assert costs.usd_per_million(core_ms, price) == pytest.approx(usd)
