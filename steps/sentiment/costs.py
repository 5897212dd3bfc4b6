"""What a loaded model costs to run: milliseconds, time of processor cores, money."""

import time
from typing import Any

import numpy as np

#: Texts asked one at a time for the latency of a single request, and together for that of a batch.
SINGLE, BATCH = 50, 256


def measure(model: Any, texts: list[str], core_hour_price: float) -> dict[str, float]:
    """Return what answering costs.

    Args:
        model: as MLflow loads it, asked before: what is done once is done.
        texts: at least one; the first SINGLE are asked one by one, the first BATCH together.
        core_hour_price: of one processor core for an hour, in USD.

    Returns:
        `predict_ms_single` (median), `predict_ms_per_tweet` (of the batch), `predict_core_ms_per_tweet` (the time that all cores
        together spent on it) and `usd_per_million_tweets`, which is that time at the price: idle hours are not in it.
    """
    single = []
    for text in texts[:SINGLE]:
        start = time.perf_counter()
        model.predict([text])
        single.append(1000 * (time.perf_counter() - start))
    batch = texts[:BATCH]
    start, cores = time.perf_counter(), time.process_time()
    model.predict(batch)
    core_ms = 1000 * (time.process_time() - cores) / len(batch)
    return {
        "predict_ms_single": float(np.median(single)),
        "predict_ms_per_tweet": 1000 * (time.perf_counter() - start) / len(batch),
        "predict_core_ms_per_tweet": core_ms,
        "usd_per_million_tweets": usd_per_million(core_ms, core_hour_price),
    }


def usd_per_million(core_ms: float, core_hour_price: float) -> float:
    """Return the price of a million tweets of `core_ms` milliseconds of one core each."""
    return 1e6 * core_ms / 3.6e6 * core_hour_price
