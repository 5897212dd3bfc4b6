"""Kinds of text that a model must also be good at (after Made-With-ML's slices and CheckList's capabilities)."""

import re
from collections.abc import Iterable

import pandas as pd

from steps.sentiment.model import LINK, MENTION

_NEGATION = (
    r"(?i)\b(?:no|not|never|none|nothing|nobody|neither|nor|without|hardly|barely|cannot|\w+n['’]t"
    r"|(?:ai|are|ca|could|did|does|do|had|has|have|is|must|need|should|was|were|wo|would)nt)\b"
)
_EMOJI = (
    r"[\U0001F000-\U0001FAFF\u2600-\u27BF\u2B00-\u2BFF]"
    r"|(?<!\d)[:;=][-'^o]?(?:[)(\]\[/\\|*]|[dDpP3](?!\w))|<3"
)

#: Name of the slice -> pattern that a text of it contains.
PATTERNS = {
    "negation": re.compile(_NEGATION),
    "emoji": re.compile(_EMOJI),
    "question": re.compile(r"\?"),
    "hashtag": re.compile(r"#\w"),
    "link": LINK,
    "mention": MENTION,
    "capitals": re.compile(r"\b[A-Z]{3,}\b"),
    "elongation": re.compile(r"([A-Za-z])\1{2,}"),
}
#: Words up to which a text is short, and from which it is long: the outer fifths of Sentiment140.
SHORT, LONG = 6, 21


def of(text: str, names: Iterable[str] = PATTERNS) -> dict[str, bool]:
    """Return which of the slices `names` a text is in; `short` and `long` are not among them."""
    own = LINK.sub(" ", text)  # signs inside a link are not the author's
    return {name: bool(PATTERNS[name].search(text if name == "link" else own)) for name in names}


def flags(texts: pd.Series) -> pd.DataFrame:
    """Return one boolean column per slice, of shape (n_texts, n_slices)."""
    words = texts.str.count(r"\S+").to_numpy(dtype=int)
    rows = [of(text) for text in texts]
    found = {name: [row[name] for row in rows] for name in PATTERNS}
    return pd.DataFrame({**found, "short": words <= SHORT, "long": words >= LONG}, index=texts.index)
