"""Word embeddings for the networks: learned with gensim from the training split, read from a file, or an encoder's own.

Each gives a vocabulary and one vector per word. Vectors learned from the tweets are made once per dataset (`derived`).

Sources: Mikolov et al. 2013 (Word2Vec, skip-gram); Bojanowski et al. 2017 (FastText, subwords); Pennington et al. 2014
(GloVe); all-MiniLM-L6-v2 for static token vectors.
"""

import codecs
import inspect
import itertools
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gensim
import gensim.downloader
import numpy as np
import tokenizers
from gensim.models import FastText, KeyedVectors, Word2Vec
from gensim.models.callbacks import CallbackAny2Vec
from safetensors import safe_open
from tokenizers import Tokenizer

from steps.sentiment import derived, encoder, model, vocabulary
from steps.sentiment.command_line import InputError, progress
from steps.sentiment.dataset import Dataset

VECTORS = "vectors.npy"
#: Words rarer than this get no Word2Vec vector; FastText builds theirs from subwords.
MIN_COUNT = 5
EPOCHS = {"word2vec": 5, "fasttext": 3}
#: Standard deviation of a word's vector before any training, as small as those that have been learned.
INITIAL = 0.1


@dataclass(frozen=True)
class Embedding:
    """A vocabulary and its vectors.

    Attributes:
        tokenizer: of the vocabulary.
        vectors: float32 of shape (n_words, dimension); row 0 is the padding.
        found: which words have a vector that is not random, shape (n_words,).
        seconds: that it took to learn the vectors, whenever that was.
    """

    tokenizer: Tokenizer
    vectors: np.ndarray
    found: np.ndarray
    seconds: float = 0.0


@dataclass(frozen=True)
class Options:
    """What an embedding depends on: `dimension` where it is learned here, `file` where it is read (GloVe)."""

    dimension: int = 100
    words: int = 60_000
    min_count: int = 2
    file: str = "glove-twitter-100"
    seed: int = 0


def load(name: str, dataset: Dataset, options: Options) -> Embedding:
    """Return the embedding called `name` for the words of a dataset's training split.

    Raises:
        InputError: an empty vocabulary; a file of vectors that is not to be had or cannot be used.
    """
    return EMBEDDINGS[name](dataset, options)


def _tokenizer(dataset: Dataset, options: Options) -> Tokenizer:
    def make(folder: Path) -> None:
        learned = vocabulary.learn(dataset.split("train")["text"].tolist(), options.words, options.min_count)
        learned.save(str(folder / vocabulary.FILE))

    settings = {
        "words": options.words,
        "min_count": options.min_count,
        "tokenizers": tokenizers.__version__,
        "code": [inspect.getsource(code) for code in (model.clean, model.undo_entities, vocabulary.learn)],
        "patterns": [
            model.TOKEN,
            *(pattern.pattern for pattern in (model.LINK, model.MENTION, model._ENTITY, model._REPEAT, model._CONTROL)),
        ],
    }
    folder = derived.folder("vocabulary", dataset.digest, settings, make)
    return Tokenizer.from_file(str(folder / vocabulary.FILE))


def _embedding(tokenizer: Tokenizer, vectors: np.ndarray, found: np.ndarray, seed: int) -> Embedding:
    # Words without a vector begin at random, with the spread of those that have one.
    spread = float(vectors[found].std()) if found.any() else INITIAL
    vectors = vectors.astype(np.float32)
    vectors[~found] = np.random.default_rng(seed).normal(0.0, spread, (int((~found).sum()), vectors.shape[1]))
    vectors[0] = 0.0
    return Embedding(tokenizer, vectors, found)


def _learned(dataset: Dataset, options: Options) -> Embedding:
    tokenizer = _tokenizer(dataset, options)
    size = tokenizer.get_vocab_size()
    return _embedding(tokenizer, np.zeros((size, options.dimension)), np.zeros(size, dtype=bool), options.seed)


