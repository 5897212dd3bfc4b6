"""Fine-tuning on toy pieces: what it learns, how it ends, goes on after a kill, and what is refused."""

import dataclasses
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from transformers import BertConfig, BertModel

from steps.sentiment import fine_tuning, transformer
from steps.sentiment.checkpoint import Checkpoint
from steps.sentiment.command_line import InputError, RefusedError
from steps.sentiment.fine_tuning import OBJECTIVE, Data
from steps.sentiment.schedule import Rows
from steps.sentiment.transformer import Network, Settings
from steps.sentiment.vocabulary import Encoded

PIECES, PADDING, ALWAYS = 40, 0, 1
#: How much each piece stands for positive.
MEANING = np.random.default_rng(5).normal(size=PIECES)
MEANING -= MEANING[ALWAYS + 1 :].mean()
#: Of 601 texts one is left for the last batch.
TOY = Settings(learning_rate=2e-3, batch_size=12, epochs=3, patience=3)
Fit = Callable[..., tuple[Network, list[dict[str, float]]]]


def toy(count: int, seed: int) -> Rows:
    """Return texts of 2 to 13 pieces, positive where the meanings of all that follow the first, ALWAYS, sum to more than 0."""
    random = np.random.default_rng(seed)
    texts = [random.integers(ALWAYS + 1, PIECES, random.integers(1, 13)).astype(np.int32) for _ in range(count)]
    labels = np.array([int(MEANING[text].sum() > 0) for text in texts])
    return Rows(encoded([np.concatenate([[ALWAYS], text]).astype(np.int32) for text in texts]), labels)


def encoded(texts: list[np.ndarray]) -> Encoded:
    return Encoded(np.concatenate(texts), np.concatenate([[0], np.cumsum([len(text) for text in texts])]), 0.0)


DATA = Data(toy(601, 0), toy(200, 1), PADDING)


