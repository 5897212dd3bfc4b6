"""Networks over word vectors in Keras: architectures, training in length buckets, export to ONNX.

Sources: Iyyer et al. 2015 (deep averaging), Kim 2014 (convolution over words), Hochreiter and Schmidhuber 1997 (LSTM),
Conneau et al. 2017 (BiLSTM, pooled over the words).
"""

import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from sklearn.metrics import log_loss, roc_auc_score

from steps.sentiment.checkpoint import Checkpoint
from steps.sentiment.command_line import RefusedError, progress
from steps.sentiment.epochs import OBJECTIVE, have_ended
from steps.sentiment.model import sigmoid
from steps.sentiment.schedule import Rows, batches, learning_rate
from steps.sentiment.vocabulary import Encoded

Model = keras.Model
#: Words that a convolution sees at once.
WIDTHS = (2, 3, 4)


@dataclass(frozen=True)
class Settings:
    """A network and its training.

    Attributes:
        architecture: of ARCHITECTURES.
        units: width of the hidden layer, of each convolution or of each direction of the LSTM.
        dropout: share of the features of all words, and of the last hidden features, dropped in training.
        learning_rate: of Adam, at its highest, after the warm-up and before the cosine decay.
        batch_size: tweets in a step.
        epochs: passes over the training rows at most.
        frozen_epochs: the first of them, in which the word vectors stay as they are.
        patience: epochs without a better validation ROC AUC after which training ends.
        seed: of weights, order and dropout.
    """

    architecture: str = "bilstm"
    units: int = 128
    dropout: float = 0.3
    learning_rate: float = 1e-3
    batch_size: int = 512
    epochs: int = 5
    frozen_epochs: int = 1
    patience: int = 1
    seed: int = 0


def _average(vectors: Any, there: Any, settings: Settings) -> Any:
    mean = layers.GlobalAveragePooling1D()(vectors)
    return layers.Dense(settings.units, activation="relu")(mean)


def _cnn(vectors: Any, there: Any, settings: Settings) -> Any:
    # ReLU is not negative, so that the zeros of the padding never win the maximum.
    found = [
        layers.GlobalMaxPooling1D()(
            layers.Conv1D(settings.units, width, padding="same", activation="relu")(vectors * there) * there
        )
        for width in WIDTHS
    ]
    return layers.Concatenate()(found)


def _pooled(states: Any, there: Any) -> Any:
    # An LSTM's states lie above -1: padding of -1 never wins the maximum.
    mean = ops.sum(states * there, axis=1) / ops.sum(there, axis=1)
    return layers.Concatenate()([mean, ops.max(ops.where(there > 0, states, -1.0), axis=1)])


def _lstm(vectors: Any, there: Any, settings: Settings) -> Any:
    return _pooled(layers.LSTM(settings.units, return_sequences=True)(vectors), there)


def _bilstm(vectors: Any, there: Any, settings: Settings) -> Any:
    return _pooled(layers.Bidirectional(layers.LSTM(settings.units, return_sequences=True))(vectors), there)


ARCHITECTURES = {"average": _average, "cnn": _cnn, "lstm": _lstm, "bilstm": _bilstm}


def build(vectors: np.ndarray, settings: Settings) -> keras.Model:
    """Return an untrained network: int32 word numbers of shape (n, n_words), 0 as padding, to logits of shape (n, 1)."""
    keras.utils.clear_session()  # what the earlier networks of a search left behind
    keras.utils.set_random_seed(settings.seed)
    numbers = keras.Input((None,), dtype="int32", name="numbers")
    there = ops.expand_dims(ops.cast(ops.not_equal(numbers, 0), "float32"), -1)
    embedding = layers.Embedding(*vectors.shape, mask_zero=True, name="embedding")
    dropped = layers.SpatialDropout1D(settings.dropout)(embedding(numbers))
    hidden = ARCHITECTURES[settings.architecture](dropped, there, settings)
    logits = layers.Dense(1, name="logit")(layers.Dropout(settings.dropout)(hidden))
    network = keras.Model(numbers, logits, name=settings.architecture)
    embedding.set_weights([vectors])
    return network


def logits(network: keras.Model, texts: Encoded, batch_size: int = 512) -> np.ndarray:
    """Return the logit of each text, shape (n_texts,)."""
    order = np.argsort(texts.lengths, kind="stable")
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    found = np.empty(len(texts))
    found[order] = network.predict(feed(texts, batches), verbose=0)[:, 0]
    return found


def feed(texts: Encoded, order: list[np.ndarray], labels: np.ndarray | None = None) -> tf.data.Dataset:
    """Return batches of texts by their rows, with the labels where there are some."""
    # With a signature: Keras' own adapter takes the length of the first two batches, where they agree, for that of all.
    signature: Any = tf.TensorSpec((None, None), tf.int32)
    if labels is not None:
        signature = (signature, tf.TensorSpec((None, 1), tf.float32))

    def read() -> Iterator[Any]:
        for rows in order:
            numbers = texts.padded(rows)
            yield numbers if labels is None else (numbers, labels[rows, None].astype(np.float32))

    found = tf.data.Dataset.from_generator(read, output_signature=signature)
    return found.apply(tf.data.experimental.assert_cardinality(len(order))).prefetch(2)


def configure(network: keras.Model, settings: Settings, epoch: int) -> None:
    """Set loss, optimizer and whether the word vectors learn, for the epochs from `epoch` (counted from 0) on."""
    network.get_layer("embedding").trainable = epoch >= settings.frozen_epochs
    network.compile(
        optimizer=keras.optimizers.Adam(settings.learning_rate, global_clipnorm=1.0),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )


