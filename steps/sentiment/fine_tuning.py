"""Fine-tuning of an encoder with its head, with what makes it fast on a few cores.

bfloat16 where the processor has it, texts of about equal length together, and memory that is kept. One training may run
in several processes (`torchrun`, `accelerate launch`); each takes its share of every batch. A training that was killed
goes on from its last checkpoint and ends as one that was not.

Source: Devlin et al. 2019 (BERT), Loshchilov and Hutter 2019 (AdamW).
"""

import ctypes
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from accelerate import Accelerator
from sklearn.metrics import log_loss, roc_auc_score
from torch import nn

from steps.sentiment.checkpoint import Checkpoint
from steps.sentiment.command_line import InputError, RefusedError, progress
from steps.sentiment.epochs import OBJECTIVE, have_ended
from steps.sentiment.model import sigmoid
from steps.sentiment.schedule import Rows, batches, linear_rate
from steps.sentiment.transformer import Network, Settings, build, depth
from steps.sentiment.vocabulary import Encoded

#: Share of the steps in which the learning rate grows.
WARM_UP = 0.06
WEIGHT_DECAY = 0.01
#: Steps between two looks at the loss, and seconds between two checkpoints.
LOOK, KEEP_SECONDS = 20, 120


@dataclass(frozen=True)
class Data:
    """Training rows, validation rows (they choose the epoch, and nothing else), and the number of the padding."""

    train: Rows
    validation: Rows
    padding: int


def accelerator() -> Accelerator:
    """Return what places the training: on GPUs where there are some, in the precision that is fast there."""
    # On processors it has to be told, or each of several processes would train alone.
    return Accelerator(mixed_precision=precision(), cpu=not torch.accelerator.is_available())