def write_encoder(folder: Path, width: int = 16) -> Path:
    """Write a BERT of two layers that has learned nothing."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=PIECES,
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        pad_token_id=PADDING,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def place() -> fine_tuning.Accelerator:
    return fine_tuning.accelerator()


@pytest.fixture(scope="module")
def fit(encoder: Path, place: fine_tuning.Accelerator) -> Fit:
    """Fine-tune with its checkpoints in a folder; return the network and the values of each epoch."""

    def fit(
        settings: Settings, folder: Path, data: Data = DATA, network: Network | None = None, **options: object
    ) -> tuple[Network, list[dict[str, float]]]:
        network = network or transformer.build(encoder, settings)
        return network, fine_tuning.fit(network, data, settings, Checkpoint(folder), place, **options)  # type: ignore[arg-type]

    return fit


def without_time(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in epoch.items() if name != "epoch_seconds"} for epoch in history]


def equal(first: Network, second: Network) -> bool:
    """Return whether two networks have the same weights, to the last bit."""
    theirs = second.state_dict()
    return all(torch.equal(weight, theirs[name]) for name, weight in first.state_dict().items())


def states(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("step-*"))


class Killed(BaseException):
    """Stands in for the end of the process."""


# What it learns


@pytest.mark.parametrize("head", transformer.HEADS)
def test_loss_falls_and_validation_rises(head: str, fit: Fit, place: fine_tuning.Accelerator, tmp_path: Path) -> None:
    network, history = fit(dataclasses.replace(TOY, head=head), tmp_path)
    losses, aucs = ([epoch[name] for epoch in history] for name in ("train_loss", OBJECTIVE))
    assert losses == sorted(losses, reverse=True)
    assert aucs[0] + 0.02 < max(aucs)
    assert max(aucs) > 0.95
    assert history[-1]["epoch_validation_loss"] < history[0]["epoch_validation_loss"]
    found = fine_tuning.logits(network, DATA.validation.texts, PADDING, place)
    assert roc_auc_score(DATA.validation.labels, found) == pytest.approx(max(aucs), abs=1e-9)


def test_what_is_left_computes_in_full_precision(fit: Fit, encoder: Path, tmp_path: Path) -> None:
    network, _ = fit(dataclasses.replace(TOY, epochs=1), tmp_path)
    fresh = transformer.build(encoder, TOY)
    fresh.load_state_dict(network.state_dict())
    texts = DATA.validation.texts
    assert np.array_equal(
        fine_tuning.logits(network, texts, PADDING, None), fine_tuning.logits(fresh, texts, PADDING, None)
    )


def test_the_best_epoch_is_returned_and_patience_ends_it(
    fit: Fit, place: fine_tuning.Accelerator, tmp_path: Path
) -> None:
    # Labels at random: nothing to learn but the training rows.
    random = np.random.default_rng(3)
    noise = Data(Rows(DATA.train.texts, random.integers(0, 2, len(DATA.train.labels))), DATA.validation, PADDING)
    settings = dataclasses.replace(TOY, epochs=12, patience=2)
    network, history = fit(settings, tmp_path, noise)
    aucs = [epoch[OBJECTIVE] for epoch in history]
    assert len(history) < settings.epochs
    assert int(np.argmax(aucs)) == len(aucs) - 1 - settings.patience
    found = fine_tuning.logits(network, DATA.validation.texts, PADDING, place)
    assert roc_auc_score(DATA.validation.labels, found) == pytest.approx(max(aucs), abs=1e-9)


def test_no_epoch_leaves_the_network_as_it_is_and_keeps_no_checkpoint(fit: Fit, encoder: Path, tmp_path: Path) -> None:
    network, before = transformer.build(encoder, TOY), transformer.build(encoder, TOY)
    network, history = fit(dataclasses.replace(TOY, epochs=0), tmp_path / "kept", network=network)
    assert history == []
    assert equal(network, before)
    assert not (tmp_path / "kept").exists()


def test_an_only_epoch_is_the_best_even_where_it_orders_all_the_wrong_way_round(
    fit: Fit, encoder: Path, place: fine_tuning.Accelerator, tmp_path: Path
) -> None:
    settings = dataclasses.replace(TOY, epochs=1, learning_rate=1e-30)
    texts = DATA.validation.texts
    found = fine_tuning.logits(transformer.build(encoder, settings), texts, PADDING, place)
    _, history = fit(settings, tmp_path, Data(DATA.train, Rows(texts, (found < np.median(found)).astype(int)), PADDING))
    assert history[0][OBJECTIVE] == 0


def test_each_layer_learns_at_its_rate_and_the_head_at_the_full_one(encoder: Path) -> None:
    settings = dataclasses.replace(TOY, learning_rate=0.1, layer_decay=0.5)
    found = groups(transformer.build(encoder, settings), settings)
    rates = {
        "logit.": 0.1,
        "encoder.encoder.layer.1.": 0.1,
        "encoder.encoder.layer.0.": 0.05,
        "encoder.embeddings.": 0.025,
    }
    for beginning, rate in rates.items():
        of_it = [group["lr"] for name, group in found.items() if name.startswith(beginning)]
        assert of_it
        assert of_it == pytest.approx([rate] * len(of_it))
    assert all(name.startswith(tuple(rates)) for name in found)


def test_biases_and_norms_do_not_decay(encoder: Path) -> None:
    found = groups(transformer.build(encoder, TOY), TOY)
    for name, group in found.items():
        spared = name.endswith("bias") or "LayerNorm" in name
        assert group["weight_decay"] == (0 if spared else fine_tuning.WEIGHT_DECAY), name
    assert {group["weight_decay"] for group in found.values()} == {0, fine_tuning.WEIGHT_DECAY}


def groups(network: Network, settings: Settings) -> dict[str, dict[str, float]]:
    """Return what the optimizer is told of each parameter."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    found = fine_tuning._groups(network, settings)
    return {names[id(parameter)]: group for group in found for parameter in group["params"]}


