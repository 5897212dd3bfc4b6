"""The networks' benchmark: training in length buckets and serving without TensorFlow, side by side in one run.

    make bench                                                                            # on the bundled sample
    make bench DATA=PATH FLAGS="--holdout sample=random --test_rows 15000 --validation_rows 15000"

A BiLSTM trains on the same tweets in buckets and padded to the longest, in turns; the same network then answers one text
through onnxruntime and through Keras. Memory is that of a fresh process that loads it and answers; the size of an
environment is that of the installed files of the packages that it needs.
"""

import argparse
import importlib.metadata
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from steps import prepare  # noqa: E402
from steps.sentiment import command_line, dataset, network_training, networks, schedule, vocabulary  # noqa: E402
from steps.sentiment.model import OnnxScorer  # noqa: E402
from steps.sentiment.networks import Settings  # noqa: E402
from steps.sentiment.served import ONNX_REQUIREMENTS  # noqa: E402
from steps.sentiment.vocabulary import Encoded  # noqa: E402

ROWS, ROUNDS, SINGLE, MAX_TOKENS = 12_000, 3, 100, 64


@dataclass(frozen=True)
class Padded(Encoded):
    """Texts that are padded to the longest of all, whatever the batch."""

    longest: int = 0

    def padded(self, rows: np.ndarray, length: int = 0) -> np.ndarray:
        return super().padded(rows, self.longest)


def training(texts: Encoded, labels: np.ndarray, vectors: np.ndarray, settings: Settings) -> None:
    """Print the tweets that one epoch trains per second, in buckets and padded to the longest text."""
    longest = int(texts.lengths.max())
    random = np.random.default_rng(0)
    whole = np.array_split(random.permutation(len(texts)), len(texts) // settings.batch_size)
    ways = {
        "buckets": (texts, schedule.batches(texts.lengths, settings.batch_size, random)),
        "padded": (Padded(texts.ids, texts.starts, texts.unknown, longest), whole),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    fitted = {}
    for name in ways:
        fitted[name] = networks.build(vectors, settings)
        networks.configure(fitted[name], settings, epoch=1)
    for turn in range(ROUNDS + 1):
        for name, (rows, order) in ways.items():
            start = time.perf_counter()
            fitted[name].fit(networks.feed(rows, order, labels), shuffle=False, verbose=0)
            if turn:  # the first is for tracing
                rates[name].append(len(texts) / (time.perf_counter() - start))
    medians = {name: float(np.median(values)) for name, values in rates.items()}
    print(
        f"training a bilstm on {len(texts):,} tweets: {medians['buckets']:,.0f} a second in buckets, {medians['padded']:,.0f} padded "
        f"to {longest} words: {medians['buckets'] / medians['padded']:.1f} times as many"
    )


def milliseconds(answer: Callable[[str], object], texts: list[str]) -> float:
    """Return the median time of one text."""
    answer(texts[0])
    times = []
    for text in texts:
        start = time.perf_counter()
        answer(text)
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times))


_MEMORY = """
import sys, psutil
sys.path.insert(0, sys.argv[1])
from pathlib import Path
folder = Path(sys.argv[2])
if sys.argv[3] == "onnxruntime":
    from steps.sentiment.model import OnnxScorer
    OnnxScorer(folder, {"max_tokens": 64})(["not bad at all"])
else:
    import keras, numpy
    keras.models.load_model(folder / "network.keras", compile=False).predict(numpy.ones((1, 4), dtype="int32"), verbose=0)
print(psutil.Process().memory_info().rss / 2**20)
"""


def serving(network: networks.Model, tokenizer: vocabulary.Tokenizer, texts: list[str], folder: Path) -> None:
    """Print latency and memory of one network behind onnxruntime and behind Keras."""
    networks.export(network, folder)
    tokenizer.save(str(folder / vocabulary.FILE))
    network.save(folder / "network.keras")
    scorer = OnnxScorer(folder, {"max_tokens": MAX_TOKENS})

    def keras(text: str) -> object:
        encoded = vocabulary.encode(tokenizer, [text], MAX_TOKENS)
        return network.predict(encoded.padded(np.arange(1)), verbose=0)

    ours = milliseconds(lambda text: scorer([text]), texts)
    theirs = milliseconds(keras, texts)
    print(
        f"one text: {ours:.2f} ms through onnxruntime, {theirs:.1f} ms through Keras: {theirs / ours:.0f} times as long"
    )
    start = time.perf_counter()
    scorer(texts)
    print(f"batches: {len(texts) / (time.perf_counter() - start):,.0f} texts a second through onnxruntime")
    memory = {}
    for runtime in ("onnxruntime", "TensorFlow"):
        done = subprocess.run(
            [sys.executable, "-c", _MEMORY, str(ROOT), str(folder), runtime], capture_output=True, text=True, check=True
        )
        memory[runtime] = float(done.stdout.split()[-1])
    print("resident memory: " + ", ".join(f"{value:.0f} MiB with {name}" for name, value in memory.items()))


def installed_megabytes(requirements: list[str]) -> float:
    """Return the size of the installed files of these packages and of all that they need."""
    needed, queue = set(), [Requirement(line).name for line in requirements]
    while queue:
        name = canonicalize_name(queue.pop())
        if name in needed:
            continue
        needed.add(name)
        for line in importlib.metadata.requires(name) or []:
            requirement = Requirement(line)
            if not requirement.marker or requirement.marker.evaluate({"extra": ""}):
                queue.append(requirement.name)
    files = [file for name in needed for file in importlib.metadata.files(name) or []]
    paths = {Path(str(file.locate())) for file in files}
    return sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc") / 1e6


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="sample")
    parser.add_argument("--flags", default="")
    given = parser.parse_args()
    values = prepare.flags().read(["--data", given.data, *shlex.split(given.flags)])
    options = dataset.Options(values.holdout, values.validation_rows, values.test_rows, values.max_rows, values.seed)
    tweets = dataset.prepare(prepare.read(values.data, values.human_test), options).tweets
    train = tweets[tweets["split"] == "train"].head(ROWS)
    tokenizer = vocabulary.learn(train["text"].tolist(), 60_000, 2)
    texts = vocabulary.encode(tokenizer, train["text"].tolist(), MAX_TOKENS)
    settings = Settings(batch_size=network_training.batch_size(None, len(train)))
    vectors = np.random.default_rng(0).normal(0, 0.1, (tokenizer.get_vocab_size(), 100)).astype(np.float32)
    training(texts, train["label"].to_numpy(), vectors, settings)
    with tempfile.TemporaryDirectory() as folder:
        serving(networks.build(vectors, settings), tokenizer, train["text"].tolist()[:SINGLE], Path(folder))
    small = installed_megabytes(ONNX_REQUIREMENTS)
    large = installed_megabytes([*ONNX_REQUIREMENTS, "tensorflow"])
    print(
        f"environment of the served model: {small:.0f} MB; with TensorFlow {large:.0f} MB, {large - small:.0f} MB more"
    )


if __name__ == "__main__":
    command_line.run(lambda argv: main(), "bench_networks")
