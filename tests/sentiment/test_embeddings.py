"""Each embedding gives the words of the training split their vectors, the same ones every time, and refuses any other file."""

import bz2
import gzip
import hashlib
import json
import lzma
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gensim.downloader
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from steps.sentiment import dataset as datasets
from steps.sentiment import embeddings, encoder, vocabulary
from steps.sentiment.command_line import InputError
from steps.sentiment.dataset import Dataset
from steps.sentiment.embeddings import Embedding, Options

DERIVED = Path("data/processed/derived")
SMALL = Options(dimension=8, min_count=2)


def write_dataset(folder: Path, train: list[str], digest: str) -> Dataset:
    """Write a dataset with these training tweets, and words in validation and test that training does not have."""
    texts = [(text, "train") for text in train]
    texts += [("unheard words for validation", "validation")] * 8 + [("unheard words for test", "test")] * 8
    rows = pd.DataFrame(texts, columns=["text", "split"]).assign(label=lambda rows: (rows.index % 2).astype("int8"))
    folder.mkdir()
    rows.to_parquet(folder / "tweets.parquet", index=False)
    (folder / "dataset.json").write_text(json.dumps({"digest": digest, "source": "made here", "sha256": {}}))
    return datasets.load(folder, "made here")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Frequent words, two that come seldom, one that comes once."""
    random = np.random.default_rng(0)
    people, moods = ["ann", "bob", "the dog", "the cat"], ["likes", "hates", "eats"]
    texts = [
        f"{random.choice(people)} {random.choice(moods)} {random.choice(['soup', 'rain', 'bread'])} :)"
        for _ in range(6000)
    ]
    texts += ["seldom rain", "seldom soup seldomly", "seldomly bread once"]
    return write_dataset(tmp_path_factory.mktemp("data") / "made", texts, "0123456789abcdef")


@pytest.fixture(scope="module")
def odd_words(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Words that a file of vectors knows in another form, if at all."""
    text = "good don't #fail #no #not #not's sooooo yesss... @bob http://a.b :D <3 ;3 o'unseen nowhere PAD UNK"
    return write_dataset(tmp_path_factory.mktemp("data") / "odd", [text] * 3, "fedcba9876543210")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def vector(embedding: Embedding, word: str) -> list[float] | None:
    """Return the vector of a word, or None where it is random."""
    number = embedding.tokenizer.get_vocab()[word]
    return embedding.vectors[number].tolist() if embedding.found[number] else None


# Learned here


@pytest.mark.parametrize("name", ["learned", "word2vec", "fasttext"])
def test_every_word_of_the_training_split_has_a_vector(dataset, name):
    embedding = embeddings.load(name, dataset, SMALL)
    words = vocabulary.words(embedding.tokenizer)
    assert words[:2] == [vocabulary.PADDING, vocabulary.UNKNOWN]
    assert set(words[2:]) == {
        *("ann", "bob", "the", "dog", "cat", "likes", "hates", "eats"),
        *("soup", "rain", "bread", ":)", "seldom", "seldomly"),
    }
    assert embedding.vectors.shape == (len(words), 8)
    assert embedding.vectors.dtype == np.float32
    assert embedding.found.shape == (len(words),)
    assert not embedding.vectors[0].any(), "padding says nothing"
    assert embedding.vectors[1:].any(axis=1).all()
    assert not embedding.found[0]
    assert len(np.unique(embedding.vectors, axis=0)) == len(words)


def test_options_bound_the_vocabulary(dataset):
    words = vocabulary.words(embeddings.load("learned", dataset, replace(SMALL, words=3)).tokenizer)
    assert len(words) == 2 + 3
    assert ":)" in words
    everything = vocabulary.words(embeddings.load("learned", dataset, replace(SMALL, min_count=1)).tokenizer)
    assert "once" in everything
    with pytest.raises(InputError, match="min_count=100000"):
        embeddings.load("word2vec", dataset, replace(SMALL, min_count=100_000))
    assert len(list(DERIVED.iterdir())) == 2, "the refused vocabulary is left half-written"


def test_learned_vectors_begin_at_random_and_small(dataset):
    embedding = embeddings.load("learned", dataset, replace(SMALL, dimension=400))
    assert not embedding.found.any()
    assert embedding.seconds == 0
    assert embedding.vectors[1:].std() == pytest.approx(embeddings.INITIAL, rel=0.05)


