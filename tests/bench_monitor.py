"""The monitor's benchmark: seconds and memory of the whole command over a million events, as captured from an endpoint.

    make bench

The events are drawn from the profile of the model that comes with the project, with a verdict on one in fifty; they are undrifted.
Counted is everything from the first import to the last line. On a busy machine the time on the processor
says more than the time on the clock.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.streams import PROFILE, drawn, envelope, judged  # noqa: E402

MODEL = ROOT / "data/champion/model"
EVENTS, VERDICTS = 1_000_000, 50
SECONDS, GIBIBYTES = 60, 2


def write(path: Path, version: str) -> int:
    """Write a million events as lines, and return how many verdicts are among them."""
    start, verdicts = datetime(2026, 11, 1, tzinfo=UTC), 0
    dice = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        for block in range(EVENTS // 10_000):
            for number, tweet in enumerate(drawn(PROFILE, 10_000, seed=block).to_dict("records")):
                identity = f"{block:06d}{number:06d}".ljust(60, "x")
                when = start + timedelta(milliseconds=100 * (10_000 * block + number))
                file.write(json.dumps(envelope(identity, tweet, version, when)) + "\n")
                if number % VERDICTS == 0:
                    truth = int(dice.uniform() < tweet["score"])
                    file.write(json.dumps(judged(identity, tweet, truth, version, when)) + "\n")
                    verdicts += 1
    return verdicts


def main() -> None:
    """Generate the events, run the command and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        events = Path(folder, "events.jsonl")
        version = next(
            line.split()[1] for line in (MODEL / "MLmodel").read_text().splitlines() if line.startswith("model_id:")
        )
        verdicts = write(events, version)
        own = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "steps.monitor", "--events", str(events), "--model", str(MODEL)]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=own, check=False, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        size = events.stat().st_size / 1e6
    print(done.stdout.strip())
    print(
        f"monitor over {EVENTS:,} predictions and {verdicts:,} verdicts ({size:.0f} MB): "
        f"{seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} of them "
        f"on the processor, {used.ru_maxrss / 2**20:.2f} GiB; "
        f"allowed: {SECONDS} s, {GIBIBYTES} GiB"
    )


if __name__ == "__main__":
    main()