class _Steps(keras.callbacks.Callback):
    """Sets the learning rate of each step and shows loss and time left."""

    def __init__(self, epoch: int, per_epoch: int, settings: Settings) -> None:
        super().__init__()
        self._first, self._all, self._highest = epoch * per_epoch, settings.epochs * per_epoch, settings.learning_rate
        self._bar = progress(total=per_epoch, desc=f"epoch {epoch + 1}/{settings.epochs}", unit="batch")

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.model.optimizer.learning_rate.assign(learning_rate(self._first + batch, self._all, self._highest))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._bar.set_postfix(loss=f"{logs['loss']:.4f}", refresh=False)
        self._bar.update()

    def on_train_end(self, logs: Any = None) -> None:
        self._bar.close()


def fit(
    vectors: np.ndarray,
    train: Rows,
    validation: Rows,
    settings: Settings,
    checkpoint: Checkpoint,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda epoch, values: None,
    until: int | None = None,
) -> tuple[keras.Model, list[dict[str, float]]]:
    """Train a network, from its checkpoint where there is one, and return the best epoch's, with the history.

    Ends early after `settings.patience` epochs without a better validation ROC AUC. Equal seeds give equal networks on
    one machine; a training that was killed ends as one that was not.

    Args:
        vectors: float32 of shape (n_words, dimension).
        train: training rows.
        validation: validation rows: they choose the epoch, and nothing else.
        settings: of network and training.
        checkpoint: kept after each epoch; removed by the caller once the result is safe.
        on_epoch: is told of each epoch, from 1, and its values when it ends; also of those before a kill.
        until: epoch after which to stop for now, with the learning rates of the whole training; the checkpoint stays.

    Raises:
        InputError: the checkpoint is broken or of another shape.
        RefusedError: the training diverged.
    """
    tf.config.experimental.enable_op_determinism()
    tf.get_logger().setLevel("ERROR")  # each network of a search is traced anew, and TensorFlow warns of it
    checkpoint.take()
    network = build(vectors, settings)
    last, history = _resume(network, checkpoint)
    for number, values in enumerate(history, 1):
        on_epoch(number, values)
    for epoch in range(len(history), min(until or settings.epochs, settings.epochs)):
        if have_ended(history, settings.patience):
            break
        if epoch in (0, settings.frozen_epochs):
            configure(last, settings, epoch)
        # Order of the rows and dropout follow from seed and epoch alone, so that a killed training goes on as it would have.
        _seed_dropout(last, settings.seed, epoch)
        order = batches(train.texts.lengths, settings.batch_size, np.random.default_rng([settings.seed, epoch]))
        start = time.perf_counter()
        fitted = last.fit(
            feed(train.texts, order, train.labels),
            shuffle=False,
            verbose=0,
            callbacks=[_Steps(epoch, len(order), settings)],
        )
        found = logits(last, validation.texts)
        if not np.isfinite(found).all():
            raise RefusedError(
                f"training diverged in epoch {epoch + 1}; try a learning rate below {settings.learning_rate:g}"
            )
        values = {
            "train_loss": float(fitted.history["loss"][0]),
            "epoch_validation_loss": float(log_loss(validation.labels, sigmoid(found), labels=[0, 1])),
            OBJECTIVE: float(roc_auc_score(validation.labels, found)),
            "epoch_seconds": time.perf_counter() - start,
        }
        better = values[OBJECTIVE] > max((past[OBJECTIVE] for past in history), default=0)
        history.append(values)
        _save(last, better, history, checkpoint)
        on_epoch(epoch + 1, values)
    _resume(network, checkpoint)
    return network, history


def _save(network: keras.Model, better: bool, history: list[dict[str, float]], checkpoint: Checkpoint) -> None:
    before = checkpoint.newest

    def write(folder: Path) -> None:
        network.save(folder / "last.keras")
        if better or before is None:
            network.save_weights(folder / "best.weights.h5")
        else:
            shutil.copy2(before / "best.weights.h5", folder)
        (folder / "history.json").write_text(json.dumps(history), encoding="utf-8")

    checkpoint.save(f"epoch-{len(history):03}", write)


def _resume(network: keras.Model, checkpoint: Checkpoint) -> tuple[keras.Model, list[dict[str, float]]]:
    # Puts the best weights so far into `network`, and returns the newest network, with its optimizer, and the history.
    state = checkpoint.newest
    if state is None:
        return network, []
    try:
        network.load_weights(state / "best.weights.h5")
        history = json.loads((state / "history.json").read_text(encoding="utf-8"))
        return keras.models.load_model(state / "last.keras"), history
    except Exception as error:  # each of the formats within has errors of its own
        raise checkpoint.broken(state, error) from error


def _seed_dropout(network: keras.Model, seed: int, epoch: int) -> None:
    kinds = layers.Dropout | layers.SpatialDropout1D
    dropouts = [layer for layer in network.layers if isinstance(layer, kinds) and layer.rate]
    for number, layer in enumerate(dropouts):
        # Keras counts the draws in the second number; an epoch has fewer than 2^20.
        layer.seed_generator.state.assign([seed + number, epoch << 20])


def export(network: keras.Model, folder: Path) -> None:
    """Write the network as `model.onnx` (onnxruntime) into `folder`."""
    for layer in network.layers:  # the kernel that a GPU's LSTM uses is unknown to ONNX
        for inner in (layer, getattr(layer, "forward_layer", None), getattr(layer, "backward_layer", None)):
            if isinstance(inner, layers.LSTM):
                inner.use_cudnn = False
    numbers = keras.InputSpec(shape=(None, None), dtype="int32", name="numbers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Keras asks for np.object to find out which numpy it has
        network.export(folder / "model.onnx", format="onnx", verbose=False, input_signature=[numbers])
