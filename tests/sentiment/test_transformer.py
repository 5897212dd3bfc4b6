"""Encoders of each architecture: read, built, exported, fused, quantised, and scored by the shipped loader as by torch."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import transformers
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from steps.sentiment import encoder, fine_tuning, quantization, transformer
from steps.sentiment.command_line import InputError
from steps.sentiment.model import TransformerScorer, clean, fold, sigmoid
from steps.sentiment.transformer import Network, Reader, Settings

HEADS, WIDTH, PLACES, MAX_LENGTH = 2, 32, 64, 24
SENTENCES = [
    "not so good today",
    "I love my day!",
    "What a BAD day, sad",
    "a user, a link, @user http",
    "hello ...",
] * 2
WORDPIECE = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
BYTES = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
ODD = [
    "",
    " ",
    "not good",
    "so BAD day @bob http://x.y",
    "😀",
    "👩‍👩‍👧 🏳️‍🌈 :-(",
    "привет мир",
    "שלום عليكم",
    "ゲーム 你好 ขอบคุณ नमस्ते",
    "good " * 60,
    "good " * 2_000,
    "x" * 10_000,
    "\ud800 bad \udfff",
    "\ud83d",
    "\x00\x07\u200b",
    "[CLS] <s> </s> [SEP] [PAD]",
    "&lt;user&gt; &amp;amp; love",
    "love my day!",
]
SIZES = {"num_hidden_layers": 2, "num_attention_heads": HEADS, "hidden_size": WIDTH, "intermediate_size": 64}
DISTILBERT = {"n_layers": 2, "n_heads": HEADS, "dim": WIDTH, "hidden_dim": 64}


def word_pieces(cased: bool = False) -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=not cased)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(
        SENTENCES, trainers.WordPieceTrainer(vocab_size=120, special_tokens=WORDPIECE, show_progress=False)
    )
    marks = [(mark, made.token_to_id(mark)) for mark in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    return made


def byte_pieces() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=BYTES, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(SENTENCES, trainer)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


def write(folder: Path, architecture: str, tokenizer: Tokenizer | None = None, **settings: object) -> Path:
    """Write a small encoder with random weights, large enough to say something, as transformers would."""
    roberta = "roberta" in architecture
    tokenizer = tokenizer or (byte_pieces() if roberta else word_pieces())
    config = transformers.AutoConfig.for_model(
        architecture,
        **{
            "vocab_size": tokenizer.get_vocab_size(),
            "max_position_embeddings": PLACES + (2 if roberta else 0),
            "pad_token_id": 1 if roberta else 0,
            **(DISTILBERT if architecture == "distilbert" else SIZES),
            **settings,
        },
    )
    torch.manual_seed(0)
    encoder = transformers.AutoModel.from_config(config)
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)
    encoder.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@dataclass(frozen=True)
class Made:
    """An encoder from its folder to what is served."""

    folder: Path
    network: Network
    reader: Reader
    exported: Path
    full: Path
    quantized: Path

    @property
    def loading(self) -> dict[str, Any]:
        return {"cased": self.reader.cased, "padding": self.reader.padding, "max_length": self.reader.max_length}

    def torch_logits(self, texts: list[str]) -> np.ndarray:
        return fine_tuning.logits(self.network, self.reader.encode(texts), self.reader.padding, place=None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """Make an encoder of an architecture with a head, once."""

    @cache
    def make(architecture: str, head: str = "mean") -> Made:
        folder = write(tmp_path_factory.mktemp(architecture), architecture)
        network = transformer.build(folder, Settings(head=head)).eval()
        with torch.no_grad():
            network.logit.weight.mul_(30)
        reader = transformer.reader(folder, MAX_LENGTH)
        found = Made(folder, network, reader, folder / "exported.onnx", folder / "full", folder / "quantized")
        for target in (found.full, found.quantized):
            target.mkdir()
            reader.tokenizer.save(str(target / "tokenizer.json"))
        transformer.export(network, found.exported)
        quantization.fuse(found.exported, found.full / "model.onnx", HEADS, WIDTH)
        quantization.quantize(found.full / "model.onnx", found.quantized / "model.onnx")
        return found

    return make


every_architecture = pytest.mark.parametrize("architecture", transformer.ARCHITECTURES)


def batch(pieces: int, padding: int, rows: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return numbers and mask of random texts, the first of the whole length, the others of 1 to all of it."""
    random = np.random.default_rng(1000 * rows + length)
    lengths = np.append(length, random.integers(1, length + 1, rows - 1))
    mask = (np.arange(length) < lengths[:, None]).astype(np.int32)
    numbers = np.where(mask, random.integers(5, pieces, mask.shape), padding).astype(np.int32)
    return torch.from_numpy(numbers), torch.from_numpy(mask)


