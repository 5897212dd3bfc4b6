"""The comparison's benchmark: how much longer it takes than its five models need to score their texts, measured in one run.

    make bench                                                                            # on the bundled sample
    make bench DATA=PATH FLAGS="--holdout sample=random --test_rows 15000 --validation_rows 15000"

A baseline, three networks and an encoder, trained on few tweets: what they answer does not matter here. The bundled sample has too
few test rows, so tweets are made from the halves of two of its own, 15,000 of them for the test. Counted is the whole
command, from its first import to its last line: scoring, intervals, paired tests, memory in fresh processes, explanations, figures.
The models' texts are the test rows and those of the suite of behaviour.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from steps.sentiment import bundled, comparison, runs  # noqa: E402

TEST_ROWS, TURNS, LONGEST = 15_000, 6, 1.3


def halves(path: Path) -> None:
    """Write tweets of the first half of one and the second half of another tweet of the bundled sample."""
    tweets = pd.read_csv(ROOT / "data/sample/tweets.csv")
    words = [text.split() for text in tweets["text"]]
    random = np.random.default_rng(0)
    first, second = (random.permutation(np.tile(np.arange(len(tweets)), TURNS)) for _ in range(2))
    texts = [
        " ".join(words[one][: (len(words[one]) + 1) // 2] + words[other][len(words[other]) // 2 :])
        for one, other in zip(first, second, strict=True)
    ]
    pd.DataFrame({"target": tweets["target"].to_numpy()[first], "text": texts}).to_csv(path, index=False)


def run(*command: str) -> float:
    """Run a step and return its seconds."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - start


def main() -> None:
    """Train five models, compare them and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="sample")
    parser.add_argument("--flags", default="")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as store:
        os.environ |= {
            "MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        }
        mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
        mlflow.create_experiment("tweet-sentiment", artifact_location=f"{store}/artifacts")
        data, flags = given.data, shlex.split(given.flags)
        if data == "sample":
            halves(Path(store, "halves.csv"))
            data, flags = f"{store}/halves.csv", ["--test_rows", str(TEST_ROWS), "--validation_rows", "2000"]
        run("steps.prepare", "--data", data, *flags)
        run("steps.train_baseline", "--max_rows", "50000")
        for architecture in ("average", "cnn", "bilstm"):
            few = ("--max_rows", "3000", "--epochs", "1")
            run("steps.train_keras", "--embedding", "learned", "--architecture", architecture, *few)
        if given.data == "sample" and bundled.there():
            run("steps.bundled")
        else:
            run("steps.train_bert", "--max_rows", "2000", "--epochs", "1")
        seconds = run("steps.compare")
        found = comparison.read(runs.finished(step="compare")[0].info.run_id).result
    scoring = {
        entry["name"]: entry["metrics"]["test_seconds"] + entry["metrics"]["suite_seconds"] for entry in found["models"]
    }
    print(
        f"compare on {found['test_rows']:,} rows and the suite: {seconds:.1f} s, of which its {len(scoring)} models scored for "
        f"{sum(scoring.values()):.1f} s ({', '.join(f'{name} {value:.1f}' for name, value in scoring.items())}): "
        f"{seconds / sum(scoring.values()):.2f} times as long; allowed: {LONGEST}"
    )


if __name__ == "__main__":
    main()
