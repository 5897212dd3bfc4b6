"""Training and serving read the same words: TOKEN's, numbered by one tokenizer file, cut and filled up alike."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from steps.sentiment import vocabulary
from steps.sentiment.command_line import InputError
from steps.sentiment.model import TOKEN, OnnxScorer, clean
from tests.conftest import ROOT

SAMPLE = (ROOT / "data/sample/tweets.csv").read_text(encoding="utf-8").splitlines()[1:400]
SIZE = 60_000


def read_back(texts: list[str]) -> list[list[str]]:
    """Return the words of `texts` after a vocabulary of all their words has numbered them."""
    tokenizer = vocabulary.learn(texts, SIZE, 1)
    names, encoded = vocabulary.words(tokenizer), vocabulary.encode(tokenizer, texts, 10_000)
    return [[names[number] for number in encoded.padded(np.array([row]))[0]] for row in range(len(texts))]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    # Numbers by frequency: good 2, bad 3, and so on.
    return vocabulary.learn(["good good good good", "bad bad bad", "not not", "so"], SIZE, 1)


# The words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I don’t NOT like it, cannot", ["i", "don't", "not", "like", "it", "cannot"]),
        ("so sad :-( but :D <3 ^_^ =)", ["so", "sad", ":-(", "but", ":d", "<3", "^_^", "=)"]),
        ("great 😀👍🏽 ❤️", ["great", "😀", "👍", "🏽", "❤", "\ufe0f"]),
        ("#fail #not_good #1", ["#fail", "#not_good", "#1"]),
        ("@Bob_1 see https://t.co/AbC1", ["<user>", "see", "<link>"]),
        ("nooooo!!! why?! ...", ["nooo", "!!!", "why", "?!", "..."]),
        ("a user, a link", ["a", "user", "a", "link"]),
        ("[PAD] [UNK]", ["[", "pad", "]", "[", "unk", "]"]),
    ],
)
def test_words_are_those_that_carry_feeling(text, words):
    assert read_back([text]) == [words]


def test_words_of_the_sample_are_the_baselines():
    assert read_back(SAMPLE) == [re.findall(TOKEN, clean(text)) for text in SAMPLE]


# Without marks that join the sign before them: Python takes these apart from it, the tokenizer does not.
PIECES = st.sampled_from(
    ["n't", "'", "don't", "NOT", ":)", ":-(", ":'(", ":D", "=P", ":/", "<3", "^_^", "<user>", "<link>", "@bob", "#tag", "##",
     "https://t.co/x", "www.x.y", "&amp;", "&lt;3", "&quot", "😀", "👍🏽", "👩‍👧", "!!", "?!", "...", "soooo", "[UNK]", "1st", "_"]
)  # fmt: skip
SIGNS = st.characters(max_codepoint=0x24F, exclude_characters="İ") | st.sampled_from(
    "яЖ日本かé♥☕’“”…–€\u200b\u200d\u2028"
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES | st.text(SIGNS, max_size=6) | st.just(" "), max_size=12).map("".join))
def test_words_are_tokens_of_any_tweet(text):
    expected = re.findall(TOKEN, clean(text))
    if expected:
        assert read_back([text]) == [expected]
    else:
        with pytest.raises(InputError):
            vocabulary.learn([text], SIZE, 1)


# The vocabulary


def test_vocabulary_holds_the_most_frequent_words_in_order():
    texts = ["a a a a", "b b b", "c c", "d"]
    assert vocabulary.words(vocabulary.learn(texts, SIZE, 1)) == ["[PAD]", "[UNK]", "a", "b", "c", "d"]
    assert vocabulary.words(vocabulary.learn(texts, 2, 1)) == ["[PAD]", "[UNK]", "a", "b"]
    assert vocabulary.words(vocabulary.learn(texts, SIZE, 2)) == ["[PAD]", "[UNK]", "a", "b", "c"]
    assert vocabulary.words(vocabulary.learn(texts, 1, 3)) == ["[PAD]", "[UNK]", "a"]


def test_vocabulary_is_the_same_for_the_same_texts_in_another_order():
    counts = Counter(word for text in SAMPLE for word in re.findall(TOKEN, clean(text)))
    one, other = vocabulary.learn(SAMPLE, 300, 2), vocabulary.learn(SAMPLE[::-1], 300, 2)
    assert one.to_str() == other.to_str()
    kept = vocabulary.words(one)[2:]
    assert len(kept) == 300
    assert [counts[word] for word in kept] == sorted(counts.values(), reverse=True)[:300]


@pytest.mark.parametrize(("texts", "min_count"), [(["once", "only"], 2), (["", " . , "], 1), ([], 1)])
def test_vocabulary_without_a_word_is_refused(texts, min_count):
    with pytest.raises(InputError) as caught:
        vocabulary.learn(texts, SIZE, min_count)
    message = str(caught.value)
    assert "\n" not in message
    assert f"min_count={min_count}" in message
    assert f"{len(texts)} training tweets" in message
    assert "allowed: a smaller one" in message


# Numbers


def test_texts_keep_their_order_and_are_cut_after_max_tokens(tokenizer):
    encoded = vocabulary.encode(tokenizer, ["good bad not so", "so", "not good"], 3)
    assert len(encoded) == 3
    assert encoded.lengths.tolist() == [3, 1, 2]
    assert encoded.ids.dtype == np.int32
    assert encoded.ids.tolist() == [2, 3, 4, 5, 4, 2]
    assert encoded.starts.tolist() == [0, 3, 4, 6]


def test_order_outlasts_the_chunks(tokenizer, monkeypatch):
    monkeypatch.setattr(vocabulary, "CHUNK", 2)
    texts = ["good", "bad", "not", "so", "good so"]
    assert vocabulary.encode(tokenizer, texts, 9).ids.tolist() == [2, 3, 4, 5, 2, 5]


@pytest.mark.parametrize("text", ["", "  ", ". , .", "\x00"])
def test_text_without_a_word_is_one_unknown_word(tokenizer, text):
    encoded = vocabulary.encode(tokenizer, ["good", text, "bad"], 9)
    assert encoded.ids.tolist() == [2, 1, 3]
    assert encoded.lengths.tolist() == [1, 1, 1]


def test_unknown_share_counts_words_before_the_cut(tokenizer):
    assert vocabulary.encode(tokenizer, ["good bad", "so"], 9).unknown == 0
    encoded = vocabulary.encode(tokenizer, ["good yes yes", "bad"], 1)
    assert encoded.unknown == pytest.approx(2 / 4)
    assert encoded.ids.tolist() == [2, 3]
    assert vocabulary.encode(tokenizer, [""], 9).unknown == 0


def test_block_is_filled_up_with_zeros_and_holds_the_rows_asked_for(tokenizer):
    encoded = vocabulary.encode(tokenizer, ["good bad not", "so", "not good"], 9)
    assert encoded.padded(np.array([2, 1])).tolist() == [[4, 2], [5, 0]]
    assert encoded.padded(np.array([1, 1, 0])).tolist() == [[5, 0, 0], [5, 0, 0], [2, 3, 4]]
    assert encoded.padded(np.array([1]), length=4).tolist() == [[5, 0, 0, 0]]
    assert encoded.padded(np.array([0]), length=2).tolist() == [[2, 3, 4]], "a text is never cut here"
    assert encoded.padded(np.array([0])).dtype == np.int32


def test_saved_and_loaded_tokenizer_gives_the_same_numbers(tmp_path):
    learned = vocabulary.learn(SAMPLE, 500, 1)
    learned.save(str(tmp_path / vocabulary.FILE))
    loaded = Tokenizer.from_file(str(tmp_path / vocabulary.FILE))
    before, after = vocabulary.encode(learned, SAMPLE, 64), vocabulary.encode(loaded, SAMPLE, 64)
    assert before.ids.tolist() == after.ids.tolist()
    assert before.starts.tolist() == after.starts.tolist()
    assert 0 < before.unknown == after.unknown < 1


# An encoder's own vocabulary


def word_pieces(folder: Path) -> Path:
    """Write a WordPiece tokenizer as encoders have it, which frames a text, cuts it after 3 words and fills it up to 8."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "user", "link", "good", "un", "##good", "<", ">", "naive"]
    pieces = Tokenizer(models.WordPiece({name: number for number, name in enumerate(names)}, unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer()
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    pieces.enable_truncation(3)
    pieces.enable_padding(length=8)
    pieces.save(str(folder / vocabulary.FILE))
    return folder


def test_tokenizer_of_an_encoder_reads_masks_as_words_and_neither_cuts_nor_fills_up(tmp_path):
    tokenizer = vocabulary.of_encoder(word_pieces(tmp_path))
    encoded = vocabulary.encode(tokenizer, ["@bob http://a.b ungood good naïve", "hmm"], 64)
    names = vocabulary.words(tokenizer)
    assert [names[number] for number in encoded.ids] == ["user", "link", "un", "##good", "good", "naive", "[UNK]"]
    assert encoded.lengths.tolist() == [6, 1]
    assert encoded.unknown == pytest.approx(1 / 7)


def test_tokenizer_of_an_encoder_is_the_same_after_saving(tmp_path):
    tokenizer = vocabulary.of_encoder(word_pieces(tmp_path))
    tokenizer.save(str(tmp_path / "saved.json"))
    texts = ["@bob http://a.b ungood good", "<good>", ""]
    again = vocabulary.encode(Tokenizer.from_file(str(tmp_path / "saved.json")), texts, 64)
    assert again.ids.tolist() == vocabulary.encode(tokenizer, texts, 64).ids.tolist()


# Training and serving

CUT = 5
BASE = 1000


def write_network(folder: Path) -> None:
    """Write a network whose logit tells the numbers that it read: its digits in the base of 1000, first word last."""
    powers = helper.make_tensor("powers", TensorProto.INT64, [CUT], [BASE**place for place in range(CUT)])
    constants = [powers, *(helper.make_tensor(f"n{n}", TensorProto.INT64, [1], [n]) for n in (0, 1, 2))]
    nodes = [
        helper.make_node("Cast", ["numbers"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Shape", ["wide"], ["shape"]),
        helper.make_node("Slice", ["shape", "n1", "n2"], ["width"]),
        helper.make_node("Slice", ["powers", "n0", "width"], ["places"]),
        helper.make_node("Mul", ["wide", "places"], ["digits"]),
        helper.make_node("ReduceSum", ["digits", "n1"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["logits"], to=TensorProto.DOUBLE),
    ]
    graph = helper.make_graph(
        nodes,
        "reader",
        [helper.make_tensor_value_info("numbers", TensorProto.INT32, ["texts", "words"])],
        [helper.make_tensor_value_info("logits", TensorProto.DOUBLE, ["texts", 1])],
        constants,
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "model.onnx"
    )


def digits(logit: float) -> list[int]:
    number, found = int(logit), []
    while number:
        number, digit = divmod(number, BASE)
        found.append(digit)
    return found


@pytest.mark.parametrize("own", [True, False])
def test_serving_reads_the_numbers_of_training(tmp_path, own):
    odd = ["", " . ", "i❤️you", "ขอบคุณ", "\ud800", "I don’t", "@bob http://x.y &amp;lt;3 [PAD] ungood", "NOOOOOO!!!! :("]
    texts = [*odd, *SAMPLE, "one two three four five", "one two three four five six"]
    tokenizer = vocabulary.learn(texts, BASE - 2, 1) if own else vocabulary.of_encoder(word_pieces(tmp_path))
    tokenizer.save(str(tmp_path / vocabulary.FILE))
    write_network(tmp_path)
    encoded = vocabulary.encode(tokenizer, texts, CUT)
    whole = vocabulary.encode(tokenizer, texts, 10_000)

    logits, truncated = OnnxScorer(tmp_path, {"max_tokens": CUT})(texts)
    trained = [encoded.padded(np.array([row]))[0].tolist() for row in range(len(texts))]
    assert [digits(logit) for logit in logits] == trained
    assert truncated.tolist() == (whole.lengths > CUT).tolist()
    assert truncated.any()
    assert not truncated.all()
