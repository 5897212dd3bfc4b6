"""Family `bert`: a pretrained encoder, fine-tuned, served as int8 by onnxruntime without torch.

    mlflow run . -e train_bert --env-manager local -P max_rows=64000
    python -m steps.train_bert --encoder bert-base-uncased --epochs 2
    python -m steps.train_bert --encoder runs:/RUN_ID/files/encoder --max_rows 64000 --examples 1000 --remember true
    python -m steps.train_bert --encoder runs:/RUN_ID/files/encoder --epochs 0 --bits 32
    torchrun --nproc_per_node 4 -m steps.train_bert

Encoders: `minilm` (packaged, default), a local folder as transformers saves it, a name of the Hugging Face hub, or what a
finished run has fine-tuned, which then learns on, or with `epochs=0` is served as it is. Validation chooses the epoch. Killed,
the same command goes on from its last checkpoint, two minutes back at most. On two cores with bfloat16 instructions it learns
from 200 tweets a second in small batches to 400 in large ones: five minutes for 64,000 tweets, an hour for 1.5 million,
which take 7 GiB. A GPU, or several, are used where there are some. Leaves a finished run with the model (ONNX and tokenizer),
the fine-tuned encoder with its head as a folder that `encoder` takes again, metrics of each epoch and figures.

Written examples teach what tweets do not; with `remember` they cost little of what was learned from tweets, and with `average`
less. Both are of a fine-tuned encoder that learns on.
"""

import hashlib
import json
import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from accelerate import Accelerator

from steps.sentiment import behaviour, command_line, encoder, epochs, fine_tuning, quantization, tracking, transformer
from steps.sentiment import dataset as datasets
from steps.sentiment.checkpoint import Checkpoint
from steps.sentiment.command_line import (
    Flags,
    InputError,
    Values,
    boolean,
    fraction,
    integer,
    one_of,
    optional,
    positive_number,
    something,
)
from steps.sentiment.dataset import Dataset
from steps.sentiment.fine_tuning import Data
from steps.sentiment.model import TransformerScorer, sigmoid
from steps.sentiment.schedule import Rows
from steps.sentiment.served import ONNX_REQUIREMENTS
from steps.sentiment.transformer import Network, Reader, Settings
from steps.sentiment.vocabulary import Encoded

FAMILY = "bert"
#: The smallest honest settings: the contract test and the continuous integration train with them.
SMOKE_PARAMETERS = {"max_rows": "600", "epochs": "1", "max_length": "32"}
#: Tweets of which the default number of epochs makes about as many, within bounds: a few thousand tweets seen more than twice
#: rank their own validation rows better and other people's tweets worse (docs/log.md).
TWEETS, MOST_EPOCHS = 64_000, 2
#: Tweets in a step at most by default: large batches are faster, and a training wants a thousand steps.
MOST_IN_STEP = 256
#: Validation tweets that the network scores in full precision, too, which takes minutes for all of them.
IN_FULL = 5_000
#: Validation tweets that are scored once more, one by one and by torch.
SOME = 500
#: Largest difference allowed between a logit of torch and of the exported network, both in full precision.
EXPORT_PARITY = 1e-3
#: Largest difference allowed between the scores of a text alone and among others: eight bits round, rows do not touch.
BATCH_TOLERANCE = 0.02


def flags() -> Flags:
    """Return the flags of this step."""
    flags, standard = Flags("train_bert", __doc__), Settings()
    flags.flag("dataset", "", "runs:/<id>/dataset or a folder; default: the newest prepared")
    flags.flag("encoder", encoder.MINILM, encoder.FORMS, something)
    flags.flag("max_length", "64", "pieces after which a text is cut, the encoder's marks included", integer(4, 4096))
    flags.flag("max_rows", "", "training rows; default: all", optional(integer(1)))
    flags.flag("examples", "0", "cases of each behavioural test's development half to learn from as well", integer(0))
    flags.flag(
        "remember",
        "false",
        "true: of the tweets learn what the fine-tuned encoder says of them already, and forget little",
        boolean,
    )
    flags.flag("seed", "0", "of head, order and dropout", integer())
    flags.flag("head", standard.head, "what stands for a text: mean of its pieces, or cls", one_of(transformer.HEADS))
    flags.flag(
        "learning_rate",
        "",
        f"the highest, of AdamW; default: {standard.learning_rate:g} in batches of {standard.batch_size}, "
        "and larger as the root of the batch",
        optional(positive_number),
    )
    flags.flag("layer_decay", str(standard.layer_decay), "of the learning rate, from layer to layer down", _decay)
    flags.flag(
        "batch_size",
        "",
        "tweets in a step, of all processes together; "
        f"default: a thousandth of the tweets, from {standard.batch_size} to {MOST_IN_STEP}",
        optional(integer(1)),
    )
    flags.flag(
        "epochs", "", f"at most; default: from 1 to {MOST_EPOCHS}, about {TWEETS:,} tweets", optional(integer(0))
    )
    flags.flag(
        "patience", str(standard.patience), "epochs without a better validation ROC AUC before it ends", integer(1)
    )
    flags.flag("freeze_layers", str(standard.freeze_layers), "lowest layers that stay as they are", integer(0))
    flags.flag("dropout", str(standard.dropout), "share of the features dropped in training", fraction)
    flags.flag("average", "", "an encoder that was fine-tuned before, to average weights with at the end", str)
    flags.flag("average_share", "0.2", "of its weights in the average", fraction)
    flags.flag("bits", "8", "of the served model: 8, or 32 for full precision", one_of(("8", "32")))
    flags.flag("label_smoothing", str(standard.label_smoothing), "share of each label given to both classes", fraction)
    return flags


