"""Networks on toy words: what each architecture learns, how training ends, goes on and is exported."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from steps.sentiment import networks, vocabulary
from steps.sentiment.checkpoint import Checkpoint
from steps.sentiment.command_line import InputError, RefusedError
from steps.sentiment.model import OnnxScorer, clean
from steps.sentiment.networks import OBJECTIVE, Settings
from steps.sentiment.schedule import Rows
from steps.sentiment.vocabulary import Encoded

WORDS, DIMENSION = 40, 8
VECTORS = np.random.default_rng(1).normal(0, 0.3, (WORDS, DIMENSION)).astype(np.float32)
VECTORS[0] = 0
TOY = Settings(
    "average", units=8, dropout=0.1, learning_rate=0.02, batch_size=32, epochs=4, frozen_epochs=1, patience=4
)


def toy(count: int, seed: int) -> Rows:
    """Return texts of 1 to 12 words of which word 2 makes positive and word 3 negative, wherever it stands."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    texts = []
    for label in labels:
        text = random.integers(4, WORDS, random.integers(1, 13)).astype(np.int32)
        text[random.integers(len(text))] = 2 if label else 3
        texts.append(text)
    starts = np.concatenate([[0], np.cumsum([len(text) for text in texts])])
    return Rows(Encoded(np.concatenate(texts), starts, 0.0), labels)


TRAIN, VALIDATION = toy(600, 0), toy(200, 1)


def fit(settings: Settings, folder: Path, **options: object) -> tuple[networks.Model, list[dict[str, float]]]:
    return networks.fit(VECTORS, TRAIN, VALIDATION, settings, Checkpoint(folder), **options)  # type: ignore[arg-type]


def answers(network: networks.Model) -> np.ndarray:
    return networks.logits(network, VALIDATION.texts)


@pytest.mark.parametrize("architecture", networks.ARCHITECTURES)
def test_an_architecture_learns_does_not_see_the_padding_and_is_exported_as_it_is(
    architecture: str, tmp_path: Path
) -> None:
    settings = dataclasses.replace(TOY, architecture=architecture)
    network, history = fit(settings, tmp_path / "checkpoint")
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert max(epoch[OBJECTIVE] for epoch in history) > 0.95
    some = np.arange(20)
    short, long = VALIDATION.texts.padded(some), VALIDATION.texts.padded(some, 40)
    assert long.shape == (20, 40)
    assert np.allclose(network.predict_on_batch(short), network.predict_on_batch(long), atol=1e-5)

    learned = vocabulary.learn(["a b c d e", "a b c d e"], size=10, min_count=1)
    learned.save(str(tmp_path / vocabulary.FILE))
    networks.export(network, tmp_path)
    texts = ["a", "e d c b a", "never seen", "", "b " * 30, "a b"]
    encoded = vocabulary.encode(learned, texts, max_tokens=6)
    logits, truncated = OnnxScorer(tmp_path, {"max_tokens": 6})(texts)
    assert np.allclose(logits, networks.logits(network, encoded), atol=1e-4)
    assert truncated.tolist() == [False, False, False, False, True, False]
    assert len({round(logit, 6) for logit in logits.tolist()}) > 3
    assert clean(texts[1]) == texts[1]


def test_a_network_is_better_by_order_where_it_can_see_it() -> None:
    def build(name: str) -> networks.Model:
        return networks.build(VECTORS, dataclasses.replace(TOY, architecture=name))

    order, other = np.array([[5, 6, 7, 8]], dtype=np.int32), np.array([[8, 7, 6, 5]], dtype=np.int32)
    for name in networks.ARCHITECTURES:
        network = build(name)
        same = np.allclose(network.predict_on_batch(order), network.predict_on_batch(other), atol=1e-6)
        assert same == (name == "average")


def test_equal_seeds_give_equal_networks_and_others_other_ones(tmp_path: Path) -> None:
    first, again = (answers(fit(TOY, tmp_path / name)[0]) for name in "ab")
    other = answers(fit(dataclasses.replace(TOY, seed=1), tmp_path / "c")[0])
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=1e-3)


def test_word_vectors_stay_in_the_frozen_epochs_and_move_after(tmp_path: Path) -> None:
    frozen, _ = fit(TOY, tmp_path / "a", until=1)
    assert np.array_equal(frozen.get_layer("embedding").get_weights()[0], VECTORS)
    moved, _ = fit(TOY, tmp_path / "a", until=2)
    assert not np.array_equal(moved.get_layer("embedding").get_weights()[0], VECTORS)


class Killed(BaseException):
    """Stands in for the end of the process between two epochs."""