def test_frozen_layers_stay_as_they_are_and_the_others_learn(fit: Fit, encoder: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(TOY, freeze_layers=1, epochs=1)
    before = transformer.build(encoder, settings).state_dict()
    network, _ = fit(settings, tmp_path)
    for name, weight in network.state_dict().items():
        frozen = name.startswith(("encoder.embeddings.", "encoder.encoder.layer.0."))
        assert torch.equal(weight, before[name]) == frozen, name


def test_logits_depend_neither_on_the_order_nor_on_the_batch(encoder: Path) -> None:
    network = transformer.build(encoder, TOY)
    texts = DATA.validation.texts
    found = fine_tuning.logits(network, texts, PADDING, None)
    assert len(set(found.round(5))) > 100
    for batch_size in (1, 7, 1000):
        assert np.allclose(fine_tuning.logits(network, texts, PADDING, None, batch_size), found, atol=1e-5)
    lines = [texts.ids[start:end] for start, end in zip(texts.starts[:-1], texts.starts[1:], strict=True)][::-1]
    turned = encoded(lines)
    assert np.allclose(fine_tuning.logits(network, turned, PADDING, None)[::-1], found, atol=1e-5)


# Killed


@pytest.fixture(scope="module", params=[0.0, 0.3], ids=lambda dropout: f"dropout {dropout}")
def unbroken(
    request: pytest.FixtureRequest, fit: Fit, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Settings, Network, list[dict[str, float]]]:
    """A training that nothing interrupted: its settings, network and history."""
    settings = dataclasses.replace(TOY, dropout=request.param)
    return settings, *fit(settings, tmp_path_factory.mktemp("unbroken"))


def ends_as(unbroken: tuple[Settings, Network, list[dict[str, float]]], fit: Fit, folder: Path) -> None:
    """Take up the training in a folder, which must end as the unbroken one."""
    settings, network, history = unbroken
    told: list[tuple[int, dict[str, float]]] = []
    resumed, again = fit(settings, folder, on_epoch=lambda epoch, values: told.append((epoch, values)))
    assert without_time(again) == without_time(history)
    assert equal(resumed, network)
    assert told == list(enumerate(again, 1))
    assert len(states(folder)) == 1
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("after", [1, 2])
def test_cut_short_between_epochs_it_ends_as_an_unbroken_one(
    after: int, unbroken: tuple[Settings, Network, list[dict[str, float]]], fit: Fit, tmp_path: Path
) -> None:
    def kill(epoch: int, values: dict[str, float]) -> None:
        if epoch == after:
            raise Killed

    with pytest.raises(Killed):
        fit(unbroken[0], tmp_path, on_epoch=kill)
    assert states(tmp_path) == [f"step-{51 * after:09}-{after:03}"]
    ends_as(unbroken, fit, tmp_path)


@pytest.mark.parametrize(
    ("moment", "left"),
    [
        ("just after a checkpoint", ["step-000000091-001"]),
        ("just before one", ["step-000000071-001"]),
        ("while one is written", ["step-000000071-001"]),
        ("while the one before is removed", ["step-000000071-001", "step-000000091-001"]),
    ],
)
def test_cut_short_within_an_epoch_it_ends_as_an_unbroken_one(
    moment: str,
    left: list[str],
    unbroken: tuple[Settings, Network, list[dict[str, float]]],
    fit: Fit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save, rename, rmtree = Checkpoint.save, Path.rename, shutil.rmtree

    def saves(self: Checkpoint, name: str, write: Callable[[Path], None]) -> None:
        if moment == "just before one" and name == "step-000000091-001":
            raise Killed
        save(self, name, write)
        if moment == "just after a checkpoint" and name == "step-000000091-001":
            raise Killed

    def renames(self: Path, target: Path) -> Path:
        if moment == "while one is written" and target.name == "step-000000091-001":
            raise Killed
        return rename(self, target)

    def removes(path: Path, *args: object) -> None:
        if moment == "while the one before is removed" and path.name == "step-000000071-001":
            (path / "last.safetensors").unlink()
            raise Killed
        rmtree(path, *args)

    with monkeypatch.context() as patch:
        patch.setattr(fine_tuning, "KEEP_SECONDS", 0)
        patch.setattr(Checkpoint, "save", saves)
        patch.setattr(Path, "rename", renames)
        patch.setattr(shutil, "rmtree", removes)
        with pytest.raises(Killed):
            fit(unbroken[0], tmp_path)
    assert states(tmp_path) == left
    ends_as(unbroken, fit, tmp_path)


def test_killed_between_the_last_step_and_its_evaluation_it_takes_no_step_twice(
    unbroken: tuple[Settings, Network, list[dict[str, float]]],
    fit: Fit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def dies(*args: object) -> np.ndarray:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(fine_tuning, "KEEP_SECONDS", 0)
        patch.setattr(fine_tuning, "logits", dies)
        with pytest.raises(Killed):
            fit(unbroken[0], tmp_path)
    assert states(tmp_path) == ["step-000000051-000"]
    ends_as(unbroken, fit, tmp_path)


def test_taken_up_after_its_end_it_learns_nothing_more(fit: Fit, tmp_path: Path) -> None:
    network, history = fit(TOY, tmp_path)
    again, same = fit(TOY, tmp_path)
    assert same == history
    assert equal(network, again)


# A checkpoint that cannot be used


def damage(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        *((name, halve) for name in ("last.safetensors", "best.safetensors", "optimizer.pt", "numbers.json")),
        *((name, Path.unlink) for name in ("last.safetensors", "best.safetensors", "optimizer.pt", "numbers.json")),
        ("last.safetensors", damage(b"")),
        ("numbers.json", damage(b"{}")),
        ("numbers.json", damage(b"[1]")),
    ],
)
def test_a_damaged_checkpoint_is_named_and_stays(
    name: str, harm: Callable[[Path], object], kept: Path, fit: Fit, tmp_path: Path
) -> None:
    harm(kept / name)
    with pytest.raises(InputError, match=r"step-000000051-001 does not fit or is damaged .*; remove it to start anew"):
        fit(TOY, tmp_path)
    assert kept.is_dir()


@pytest.fixture(scope="module")
def after_one_epoch(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of a training that was killed after its first epoch."""

    def kill(epoch: int, values: dict[str, float]) -> None:
        raise Killed

    folder = tmp_path_factory.mktemp("after-one-epoch")
    with pytest.raises(Killed):
        fit(TOY, folder, on_epoch=kill)
    return folder


@pytest.fixture
def kept(after_one_epoch: Path, tmp_path: Path) -> Path:
    """The state that it left, to be spoilt."""
    shutil.copytree(after_one_epoch, tmp_path, dirs_exist_ok=True)
    (state,) = tmp_path.glob("step-*")
    return state


def test_a_checkpoint_of_another_network_or_optimizer_is_named(
    kept: Path, fit: Fit, encoder: Path, tmp_path: Path
) -> None:
    wider = transformer.build(write_encoder(tmp_path / "wider", 32), TOY)
    slower = transformer.build(encoder, TOY)
    for network, settings in ((wider, TOY), (slower, dataclasses.replace(TOY, layer_decay=0.5))):
        with pytest.raises(InputError, match=r"step-000000051-001 does not fit or is damaged .*; remove it to start"):
            fit(settings, tmp_path, network=network)
    assert kept.is_dir()


class Command:
    """What a pickle of this leaves when it is read: a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.file),)


def test_a_checkpoint_runs_no_code(kept: Path, fit: Fit, tmp_path: Path) -> None:
    torch.save({"state": Command(tmp_path / "ran")}, kept / "optimizer.pt")
    with pytest.raises(InputError, match="remove it to start anew"):
        fit(TOY, tmp_path)
    (kept / "optimizer.pt").write_bytes(pickle.dumps(Command(tmp_path / "ran"), protocol=2))
    with pytest.raises(InputError, match="remove it to start anew"):
        fit(TOY, tmp_path)
    assert not (tmp_path / "ran").exists()


# What may not go on


def test_a_training_that_diverges_is_refused_and_the_last_good_checkpoint_stays(
    fit: Fit, encoder: Path, tmp_path: Path
) -> None:
    def poison(epoch: int, values: dict[str, float]) -> None:
        with torch.no_grad():
            network.encoder.embeddings.word_embeddings.weight[7] = np.nan

    network = transformer.build(encoder, TOY)
    settings = dataclasses.replace(TOY, epochs=2)
    with pytest.raises(RefusedError, match=r"diverged in epoch 2, step 20 of 51; try a learning rate below 0\.002"):
        fit(settings, tmp_path / "killed", network=network, on_epoch=poison)
    assert states(tmp_path / "killed") == ["step-000000051-001"]
    _, history = fit(settings, tmp_path / "killed")
    assert all(np.isfinite(epoch["train_loss"]) for epoch in history)
    assert len(history) == 2


def test_weights_that_leave_all_bounds_in_the_very_last_step_are_refused_too(fit: Fit, tmp_path: Path) -> None:
    settings = dataclasses.replace(TOY, learning_rate=1e38, batch_size=1000)
    with pytest.raises(RefusedError, match=r"diverged after epoch 1; try a learning rate below 1e\+38"):
        fit(settings, tmp_path)
    assert states(tmp_path) == []


def out_of_memory_of_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


def out_of_memory_of_a_mac() -> None:
    raise RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB, max allowed: 9.07 GB).")


