"""The encoder's benchmark: fine-tuning against transformers' Trainer, and serving against torch, side by side in one run.

    make bench                                                                            # on the bundled sample
    make bench DATA=PATH FLAGS="--holdout sample=random --test_rows 15000 --validation_rows 15000"

The Trainer has its defaults and pads to 128 pieces; training rates are of all cores. Serving is of one core and one thread: the
quantised model, tokenising included, against torch's own forward pass on ready tensors padded to 64 pieces. Memory is that of
a fresh process that loads the model and answers.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

LONG, SHORT, ROWS, SINGLE, BATCH, ROUNDS = 128, 64, 1_920, 100, 256, 3
MEMORY = """
import sys
from pathlib import Path
import psutil
sys.path.insert(0, sys.argv[1])
from steps.sentiment.model import SentimentModel, TransformerScorer, in_chunks
texts = sys.stdin.read().splitlines()
in_chunks(TransformerScorer(Path(sys.argv[2]), {"cased": False, "padding": 0, "max_length": 64}), texts)
print(psutil.Process().memory_info().rss / 2**20)
"""


def training(texts: list[str], labels: np.ndarray) -> None:
    """Print the tweets that are learned from per second: as here, and by the Trainer at its defaults."""
    import torch
    import transformers

    from steps.sentiment import encoder, fine_tuning, schedule, transformer
    from steps.sentiment.transformer import Settings

    folder, settings = encoder.minilm(), Settings()
    read = transformer.reader(folder, SHORT)
    rows = schedule.Rows(read.encode(texts), labels)
    place = fine_tuning.accelerator()
    network = transformer.build(folder, settings)
    fine_tuning.keep_memory()
    order = schedule.batches(rows.texts.lengths, settings.batch_size, np.random.default_rng(0))
    steps = fine_tuning.Training(network, settings, 10 * len(order), place)
    ours = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for batch in order:
            steps.step(rows, batch, read.padding)
        ours.append(len(texts) / (time.perf_counter() - start))

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    some = texts[:160]
    found = tokenizer(some, padding="max_length", truncation=True, max_length=LONG)
    items = [{**{name: found[name][row] for name in found}, "labels": int(labels[row])} for row in range(len(some))]
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    theirs = []
    with tempfile.TemporaryDirectory() as output:
        for _ in range(ROUNDS):
            arguments = transformers.TrainingArguments(
                output,
                num_train_epochs=1,
                report_to="none",
                save_strategy="no",
                disable_tqdm=True,
                logging_strategy="no",
            )
            trainer = transformers.Trainer(model, arguments, train_dataset=items)
            theirs.append(trainer.train().metrics["train_samples_per_second"])
    median, other = float(np.median(ours)), float(np.median(theirs))
    print(
        f"fine-tuning on {torch.get_num_threads()} cores in {fine_tuning.precision()}: {median:.0f} tweets a second; "
        f"the Trainer at its defaults, padded to {LONG}: {other:.1f}; {median / other:.1f} times as many"
    )


def serving(texts: list[str], folder: Path) -> None:
    """Print latency and rate of the quantised model in one thread, and of torch."""
    import torch
    import transformers

    from steps.sentiment import encoder, transformer
    from steps.sentiment.model import TransformerScorer

    torch.set_num_threads(1)
    scorer = TransformerScorer(folder, {"cased": False, "padding": 0, "max_length": SHORT})
    network = transformer.build(encoder.minilm(), transformer.Settings()).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder.minilm())
    ready = tokenizer(texts[:BATCH], padding="max_length", truncation=True, max_length=SHORT, return_tensors="pt")
    numbers, mask = ready["input_ids"], ready["attention_mask"]
    single: dict[str, list[float]] = {"onnx": [], "torch": []}
    batch: dict[str, list[float]] = {"onnx": [], "torch": []}
    with torch.inference_mode():
        for row in range(-3, min(SINGLE, BATCH)):
            for name, answer in {
                "onnx": lambda row=row: scorer([texts[row]]),
                "torch": lambda row=row: network(numbers[row, None], mask[row, None]),
            }.items():
                start = time.perf_counter()
                answer()
                if row >= 0:
                    single[name].append(1000 * (time.perf_counter() - start))
        for _ in range(ROUNDS):
            for name, answer in {
                "onnx": lambda: scorer(texts[:BATCH]),
                "torch": lambda: network(numbers, mask),
            }.items():
                start = time.perf_counter()
                answer()
                batch[name].append(BATCH / (time.perf_counter() - start))
    one = {name: float(np.median(values)) for name, values in single.items()}
    many = {name: float(np.median(values)) for name, values in batch.items()}
    print(
        f"one text in one thread: {one['onnx']:.2f} ms in eight bits, {one['torch']:.1f} ms by torch padded to {SHORT}: "
        f"{one['torch'] / one['onnx']:.1f} times as fast"
    )
    print(
        f"batch of {BATCH} in one thread: {many['onnx']:.0f} a second, {many['torch']:.0f} by torch: "
        f"{many['onnx'] / many['torch']:.1f} times as many"
    )


def quantized(folder: Path) -> None:
    """Write the packaged encoder, with a head that has learned nothing, as it would be served."""
    from steps.sentiment import encoder, quantization, transformer

    network = transformer.build(encoder.minilm(), transformer.Settings())
    read = transformer.reader(encoder.minilm(), SHORT)
    read.tokenizer.save(str(folder / "tokenizer.json"))
    with tempfile.TemporaryDirectory() as beside:
        transformer.export(network, exported := Path(beside, "exported.onnx"))
        heads, width = network.config.num_attention_heads, network.config.hidden_size
        quantization.fuse(exported, fused := Path(beside, "fused.onnx"), heads, width)
        quantization.quantize(fused, folder / "model.onnx")


def main() -> None:
    """Measure training, serving and memory one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="sample")
    parser.add_argument("--flags", default="")
    parser.add_argument("--serving", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serving:
        serving(json.load(sys.stdin), Path(given.serving))
        return
    from steps import prepare
    from steps.sentiment import dataset

    flags = prepare.flags().read(["--data", given.data, *shlex.split(given.flags)])
    options = dataset.Options(flags.holdout, flags.validation_rows, flags.test_rows, ROWS, flags.seed)
    tweets = dataset.prepare(prepare.read(flags.data, flags.human_test), options).tweets
    rows = tweets[tweets["split"] == "train"]
    texts = rows["text"].tolist()
    training(texts, rows["label"].to_numpy())
    with tempfile.TemporaryDirectory() as beside:
        quantized(folder := Path(beside))
        core = {min(os.sched_getaffinity(0))}
        subprocess.run(
            [sys.executable, __file__, "--serving", str(folder)],
            input=json.dumps(texts), text=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, core),
        )  # fmt: skip
        lines = "\n".join(" ".join(text.split()) for text in texts[:1000])
        command = [sys.executable, "-c", MEMORY, str(ROOT), str(folder)]
        done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        print(f"served model: {size:.1f} MB on disk, {float(done.stdout):.0f} MiB resident after 1,000 texts")


if __name__ == "__main__":
    main()