def _decay(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise ValueError("a number above 0 and at most 1")
    return value


def settings(given: Values, rows: int) -> Settings:
    """Return the training on `rows` tweets that the flags describe."""
    standard = Settings()
    batch_size = given.batch_size or int(np.clip(rows // 1000, standard.batch_size, MOST_IN_STEP))
    return Settings(
        given.head,
        given.learning_rate or standard.learning_rate * math.sqrt(batch_size / standard.batch_size),
        given.layer_decay,
        batch_size,
        int(np.clip(TWEETS // max(rows, 1), 1, MOST_EPOCHS)) if given.epochs is None else given.epochs,
        given.patience,
        given.freeze_layers,
        given.dropout,
        given.label_smoothing,
        given.seed,
    )


@dataclass(frozen=True)
class Inputs:
    """An encoder and how it reads, the training of it that is wanted, and what it has read.

    Attributes:
        encoder: its name; of one that was fine-tuned before, that of the encoder which it began with.
        folder: of its files.
        reader: how it reads.
        settings: of the training.
        network: the encoder with its head.
        rows: tweets and written examples to learn from, and those of validation.
        tweets: how many of the rows to learn from are tweets.
        written: the texts of the others.
    """

    encoder: str
    folder: Path
    reader: Reader
    settings: Settings
    network: Network
    rows: Data
    tweets: int
    written: list[str]


def inputs(dataset: Dataset, folder: Path, given: Values, place: Accelerator) -> Inputs:
    """Build a network on the encoder in `folder`, and read training and validation rows as it does.

    Raises:
        InputError: an encoder that cannot be read, too large a `max_length`, more layers to freeze than it has, or nothing to
            remember.
    """
    if given.remember and not transformer.origin(folder):
        raise InputError(f"remember=true: allowed with an encoder that was fine-tuned before; {given.encoder} was not")
    reader = transformer.reader(folder, given.max_length)
    train, validation = dataset.split("train", given.max_rows), dataset.split("validation")
    written = behaviour.examples(given.examples).rename(columns={"target": "label"})
    wanted = settings(given, len(train))
    network = transformer.build(folder, wanted)  # before minutes of reading: it may refuse

    def rows(*frames: pd.DataFrame) -> Rows:
        frame = pd.concat([frame for frame in frames if len(frame)])
        return Rows(reader.encode(frame["text"].tolist()), frame["label"].to_numpy(dtype=float))

    read = train if wanted.epochs else train.head(SOME)  # without an epoch enough to tell how long the tweets are
    data = Data(rows(read, written), rows(validation), reader.padding)
    if given.remember:
        own = remembered(network, data.train.texts.first(len(read)), reader.padding, wanted, place)
        data.train.labels[: len(read)] = own
    name = transformer.origin(folder) or Path(given.encoder).name
    return Inputs(name, folder, reader, wanted, network, data, len(train), written["text"].tolist())


def remembered(network: Network, texts: Encoded, padding: int, settings: Settings, place: Accelerator) -> np.ndarray:
    """Return what a fine-tuned network says of texts as labels, shape (n_texts,): smoothed, they are its own scores.

    Source: Li and Hoiem 2016, "Learning without Forgetting".
    """
    scores = sigmoid(fine_tuning.logits(network, texts, padding, place))
    return np.clip((scores - settings.label_smoothing / 2) / (1 - settings.label_smoothing), 0, 1)


def checkpoint(digest: str, max_length: int, tweets: int, written: list[str], wanted: Settings) -> Checkpoint:
    """Return the place of the checkpoints of a training on a dataset and encoder with this `digest`, and on `written` examples.

    Its name does not hold the digest of the code, as a step's key does: hours of training survive an update of the project,
    and a state that no longer fits is found out when it is loaded.
    """
    content = json.dumps([digest, max_length, tweets, written, asdict(wanted)], sort_keys=True)
    key = hashlib.sha256(content.encode()).hexdigest()[:32]
    return Checkpoint(datasets.PROCESSED / "checkpoints" / key)


def main(argv: list[str] | None = None) -> None:
    """Fine-tune, export, check and log an encoder."""
    given = flags().read(argv)
    dataset = tracking.find_dataset(given.dataset)
    place = fine_tuning.accelerator()
    with place.main_process_first():
        folder = encoder.find(given.encoder)
        other = encoder.find(given.average) if given.average else None
    if other and not transformer.origin(other):
        raise InputError(f"average={given.average}: allowed: an encoder that was fine-tuned before")
    digest = f"{dataset.digest} {encoder.digest(folder)}"
    data = inputs(dataset, folder, given, place)
    begun = f"{digest} remembered" if given.remember else digest
    kept = checkpoint(begun, given.max_length, data.tweets, data.written, data.settings)
    if not place.is_main_process:  # it lends a hand, and only the main process keeps a run
        fine_tuning.fit(data.network, data.rows, data.settings, kept, place)
        return
    # The packaged encoder is one and the same: the code holds its digest.
    read = dataset.digest if given.encoder == encoder.MINILM else digest
    said = {"averaged": other, "with examples": data.written, "float32": given.bits == "32"}
    name = " ".join([f"bert {data.encoder}", *(word for word, holds in said.items() if holds)])
    with tracking.step("train_bert", given.texts, read, name):
        history = fine_tuning.fit(data.network, data.rows, data.settings, kept, place, epochs.tell)
        if other:
            fine_tuning.average(data.network, other, given.average_share)
        uri = log(name, given.bits, data, dataset, history)
        kept.remove()
    seconds = sum(values["epoch_seconds"] for values in history)
    print(f"train_bert: {uri}, {name}, {seconds:.1f} s on {data.tweets:,} tweets")


def log(name: str, bits: str, data: Inputs, dataset: Dataset, history: list[dict[str, float]]) -> str:
    """Export and quantise the fine-tuned network, check and log it in the active run; return the URI of the model."""
    frame, network = dataset.split("validation"), data.network
    texts, labels = frame["text"].tolist(), frame["label"].to_numpy()
    loading = {"cased": data.reader.cased, "padding": data.reader.padding, "max_length": data.reader.max_length}
    with tempfile.TemporaryDirectory() as beside:
        # What is served is called `model`, whichever it is: MLflow keeps a folder under its own name.
        full, eight, whole = Path(beside, "full/model"), Path(beside, "eight/model"), Path(beside, "encoder")
        for folder in (full, eight):
            folder.mkdir(parents=True)
            data.reader.tokenizer.save(str(folder / "tokenizer.json"))
        transformer.export(network, exported := Path(beside, "exported.onnx"))
        quantization.fuse(exported, full / "model.onnx", network.config.num_attention_heads, network.config.hidden_size)
        quantization.quantize(full / "model.onnx", eight / "model.onnx")
        print("scoring the validation tweets, in full precision and in eight bits", flush=True)
        some = {folder: quantization.logits(folder, loading, texts[:IN_FULL]) for folder in (full, eight)}
        served = full if bits == "32" else eight
        logits = np.concatenate([some[served], quantization.logits(served, loading, texts[IN_FULL:])])
        transformer.save(network, data.encoder, data.folder, whole)
        trained = tracking.Trained(
            family=FAMILY,
            name=name,
            loader="transformer",
            folder=served,
            settings=loading,
            requirements=ONNX_REQUIREMENTS,
            validation_logits=logits,
            seconds=sum(values["epoch_seconds"] for values in history),
            facts={
                "train_rows": data.tweets,
                "written_examples": len(data.written),
                "epochs_run": len(history),
                "pieces_per_tweet": float(data.rows.train.texts.lengths.mean()),
                "export_max_difference": _parity(data, some[full]),
                "batch_max_difference": _alone(served, loading, texts, logits),
                **quantization.loss(labels[:IN_FULL], some[full], some[eight]),
            },
            files=[whole],
        )
        return tracking.log_training_run(trained, dataset, frame)


def _parity(data: Inputs, exported: np.ndarray) -> float:
    some = data.rows.validation.texts.first(SOME)
    found = fine_tuning.logits(data.network, some, data.reader.padding, place=None)
    difference = float(np.abs(found - exported[: len(some)]).max())
    if not difference <= EXPORT_PARITY:
        raise RuntimeError(f"the exported network differs from torch's by {difference:g}; allowed: {EXPORT_PARITY:g}")
    return difference


def _alone(served: Path, loading: dict[str, Any], texts: list[str], among_others: np.ndarray) -> float:
    some = texts[:SOME]
    scorer = TransformerScorer(served, loading)
    alone = np.concatenate([scorer([text])[0] for text in some])
    difference = float(np.abs(sigmoid(alone) - sigmoid(among_others[: len(some)])).max())
    if not difference <= BATCH_TOLERANCE:
        raise RuntimeError(f"a text's score moves by {difference:g} with its batch; allowed: {BATCH_TOLERANCE:g}")
    return difference


if __name__ == "__main__":
    command_line.run(main, "train_bert")
