"""What the tests of the monitor share: streams of events, drawn from a profile or from real tweets. Not a test itself."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.sentiment import events
from steps.sentiment.events import Events, Gathering
from steps.sentiment.reference import TRAITS, features
from tests.conftest import ROOT

PROFILE: dict[str, Any] = json.loads((ROOT / "data/champion/model/artifacts/model/profile.json").read_text())
LABELS = ("negative", "positive")
START = datetime(2026, 11, 1, tzinfo=UTC)


def drawn(profile: Mapping[str, Any], rows: int, seed: int) -> pd.DataFrame:
    """Return tweets as a profile describes them, each feature for itself, and what the model answered: `label` is 1 for positive."""
    dice = np.random.default_rng(seed)
    found = {}
    for name, bins in features(profile).items():
        edges, counts = np.array(bins.edges, dtype=float), np.array(bins.counts)
        at = dice.choice(len(counts), size=rows, p=counts / counts.sum())
        found[name] = edges[at] + dice.uniform(size=rows) * (edges[at + 1] - edges[at])
        if name != "score":
            found[name] = np.floor(found[name])
    return pd.DataFrame(found).assign(label=lambda tweets: (tweets["score"] >= 0.5).astype(int))


def gathered(tweets: pd.DataFrame, expected: Any = -1, version: str = "3") -> Events:
    """Return tweets as events of one version; `expected` are the verdicts: 1 for positive, -1 for none."""
    frame = tweets.assign(model_version=pd.Categorical([version] * len(tweets)), expected=expected)
    return Events(frame, 0, 0, START, START + timedelta(days=1))


def envelope(identity: str, tweet: Mapping[str, Any], version: str, when: datetime = START) -> dict[str, Any]:
    """Return the envelope of a prediction, as an endpoint sends it."""
    properties = {
        "prediction_id": identity,
        "model_version": version,
        "label": LABELS[int(tweet["label"])],
        "unsure": "true" if tweet["unsure"] else "false",
        "truncated": "false",
        "logger_name": "sentiment",
    }
    measured = {name: float(tweet[name]) for name in ("score", "characters", "words", *TRAITS)}
    measurements = {**measured, "latency_ms": 4.817, "rows": 1.0, "out_of_vocabulary": 0.0833}
    return _wrapped("prediction", properties, measurements, when)


def judged(identity: str, tweet: Mapping[str, Any], truth: int, version: str, when: datetime = START) -> dict[str, Any]:
    """Return the envelope of a verdict, as an endpoint sends it."""
    properties = {
        "prediction_id": identity,
        "model_version": version,
        "predicted": LABELS[int(tweet["label"])],
        "expected": LABELS[truth],
        "mispredicted": "true" if truth != tweet["label"] else "false",
        "keep": "false",
    }
    return _wrapped("feedback", properties, {"seconds_after_prediction": 31.4}, when)


def _wrapped(
    name: str, properties: Mapping[str, str], measurements: Mapping[str, float], when: datetime
) -> dict[str, Any]:
    tags = {
        "ai.cloud.role": "tweet-sentiment",
        "ai.cloud.roleInstance": "a-machine-1234",
        "ai.internal.nodeName": "a-machine",
        "ai.operation.id": "13c8f0d26b4a4a1b9f0c1d2e3f405162",
        "ai.operation.parentId": "6fdc0a1b2c3d4e5f",
        "ai.internal.sdkVersion": "ulm_py3.11.7:otel1.45.1:dst1.8.11",
    }
    return {
        "ver": 1,
        "name": "Microsoft.ApplicationInsights.Event",
        "time": when.isoformat().replace("+00:00", "Z"),
        "sampleRate": 100.0,
        "iKey": "00000000-0000-0000-0000-00000000000a",
        "tags": tags,
        "data": {
            "baseType": "EventData",
            "baseData": {"ver": 2, "name": name, "properties": properties, "measurements": measurements},
        },
    }


def read(paths: Sequence[Path]) -> Events:
    """Return the events of files of captured envelopes."""
    gathering = Gathering()
    events.gather(paths, gathering)
    return gathering.events()
