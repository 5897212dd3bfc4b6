"""Encoders of each architecture: read, built, exported, fused, quantised, and scored by the shipped loader as by torch."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from steps.sentiment import fine_tuning, quantization, transformer
from steps.sentiment.command_line import InputError
from steps.sentiment.model import TransformerScorer, sigmoid
from steps.sentiment.transformer import Settings

HEADS, WIDTH = 2, 32
WORDS = "not good bad love hate day the my so a b c d e n o t ##s ##o ##t user link @ http @user ! .".split()
ODD = [
    "",
    " ",
    "not good",
    "so BAD day @bob http://x.y",
    "😀 привет",
    "good " * 60,
    "x" * 10_000,
    "\ud800 bad",
    "love my day!",
]
COMMON = {"vocab_size": 40, "pad_token_id": 0}
SIZES = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": HEADS, "intermediate_size": 64}
CONFIGS = {
    "bert": transformers.BertConfig(**COMMON, **SIZES, max_position_embeddings=64),
    "electra": transformers.ElectraConfig(**COMMON, **SIZES, embedding_size=WIDTH, max_position_embeddings=64),
    "distilbert": transformers.DistilBertConfig(
        **COMMON, dim=WIDTH, n_layers=2, n_heads=HEADS, hidden_dim=64, max_position_embeddings=64
    ),
    "roberta": transformers.RobertaConfig(**COMMON | {"pad_token_id": 1}, **SIZES, max_position_embeddings=66),
    "xlm-roberta": transformers.XLMRobertaConfig(**COMMON | {"pad_token_id": 1}, **SIZES, max_position_embeddings=66),
}


def tokenizer(cased: bool, padding: int, words: list[str]) -> Tokenizer:
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] if padding == 0 else ["[CLS]", "[PAD]", "[SEP]", "[UNK]"]
    pieces = {piece: number for number, piece in enumerate([*specials, *words])}
    found = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    if not cased:
        found.normalizer = normalizers.BertNormalizer(lowercase=True)
    found.pre_tokenizer = pre_tokenizers.WhitespaceSplit() if cased else pre_tokenizers.BertPreTokenizer()
    marks = [("[CLS]", pieces["[CLS]"]), ("[SEP]", pieces["[SEP]"])]
    found.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    return found


def make(folder: Path, architecture: str, cased: bool = False, words: list[str] = WORDS) -> Path:
    """Write a small encoder with random weights, large enough to say something, as transformers would."""
    torch.manual_seed(0)
    config = CONFIGS[architecture]
    encoder = transformers.AutoModel.from_config(config)
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)
    encoder.save_pretrained(folder)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer(cased, config.pad_token_id, words),
        pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
    )  # fmt: skip
    fast.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("architecture", transformer.ARCHITECTURES)
def test_what_is_served_answers_as_torch_does(architecture: str, tmp_path: Path) -> None:
    folder = make(tmp_path / "encoder", architecture)
    network = transformer.build(folder, Settings())
    with torch.no_grad():
        network.logit.weight.mul_(100)
    read = transformer.reader(folder, 24)
    loading = {"cased": read.cased, "padding": read.padding, "max_length": read.max_length}
    full, served = tmp_path / "full", tmp_path / "served"
    for target in (full, served):
        target.mkdir()
        read.tokenizer.save(str(target / "tokenizer.json"))
    transformer.export(network, tmp_path / "exported.onnx")
    quantization.fuse(tmp_path / "exported.onnx", full / "model.onnx", HEADS, WIDTH)
    quantization.quantize(full / "model.onnx", served / "model.onnx")

    torch_logits = fine_tuning.logits(network, read.encode(ODD), read.padding, place=None)
    assert np.ptp(torch_logits) > 0.1
    scorer = TransformerScorer(full, loading)
    exported, truncated = scorer(ODD)
    assert np.allclose(exported, torch_logits, atol=1e-4)
    assert truncated.tolist() == [text == "good " * 60 for text in ODD]
    alone = np.concatenate([scorer([text])[0] for text in ODD])
    assert np.allclose(alone, exported, atol=1e-5)
    quantized = quantization.logits(served, loading, ODD * 20)[: len(ODD)]
    assert np.abs(sigmoid(quantized) - sigmoid(torch_logits)).max() < 0.1
    assert not np.array_equal(quantized, exported)
    assert (served / "model.onnx").stat().st_size < (full / "model.onnx").stat().st_size


def test_readers_mask_by_the_words_of_their_encoder(tmp_path: Path) -> None:
    text = "NOT good @bob http://x.y"
    uncased = transformer.reader(make(tmp_path / "uncased", "bert"), 24)
    assert not uncased.cased
    assert uncased.tokenizer.encode("not good <user> <link>").tokens == [
        "[CLS]",
        "not",
        "good",
        "user",
        "link",
        "[SEP]",
    ]
    ids = uncased.encode([text]).ids.tolist()
    assert ids == uncased.tokenizer.encode("not good user link").ids
    cased = transformer.reader(make(tmp_path / "cased", "roberta", cased=True), 24)
    assert (cased.cased, cased.padding) == (True, 1)
    assert cased.tokenizer.encode("NOT good <user> <link>").tokens == [
        "[CLS]",
        "[UNK]",
        "good",
        "@user",
        "http",
        "[SEP]",
    ]
    tweets = transformer.reader(
        make(tmp_path / "tweets", "roberta", cased=True, words=[*WORDS, "@USER", "HTTPURL"]), 24
    )
    assert tweets.tokenizer.encode("<user> <link>").tokens == ["[CLS]", "@USER", "HTTPURL", "[SEP]"]
    assert uncased.encode(["good", "zzz"]).unknown == pytest.approx(1 / 6)


def test_the_mean_ignores_padding(tmp_path: Path) -> None:
    folder = make(tmp_path, "bert")
    for head in transformer.HEADS:
        network = transformer.build(folder, Settings(head=head)).eval()
        numbers = torch.tensor([[2, 5, 6, 3]])
        padded = torch.tensor([[2, 5, 6, 3, 0, 0]])
        with torch.no_grad():
            short = network(numbers, torch.ones_like(numbers))
            long = network(padded, (padded > 0).long())
        assert torch.allclose(short, long, atol=1e-5)


def test_frozen_layers_are_the_lowest_and_the_embeddings(tmp_path: Path) -> None:
    folder = make(tmp_path, "bert")
    network = transformer.build(folder, Settings(freeze_layers=1))
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in network.named_parameters() if "embeddings" in name or "layer.0." in name}
    assert all(parameter.requires_grad for parameter in transformer.build(folder, Settings()).parameters())
    with pytest.raises(InputError, match="freeze_layers=3: allowed: at most the 2 layers"):
        transformer.build(folder, Settings(freeze_layers=3))


def test_a_saved_encoder_is_one_that_can_be_trained_further(tmp_path: Path) -> None:
    folder = make(tmp_path / "first", "bert")
    network = transformer.build(folder, Settings()).eval()
    with torch.no_grad():
        network.encoder.embeddings.word_embeddings.weight.add_(0.5)
    transformer.save(network, folder, tmp_path / "second")
    again = transformer.build(tmp_path / "second", Settings()).eval()
    numbers = torch.tensor([[2, 5, 6, 3]])
    with torch.no_grad():
        assert torch.equal(again(numbers, torch.ones_like(numbers)), network(numbers, torch.ones_like(numbers)))
    text = ["so good @x"]
    one, other = (transformer.reader(tmp_path / name, 24).encode(text).ids for name in ("first", "second"))
    assert np.array_equal(one, other)


def test_what_cannot_be_an_encoder_is_named(tmp_path: Path) -> None:
    folder = make(tmp_path, "bert")
    config, weights = folder / "config.json", folder / "model.safetensors"
    with pytest.raises(InputError, match="max_length=65: allowed: at most 64 with this encoder"):
        transformer.reader(folder, 65)
    with pytest.raises(InputError, match="max_length=65: allowed: at most 64 with this encoder"):
        transformer.reader(make(tmp_path / "roberta", "roberta"), 65)
    whole, tensors = config.read_text(), load_file(weights)
    config.write_text(json.dumps(json.loads(whole) | {"model_type": "gpt2"}))
    with pytest.raises(InputError, match="of the architecture gpt2; allowed: bert, roberta"):
        transformer.build(folder, Settings())
    config.write_text("{")
    with pytest.raises(InputError, match=r"config\.json cannot be read"):
        transformer.build(folder, Settings())
    config.write_text(whole)
    some = {name: tensor for name, tensor in tensors.items() if "layer.1.attention.self" not in name}
    save_file(some, weights, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lack 6 tensors of its config\.json"):
        transformer.build(folder, Settings())
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"weights of .* cannot be read"):
        transformer.build(folder, Settings())
    for path in (folder / "tokenizer.json", folder / "tokenizer_config.json"):
        path.unlink()
    with pytest.raises(InputError, match="has no tokenizer"):
        transformer.reader(folder, 24)