# As torch


@every_architecture
@pytest.mark.parametrize("head", transformer.HEADS)
def test_exported_and_fused_answer_as_torch_whatever_the_batch(
    head: str, architecture: str, made: Callable[..., Made]
) -> None:
    one = made(architecture, head)
    answers: list[float] = []
    sessions = [onnxruntime.InferenceSession(path) for path in (one.exported, one.full / "model.onnx")]
    for rows, length in [(1, 1), (1, 2), (3, 7), (2, 8), (33, 13), (5, PLACES)]:
        numbers, mask = batch(one.network.config.vocab_size, one.reader.padding, rows, length)
        with torch.no_grad():
            expected = one.network(numbers, mask).numpy()
        answers.extend(expected)
        for session in sessions:
            found = session.run(None, {"numbers": numbers.numpy(), "mask": mask.numpy()})[0]
            assert found.shape == (rows,)
            assert np.allclose(found, expected, atol=1e-4)
    assert np.std(answers) > 0.1, "answers that say something"


@every_architecture
def test_attention_of_every_layer_is_fused_and_every_product_quantised(
    architecture: str, made: Callable[..., Made]
) -> None:
    one = made(architecture)
    full, quantized = (
        [node.op_type for node in onnx.load(folder / "model.onnx").graph.node] for folder in (one.full, one.quantized)
    )
    assert full.count("MultiHeadAttention") == quantized.count("MultiHeadAttention") == 2
    assert full.count("Softmax") == 0
    products = full.count("MatMul")
    assert products >= 12
    assert (quantized.count("MatMulNBits"), quantized.count("MatMul")) == (products, 1), "all but the head's"
    assert (one.quantized / "model.onnx").stat().st_size < (one.full / "model.onnx").stat().st_size
    assert quantized.count("SkipLayerNormalization") == 0, "which is slow on a processor"
    assert quantized.count("LayerNormalization") >= 4