def _gensim(name: str, algorithm: Callable[..., Any]) -> Callable[[Dataset, Options], Embedding]:
    def load_or_learn(dataset: Dataset, options: Options) -> Embedding:
        tokenizer = _tokenizer(dataset, options)

        def make(folder: Path) -> None:
            sentences = _Sentences(tokenizer, dataset.split("train")["text"].tolist())
            try:
                np.save(folder / VECTORS, _learn(algorithm, sentences, options, EPOCHS[name]))
            except RuntimeError as error:  # gensim's word for a vocabulary without a word
                raise InputError(
                    f"embedding={name}: no word occurs {MIN_COUNT} times in the training tweets; allowed: more of them, or learned"
                ) from error

        settings = {
            "vocabulary": tokenizer.to_str(),
            "dimension": options.dimension,
            "seed": options.seed,
            "epochs": EPOCHS[name],
            "min_count": MIN_COUNT,
            "gensim": gensim.__version__,
            "code": [inspect.getsource(code) for code in (_learn, _Sentences)],
        }
        folder = derived.folder(name, dataset.digest, settings, make)
        stored = np.load(folder / VECTORS)
        embedding = _embedding(tokenizer, stored[:, :-1], stored[:, -1] > 0, options.seed)
        return replace(embedding, seconds=derived.seconds(folder))

    return load_or_learn


def _learn(algorithm: Callable[..., Any], sentences: "_Sentences", options: Options, epochs: int) -> np.ndarray:
    """Return the vector of each word and, as last column, whether it has one: float32 of shape (n_words, dimension + 1)."""
    learned = algorithm(
        sentences=sentences,
        vector_size=options.dimension,
        sg=1,
        epochs=epochs,
        min_count=MIN_COUNT,
        seed=options.seed,
        workers=1,  # with more, the order of updates and so the vectors depend on the machine's mood
        callbacks=[_Progress(algorithm.__name__, epochs)],
    )
    # A word is in a FastText model when its subwords are: all are. In Word2Vec, the frequent ones are.
    found = np.array([number > 0 and word in learned.wv for number, word in enumerate(sentences.words)])
    vectors = np.zeros((len(found), options.dimension + 1), dtype=np.float32)
    vectors[found, :-1] = [learned.wv[word] for word in sentences.words[found]]
    vectors[found, -1] = 1
    return vectors


