"""The one file that ships inside every registered model (MLflow models-from-code).

It holds the cleaning, the scoring and the answer of every model family, and imports nothing of ours: a registered
version keeps answering with the code that it was trained with, whatever the working tree has become since
(docs/architecture.md tells what `code_paths` would do instead). Frameworks are imported by the loader that needs them.

A model is a folder with `model.json` and the files of its loader:

    {"family": "baseline", "loader": "tfidf", "calibration": {"slope": 1.0, "bend": 0.0, "intercept": 0.0},
     "unsure": [0.4, 0.6], "tfidf": {...}}
"""

import html
import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from pydantic import BaseModel

LINK = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
MENTION = re.compile(r"(?<![\w@])@\w+")
_ENTITY = re.compile(r"&#?\w{1,32};")
_REPEAT = re.compile(r"(\S)\1{3,}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b\u2028\u2029\ufeff]+")

#: A token of a cleaned text: a word with its apostrophes, a hashtag, a mask, an emoticon, a run of ! and ?, an ellipsis,
#: or any one other sign, emoji included. Negation and tone live in these: none is thrown away.
TOKEN = (
    r"\w+(?:'\w+)*|#\w+|<user>|<link>"
    r"|[<>]?[:;=][-'^o]?(?:[)(\]\[dp/\\|*3]+(?!\w))|\^[_.]*\^|<3+"
    r"|[!?]+|\.{2,}|[^\w\s.,]"
)
_TOKENS = re.compile(TOKEN).findall
#: Rows scored at once: bounds the memory of a batch of any size.
CHUNK = 4096
#: Words that an explanation tries to leave out: a tweet has fewer, and a 10,000-character text must not cost 2,000 scores.
EXPLAINED_WORDS = 64


class Word(BaseModel):
    """A word of the text, in its order, and what P(positive) loses without it (-1 to 1)."""

    word: str
    weight: float


class Answer(BaseModel):
    """What a model says of one text (docs/architecture.md, "Model contract")."""

    label: Literal["negative", "positive"]
    score: float
    unsure: bool
    truncated: bool
    words: list[Word] | None = None


def undo_entities(text: str) -> str:
    """Undo HTML entities, also those of entities; a bare `&not` or `&copy=` is the author's and stays."""
    while "&" in text and (undone := _ENTITY.sub(lambda found: html.unescape(found[0]), text)) != text:
        text = undone
    return text