def test_a_block_is_the_largest_that_divides_the_rows(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    widths, nodes, weights = (384, 512, 100, 384), [], []
    for place, shape in enumerate(pairwise(widths)):
        weights.append(onnx.numpy_helper.from_array(random.normal(size=shape).astype(np.float32), f"w{place}"))
        nodes.append(onnx.helper.make_node("MatMul", [f"x{place}", f"w{place}"], [f"x{place + 1}"], f"product{place}"))
    ends = [
        onnx.helper.make_tensor_value_info(f"x{place}", onnx.TensorProto.FLOAT, [3, widths[place]]) for place in (0, 3)
    ]
    graph = onnx.helper.make_graph(nodes, "products", ends[:1], ends[1:], weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "full.onnx")
    quantization.quantize(tmp_path / "full.onnx", tmp_path / "quantized.onnx")
    blocks = [
        next(attribute.i for attribute in node.attribute if attribute.name == "block_size")
        for node in onnx.load(tmp_path / "quantized.onnx").graph.node
    ]
    assert blocks == [128, 256, 128]
    given = {"x0": random.normal(size=(3, 384)).astype(np.float32)}
    full, quantized = (
        onnxruntime.InferenceSession(tmp_path / f"{name}.onnx").run(None, given)[0] for name in ("full", "quantized")
    )
    assert np.abs(full - quantized).max() < 0.1 * full.std()


def test_an_electra_with_narrow_embeddings_is_served_too(tmp_path: Path) -> None:
    folder = write(tmp_path / "encoder", "electra", embedding_size=16)
    network = transformer.build(folder, Settings()).eval()
    transformer.export(network, tmp_path / "exported.onnx")
    quantization.fuse(tmp_path / "exported.onnx", tmp_path / "full.onnx", HEADS, WIDTH)
    quantization.quantize(tmp_path / "full.onnx", tmp_path / "quantized.onnx")
    numbers, mask = batch(network.config.vocab_size, 0, 4, 9)
    with torch.no_grad():
        expected = network(numbers, mask).numpy()
    for name, tolerance in (("full", 1e-4), ("quantized", 0.1)):
        session = onnxruntime.InferenceSession(tmp_path / f"{name}.onnx")
        found = session.run(None, {"numbers": numbers.numpy(), "mask": mask.numpy()})[0]
        assert np.allclose(found, expected, atol=tolerance)


@every_architecture
def test_any_text_is_scored_as_torch_does_alone_and_among_others(architecture: str, made: Callable[..., Made]) -> None:
    one = made(architecture)
    scorer = TransformerScorer(one.full, one.loading)
    expected = one.torch_logits(ODD)
    found, truncated = scorer(ODD)
    assert np.isfinite(found).all()
    assert np.ptp(found) > 0.5, "answers that say something"
    assert np.allclose(found, expected, atol=1e-4)
    alone = [scorer([text]) for text in ODD]
    assert np.allclose(np.concatenate([logits for logits, _ in alone]), found, atol=1e-5)
    assert np.concatenate([flags for _, flags in alone]).tolist() == truncated.tolist()
    among, _ = scorer(ODD[::-1] * 3)
    assert np.allclose(among.reshape(3, -1)[:, ::-1], found, atol=1e-5)


@every_architecture
def test_eight_bits_answer_nearly_as_torch_and_the_same_alone(architecture: str, made: Callable[..., Made]) -> None:
    one = made(architecture)
    found = quantization.logits(one.quantized, one.loading, ODD)
    assert np.abs(sigmoid(found) - sigmoid(one.torch_logits(ODD))).max() < 0.1
    scorer = TransformerScorer(one.quantized, one.loading)
    alone = np.concatenate([scorer([text])[0] for text in ODD])
    assert np.abs(sigmoid(alone) - sigmoid(found)).max() < 0.02


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_truncated_are_exactly_the_texts_of_more_pieces_than_are_read(
    architecture: str, made: Callable[..., Made]
) -> None:
    one = made(architecture)
    uncut = Tokenizer.from_str(one.reader.tokenizer.to_str())
    uncut.no_truncation()
    texts = [*(("good" + " good" * count) for count in range(2 * MAX_LENGTH)), *ODD]
    pieces = [len(uncut.encode(one_read(one, text)).ids) for text in texts]
    assert {MAX_LENGTH, MAX_LENGTH + 1} <= set(pieces)
    _, truncated = TransformerScorer(one.full, one.loading)(texts)
    assert truncated.tolist() == [count > MAX_LENGTH for count in pieces]
    assert one.reader.encode(texts).lengths.tolist() == [min(count, MAX_LENGTH) for count in pieces]


def one_read(one: Made, text: str) -> str:
    return fold(text) if one.reader.cased else clean(text)


# How texts are read


def pieces_of(reader: Reader, text: str) -> list[str]:
    return [str(reader.tokenizer.id_to_token(number)) for number in reader.encode([text]).ids]


MARKED = "NOT good @Bob_1 http://x.y/Z"


def test_an_uncased_encoder_reads_what_the_other_families_read(tmp_path: Path) -> None:
    reader = transformer.reader(write(tmp_path, "bert"), MAX_LENGTH)
    assert (reader.cased, reader.padding) == (False, 0)
    assert pieces_of(reader, MARKED) == ["[CLS]", "not", "good", "user", "link", "[SEP]"]
    assert reader.tokenizer.encode("not good user link").ids == reader.encode([MARKED]).ids.tolist()


def test_a_cased_encoder_reads_case_and_the_masks_of_tweeteval(tmp_path: Path) -> None:
    reader = transformer.reader(write(tmp_path / "bert", "bert", word_pieces(cased=True)), MAX_LENGTH)
    assert (reader.cased, reader.padding) == (True, 0)
    assert pieces_of(reader, "BAD day @Bob") == ["[CLS]", "BAD", "day", "@", "user", "[SEP]"]
    assert pieces_of(reader, "bad")[1:-1] != ["BAD"]
    reader = transformer.reader(write(tmp_path / "roberta", "roberta"), MAX_LENGTH)
    assert (reader.cased, reader.padding) == (True, 1)
    assert reader.tokenizer.decode(reader.encode([MARKED]).ids.tolist()).split() == ["NOT", "good", "@user", "http"]


def test_a_vocabulary_with_the_masks_of_bertweet_gets_these(tmp_path: Path) -> None:
    words = {word: number for number, word in enumerate([*BYTES, "@USER", "HTTPURL", "good"])}
    whole = Tokenizer(models.WordPiece(words, unk_token="<unk>"))
    whole.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    whole.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    reader = transformer.reader(write(tmp_path, "roberta", whole), MAX_LENGTH)
    assert pieces_of(reader, MARKED) == ["<s>", "<unk>", "good", "@USER", "HTTPURL", "</s>"]


@given(
    st.text() | st.lists(st.sampled_from([*"@aA;&’'😀\u0301\ud83d \n", "http://", "WWW.", "&amp;", "lt;"])).map("".join)
)
@example("@Bob: &lt;3 &amp;amp; sooooo GOOD\ud800 https://T.co/X")
def test_what_is_folded_is_what_is_cleaned_but_for_case_and_repeats(text: str) -> None:
    text = text.replace("İ", "I")  # the one letter that lower case makes two of
    lowered = fold(text).replace("’", "'").lower()
    assert " ".join(re.sub(r"(\S)\1{3,}", r"\1\1\1", lowered).split()) == clean(text)
    fold(text).encode()


def test_a_tokenizer_is_read_as_it_is_whatever_lies_beside_it(tmp_path: Path) -> None:
    cased = write(tmp_path / "cased", "bert", word_pieces(cased=True))
    expected = ["[CLS]", "BAD", "day", "[SEP]"]
    assert pieces_of(transformer.reader(cased, MAX_LENGTH), "BAD day") == expected
    (cased / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    assert pieces_of(transformer.reader(cased, MAX_LENGTH), "BAD day") == expected
    (cased / "tokenizer_config.json").write_text('{"tokenizer_class": "BertweetTokenizer"}')
    assert pieces_of(transformer.reader(cased, MAX_LENGTH), "BAD day") == expected
    padded = byte_pieces()
    padded.enable_padding(length=50)
    padded.enable_truncation(7)
    reader = transformer.reader(write(tmp_path / "padded", "xlm-roberta", padded), MAX_LENGTH)
    assert len(reader.encode(["bad"]).ids) < 7
    assert len(reader.encode(["bad " * 60]).ids) == MAX_LENGTH


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_the_older_files_of_a_tokenizer_are_read_the_same(architecture: str, tmp_path: Path) -> None:
    folder = write(tmp_path, architecture)
    texts = ["so good @x", "what a BAD day!"]
    expected = transformer.reader(folder, MAX_LENGTH).encode(texts).ids
    whole = Tokenizer.from_file(str(folder / "tokenizer.json"))
    (folder / "tokenizer.json").unlink()
    whole.model.save(str(folder))
    assert np.array_equal(transformer.reader(folder, MAX_LENGTH).encode(texts).ids, expected)


def test_the_share_of_unknown_pieces_is_told(tmp_path: Path) -> None:
    reader = transformer.reader(write(tmp_path / "bert", "bert"), MAX_LENGTH)
    assert reader.encode(["good", "привет"]).unknown == pytest.approx(1 / 6)
    reader = transformer.reader(write(tmp_path / "roberta", "roberta"), MAX_LENGTH)
    assert reader.unknown == -1
    assert reader.encode(["good", "привет"]).unknown == 0
    pieces = Tokenizer(models.Unigram([("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("a", -1.0)], 3))
    pieces.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    reader = transformer.reader(write(tmp_path / "xlm-roberta", "xlm-roberta", pieces), MAX_LENGTH)
    assert reader.encode(["a", "b"]).unknown == pytest.approx(1 / 6)


@every_architecture
def test_as_many_pieces_as_there_are_places_and_no_more(architecture: str, tmp_path: Path) -> None:
    folder = write(tmp_path, architecture)
    reader = transformer.reader(folder, PLACES)
    longest = reader.encode(["good " * 100])
    network = transformer.build(folder, Settings())
    assert np.isfinite(fine_tuning.logits(network, longest, reader.padding, place=None)).all()
    assert longest.lengths.tolist() == [PLACES]
    with pytest.raises(InputError, match=f"max_length={PLACES + 1}: allowed: at most {PLACES} with this encoder"):
        transformer.reader(folder, PLACES + 1)


# The network


def hidden(network: Network, numbers: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network.encoder(input_ids=numbers, attention_mask=mask).last_hidden_state


def test_a_text_is_the_mean_of_its_pieces_without_padding_or_its_first_piece(tmp_path: Path) -> None:
    folder = write(tmp_path, "bert")
    numbers, mask = batch(50, 0, 5, 9)
    assert mask.min() == 0
    for head, features in (
        ("mean", lambda states, length: states[:length].mean(0)),
        ("cls", lambda states, length: states[0]),
    ):
        network = transformer.build(folder, Settings(head=head)).eval()
        states = hidden(network, numbers, mask)
        with torch.no_grad():
            found = network(numbers, mask)
            for row, length in enumerate(mask.sum(1).tolist()):
                expected = network.logit(features(states[row], length))[0]
                assert torch.allclose(found[row], expected, atol=1e-5)
                alone = network(numbers[row : row + 1, :length], mask[row : row + 1, :length])[0]
                assert torch.allclose(found[row], alone, atol=1e-5)


@every_architecture
def test_frozen_are_the_embeddings_and_the_lowest_layers_and_nothing_else(architecture: str, tmp_path: Path) -> None:
    folder = write(tmp_path, architecture, **({"embedding_size": 16} if architecture == "electra" else {}))
    of_layer = {number: f".layer.{number - 1}." for number in (1, 2)}
    for layers in range(3):
        network = transformer.build(folder, Settings(freeze_layers=layers))
        for name, parameter in network.named_parameters():
            number = next((number for number, part in of_layer.items() if part in name), 0)
            learns = name.startswith("logit.") or not layers or number > layers
            assert parameter.requires_grad == learns, name
    with pytest.raises(InputError, match="freeze_layers=3: allowed: at most the 2 layers of the encoder"):
        transformer.build(folder, Settings(freeze_layers=3))


def test_a_head_follows_from_the_seed_and_dropout_is_that_of_the_settings(tmp_path: Path) -> None:
    folder = write(tmp_path, "bert", hidden_dropout_prob=0.3)
    one, same, other = (transformer.build(folder, Settings(seed=seed, dropout=0.2)) for seed in (1, 1, 2))
    assert torch.equal(one.logit.weight, same.logit.weight)
    assert not torch.equal(one.logit.weight, other.logit.weight)
    assert {module.p for module in one.modules() if isinstance(module, torch.nn.Dropout)} == {0.2}


@every_architecture
def test_a_saved_encoder_is_one_that_can_be_trained_further(architecture: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "first", architecture)
    network = transformer.build(folder, Settings()).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01)
    transformer.save(network, "toy", folder, tmp_path / "second")
    second = encoder.find(str(tmp_path / "second"))
    again = transformer.build(second, Settings(freeze_layers=1)).eval()
    numbers, mask = batch(network.config.vocab_size, network.config.pad_token_id, 3, 7)
    assert torch.equal(hidden(again, numbers, mask), hidden(network, numbers, mask))
    assert torch.equal(again(numbers, mask), network(numbers, mask))
    ids = [transformer.reader(one, MAX_LENGTH).encode(ODD).ids for one in (folder, second)]
    assert np.array_equal(*ids)
    assert encoder.digest(second) != encoder.digest(folder)


def test_the_older_files_of_a_tokenizer_are_saved_with_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "first", "roberta")
    Tokenizer.from_file(str(folder / "tokenizer.json")).model.save(str(folder))
    (folder / "tokenizer.json").unlink()
    (folder / "added_tokens.json").write_text('{"<emoji>": 320}')
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    transformer.save(transformer.build(folder, Settings()), "toy", folder, tmp_path / "second")
    assert {path.name for path in (tmp_path / "second").iterdir()} == {
        *("config.json", encoder.WEIGHTS, encoder.HEAD, "vocab.json", "merges.txt", "added_tokens.json"),
    }


def test_a_head_goes_with_its_encoder(tmp_path: Path) -> None:
    first, second = write(tmp_path / "first", "bert"), tmp_path / "second"
    network = transformer.build(first, Settings(head="cls"))
    transformer.save(network, "toy", first, second)
    assert (transformer.origin(first), transformer.origin(second)) == ("", "toy")
    again = transformer.build(second, Settings(head="cls", epochs=0, seed=7))
    assert torch.equal(again.logit.weight, network.logit.weight)
    changed = encoder.digest(second)
    save_file({"weight": torch.zeros(1, 9), "bias": torch.zeros(1)}, second / encoder.HEAD, {"head": "cls"})
    assert encoder.digest(second) != changed
    assert f"{encoder.HEAD} does not fit the encoder beside it" in refused(
        lambda: transformer.build(second, Settings(head="cls"))
    )
    assert refused(lambda: transformer.build(second, Settings(head="mean"))) == (
        f"head=mean: {second / encoder.HEAD} was fine-tuned with cls; allowed: head=cls"
    )
    (second / encoder.HEAD).write_bytes(b"{}")
    assert f"{second / encoder.HEAD} cannot be read (" in refused(lambda: transformer.build(second, Settings()))


def test_nothing_to_learn_needs_a_head_that_has_learned(tmp_path: Path) -> None:
    folder = write(tmp_path / "first", "bert")
    assert refused(lambda: transformer.build(folder, Settings(epochs=0))) == (
        f"epochs=0: {folder} has no {encoder.HEAD}; allowed: 1 or more, or the encoder of a finished train_bert"
    )


# What is refused


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("whole"), "bert")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A folder of an encoder to do harm to."""
    return Path(shutil.copytree(whole, tmp_path / "encoder"))


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        act()
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(("encoder: ", "head=", "epochs=0: "))
    return message


def configure(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("architecture", ["gpt2", "t5", "deberta-v2", "camembert"])
def test_another_architecture_is_refused(architecture: str, folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": architecture}))
    for act in (lambda: transformer.build(folder, Settings()), lambda: transformer.reader(folder, MAX_LENGTH)):
        allowed = "allowed: bert, roberta, xlm-roberta, distilbert, electra"
        assert f"{folder} is of the architecture {architecture}; {allowed}" in refused(act)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"3", b"{}", b"\xff\x00", b'{"model_type": "nothing that is known"}'),
        b'{"model_type": "bert", "hidden_size": "wide"}',
        b'{"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}',
    ],
)
def test_a_configuration_that_is_none_is_refused_and_none_of_its_code_is_run(
    content: bytes, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "config.json").write_bytes(content)
    (folder / "mine.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nclass Config: pass\n")
    for act in (lambda: transformer.build(folder, Settings()), lambda: transformer.reader(folder, MAX_LENGTH)):
        assert f"{folder}/config.json cannot be read (" in refused(act)
    assert capsys.readouterr().out == "", "nothing is asked"
    assert not (folder / "ran").exists()


def test_code_beside_a_known_architecture_is_not_run(folder: Path) -> None:
    names = {"AutoConfig": "mine.Config", "AutoModel": "mine.Model", "AutoTokenizer": ["mine.Tokenizer", None]}
    configure(folder, auto_map=names)
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": names}))
    (folder / "mine.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    transformer.build(folder, Settings())
    transformer.reader(folder, MAX_LENGTH)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(("change", "reason"), [({"num_attention_heads": 5}, "5"), ({"hidden_act": "none"}, "none")])
def test_a_configuration_that_no_network_can_have_is_refused(
    change: dict[str, object], reason: str, folder: Path
) -> None:
    configure(folder, **change)
    message = refused(lambda: transformer.build(folder, Settings()))
    assert "cannot be read (" in message
    assert reason in message


def test_weights_that_lack_tensors_are_refused(folder: Path) -> None:
    weights = folder / encoder.WEIGHTS
    kept = {name: tensor for name, tensor in load_file(weights).items() if "layer.1.attention.self" not in name}
    save_file(kept, weights, {"format": "pt"})
    first = "encoder.layer.1.attention.self.key.bias"
    assert f"lack 6 tensors of its config.json, {first} for one" in refused(
        lambda: transformer.build(folder, Settings())
    )


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    configure(folder, intermediate_size=48)
    message = refused(lambda: transformer.build(folder, Settings()))
    assert "encoder.layer.0.intermediate.dense.bias in the weights of" in message
    assert "has shape (64,); its config.json wants (48,)" in message


@pytest.mark.parametrize("harm", [lambda whole: whole[:-100], lambda whole: whole[:5], lambda whole: b"<html>" * 9])
def test_damaged_weights_are_refused(harm: Callable[[bytes], bytes], folder: Path) -> None:
    weights = folder / encoder.WEIGHTS
    weights.write_bytes(harm(weights.read_bytes()))
    assert f"the weights of {folder} cannot be read (" in refused(lambda: transformer.build(folder, Settings()))


def test_pickled_weights_are_not_read(folder: Path) -> None:
    torch.save(load_file(folder / encoder.WEIGHTS), folder / "pytorch_model.bin")
    (folder / encoder.WEIGHTS).unlink()
    assert f"the weights of {folder} cannot be read (" in refused(lambda: transformer.build(folder, Settings()))


def test_weights_in_half_precision_and_with_a_head_of_another_task_are_read(folder: Path) -> None:
    weights = folder / encoder.WEIGHTS
    half = {f"bert.{name}": tensor.half() for name, tensor in load_file(weights).items() if "pooler" not in name}
    save_file(half | {"cls.predictions.bias": torch.zeros(3)}, weights, {"format": "pt"})
    assert {parameter.dtype for parameter in transformer.build(folder, Settings()).parameters()} == {torch.float32}


def test_a_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    message = refused(lambda: transformer.reader(folder, MAX_LENGTH))
    assert f"{folder} has no tokenizer: none of tokenizer.json, vocab.*, *.model" in message


def without_marks(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = None
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "has no tokenizer that tokenizers can read ("),
        (lambda folder: (folder / "tokenizer.json").write_text("[]"), "has no tokenizer that tokenizers can read ("),
        (without_marks, "adds no marks"),
        (lambda folder: byte_pieces().save(str(folder / "tokenizer.json")), "pieces, its config.json"),
    ],
)
def test_a_tokenizer_that_does_not_serve_is_refused(harm: Callable[[Path], object], reason: str, folder: Path) -> None:
    harm(folder)
    assert reason in refused(lambda: transformer.reader(folder, MAX_LENGTH))
