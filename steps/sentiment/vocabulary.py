"""Words as numbers: one `tokenizers` JSON that training and serving share, and the texts of a split encoded by it.

A vocabulary is learned from all texts of the training split, or is that of an encoder (WordPiece). Number 0 is the
padding, number 1 or the encoder's own stands for every unknown word. Texts are cleaned (`model.clean`) before.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from tqdm import tqdm

from steps.sentiment.command_line import InputError, progress
from steps.sentiment.model import TOKEN, clean

PADDING, UNKNOWN = "[PAD]", "[UNK]"
FILE = "tokenizer.json"
CHUNK = 20_000


def learn(texts: Sequence[str], size: int, min_count: int) -> Tokenizer:
    """Learn the words of raw `texts`: the `size` most frequent that occur at least `min_count` times.

    Raises:
        InputError: no word occurs so often.
    """
    tokenizer = Tokenizer(models.WordLevel({PADDING: 0, UNKNOWN: 1}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(TOKEN), behavior="removed", invert=True)
    trainer = trainers.WordLevelTrainer(
        vocab_size=size + 2, min_frequency=min_count, special_tokens=[PADDING, UNKNOWN], show_progress=False
    )
    cleaned = (clean(text) for text in tqdm(texts, desc="vocabulary", unit="tweet", disable=None))
    tokenizer.train_from_iterator(cleaned, trainer, length=len(texts))
    if tokenizer.get_vocab_size() == 2:
        raise InputError(
            f"min_count={min_count}: no word occurs so often in the {len(texts):,} training tweets; allowed: a smaller one"
        )
    return tokenizer


def of_encoder(folder: Path) -> Tokenizer:
    """Return an encoder's own tokenizer for cleaned texts: masks as the words they stand for, no cutting, no padding."""
    tokenizer = Tokenizer.from_file(str(folder / FILE))
    masks = [normalizers.Replace("<user>", "user"), normalizers.Replace("<link>", "link")]
    tokenizer.normalizer = normalizers.Sequence([*masks, tokenizer.normalizer])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def words(tokenizer: Tokenizer) -> list[str]:
    """Return the words by number."""
    return sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)


@dataclass(frozen=True)
class Encoded:
    """Texts as word numbers, one after the other in `ids`; text i is `ids[starts[i]:starts[i + 1]]`, never empty.

    Attributes:
        ids: int32 of shape (n_words,).
        starts: int64 of shape (n_texts + 1,).
        unknown: share of unknown words, 0 to 1, before any cutting.
    """

    ids: np.ndarray
    starts: np.ndarray
    unknown: float

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Words of each text, shape (n_texts,)."""
        return np.diff(self.starts)

    def first(self, count: int) -> "Encoded":
        """Return the first texts alone."""
        return Encoded(self.ids[: self.starts[min(count, len(self))]], self.starts[: count + 1], self.unknown)

    def padded(self, rows: np.ndarray, length: int = 0, padding: int = 0) -> np.ndarray:
        """Return texts as one block, int32 of shape (len(rows), longest of them or `length`), padded where one has ended."""
        there = self.mask(rows, length)
        block = np.full(there.shape, padding, dtype=np.int32)
        block[there] = self.ids[(self.starts[rows][:, None] + np.arange(there.shape[1]))[there]]
        return block

    def mask(self, rows: np.ndarray, length: int = 0) -> np.ndarray:
        """Return where the block of these texts holds words, bool of the shape of `padded`."""
        lengths = self.lengths[rows]
        return np.arange(max(length, int(lengths.max()))) < lengths[:, None]


def encode(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> Encoded:
    """Encode raw texts, each cut after `max_tokens` words; a text without a word is one unknown word."""
    nothing = tokenizer.get_vocab()[UNKNOWN]
    parts, all_words, all_unknown = [], 0, 0
    for ids in encodings(tokenizer, texts):
        all_words += len(ids)
        all_unknown += ids.count(nothing)
        parts.append(ids[:max_tokens] or [nothing])
    return joined(parts, all_unknown / max(all_words, 1))


def joined(lines: Iterable[list[int]], unknown: float) -> Encoded:
    """Return the word numbers of texts, none empty, as one."""
    parts = [np.array(line, dtype=np.int32) for line in lines]
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts], dtype=np.int64)])
    return Encoded(np.concatenate(parts), starts, unknown)


def encodings(
    tokenizer: Tokenizer, texts: Sequence[str], read: Callable[[str], str] = clean, marks: bool = False
) -> Iterator[list[int]]:
    """Yield the word numbers of each raw text as `read` cleans it, with the marks that an encoder adds or without."""
    with progress(total=len(texts), desc="encode", unit="tweet") as bar:
        for start in range(0, len(texts), CHUNK):
            chunk = [read(text) for text in texts[start : start + CHUNK]]
            for encoding in tokenizer.encode_batch_fast(chunk, add_special_tokens=marks):
                yield encoding.ids
            bar.update(len(chunk))