def test_word2vec_gives_rare_words_no_vector_and_fasttext_gives_them_one(dataset):
    word2vec = embeddings.load("word2vec", dataset, SMALL)
    assert vector(word2vec, "soup") is not None
    assert vector(word2vec, "seldom") is vector(word2vec, "seldomly") is None
    assert word2vec.vectors[~word2vec.found][2:].std() == pytest.approx(word2vec.vectors[word2vec.found].std(), rel=0.5)
    fasttext = embeddings.load("fasttext", dataset, SMALL)
    assert fasttext.found[2:].all()
    seldom, seldomly = vector(fasttext, "seldom"), vector(fasttext, "seldomly")
    assert np.corrcoef(seldom, seldomly)[0, 1] > np.corrcoef(seldom, vector(fasttext, "rain"))[0, 1], "from subwords"


@pytest.mark.parametrize("name", ["learned", "word2vec", "fasttext"])
def test_the_same_seed_gives_the_same_vectors_in_another_place(dataset, name, place, monkeypatch):
    first = embeddings.load(name, dataset, SMALL)
    (place / "there").mkdir()
    monkeypatch.chdir(place / "there")
    again = embeddings.load(name, dataset, SMALL)
    assert np.array_equal(first.vectors, again.vectors)
    assert np.array_equal(first.found, again.found)
    assert first.tokenizer.to_str() == again.tokenizer.to_str()
    other = embeddings.load(name, dataset, replace(SMALL, seed=1))
    assert not np.isclose(first.vectors[2:], other.vectors[2:]).all(axis=1).any()


@pytest.mark.parametrize("name", ["word2vec", "fasttext"])
def test_vectors_are_learned_once_for_a_dataset(dataset, name, tmp_path):
    first = embeddings.load(name, dataset, SMALL)
    assert first.seconds > 0
    (stored,) = DERIVED.glob(f"{name}-*/{embeddings.VECTORS}")
    assert len(list(DERIVED.iterdir())) == 2, "vocabulary and vectors"
    learned = np.load(stored)
    np.save(stored, learned * [*[2.0] * 8, 1])
    again = embeddings.load(name, dataset, SMALL)
    assert np.allclose(again.vectors[again.found], 2 * first.vectors[first.found]), "learned again, not read"
    assert again.seconds == first.seconds

    other = write_dataset(tmp_path / "other", ["ann likes rain", "bob hates soup"] * 20, "another digest")
    assert embeddings.load(name, other, SMALL).vectors.shape != first.vectors.shape
    for changed in (replace(SMALL, seed=1), replace(SMALL, dimension=9), replace(SMALL, min_count=3)):
        embeddings.load(name, dataset, changed)
    assert len(list(DERIVED.glob(f"{name}-*"))) == 5
    assert len(list(DERIVED.glob("vocabulary-*"))) == 3, "one for each dataset and min_count"


@pytest.mark.parametrize("name", ["word2vec", "fasttext"])
def test_unknown_word_is_learned_from_the_words_that_are_too_rare(name, tmp_path):
    texts = [f"ann likes {unique}" for unique in "abcdefgh"]
    embedding = embeddings.load(name, write_dataset(tmp_path / "rare", texts, "rare"), SMALL)
    assert vocabulary.words(embedding.tokenizer)[1:] == [vocabulary.UNKNOWN, "ann", "likes"]
    assert embedding.found.tolist() == [False, True, True, True]


def test_words_that_meet_the_same_words_are_alike(tmp_path):
    random = np.random.default_rng(0)
    groups = {"animal": ["dog", "cat", "cow"], "drink": ["tea", "milk", "beer"]}
    company = {"animal": ["barks", "runs", "sleeps", "eats"], "drink": ["cup", "glass", "warm", "cold"]}
    texts = []
    for _ in range(4000):
        group = random.choice(list(groups))
        texts.append(" ".join([random.choice(groups[group]), *random.permutation(company[group])]))
    embedding = embeddings.load("word2vec", write_dataset(tmp_path / "d", texts, "d"), SMALL)
    vectors = {word: np.array(vector(embedding, word)) for word in ("dog", "cat", "tea", "beer")}

    def likeness(one: str, other: str) -> float:
        return float(vectors[one] @ vectors[other] / np.linalg.norm(vectors[one]) / np.linalg.norm(vectors[other]))

    assert min(likeness("dog", "cat"), likeness("tea", "beer")) > likeness("dog", "tea") + 0.1


