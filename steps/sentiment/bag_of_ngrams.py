"""TF-IDF of word n-grams with a linear model over it, fitted to labels or to what another model says, written as it is served.

Source: Salton and Buckley 1988 (TF-IDF); Yu, Huang and Lin 2011 (the solver); Hinton, Vinyals and Dean 2015 (soft labels).
"""

import functools
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import FeatureUnion

from steps.sentiment import command_line
from steps.sentiment.command_line import Flags, InputError, Values, integer, optional, positive_numbers
from steps.sentiment.model import TOKEN, WORD_IDS, clean
from steps.sentiment.trained import Trained

REQUIREMENTS = [
    "mlflow-skinny==3.17.2",
    "numpy==2.4.6",
    "pandas==2.3.3",
    "uvloop==0.23.0",
    "httptools==0.9.0",
]
MAX_NGRAM = 3
TEXTS_FOR_TWO_CORES = 50_000


def fitting_flags(flags: Flags) -> None:
    """Add the flags of data and fitting."""
    flags.flag("C", "2,4", "inverse regularisation; of several, validation chooses", positive_numbers)
    flags.flag("min_df", "2", "tweets that an n-gram must occur in", integer(1))
    flags.flag("max_features", "1500000", "n-grams kept, the most frequent ones", integer(1))
    flags.flag("max_rows", "", "training rows; default: all", optional(integer(1)))
    flags.flag("seed", "0", "order in which the solver visits the rows", integer())


def fit(texts: pd.Series, positive: np.ndarray, validation: pd.DataFrame, given: Values, folder: Path) -> Trained:
    """Fit a model, of family `baseline` if nobody names another, and write its files into `folder`.

    Args:
        texts: raw training texts.
        positive: their labels (0 or 1), or how positive another model finds them (from 0 to 1), shape (n_texts,).
        validation: `text` and `label`; chooses C.
        given: the flags of `fitting_flags`.
        folder: an empty folder.

    Raises:
        InputError: as for `count_ngrams` and `write`.
    """
    start = time.perf_counter()
    cleaned = [clean(text) for text in command_line.progress(texts, desc="clean", unit="tweet")]
    counts, ngrams = count_ngrams(cleaned, given.min_df, given.max_features)
    tfidf = TfidfTransformer(sublinear_tf=True)
    rows = tfidf.fit(counts).transform(counts, copy=False)
    vectorizer = CountVectorizer(
        token_pattern=TOKEN, lowercase=False, ngram_range=(1, MAX_NGRAM), vocabulary=ngrams, dtype=np.float32
    )
    validation_rows = tfidf.transform(vectorizer.transform([clean(text) for text in validation["text"]]))
    classifier, aucs = choose(given.C, (rows, positive), (validation_rows, validation["label"].to_numpy()), given.seed)
    seconds = time.perf_counter() - start
    write(folder, ngrams, tfidf.idf_, classifier)
    facts = {
        "chosen_C": classifier.C,
        "ngrams": len(ngrams),
        "train_rows": len(texts),
        **{f"validation_roc_auc_C_{C:g}": auc for C, auc in aucs.items()},
    }
    return Trained(
        family="baseline",
        name="baseline",
        loader="tfidf",
        folder=folder,
        settings={"max_ngram": MAX_NGRAM},
        requirements=REQUIREMENTS,
        validation_logits=classifier.decision_function(validation_rows),
        seconds=seconds,
        facts=facts,
    )


