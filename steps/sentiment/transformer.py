"""A BERT-like encoder with a head for sentiment, in transformers and torch, and how it reads texts.

Source: Devlin et al. 2019 (BERT); Reimers and Gurevych 2019 (the mean of the pieces).
"""

import json
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
import transformers
from tokenizers import Tokenizer, normalizers
from torch import nn

from steps.sentiment import vocabulary
from steps.sentiment.command_line import InputError, first_line
from steps.sentiment.encoder import FORMS, HEAD
from steps.sentiment.model import clean, fold
from steps.sentiment.vocabulary import Encoded

#: The encoders whose graph onnxruntime can fuse, by the `model_type` of their config.json.
ARCHITECTURES = ("bert", "roberta", "xlm-roberta", "distilbert", "electra")
HEADS = ("mean", "cls")
TOKENIZER_FILES = (
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "bpe.codes",
    "*.model",
)
WORDS_OF_TOKENIZER = (vocabulary.FILE, "vocab.*", "*.model")


@dataclass(frozen=True)
class Settings:
    """A fine-tuning.

    Attributes:
        head: what stands for a text: the `mean` of its pieces, or the first piece (`cls`).
        learning_rate: of AdamW, at its highest, after the warm-up and before the linear way down.
        layer_decay: each layer learns this much slower than the one above it (Howard and Ruder 2018); 1: all alike.
        batch_size: tweets in a step, of all processes together.
        epochs: passes over the training rows at most; 0: an encoder that has its head is taken as it is.
        patience: epochs without a better validation ROC AUC after which training ends.
        freeze_layers: lowest layers that stay as they are; 1 or more: the embeddings as well.
        dropout: share of the features dropped in training, in every layer.
        label_smoothing: share of each label that goes to the other class, half of it to each (Szegedy et al. 2016).
        seed: of head, order and dropout.
    """

    head: str = "mean"
    learning_rate: float = 8e-5
    layer_decay: float = 1.0
    batch_size: int = 64
    epochs: int = 1
    patience: int = 1
    freeze_layers: int = 0
    dropout: float = 0.0
    label_smoothing: float = 0.1
    seed: int = 0