def out_of_memory() -> None:
    torch.empty(2**50, dtype=torch.uint8)


def out_of_memory_of_python() -> None:
    bytearray(2**60)


@pytest.mark.parametrize(
    "ask", [out_of_memory, out_of_memory_of_a_gpu, out_of_memory_of_a_mac, out_of_memory_of_python]
)
def test_too_little_memory_says_what_to_lower(
    ask: Callable[[], None], fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(self: Network, numbers: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        ask()
        raise AssertionError

    monkeypatch.setattr(Network, "forward", forward)
    with pytest.raises(InputError, match="not enough memory for batch_size=12; lower it, or max_length, or freeze"):
        fit(TOY, tmp_path)


def test_other_errors_of_torch_pass(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: Network, numbers: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Network, "forward", forward)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        fit(TOY, tmp_path)


# Where it is


@pytest.mark.parametrize(
    ("cuda", "cuda_bf16", "mps", "avx512_bf16", "amx", "expected"),
    [
        (True, True, False, False, False, "bf16"),
        (True, False, False, True, True, "no"),
        (False, False, True, True, True, "no"),
        (False, False, False, True, False, "bf16"),
        (False, False, False, False, True, "bf16"),
        (False, False, False, False, False, "no"),
    ],
)
def test_bfloat16_where_the_device_computes_in_it(
    cuda: bool,
    cuda_bf16: bool,
    mps: bool,
    avx512_bf16: bool,
    amx: bool,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    # A GPU that has to emulate it would say yes when asked without this argument.
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or cuda_bf16
    )
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert fine_tuning.precision() == expected