class _Sentences:
    """The words of texts, for gensim, which reads them once per epoch and once before."""

    def __init__(self, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        self.words = np.array(vocabulary.words(tokenizer), dtype=object)
        self._encoded = vocabulary.encode(tokenizer, texts, max_tokens=10_000)

    def __iter__(self) -> Any:
        for start, end in itertools.pairwise(self._encoded.starts):
            yield self.words[self._encoded.ids[start:end]].tolist()


class _Progress(CallbackAny2Vec):
    """A progress bar over the epochs of gensim."""

    def __init__(self, name: str, epochs: int) -> None:
        self._bar = progress(total=epochs, desc=name, unit="epoch")

    def on_epoch_end(self, _: Any) -> None:
        self._bar.update()

    def on_train_end(self, _: Any) -> None:
        self._bar.close()


def _glove(dataset: Dataset, options: Options) -> Embedding:
    tokenizer = _tokenizer(dataset, options)
    path = Path(options.file) if Path(options.file).exists() else _downloaded(options.file)
    known = read_vectors(path)
    words = vocabulary.words(tokenizer)
    vectors = np.zeros((len(words), known.vector_size))
    found = np.zeros(len(words), dtype=bool)
    for number, word in enumerate(words):
        vector = _nearest_form(known, word)
        if vector is not None:
            vectors[number], found[number] = vector, True
    if found.mean() < MIN_OVERLAP:
        raise InputError(
            f"vectors={options.file}: holds {found.mean():.1%} of the {len(words):,} words of the training tweets; allowed: at "
            f"least {MIN_OVERLAP:.0%}. Is it in another language, or cased?"
        )
    return _embedding(tokenizer, vectors, found, options.seed)


#: Below this share of the vocabulary a file of vectors is not what it was taken for.
MIN_OVERLAP = 0.01
_MASKS = {"<link>": "<url>"}


def _nearest_form(known: KeyedVectors, word: str) -> np.ndarray | None:
    # As it is; without #; with letters repeated less; else the mean of its parts ("don't" of don and t, "<user>" of user).
    plain = _MASKS.get(word, word).lstrip("#") or word
    for form in (word, plain, re.sub(r"(.)\1{2,}", r"\1\1", plain), re.sub(r"(.)\1{2,}", r"\1", plain)):
        if form in known:
            return known[form]
    if not re.fullmatch(r"\w.*|<\w+>", plain):
        return None  # ":d" is no d, and "<3" no three
    parts = [known[part] for part in re.findall(r"\w+", plain) if part in known]
    return np.mean(parts, axis=0) if parts else None


def read_vectors(path: Path) -> KeyedVectors:
    """Read word vectors in word2vec's formats, text or binary, or in GloVe's, which has no header; also gzipped.

    Raises:
        InputError: another format, a broken line, vectors of several lengths, a number that is none.
    """
    try:
        binary = _is_binary(path)
        header = binary or _has_header(path)
        known = KeyedVectors.load_word2vec_format(str(path), binary=binary, no_header=not header)
    except Exception as error:  # a damaged file raises what its compression's module thinks of
        raise InputError(
            f"vectors={path}: {error}; allowed: a text file, gzipped or not, with one word and its numbers a line "
            "(GloVe's format; word2vec's, which may be binary, has a first line with the number of words and of dimensions)"
        ) from error
    if not np.isfinite(known.vectors).all():
        raise InputError(f"vectors={path}: holds numbers that are not finite; allowed: finite numbers")
    return known


def _is_binary(path: Path) -> bool:
    # word2vec's binary file has the header of its text file; the numbers after the first word are no text.
    with gensim.utils.open(str(path), "rb") as file:
        header, start = file.readline(), file.read(4096)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return len(header.split()) == 2
    return False


def _has_header(path: Path) -> bool:
    # Counted here, for gensim believes a header that promises fewer words than there are or more than memory holds, and
    # takes the only number of a line for all of its dimensions.
    with gensim.utils.open(str(path), "rb") as file:
        first = file.readline().rstrip()
        sizes = [line.rstrip().count(b" ") for line in file]
    header = len(first.split()) == 2
    words, dimension = map(int, first.split()) if header else (len(sizes), first.count(b" "))
    if dimension < 1:
        raise ValueError("no numbers in line 1")
    for number, size in enumerate(sizes, 2):
        if size != dimension:
            raise ValueError(f"{size} and not {dimension} numbers in line {number}")
    if words != len(sizes):
        raise ValueError(f"{len(sizes)} words and not {words}, as line 1 says")
    return header


def _downloaded(name: str) -> Path:
    by_hand = Path(gensim.downloader.BASE_DIR, name, f"{name}.gz")
    if by_hand.is_file():
        return by_hand  # gensim would ask its server for the list of names even so
    logging.getLogger("gensim.downloader").setLevel(logging.CRITICAL)
    try:
        return Path(gensim.downloader.load(name, return_path=True))
    except Exception as error:  # gensim raises no narrower one for a wrong checksum
        raise InputError(
            f"vectors={name}: no such file, and gensim-data does not give it ({error}); allowed: a file of vectors in text format, or "
            "a name of https://github.com/piskvorky/gensim-data (glove-twitter-100), whose "
            f"NAME.gz can also be put at {by_hand} by hand"
        ) from error


def _minilm(dataset: Dataset, options: Options) -> Embedding:
    folder = encoder.minilm()
    with safe_open(folder / encoder.WEIGHTS, "numpy") as weights:
        vectors = weights.get_tensor("embeddings.word_embeddings.weight")
    return _embedding(vocabulary.of_encoder(folder), vectors, np.ones(len(vectors), dtype=bool), options.seed)


EMBEDDINGS: dict[str, Callable[[Dataset, Options], Embedding]] = {
    "learned": _learned,
    "word2vec": _gensim("word2vec", Word2Vec),
    "fasttext": _gensim("fasttext", FastText),
    "glove": _glove,
    "minilm": _minilm,
}