def precision() -> str:
    """Return `bf16` where the GPU, or without one the processor, computes in bfloat16; else `no`, full precision."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    if torch.backends.mps.is_available():
        return "no"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "no"


def keep_memory() -> None:
    """Let glibc keep what is freed: giving the large blocks of each step back and taking them anew costs a sixth of it."""
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in every C library
        if mallopt:
            trim_threshold, mmap_max, arena_max = -1, -4, -8
            mallopt(arena_max, 1)
            mallopt(mmap_max, 0)
            mallopt(trim_threshold, 2**31 - 1)


def logits(
    network: Network, texts: Encoded, padding: int, place: Accelerator | None, batch_size: int = 256
) -> np.ndarray:
    """Return the logit of each text, shape (n_texts,); without a `place` on the processor and in full precision."""
    network.eval()
    device, autocast = (place.device, place.autocast()) if place else (torch.device("cpu"), nullcontext())
    order = np.argsort(texts.lengths, kind="stable")
    found = np.empty(len(texts))
    with torch.inference_mode(), autocast:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            found[rows] = network(*_tensors(texts, rows, padding, device)).float().cpu().numpy()
    return found


def _tensors(texts: Encoded, rows: np.ndarray, padding: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    numbers, mask = texts.padded(rows, padding=padding), texts.mask(rows)
    return torch.from_numpy(numbers).long().to(device), torch.from_numpy(mask).long().to(device)


def fit(
    network: Network,
    data: Data,
    settings: Settings,
    checkpoint: Checkpoint,
    place: Accelerator,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda epoch, values: None,
) -> list[dict[str, float]]:
    """Fine-tune a network, from its checkpoint where there is one, and leave the best epoch's weights in it.

    Ends early after `settings.patience` epochs without a better validation ROC AUC.

    Args:
        network: as `transformer.build` returns it; trained in place.
        data: what it learns from, and the rows that choose the epoch.
        settings: of the training.
        checkpoint: kept every two minutes and after each epoch; removed by the caller once the result is safe.
        place: from `accelerator`.
        on_epoch: is told of each epoch, from 1, and its values when it ends; also of those before a kill.

    Returns:
        The values of each epoch; none where `settings` want none, and the network stays as it is.

    Raises:
        InputError: the checkpoint is damaged or of another shape; not enough memory.
        RefusedError: the training diverged; the checkpoint before that stays.
    """
    if not settings.epochs:
        return []
    keep_memory()
    if place.is_main_process:
        checkpoint.take()
    per_epoch = len(batches(data.train.texts.lengths, settings.batch_size, np.random.default_rng(0)))
    with _enough_memory(settings):
        training = Training(network, settings, settings.epochs * per_epoch, place)
    training.resume(checkpoint)
    for number, values in enumerate(training.history, 1):
        on_epoch(number, values)
    for epoch in range(len(training.history), settings.epochs):
        if have_ended(training.history, settings.patience):
            break
        # The order follows from seed and epoch alone, so that a killed training goes on as it would have.
        order = batches(data.train.texts.lengths, settings.batch_size, np.random.default_rng([settings.seed, epoch]))
        with _enough_memory(settings):
            _epoch(training, data, order, epoch, checkpoint)
            start = time.perf_counter()
            found = logits(network, data.validation.texts, data.padding, place)
        if not np.isfinite(found).all():
            raise _diverged(f"after epoch {epoch + 1}", settings)
        values = {
            "train_loss": training.loss_sum / per_epoch,
            "epoch_validation_loss": float(log_loss(data.validation.labels, sigmoid(found), labels=[0, 1])),
            OBJECTIVE: float(roc_auc_score(data.validation.labels, found)),
            "epoch_seconds": training.seconds + time.perf_counter() - start,
        }
        better = values[OBJECTIVE] > max((past[OBJECTIVE] for past in training.history), default=-1)
        training.history.append(values)
        training.loss_sum = training.seconds = 0.0
        training.save(checkpoint, better)
        on_epoch(epoch + 1, values)
    place.unwrap_model(training.prepared, keep_fp32_wrapper=False)  # the network computes in full precision again
    place.wait_for_everyone()  # the main process has written
    best = checkpoint.newest
    assert best is not None, "an epoch has ended, and its state is on disk"
    network.load_state_dict(safetensors.torch.load_file(best / "best.safetensors"))
    place.wait_for_everyone()  # all have read, and the caller may remove it
    return training.history


def average(network: Network, folder: Path, share: float) -> None:
    """Move a network's weights towards those of another fine-tuned encoder, in place (Wortsman et al. 2022, "Model soups").

    Args:
        network: to be moved.
        folder: of the other, with its head.
        share: of the other's weights, 0 to 1.

    Raises:
        InputError: the other is not one that was fine-tuned from the same encoder, or has a head of another kind.
    """
    other = build(folder, Settings(head=network.pooled, epochs=0))
    own, theirs = network.state_dict(), other.state_dict()
    if {name: values.shape for name, values in own.items()} != {name: values.shape for name, values in theirs.items()}:
        raise InputError(f"average: the weights of {folder} have other shapes; allowed: those of the same encoder")
    network.load_state_dict({name: torch.lerp(own[name], theirs[name], share) for name in own})


def _epoch(training: "Training", data: Data, order: list[np.ndarray], epoch: int, checkpoint: Checkpoint) -> None:
    settings = training.settings
    training.network.train()
    before = training.done - epoch * len(order)
    last, looked = time.perf_counter(), time.perf_counter()
    losses: list[torch.Tensor] = []
    name = f"epoch {epoch + 1}/{settings.epochs}"
    shown = training.place.is_main_process
    with progress(total=len(order), initial=before, desc=name, unit="batch", disable=not shown) as bar:
        for place, rows in enumerate(order[before:], before + 1):
            losses.append(training.step(data.train, rows, data.padding))
            if place % LOOK and place < len(order):
                continue
            # Of all processes, so that all of them go on or none. Waits for a GPU, hence only now and then.
            found = float(training.place.reduce(torch.stack(losses).sum(), "mean"))
            if not np.isfinite(found):
                raise _diverged(f"in epoch {epoch + 1}, step {place} of {len(order)}", settings)
            training.loss_sum += found
            bar.set_postfix(loss=f"{found / len(losses):.4f}", refresh=False)
            bar.update(len(losses))
            losses, now = [], time.perf_counter()
            training.seconds, looked = training.seconds + now - looked, now
            if now - last > KEEP_SECONDS:
                training.save(checkpoint)
                last = time.perf_counter()


def _diverged(where: str, settings: Settings) -> RefusedError:
    return RefusedError(f"training diverged {where}; try a learning rate below {settings.learning_rate:g}")


@contextmanager
def _enough_memory(settings: Settings) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        known = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not known and not any(words in str(error) for words in ("allocate memory", "out of memory")):
            raise
        raise InputError(
            f"not enough memory for batch_size={settings.batch_size}; lower it, or max_length, or freeze layers"
        ) from error


class Training:
    """Network, optimizer and place of a training, and its state on disk."""

    def __init__(self, network: Network, settings: Settings, steps: int, place: Accelerator) -> None:
        self.network, self.settings, self.steps, self.place = network, settings, steps, place
        self.optimizer = torch.optim.AdamW(_groups(network, settings), fused=place.device.type != "mps")
        self.prepared, self.optimizer = place.prepare(network, self.optimizer)
        self.done, self.loss_sum, self.seconds = 0, 0.0, 0.0
        self.history: list[dict[str, float]] = []

    def step(self, train: Rows, rows: np.ndarray, padding: int) -> torch.Tensor:
        """Learn from one batch and return its loss."""
        place, settings = self.place, self.settings
        torch.manual_seed(hash((settings.seed, self.done, place.process_index)))  # dropout goes on as it would have
        rate = linear_rate(self.done, self.steps, WARM_UP)
        for group in self.optimizer.param_groups:
            group["lr"] = group["highest"] * rate
        mine = rows[place.process_index :: place.num_processes]
        weight = place.num_processes / len(rows)
        if not len(mine):  # a batch smaller than the number of processes, which wait for each other all the same
            mine, weight = rows[:1], 0.0
        wanted = torch.from_numpy(train.labels[mine]).float().to(place.device)
        wanted = wanted * (1 - settings.label_smoothing) + settings.label_smoothing / 2
        found = self.prepared(*_tensors(train.texts, mine, padding, place.device))
        # The mean over all processes of this is the mean over the batch, whatever their shares.
        loss = nn.functional.binary_cross_entropy_with_logits(found.float(), wanted, reduction="sum")
        loss = loss * weight
        place.backward(loss)
        place.clip_grad_norm_(self.prepared.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.done += 1
        return loss.detach()

    def save(self, checkpoint: Checkpoint, better: bool = False) -> None:
        """Keep the state, which all processes share, by the main one; with the weights as the best so far, or those that were."""
        if not self.place.is_main_process:
            return
        before = checkpoint.newest
        numbers = {"history": self.history, "loss_sum": self.loss_sum, "seconds": self.seconds}

        def write(folder: Path) -> None:
            safetensors.torch.save_file(self.network.state_dict(), folder / "last.safetensors")
            torch.save(self.optimizer.state_dict(), folder / "optimizer.pt")
            if better:
                shutil.copy2(folder / "last.safetensors", folder / "best.safetensors")
            elif before and (before / "best.safetensors").is_file():
                shutil.copy2(before / "best.safetensors", folder)
            (folder / "numbers.json").write_text(json.dumps({"done": self.done, **numbers}), encoding="utf-8")

        checkpoint.save(f"step-{self.done:09}-{len(self.history):03}", write)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take up the newest state, where there is one."""
        state = checkpoint.newest
        if state is None:
            return
        try:
            numbers = json.loads((state / "numbers.json").read_text(encoding="utf-8"))
            # The best is wanted at the end alone; one that cannot be read is better known now.
            for name in ["best", "last"] if numbers["history"] else ["last"]:
                self.network.load_state_dict(safetensors.torch.load_file(state / f"{name}.safetensors"))
            self.optimizer.load_state_dict(torch.load(state / "optimizer.pt", weights_only=True, map_location="cpu"))
        except Exception as error:  # each of the formats within has errors of its own
            raise checkpoint.broken(state, error) from error
        for name, value in numbers.items():
            setattr(self, name, value)


def _groups(network: Network, settings: Settings) -> list[dict[str, Any]]:
    layers = network.config.num_hidden_layers
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            below = layers - depth(name) if name.startswith("encoder.") else 0
            rate = settings.learning_rate * settings.layer_decay**below
            found.setdefault((rate, WEIGHT_DECAY if parameter.ndim > 1 else 0.0), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "highest": rate, "weight_decay": decay}
        for (rate, decay), parameters in found.items()
    ]