def clean(text: str) -> str:
    """Fold a raw tweet into the form that bag-of-words families read.

    Entities are undone, letters lowered, links and mentions masked, letters repeated over three times cut to three,
    control characters and spaces folded. Words, negation, emoticons, emoji, hashtags and punctuation stay.

    Args:
        text: any Unicode text, also empty or with lone surrogates.

    Returns:
        The cleaned text; equal for texts that differ in case, spacing, links or mentions alone.
    """
    text = undo_entities(text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
        text = text.replace("’", "'")
    if not text.isprintable():
        text = _CONTROL.sub(" ", text)
    text = text.lower()
    if "http" in text or "www." in text:
        text = LINK.sub(" <link> ", text)
    if "@" in text:
        text = MENTION.sub(" <user> ", text)
    return " ".join(_REPEAT.sub(r"\1\1\1", text).split())


def fold(text: str) -> str:
    """Fold a raw tweet as `clean` does, but leave letters' case and number: what an encoder that knows case reads."""
    text = undo_entities(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = _CONTROL.sub(" ", unicodedata.normalize("NFC", text))
    return " ".join(MENTION.sub(" <user> ", LINK.sub(" <link> ", text)).split())


#: A scorer maps n texts to n logits of P(positive) and n flags "the text was longer than I read".
Scorer = Callable[[list[str]], tuple[np.ndarray, np.ndarray]]


#: An n-gram of up to three word ids, each from 1 and below this, is one 64-bit number in this base.
WORD_IDS = 1 << 21


class TfidfScorer:
    """TF-IDF of word n-grams times the weights of a linear model (Salton and Buckley 1988; sublinear, L2-normed).

    Files: `words.json` (word i has id i + 1) and `weights.npz` (`ngrams`: sorted numbers of word ids in base WORD_IDS,
    `idf` and `coefficients` of the same shape (n_ngrams,), `intercept` of shape (1,)). The answers are those of
    scikit-learn's TfidfVectorizer and LogisticRegression, which every training run checks, from arrays in place of a
    dictionary of n-grams: less memory, and faster in batches and on one text (`make bench`).
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        words = json.loads((folder / "words.json").read_text(encoding="utf-8"))
        self._ids = {word: index for index, word in enumerate(words, 1)}
        self._max_ngram = int(settings["max_ngram"])
        with np.load(folder / "weights.npz", allow_pickle=False) as weights:
            self._ngrams, self._intercept = weights["ngrams"], float(weights["intercept"][0])
            self._idf, self._coefficients = weights["idf"].astype(float), weights["coefficients"].astype(float)

    def __call__(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Score `texts`; no text is too long for a bag of words."""
        ids: list[int] = []
        lengths = []
        for text in texts:
            found = [self._ids.get(token, 0) for token in _TOKENS(clean(text))]
            found.append(0)  # as an unknown word does, the end of a text breaks the n-grams across it
            ids += found
            lengths.append(len(found))
        rows, columns = self._terms(np.array(ids, dtype=np.int64), np.repeat(np.arange(len(texts)), lengths))
        # Equal cells are one term of a text, occurring `count` times.
        cells, counts = np.unique(rows * len(self._ngrams) + columns, return_counts=True)
        rows, columns = np.divmod(cells, len(self._ngrams))
        weights = (1.0 + np.log(counts)) * self._idf[columns]
        norms = np.sqrt(np.bincount(rows, weights * weights, minlength=len(texts)))
        sums = np.bincount(rows, weights * self._coefficients[columns], minlength=len(texts))
        return sums / np.where(norms > 0, norms, 1.0) + self._intercept, np.zeros(len(texts), dtype=bool)

    def _terms(self, ids: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Row and column of each n-gram that the model knows; ids of all texts stand in one array, shape (n_tokens,).
        ngrams, starts = ids, np.flatnonzero(ids)
        found_rows, found_columns = [], []
        for size in range(1, self._max_ngram + 1):
            if size > 1:
                starts = starts[ids[starts + size - 1] > 0]
                ngrams = ngrams[:-1] * WORD_IDS + ids[size - 1 :]
            wanted = ngrams[starts]
            order = np.argsort(wanted)  # a search in sorted order stays in the cache
            wanted = wanted[order]
            columns = np.minimum(np.searchsorted(self._ngrams, wanted), len(self._ngrams) - 1)
            known = self._ngrams[columns] == wanted
            found_columns.append(columns[known])
            found_rows.append(rows[starts[order[known]]])
        return np.concatenate(found_rows), np.concatenate(found_columns)


#: Texts in one run of a network, and of an encoder: with more, the numbers of a batch leave the processor's cache.
BATCH, ENCODER_BATCH = 128, 32
#: Rows of numbers that onnxruntime's products take together. What is left over takes another way and rounds otherwise, so
#: texts are padded to a multiple, each by its own length alone: what else is in a batch then does not touch its score.
TILE = 4


class OnnxScorer:
    """A network over word numbers, run by onnxruntime.

    Files: `tokenizer.json` (Hugging Face tokenizers; reads cleaned texts) and `model.onnx` (input: int32 of shape
    (n, n_words), 0 as padding; output: logits of shape (n, 1)). A text beyond `max_tokens` words is cut there.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._max_tokens = int(settings["max_tokens"])
        self._unknown = self._tokenizer.get_vocab()["[UNK]"]
        self._session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])

    def __call__(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Score `texts`, those of about equal length together."""
        cleaned = [clean(text) for text in texts]
        # A text without a word is one unknown word, as in training.
        numbers = [
            found.ids or [self._unknown]
            for found in self._tokenizer.encode_batch_fast(cleaned, add_special_tokens=False)
        ]
        lengths = np.array([len(found) for found in numbers])
        logits = np.empty(len(texts))
        order = np.argsort(lengths, kind="stable")
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            block = np.zeros((len(rows), min(lengths[rows[-1]], self._max_tokens)), dtype=np.int32)
            for row, line in zip(rows, block, strict=True):
                kept = numbers[row][: self._max_tokens]
                line[: len(kept)] = kept
            logits[rows] = self._session.run(None, {"numbers": block})[0][:, 0]
        return logits, lengths > self._max_tokens


class TransformerScorer:
    """A BERT-like encoder with its head, run by onnxruntime.

    Files: `tokenizer.json` (Hugging Face tokenizers; adds the encoder's marks and cuts what is too long) and `model.onnx`
    (inputs: `numbers` and `mask`, int32 of shape (n, n_pieces); output: logits of shape (n,)). A `cased` encoder reads
    folded texts, any other cleaned ones; `padding` is the number of its padding, `max_length` the most pieces of a text.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._read = fold if settings["cased"] else clean
        self._padding, self._max_length = int(settings["padding"]), int(settings["max_length"])
        self._session = onnxruntime.InferenceSession(
            folder / "model.onnx",
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["SkipLayerNormFusion"],  # slower on a processor than what it fuses
        )

    def __call__(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Score `texts`, those of equal length together."""
        encodings = self._tokenizer.encode_batch([self._read(text) for text in texts])
        lengths = np.array([len(encoding.ids) for encoding in encodings])
        widths = np.minimum(-(-lengths // TILE) * TILE, self._max_length)
        logits = np.empty(len(texts))
        for width in np.unique(widths):
            equal = np.flatnonzero(widths == width)
            for start in range(0, len(equal), ENCODER_BATCH):
                rows = equal[start : start + ENCODER_BATCH]
                mask = (np.arange(width) < lengths[rows][:, None]).astype(np.int32)
                numbers = np.full(mask.shape, self._padding, dtype=np.int32)
                numbers[mask > 0] = np.concatenate([encodings[row].ids for row in rows])
                logits[rows] = self._session.run(None, {"numbers": numbers, "mask": mask})[0]
        return logits, np.array([bool(encoding.overflowing) for encoding in encodings])


class EnsembleScorer:
    """Several models of the same texts, their logits weighted and summed (Dietterich 2000); each has a folder of its own."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._members = [
            (float(member["weight"]), LOADERS[member["loader"]](folder / member["folder"], member["settings"]))
            for member in settings["members"]
        ]

    def __call__(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Score `texts`; one was too long if it was for any member."""
        found = [(weight, *score(texts)) for weight, score in self._members]
        logits = np.sum([weight * logits for weight, logits, _ in found], axis=0)
        return logits, np.any([truncated for _, _, truncated in found], axis=0)


#: A new framework is one entry here.
LOADERS: dict[str, Callable[[Path, dict[str, Any]], Scorer]] = {
    "tfidf": TfidfScorer,
    "onnx": OnnxScorer,
    "transformer": TransformerScorer,
    "ensemble": EnsembleScorer,
}


def in_chunks(score: Scorer, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return what a scorer answers to any number of texts, CHUNK at a time."""
    parts = [score(texts[start : start + CHUNK]) for start in range(0, len(texts), CHUNK)]
    if not parts:
        return np.zeros(0), np.zeros(0, dtype=bool)
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


class SentimentModel(PythonModel):
    """Every family behind one `predict`: texts in, one `Answer` each out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read `model.json` of the model's folder and load what it names."""
        folder = Path(context.artifacts["model"])
        self.settings = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        loader = self.settings["loader"]
        self._score: Scorer = LOADERS[loader](folder, self.settings.get(loader, {}))

    def logits(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the raw logits and the truncation flags of `texts`, each of shape (n_texts,)."""
        return in_chunks(self._score, texts)

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """Return calibrated P(positive) of raw `logits`, both of shape (n_texts,)."""
        return calibrated(logits, self.settings["calibration"])

    def predict(
        self, context: PythonModelContext | None, model_input: list[str], params: dict[str, Any] | None = None
    ) -> list[Answer]:
        """Answer each text with a plain dict of the fields of `Answer`.

        Args:
            context: MLflow's; not used after loading.
            model_input: n texts, of any length and script.
            params: `{"explain": true}` adds the words that drove each answer.
        """
        logits, truncated = self.logits(model_input)
        scores = self.scores(logits)
        low, high = self.settings["unsure"]
        answers: list[Any] = [
            {
                "label": "positive" if score >= 0.5 else "negative",
                "score": score,
                "unsure": low <= score <= high,
                "truncated": cut,
            }
            for score, cut in zip(scores.tolist(), truncated.tolist(), strict=True)
        ]
        if params and params.get("explain"):
            for answer, text in zip(answers, model_input, strict=True):
                answer["words"] = self._explain(text, answer["score"])
        return answers

    def _explain(self, text: str, score: float) -> list[dict[str, Any]]:
        # Leave-one-out (Li, Monroe and Jurafsky 2016, "Understanding neural networks through representation erasure").
        words = text.split()
        tried = words[:EXPLAINED_WORDS]
        without = [" ".join(words[:i] + words[i + 1 :]) for i in range(len(tried))]
        losses = score - self.scores(self.logits(without)[0])
        return [
            {"word": word.encode("utf-8", "replace").decode("utf-8"), "weight": loss}
            for word, loss in zip(tried, losses.tolist(), strict=True)
        ]


def calibrated(logits: np.ndarray, calibration: dict[str, float]) -> np.ndarray:
    """Return calibrated P(positive) of raw `logits`, both of shape (n_texts,)."""
    slope, bend, intercept = (calibration[name] for name in ("slope", "bend", "intercept"))
    return sigmoid(slope * logits + bend * logits**3 + intercept)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-logits)) without overflow."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(logits, dtype=np.float64)))


set_model(SentimentModel())