@pytest.mark.parametrize("after", [1, 3])
def test_a_training_that_was_cut_short_ends_as_one_that_was_not(after: int, tmp_path: Path) -> None:
    def kill(epoch: int, values: dict[str, float]) -> None:
        if epoch == after:
            raise Killed

    settings = dataclasses.replace(TOY, architecture="cnn", dropout=0.3)
    unbroken, history = fit(settings, tmp_path / "unbroken")
    with pytest.raises(Killed):
        fit(settings, tmp_path / "killed", on_epoch=kill)
    told: list[tuple[int, float]] = []
    resumed, again = fit(
        settings, tmp_path / "killed", on_epoch=lambda epoch, values: told.append((epoch, values[OBJECTIVE]))
    )
    assert np.array_equal(answers(unbroken), answers(resumed))
    assert [epoch[OBJECTIVE] for epoch in again] == [epoch[OBJECTIVE] for epoch in history]
    assert told == [(number, epoch[OBJECTIVE]) for number, epoch in enumerate(history, 1)]


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken, _ = fit(TOY, tmp_path / "unbroken")
    rename, count = Path.rename, []

    def dies(self: Path, target: Path) -> Path:
        count.append(target)
        if len(count) == 3:
            raise Killed
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", dies)
    with pytest.raises(Killed):
        fit(TOY, tmp_path / "killed")
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "killed").glob("epoch-*")] == ["epoch-002"]
    resumed, history = fit(TOY, tmp_path / "killed")
    assert len(history) == TOY.epochs
    assert np.array_equal(answers(resumed), answers(unbroken))


def test_the_best_epoch_is_returned_and_training_ends_when_it_gets_no_better(tmp_path: Path) -> None:
    # Labels at random: nothing to learn but the training rows.
    random = np.random.default_rng(0)
    train = Rows(TRAIN.texts, random.integers(0, 2, len(TRAIN.labels)))
    settings = dataclasses.replace(TOY, learning_rate=0.05, epochs=12, patience=2, frozen_epochs=0)
    network, history = networks.fit(VECTORS, train, VALIDATION, settings, Checkpoint(tmp_path))
    aucs = [epoch[OBJECTIVE] for epoch in history]
    assert len(history) < settings.epochs
    assert int(np.argmax(aucs)) == len(aucs) - 1 - settings.patience
    assert networks.roc_auc_score(VALIDATION.labels, answers(network)) == pytest.approx(max(aucs), abs=1e-9)


def test_a_training_that_diverges_is_refused_and_its_checkpoint_stays(tmp_path: Path) -> None:
    vectors = VECTORS.copy()
    vectors[7] = np.nan
    with pytest.raises(RefusedError, match=r"diverged in epoch 1; try a learning rate below 0\.02"):
        networks.fit(vectors, TRAIN, VALIDATION, TOY, Checkpoint(tmp_path))
    assert not list(tmp_path.glob("epoch-*"))


def test_a_checkpoint_of_another_shape_or_a_broken_one_is_named(tmp_path: Path) -> None:
    fit(TOY, tmp_path, until=1)
    with pytest.raises(InputError, match=r"epoch-001 does not fit or is damaged .*remove it to start anew"):
        fit(dataclasses.replace(TOY, units=5), tmp_path)
    whole = (tmp_path / "epoch-001/last.keras").read_bytes()
    middle = len(whole) // 2
    for broken in (b"not a network", whole[:middle], whole[:middle] + bytes(50) + whole[middle + 50 :], b""):
        (tmp_path / "epoch-001/last.keras").write_bytes(broken)
        with pytest.raises(InputError, match=r"epoch-001 does not fit or is damaged .*remove it to start anew"):
            fit(TOY, tmp_path)
    assert (tmp_path / "epoch-001").is_dir()


def test_a_training_that_goes_on_elsewhere_is_left_alone(tmp_path: Path) -> None:
    script = (
        "import fcntl, sys, time\nfile = open(sys.argv[1], 'w')\nfcntl.lockf(file, fcntl.LOCK_EX)\n"
        "print('ours', flush=True)\ntime.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", script, tmp_path / "lock"], stdout=subprocess.PIPE)
    try:
        assert other.stdout
        assert other.stdout.readline() == b"ours\n"
        with pytest.raises(InputError, match="the same training is going on in another process"):
            fit(TOY, tmp_path)
    finally:
        other.kill()
        other.wait()
    assert len(fit(TOY, tmp_path, until=1)[1]) == 1


def test_without_dropout_it_trains_too(tmp_path: Path) -> None:
    _, history = fit(dataclasses.replace(TOY, dropout=0.0), tmp_path, until=1)
    assert history[0]["train_loss"] < 1


def test_an_exported_lstm_does_without_the_kernel_of_a_gpu(tmp_path: Path) -> None:
    for architecture in ("lstm", "bilstm"):
        network = networks.build(VECTORS, dataclasses.replace(TOY, architecture=architecture))
        networks.export(network, tmp_path)
        (layer,) = (
            one for one in network.layers if "lstm" in type(one).__name__.lower() or hasattr(one, "forward_layer")
        )
        inner = [layer] if architecture == "lstm" else [layer.forward_layer, layer.backward_layer]
        assert [one.use_cudnn for one in inner] == [False] * len(inner)


def test_a_bucket_of_one_text_trains_too(tmp_path: Path) -> None:
    one = Rows(Encoded(np.array([2], dtype=np.int32), np.array([0, 1]), 0.0), np.array([1]))
    network, _ = networks.fit(VECTORS, one, VALIDATION, dataclasses.replace(TOY, epochs=1), Checkpoint(tmp_path))
    assert answers(network).shape == (200,)


def test_nothing_here_hides_a_gpu() -> None:
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert networks.tf.config.get_visible_devices() == networks.tf.config.list_physical_devices()
