"""What `train_keras` and `tune_keras` share: their inputs from flags and dataset, and a fitted network as a model to log."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from steps.sentiment import dataset as datasets
from steps.sentiment import embeddings, epochs, keys, networks, tracking, vocabulary
from steps.sentiment.checkpoint import Checkpoint
from steps.sentiment.command_line import Flags, InputError, Values, integer, one_of, optional, something
from steps.sentiment.dataset import Dataset
from steps.sentiment.embeddings import Embedding
from steps.sentiment.networks import Settings
from steps.sentiment.schedule import Rows
from steps.sentiment.served import ONNX_REQUIREMENTS

FAMILY = "keras"


def input_flags(flags: Flags) -> None:
    """Add the flags of data, embedding and vocabulary."""
    flags.flag("dataset", "", "runs:/<id>/dataset or a folder; default: the newest prepared")
    flags.flag("embedding", "word2vec", ", ".join(embeddings.EMBEDDINGS), one_of(embeddings.EMBEDDINGS))
    flags.flag("vectors", "glove-twitter-100", "for glove: a gensim-data name, or a file of vectors", something)
    flags.flag("dimension", "100", "of vectors that are learned here: learned, word2vec, fasttext", integer(1, 4096))
    flags.flag("words", "60000", "in the vocabulary, the most frequent ones (minilm: its own)", integer(1, 2_000_000))
    flags.flag("min_count", "2", "training tweets' occurrences that a word needs", integer(1))
    flags.flag("max_tokens", "64", "words after which a text is cut", integer(1, 10_000))
    flags.flag(
        "max_rows",
        "",
        "training rows of the network; default: all (vectors always learn from all)",
        optional(integer(1)),
    )
    flags.flag("seed", "0", "of vectors, weights, order and dropout", integer())


@dataclass(frozen=True)
class Inputs:
    """An embedding and the rows that it encodes."""

    name: str
    embedding: Embedding
    train: Rows
    validation: Rows
    max_tokens: int

    @property
    def facts(self) -> dict[str, float]:
        """Return what is known of the vocabulary: shares of the running words of validation, 0 to 1."""
        found = self.embedding.found.copy()
        found[self.embedding.tokenizer.token_to_id(vocabulary.UNKNOWN)] = False  # whatever stands for it, it is no word
        return {
            "words": len(self.embedding.vectors),
            "dimension": self.embedding.vectors.shape[1],
            "oov_share": self.validation.texts.unknown,
            "no_vector_share": float(1 - found[self.validation.texts.ids].mean()),
            "vectors_seconds": self.embedding.seconds,
            "train_rows": len(self.train.texts),
        }


def inputs(dataset: Dataset, given: Values, max_rows: int | None) -> Inputs:
    """Load the embedding that the flags name and encode training and validation rows.

    Raises:
        InputError: as for `embeddings.load`.
    """
    options = embeddings.Options(given.dimension, given.words, given.min_count, given.vectors, given.seed)
    embedding = embeddings.load(given.embedding, dataset, options)

    def rows(split: datasets.Split, count: int | None = None) -> Rows:
        frame = dataset.split(split, count)
        encoded = vocabulary.encode(embedding.tokenizer, frame["text"].tolist(), given.max_tokens)
        return Rows(encoded, frame["label"].to_numpy())

    return Inputs(given.embedding, embedding, rows("train", max_rows), rows("validation"), given.max_tokens)


def data_key(dataset: Dataset, given: Values) -> str:
    """Return what a training reads: the digest of the dataset, and of the file of vectors where there is one."""
    path = Path(given.vectors)
    if given.embedding != "glove" or not path.is_file():
        return dataset.digest
    return f"{dataset.digest} {keys.file_sha256(path)}"


def batch_size(given: int | None, rows: int) -> int:
    """Return the batch size that a flag gives, or a hundredth of the training rows: from 32 to 512, a power of two."""
    return given or 2 ** int(np.clip(np.log2(max(rows, 1) / 100), 5, 9))


def frozen_epochs(given: int | None, embedding: str) -> int:
    """Return the first epochs in which the word vectors stay as they are: 1, and 0 where they begin at random.

    Raises:
        InputError: vectors that begin at random would stay so.
    """
    if given and embedding == "learned":
        raise InputError(f"frozen_epochs={given}: allowed with embedding=learned: 0, its vectors begin at random")
    return int(embedding != "learned") if given is None else given


def checkpoint(key: str) -> Checkpoint:
    """Return the place of the checkpoints of a training or search with this key."""
    return Checkpoint(datasets.PROCESSED / "checkpoints" / key)


def fit(data: Inputs, settings: Settings, kept: Checkpoint) -> tuple[networks.Model, list[dict[str, float]]]:
    """Fit a network, log its epochs to the active run and print them.

    Raises:
        InputError: a checkpoint that does not fit.
        RefusedError: the training diverged.
    """
    return networks.fit(data.embedding.vectors, data.train, data.validation, settings, kept, epochs.tell)


def log(
    network: networks.Model, name: str, data: Inputs, dataset: Dataset, facts: dict[str, float], seconds: float
) -> str:
    """Export a fitted network, check and log it in the active run under a name; return the URI of the model."""
    with tempfile.TemporaryDirectory() as beside:
        (folder := Path(beside, "model")).mkdir()
        networks.export(network, folder)
        data.embedding.tokenizer.save(str(folder / vocabulary.FILE))
        network.save(whole := Path(beside, "network.keras"))
        trained = tracking.Trained(
            family=FAMILY,
            name=name,
            loader="onnx",
            folder=folder,
            settings={"max_tokens": data.max_tokens},
            requirements=ONNX_REQUIREMENTS,
            validation_logits=networks.logits(network, data.validation.texts).astype(np.float64),
            seconds=seconds,
            facts={**data.facts, **facts},
            files=[whole],
        )
        return tracking.log_training_run(trained, dataset, dataset.split("validation"))