def count_ngrams(texts: list[str], min_df: int, max_features: int) -> tuple[sparse.csr_matrix, list[str]]:
    """Count the n-grams of cleaned texts; of many texts words and pairs on one core, triples on the other.

    Returns:
        Counts of shape (n_texts, n_ngrams) and the n-grams.

    Raises:
        InputError: no n-gram occurs in `min_df` texts.
    """

    def counter(low: int, high: int) -> CountVectorizer:
        return CountVectorizer(
            token_pattern=TOKEN, lowercase=False, ngram_range=(low, high), min_df=min_df, dtype=np.float32
        )

    # Halves of about equal work; a second process costs a second to start and must be worth it.
    sizes = [(1, 2), (3, MAX_NGRAM)] if len(texts) > TEXTS_FOR_TWO_CORES else [(1, MAX_NGRAM)]
    union = FeatureUnion([(f"{low} to {high}", counter(low, high)) for low, high in sizes], n_jobs=len(sizes))
    try:
        counts = union.fit_transform(texts).tocsr()
    except ValueError as error:
        raise InputError(
            f"min_df={min_df}: too few n-grams occur in so many of the {len(texts)} texts; allowed: a smaller one"
        ) from error
    ngrams = [ngram for _, vectorizer in union.transformer_list for ngram in vectorizer.get_feature_names_out()]
    if len(ngrams) > max_features:
        frequency = np.asarray(counts.sum(axis=0)).ravel()
        kept = np.sort(np.argpartition(-frequency, max_features)[:max_features])
        counts, ngrams = counts[:, kept], [ngrams[column] for column in kept]
    return counts, ngrams


def choose(
    candidates: list[float],
    train: tuple[sparse.csr_matrix, np.ndarray],
    validation: tuple[sparse.csr_matrix, np.ndarray],
    seed: int,
) -> tuple[LogisticRegression, dict[float, float]]:
    """Fit one classifier per candidate C and return the best on validation with all ROC AUCs.

    What stands with the training rows is a label each, or how positive each is: then it counts as both, by halves.
    """
    candidates = list(dict.fromkeys(candidates))
    rows, positive = train
    weights = None
    if not np.isin(positive, (0, 1)).all():
        weights = np.concatenate([positive, 1 - positive])
        rows, positive = sparse.vstack([rows, rows], format="csr"), np.repeat([1, 0], len(positive))
    # In processes, not threads: liblinear's random numbers are the process's own, and threads would draw from one
    # another's. joblib hands large rows over as memory maps, which liblinear wants writable (copied on write). A second
    # process must be worth its second to start.
    processes = 2 if len(positive) > TEXTS_FOR_TWO_CORES else 1
    classifiers = Parallel(n_jobs=processes, mmap_mode="c", return_as="generator")(
        # The dual solver (Yu, Huang and Lin 2011) converges here in a fraction of the time of L-BFGS.
        delayed(LogisticRegression(C=C, solver="liblinear", dual=True, tol=0.1, random_state=seed).fit)(
            rows, positive, weights
        )
        for C in candidates
    )
    fitted = list(command_line.progress(classifiers, desc="C", unit="fit", total=len(candidates)))
    aucs = {
        classifier.C: float(roc_auc_score(validation[1], classifier.decision_function(validation[0])))
        for classifier in fitted
    }
    return max(fitted, key=lambda classifier: aucs[classifier.C]), aucs


def write(folder: Path, ngrams: list[str], idf: np.ndarray, classifier: LogisticRegression) -> None:
    """Write the fitted weights as the files of `model.TfidfScorer`."""
    words = sorted({word for ngram in ngrams for word in ngram.split(" ")})
    if len(words) >= WORD_IDS:
        raise InputError(f"{len(words)} words; allowed: less than {WORD_IDS}; raise --min_df or lower --max_features")
    ids = {word: index for index, word in enumerate(words, 1)}
    numbers = np.array(
        [functools.reduce(lambda number, word: number * WORD_IDS + ids[word], ngram.split(" "), 0) for ngram in ngrams]
    )
    order = np.argsort(numbers)
    (folder / "words.json").write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
    np.savez_compressed(
        folder / "weights.npz",
        ngrams=numbers[order],
        idf=idf[order].astype(np.float32),
        coefficients=classifier.coef_[0][order].astype(np.float32),
        intercept=classifier.intercept_,
    )