# Read from a file


def glove(dataset: Dataset, file: Path | str, seed: int = 0) -> Embedding:
    return embeddings.load("glove", dataset, Options(file=str(file), seed=seed))


KNOWN = {
    "good": [1.0, 0.0, 0.0], "don": [0.0, 2.0, 0.0], "t": [0.0, 0.0, 4.0], "fail": [3.0, 0.0, 0.5], "so": [0.25, 1.0, 0.0],
    "yess": [0.5, 0.5, 0.5], "#no": [5.0, 0.0, 0.0], "no": [6.0, 0.0, 0.0], "<user>": [0.0, 7.0, 0.0], "<url>": [0.0, 0.0, 8.0],
    "not": [0.0, 9.0, 9.0], "..": [9.0, 0.0, 9.0], "d": [0.1, 0.1, 0.1], "3": [0.2, 0.2, 0.2], "pad": [0.3, 0.3, 0.3],
    "PAD": [0.4, 0.4, 0.4], "UNK": [0.5, 0.5, 0.4], "user": [0.6, 0.6, 0.6], "other": [0.7, 0.7, 0.7],
}  # fmt: skip


def lines(known: dict[str, list[float]]) -> bytes:
    return "".join(f"{word} {' '.join(map(str, numbers))}\n" for word, numbers in known.items()).encode()


@pytest.fixture
def file(place: Path) -> Callable[[str, bytes], Path]:
    def write(name: str, content: bytes) -> Path:
        (place / name).write_bytes(content)
        return place / name

    return write


HEADER = b"%d 3\n" % len(KNOWN)
BINARY = HEADER + b"".join(word.encode() + b" " + np.float32(numbers).tobytes() for word, numbers in KNOWN.items())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("glove.txt", lines(KNOWN)),
        ("glove", lines(KNOWN).removesuffix(b"\n")),
        ("windows.txt", lines(KNOWN).replace(b"\n", b"\r\n")),
        ("spaces.txt", lines(KNOWN).replace(b"\n", b" \n")),
        ("word2vec.txt", HEADER + lines(KNOWN)),
        ("word2vec-tab.txt", HEADER.replace(b" ", b"\t") + lines(KNOWN)),
        ("glove.txt.gz", gzip.compress(lines(KNOWN))),
        ("word2vec.gz", gzip.compress(HEADER + lines(KNOWN))),
        ("glove.bz2", bz2.compress(lines(KNOWN))),
        ("glove.xz", lzma.compress(lines(KNOWN))),
        ("word2vec.bin", BINARY),
        ("word2vec.bin.gz", gzip.compress(BINARY)),
    ],
)
def test_formats_of_vectors(odd_words, file, name, content):
    path = file(name, content)
    known = embeddings.read_vectors(path)
    assert {word: known[word].tolist() for word in known.index_to_key} == {
        word: np.float32(numbers).tolist() for word, numbers in KNOWN.items()
    }
    assert vector(glove(odd_words, path), "good") == KNOWN["good"]


def test_words_are_found_in_their_nearest_form(odd_words, file):
    embedding = glove(odd_words, file("glove.txt", lines(KNOWN)))
    assert {word: vector(embedding, word) for word in vocabulary.words(embedding.tokenizer)} == {
        "[PAD]": None,
        "[UNK]": None,
        "good": KNOWN["good"],
        "don't": [0.0, 1.0, 2.0],  # the mean of its parts
        "#fail": KNOWN["fail"],
        "#no": KNOWN["#no"],  # as it is, before without #
        "#not": KNOWN["not"],
        "'": None,
        "s": None,
        "sooo": KNOWN["so"],
        "yesss": KNOWN["yess"],
        "...": KNOWN[".."],
        "<user>": KNOWN["<user>"],
        "<link>": KNOWN["<url>"],
        ":d": None,  # no letter d
        "<3": None,  # no number 3
        ";3": None,
        "o'unseen": None,
        "nowhere": None,
        "pad": np.float32(KNOWN["pad"]).tolist(),
        "unk": None,
    }


def test_masks_are_words_where_the_file_has_no_masks(odd_words, file):
    known = {word: numbers for word, numbers in KNOWN.items() if not word.startswith("<")} | {"url": [0.0, 1.0, 1.0]}
    embedding = glove(odd_words, file("glove.txt", lines(known)))
    assert vector(embedding, "<user>") == np.float32(KNOWN["user"]).tolist()
    assert vector(embedding, "<link>") == known["url"]