class Network(nn.Module):
    """An encoder and a linear head: piece numbers and mask, int of shape (n, n_pieces), to logits of shape (n,)."""

    def __init__(self, encoder: Any, head: str) -> None:
        super().__init__()
        self.encoder, self.pooled = encoder, head
        self.config: Any = encoder.config
        self.logit = nn.Linear(encoder.config.hidden_size, 1)

    def forward(self, numbers: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the logits of positive."""
        states = self.encoder(input_ids=numbers, attention_mask=mask).last_hidden_state
        if self.pooled == "cls":
            features = states[:, 0]
        else:
            there = mask[..., None].to(states.dtype)
            features = (states * there).sum(1) / there.sum(1)
        # In full precision whatever the encoder computes in: scores near the middle decide labels.
        return nn.functional.linear(features.float(), self.logit.weight, self.logit.bias)[:, 0]


def build(folder: Path, settings: Settings) -> Network:
    """Return an encoder with its weights, and the head that was fine-tuned with it or else one that has not learned.

    Args:
        folder: of config.json and model.safetensors.
        settings: of the training.

    Raises:
        InputError: an architecture other than ARCHITECTURES, fewer layers than are to be frozen, weights that are not
            those of the configuration, a head of another kind, or none where nothing is to be learned.
    """
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    config = _config(folder)
    if settings.freeze_layers > config.num_hidden_layers:
        raise InputError(
            f"freeze_layers={settings.freeze_layers}: allowed: at most the {config.num_hidden_layers} layers of the encoder"
        )
    try:
        encoder, loading = transformers.AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            # Short texts: plain attention is faster on a CPU than torch's fused kernels, and onnxruntime knows its graph.
            attn_implementation="eager",
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, by name
            dtype=torch.float32,
        )
    except (OSError, ValueError, KeyError, RuntimeError, safetensors.SafetensorError) as error:
        raise InputError(f"encoder: the weights of {folder} cannot be read ({first_line(error)})") from error
    missing = sorted(name for name in loading["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise InputError(
            f"encoder: the weights of {folder} lack {len(missing)} tensors of its config.json, {missing[0]} for one"
        )
    if other := sorted(loading["mismatched_keys"]):
        name, found, wanted = other[0]
        raise InputError(
            f"encoder: {name} in the weights of {folder} has shape {tuple(found)}; its config.json wants {tuple(wanted)}"
        )
    encoder.pooler = None
    torch.manual_seed(settings.seed)
    network = Network(encoder, settings.head)
    if (folder / HEAD).is_file():
        _read_head(network, folder / HEAD)
    elif not settings.epochs:
        raise InputError(
            f"epochs=0: {folder} has no {HEAD}; allowed: 1 or more, or the encoder of a finished train_bert"
        )
    else:
        nn.init.normal_(network.logit.weight, std=config.initializer_range)
        nn.init.zeros_(network.logit.bias)
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = settings.dropout
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad = not settings.freeze_layers or depth(name) > settings.freeze_layers
    return network


def origin(folder: Path) -> str:
    """Return the name of the encoder that a fine-tuned one in `folder` began with; empty for any other."""
    return _told(folder / HEAD).get("encoder", "") if (folder / HEAD).is_file() else ""


def _told(path: Path) -> dict[str, str]:
    try:
        with safetensors.safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"encoder: {path} cannot be read ({first_line(error)})") from error


def _read_head(network: Network, path: Path) -> None:
    if (kind := _told(path).get("head")) != network.pooled:
        raise InputError(f"head={network.pooled}: {path} was fine-tuned with {kind}; allowed: head={kind}")
    try:
        network.logit.load_state_dict(safetensors.torch.load_file(path))
    except RuntimeError as error:
        raise InputError(f"encoder: {path} does not fit the encoder beside it ({first_line(error)})") from error


def depth(name: str) -> int:
    """Return the layer of an encoder's parameter, from 1; 0 for the embeddings."""
    return next((int(part) + 1 for part in name.split(".") if part.isdigit()), 0)


def _config(folder: Path) -> Any:
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers checks little, and errors of any kind come of what it does not
        raise InputError(
            f"encoder: {folder}/config.json cannot be read ({first_line(error)}); allowed: {FORMS}"
        ) from error
    if config.model_type not in ARCHITECTURES:
        raise InputError(
            f"encoder: {folder} is of the architecture {config.model_type}; allowed: {', '.join(ARCHITECTURES)}"
        )
    return config


@dataclass(frozen=True)
class Reader:
    """How an encoder reads texts: its tokenizer, which also cuts them and adds its marks.

    Attributes:
        tokenizer: with the encoder's own words for the masks of mentions and links.
        cased: whether it tells letters' case apart; if not, it reads what the other families read (`model.clean`).
        padding: the number of the padding.
        unknown: the number of what it has no piece for; -1 where it has a piece for everything.
        max_length: pieces after which it cuts a text, marks included.
    """

    tokenizer: Tokenizer
    cased: bool
    padding: int
    unknown: int
    max_length: int

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Return texts as piece numbers."""
        lines = list(vocabulary.encodings(self.tokenizer, texts, fold if self.cased else clean, marks=True))
        unknown = sum(line.count(self.unknown) for line in lines) / sum(map(len, lines))
        return vocabulary.joined(lines, unknown)


def reader(folder: Path, max_length: int) -> Reader:
    """Return the reader of an encoder, for at most `max_length` pieces, marks included.

    Raises:
        InputError: a configuration that `build` refuses, no tokenizer or one that cannot be written as tokenizer.json, one
            that knows pieces that the encoder does not or adds no marks, or more pieces than the encoder has places for.
    """
    config = _config(folder)
    if not any(path for pattern in WORDS_OF_TOKENIZER for path in folder.glob(pattern)):
        raise InputError(f"encoder: {folder} has no tokenizer: none of {', '.join(WORDS_OF_TOKENIZER)}")
    try:
        tokenizer = _tokenizer(folder)
    except Exception as error:  # tokenizers raises nothing more particular
        raise InputError(
            f"encoder: {folder} has no tokenizer that tokenizers can read ({first_line(error)})"
        ) from error
    offset = config.pad_token_id + 1 if "roberta" in config.model_type else 0  # its places are counted from there
    places = config.max_position_embeddings - offset
    if max_length > places:
        raise InputError(f"max_length={max_length}: allowed: at most {places} with this encoder")
    vocabulary_of_it = tokenizer.get_vocab()
    if (last := max(vocabulary_of_it.values())) >= config.vocab_size:
        raise InputError(
            f"encoder: the tokenizer of {folder} knows {last + 1} pieces, its config.json {config.vocab_size}; "
            "allowed: the tokenizer that it was trained with"
        )
    cased = "A" in (tokenizer.normalizer.normalize_str("A") if tokenizer.normalizer else "A")
    if "@USER" in vocabulary_of_it and "HTTPURL" in vocabulary_of_it:  # Nguyen et al. 2020, BERTweet
        user, link = "@USER", "HTTPURL"
    elif cased:  # Barbieri et al. 2020, TweetEval
        user, link = "@user", "http"
    else:
        user, link = "user", "link"
    masks = [normalizers.Replace("<user>", user), normalizers.Replace("<link>", link)]
    tokenizer.normalizer = normalizers.Sequence([*masks, *([tokenizer.normalizer] if tokenizer.normalizer else [])])
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    if not tokenizer.encode("").ids:
        raise InputError(f"encoder: the tokenizer of {folder} adds no marks, so that an empty text would have no piece")
    model = json.loads(tokenizer.to_str())["model"]
    unknown = model["unk_id"] if "unk_id" in model else vocabulary_of_it.get(model.get("unk_token"))
    return Reader(tokenizer, cased, config.pad_token_id or 0, -1 if unknown is None else unknown, max_length)


def _tokenizer(folder: Path) -> Tokenizer:
    # tokenizer.json as it is: transformers takes its words alone, and lowers letters or not as another file says, or by itself.
    whole = folder / vocabulary.FILE
    if whole.is_file():
        return Tokenizer.from_file(str(whole))
    made = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return Tokenizer.from_str(made.backend_tokenizer.to_str())


def save(network: Network, name: str, before: Path, folder: Path) -> None:
    """Write a fine-tuned encoder as transformers reads it, with its head and the tokenizer.

    Args:
        network: encoder and head.
        name: of the encoder that it began with, before any fine-tuning.
        before: the folder that it came from, of the tokenizer.
        folder: to be made.
    """
    encoder: Any = network.encoder
    encoder.save_pretrained(folder)
    safetensors.torch.save_file(network.logit.state_dict(), folder / HEAD, {"head": network.pooled, "encoder": name})
    for pattern in TOKENIZER_FILES:
        for path in before.glob(pattern):
            shutil.copy2(path, folder)


def export(network: Network, path: Path) -> None:
    """Write the network as ONNX in full precision: `numbers` and `mask`, int32 of shape (n, n_pieces), to `logits` (n,)."""
    network = network.cpu().eval()
    numbers = torch.ones((2, 8), dtype=torch.int32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing, which the dynamic shapes here bear, and of its coming end
        torch.onnx.export(
            network,
            (numbers, numbers),
            str(path),
            input_names=["numbers", "mask"],
            output_names=["logits"],
            dynamic_axes={"numbers": {0: "n", 1: "pieces"}, "mask": {0: "n", 1: "pieces"}, "logits": {0: "n"}},
            opset_version=17,
            # onnxruntime's optimizer knows the graphs of this exporter.
            dynamo=False,
        )
