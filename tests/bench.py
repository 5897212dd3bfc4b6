"""The benchmark: speed and memory, side by side in one run. A program, not a test: machines are too noisy for that.

    make bench                                                                            # on the bundled sample
    make bench DATA=PATH FLAGS="--holdout sample=random --test_rows 15000 --validation_rows 15000"

`prepare` and `train_baseline` run once each as a person runs them, in a store of their own, with the peak memory of
all their processes. The shipped bag of words is then held against scikit-learn's TfidfVectorizer and the same weights.
"""

import functools
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import psutil
import pyperf
from sklearn.feature_extraction.text import TfidfVectorizer

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from steps.sentiment.model import TOKEN, WORD_IDS, TfidfScorer, clean  # noqa: E402

BATCH, TEXTS = 1024, 8192


def measured(name: str, *command: str) -> None:
    """Run a step and print its wall time and the peak memory of its process and all below it."""
    start, peak = time.perf_counter(), 0
    with subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT) as child:
        while child.poll() is None:
            peak = max(peak, resident(child.pid))
            time.sleep(0.1)
    if child.returncode:
        sys.exit(child.returncode)
    print(f"{name}: {time.perf_counter() - start:.1f} s, peak {peak / 2**30:.2f} GiB", flush=True)


def resident(pid: int) -> int:
    """Return the resident bytes of a process and its descendants that are still there."""
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in tree:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def scikit_learn(folder: Path) -> Callable[[list[str]], np.ndarray]:
    """Return the same model as scikit-learn computes it."""
    words = json.loads((folder / "words.json").read_text(encoding="utf-8"))
    weights = np.load(folder / "weights.npz")

    def ngram(number: int) -> str:
        ids = []
        while number:
            number, word = divmod(number, WORD_IDS)
            ids.append(words[word - 1])
        return " ".join(reversed(ids))

    vocabulary = {ngram(number): column for column, number in enumerate(weights["ngrams"].tolist())}
    vectorizer = TfidfVectorizer(
        token_pattern=TOKEN, lowercase=False, ngram_range=(1, 3), sublinear_tf=True, vocabulary=vocabulary
    )
    vectorizer.idf_ = weights["idf"].astype(float)
    coefficients, intercept = weights["coefficients"].astype(float), weights["intercept"][0]
    return lambda texts: vectorizer.transform([clean(text) for text in texts]) @ coefficients + intercept


def steps(store: str, data: str, flags: list[str]) -> tuple[str, str]:
    """Prepare and train in a store of their own; return the folders of dataset and model."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{store}/mlflow.db"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    mlflow.create_experiment("tweet-sentiment", artifact_location=f"{store}/artifacts")
    measured("prepare", "steps.prepare", "--data", data, *flags)
    measured("train_baseline", "steps.train_baseline")
    runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
    trained = next(run for run in runs if run.data.tags["step"] == "train_baseline")
    prepared = next(run for run in runs if run.data.tags["step"] == "prepare")
    print(
        f"  of which fitting {trained.data.metrics['train_seconds']:.1f} s on {trained.data.metrics['train_rows']:,.0f} tweets"
    )
    model = mlflow.artifacts.download_artifacts(f"models:/{trained.data.tags['model_id']}")
    return mlflow.artifacts.download_artifacts(f"runs:/{prepared.info.run_id}/dataset"), f"{model}/artifacts/model"


def main() -> None:
    """Measure; pyperf calls this again in each of its worker processes."""
    runner = pyperf.Runner(processes=3, values=5, warmups=1, program_args=[str(Path(__file__).resolve())])
    runner.argparser.add_argument("--data", default="sample")
    runner.argparser.add_argument("--flags", default="")
    runner.argparser.set_defaults(inherit_environ=["BENCH_DATASET", "BENCH_MODEL"], quiet=True)
    given = runner.parse_args()
    store: Any = None
    if not given.worker:
        store = tempfile.TemporaryDirectory()
        dataset, model = steps(store.name, given.data, shlex.split(given.flags))
        os.environ |= {"BENCH_DATASET": dataset, "BENCH_MODEL": model}
    rows = pd.read_parquet(
        f"{os.environ['BENCH_DATASET']}/tweets.parquet", columns=["text"], filters=[("split", "==", "validation")]
    )
    texts = (rows["text"].tolist() * (TEXTS // len(rows) + 1))[:TEXTS]
    folder = Path(os.environ["BENCH_MODEL"])
    answer = mlflow.pyfunc.load_model(str(folder.parents[1])).predict
    ours = TfidfScorer(folder, {"max_ngram": 3})
    theirs = scikit_learn(folder)
    if not given.worker:
        assert np.allclose(ours(texts[:500])[0], theirs(texts[:500]), atol=1e-4)
    batches = [texts[start : start + BATCH] for start in range(0, TEXTS, BATCH)]

    def in_batches(score: Callable[[list[str]], Any]) -> None:
        for batch in batches:
            score(batch)

    def one_by_one(score: Callable[[list[str]], Any]) -> None:
        for text in texts[:200]:
            score([text])

    seconds = {}
    for way, count in ((in_batches, TEXTS), (one_by_one, 200)):
        for name, score in (("whole answer", answer), ("score alone", ours), ("scikit-learn", theirs)):
            bench = runner.bench_func(f"{way.__name__} {name}", functools.partial(way, score), inner_loops=count)
            seconds[way.__name__, name] = bench.median() if bench and not given.worker else 0.0
    if not given.worker:
        for way, unit in (("in_batches", f"batches of {BATCH}"), ("one_by_one", "one text")):
            whole, own, other = (seconds[way, name] for name in ("whole answer", "score alone", "scikit-learn"))
            print(
                f"{unit}: {1e3 * whole:.4f} ms a text, {1 / whole:,.0f} texts a second through the model's predict; "
                f"scikit-learn takes {other / own:.1f} times as long as our score alone"
            )
        store.cleanup()


if __name__ == "__main__":
    main()