def test_words_without_a_vector_begin_at_random_as_wide_as_the_others(odd_words, file):
    path = file("glove.txt", lines(KNOWN))
    one, same, other = glove(odd_words, path), glove(odd_words, path), glove(odd_words, path, seed=1)
    missing = ~one.found
    assert not one.vectors[0].any()
    assert np.array_equal(one.vectors, same.vectors)
    assert np.array_equal(one.vectors[one.found], other.vectors[one.found])
    assert not (one.vectors[missing][1:] == other.vectors[missing][1:]).any()
    assert one.vectors[missing][1:].std() == pytest.approx(one.vectors[one.found].std(), rel=0.5)
    assert one.vectors.dtype == np.float32
    assert one.seconds == 0


GOOD = lines(KNOWN)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.txt", b"", "no numbers in line 1"),
        ("empty.gz", b"", "no numbers in line 1"),
        ("blank.txt", b"\n \n", "no numbers in line 1"),
        ("words.txt", b"good\nbad\n", "no numbers in line 1"),
        ("tabs.txt", GOOD.replace(b" ", b"\t"), "no numbers in line 1"),
        ("shorter.txt", b"good 1 2 3\nbad 1 2\nso 1 2 3\n", "2 and not 3 numbers in line 2"),
        ("longer.txt", b"good 1 2 3\nbad 1 2 3\nso 1 2 3 4\n", "4 and not 3 numbers in line 3"),
        ("one.txt", b"good 1 2 3\nbad 1\nso 1 2 3\n", "1 and not 3 numbers in line 2"),
        ("none.txt", b"good 1 2 3\nbad\nso 1 2 3\n", "0 and not 3 numbers in line 2"),
        ("gap.txt", b"good 1 2 3\n\nso 1 2 3\n", "0 and not 3 numbers in line 2"),
        ("cut.txt", GOOD[:-7], "numbers in line 19"),
        ("name.txt", b"good 1 2 3\nbad 1 two 3\n", "could not convert string to float: 'two'"),
        ("nan.txt", GOOD + b"bad 1 nan 3\n", "not finite"),
        ("infinite.txt", GOOD + b"bad 1 -inf 3\n", "not finite"),
        ("large.txt", GOOD + b"bad 1 1e39 3\n", "not finite"),
        ("header-few.txt", b"3 3\n" + GOOD, "19 words and not 3, as line 1 says"),
        ("header-many.txt", b"20 3\n" + GOOD, "19 words and not 20, as line 1 says"),
        ("header-huge.txt", b"99999999999999999999 3\n" + GOOD, "19 words and not 99999999999999999999"),
        ("header-wide.txt", b"19 4\n" + GOOD, "3 and not 4 numbers in line 2"),
        ("header-wide-1.txt", b"2 300\ngood 1\nbad 2\n", "1 and not 300 numbers in line 2"),
        ("header-huge-wide.txt", b"2 99999999999999\n" + GOOD, "3 and not 99999999999999 numbers in line 2"),
        ("header-negative.txt", b"-19 3\n" + GOOD, "19 words and not -19"),
        ("header-zero.txt", b"19 0\n" + GOOD, "no numbers in line 1"),
        ("header-words.txt", b"words numbers\n" + GOOD, "invalid literal for int"),
        ("header-alone.txt", b"0 3\n", "holds 0.0%"),
        ("csv.csv", b'"target","text"\n0,"so sad"\n4,"so glad"\n', "no numbers in line 1"),
        ("json.json", b'{"good": [1, 2, 3]}', "could not convert"),
        ("binary.bin", bytes(range(256)) * 50, ""),
        ("binary-word2vec.bin", HEADER + b"good " + np.float32([1, 2, 3]).tobytes() + b"\n", ""),
        ("nul.txt", bytes(5000), ""),
        ("utf-16.txt", GOOD.decode().encode("utf-16"), ""),
        ("latin-1.txt", GOOD + "é 1 2 3\n".encode("latin-1"), "can't decode"),
        ("no-gzip.gz", GOOD, "Not a gzipped file"),
        ("no-xz.xz", GOOD, ""),
        ("no-bz2.bz2", GOOD, ""),
        ("unknown.zst", GOOD, ""),
        ("cut.gz", gzip.compress(bytes(range(256)) * 50)[:-30], "ended before"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:overflow")
def test_bad_file_is_refused_in_one_line(odd_words, file, name, content, reason):
    path = file(name, content)
    with pytest.raises(InputError) as caught:
        glove(odd_words, path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"vectors={path}: ")
    assert reason in message
    assert "; allowed: " in message


def test_damage_anywhere_in_a_compressed_file_is_refused(odd_words, file):
    words = "".join(f"word{number} {number * 0.37:.3f} {number % 7} 1.5\n" for number in range(3000)).encode()
    for name, whole in (("damaged.gz", gzip.compress(words)), ("damaged.xz", lzma.compress(words))):
        for start in range(20, len(whole) - 60, len(whole) // 15):
            damaged = whole[:start] + bytes(255 - byte for byte in whole[start : start + 40]) + whole[start + 40 :]
            with pytest.raises(InputError, match=name):
                glove(odd_words, file(name, damaged))


def test_binary_file_that_is_cut_is_refused(odd_words, file):
    with pytest.raises(InputError, match=r"cut\.bin: .*; allowed: a text file, gzipped or not"):
        glove(odd_words, file("cut.bin", BINARY[:-7]))


@pytest.mark.parametrize("name", ["word2vec", "fasttext"])
def test_without_a_frequent_word_there_is_nothing_to_learn_vectors_from(name, tmp_path):
    rare = write_dataset(tmp_path / "rare", ["good day"] * 2 + ["bad day"], "rare")
    with pytest.raises(
        InputError, match=f"embedding={name}: no word occurs 5 times .*allowed: more of them, or learned"
    ):
        embeddings.load(name, rare, embeddings.Options(dimension=4, min_count=1))


def test_folder_in_place_of_a_file_is_refused(odd_words, place):
    (place / "vectors.txt").mkdir()
    with pytest.raises(InputError, match=r"vectors\.txt.*directory.*; allowed: "):
        glove(odd_words, place / "vectors.txt")


def test_file_of_another_language_is_refused(odd_words, file):
    path = file("glove.txt", lines({"gut": [1, 2], "schlecht": [3, 4]}))
    with pytest.raises(InputError) as caught:
        glove(odd_words, path)
    message = str(caught.value)
    words = len(vocabulary.words(embeddings.load("learned", odd_words, Options()).tokenizer))
    assert message.startswith(
        f"vectors={path}: holds 0.0% of the {words} words of the training tweets; allowed: at least 1%"
    )
    assert "\n" not in message


# Fetched by gensim


@dataclass
class Data:
    """A loopback server with the layout of gensim-data: its list, and the files of each name."""

    files: dict[str, bytes] = field(default_factory=dict)
    breaks: str = ""  #: the path of which only half is sent
    asked: list[str] = field(default_factory=list)

    def publish(self, name: str, content: bytes, checksum: str = "") -> None:
        checksum = checksum or hashlib.md5(content, usedforsecurity=False).hexdigest()
        entry = {"file_name": f"{name}.gz", "parts": 1, "checksum": checksum}
        self.files["/list.json"] = json.dumps({"corpora": {}, "models": {name: entry}}).encode()
        self.files[f"/{name}/__init__.py"] = b"raise AssertionError('code from the server was run')"
        self.files[f"/{name}/{name}.gz"] = content


def use(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    address = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(gensim.downloader, "DOWNLOAD_BASE_URL", address)
    monkeypatch.setattr(gensim.downloader._load_info, "__defaults__", (f"{address}/list.json", "utf-8"))


@pytest.fixture
def base(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ours in place of gensim's own folder and the one of its temporary files."""
    monkeypatch.setattr(gensim.downloader, "BASE_DIR", str(place / "gensim-data"))
    (place / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place / "temporary"))
    return place / "gensim-data"


@pytest.fixture
def server(base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Data]:
    data = Data()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data.asked.append(self.path)
            if self.path not in data.files:
                self.send_error(404)
                return
            body = data.files[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if self.path == data.breaks else body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    use(monkeypatch, http.server_port)
    yield data
    http.shutdown()
    http.server_close()


@pytest.fixture
def unreachable(base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        use(monkeypatch, closed.getsockname()[1])
        yield


def not_given(dataset: Dataset, name: str, base: Path) -> str:
    """Return the error of a name that is not to be had: it tells what to download and where to put it."""
    with pytest.raises(InputError) as caught:
        glove(dataset, name)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"vectors={name}: no such file, and gensim-data does not give it (")
    assert "; allowed: a file of vectors in text format, or a name of https://github.com/" in message
    assert message.endswith(f"whose NAME.gz can also be put at {base / name / name}.gz by hand")
    return message


def test_vectors_are_downloaded_once(odd_words, server, base):
    server.publish("glove-tiny-3", gzip.compress(HEADER + lines(KNOWN)))
    embedding = glove(odd_words, "glove-tiny-3")
    assert vector(embedding, "good") == KNOWN["good"]
    assert vector(embedding, "don't") == [0.0, 1.0, 2.0]
    assert "/glove-tiny-3/glove-tiny-3.gz" in server.asked
    server.asked.clear()
    assert np.array_equal(glove(odd_words, "glove-tiny-3").vectors, embedding.vectors)
    assert server.asked == []


def test_file_put_there_by_hand_is_read_without_a_server(odd_words, unreachable, base):
    (base / "glove-tiny-3").mkdir(parents=True)
    (base / "glove-tiny-3/glove-tiny-3.gz").write_bytes(gzip.compress(lines(KNOWN)))
    assert vector(glove(odd_words, "glove-tiny-3"), "good") == KNOWN["good"]


def test_unreachable_server_says_what_to_do(odd_words, unreachable, base):
    not_given(odd_words, "glove-tiny-3", base)
    assert list(base.rglob("*")) == []


@pytest.mark.parametrize("name", ["glove-tinny-3", "vectors/mistyped.txt"])
def test_unknown_name_says_what_to_do(odd_words, server, base, name):
    server.publish("glove-tiny-3", gzip.compress(lines(KNOWN)))
    assert "Incorrect model/corpus name" in not_given(odd_words, name, base)
    assert not (base / name).exists()


def test_wrong_checksum_is_refused_and_not_kept(odd_words, server, base):
    server.publish("glove-tiny-3", gzip.compress(lines(KNOWN)), checksum="0" * 32)
    assert "Checksum comparison failed" in not_given(odd_words, "glove-tiny-3", base)
    assert not (base / "glove-tiny-3").exists()
    server.publish("glove-tiny-3", gzip.compress(lines(KNOWN)))
    assert vector(glove(odd_words, "glove-tiny-3"), "good") == KNOWN["good"]


@pytest.mark.parametrize("path", ["/list.json", "/glove-tiny-3/__init__.py", "/glove-tiny-3/glove-tiny-3.gz"])
def test_download_that_breaks_off_is_refused_and_begun_again(odd_words, server, base, path):
    server.publish("glove-tiny-3", gzip.compress(lines(KNOWN)))
    server.breaks = path
    not_given(odd_words, "glove-tiny-3", base)
    assert not (base / "glove-tiny-3").exists()
    server.breaks = ""
    assert vector(glove(odd_words, "glove-tiny-3"), "good") == KNOWN["good"]


@pytest.mark.parametrize("answer", [b"<html>an error page</html>", b"[]", b"{}"])
def test_server_that_answers_something_else(odd_words, server, base, answer):
    server.files["/list.json"] = answer
    not_given(odd_words, "glove-tiny-3", base)


# An encoder's own


def test_vectors_and_vocabulary_of_an_encoder(dataset, place, monkeypatch):
    names = ["[PAD]", "[UNK]", "user", "link", "good", "un", "##good"]
    pieces = Tokenizer(models.WordPiece({name: number for number, name in enumerate(names)}, unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer()
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.save(str(place / vocabulary.FILE))
    weights = np.random.default_rng(0).normal(size=(len(names), 4)).astype(np.float16)
    save_file({"embeddings.word_embeddings.weight": weights, "pooler": weights[:2]}, place / encoder.WEIGHTS)
    monkeypatch.setattr(encoder, "minilm", lambda: place)

    embedding = embeddings.load("minilm", dataset, SMALL)
    assert vocabulary.words(embedding.tokenizer) == names
    assert embedding.vectors.dtype == np.float32
    assert np.array_equal(embedding.vectors[1:], weights[1:].astype(np.float32))
    assert not embedding.vectors[0].any()
    assert embedding.found.all()
    assert vocabulary.encode(embedding.tokenizer, ["@ann ungood"], 9).ids.tolist() == [2, 5, 6]
    assert not DERIVED.exists(), "nothing is learned"
