"""The words that drove an answer, as HTML: what a person wrote is text in it, never markup."""

import html
from collections.abc import Sequence
from typing import Any

#: Weights below which a word is shown plain, and from which it has the full colour.
LEAST, FULL = 0.02, 0.4
_POSITIVE, _NEGATIVE = "22, 163, 74", "220, 38, 38"
_STYLE = """<style>
.words { line-height: 2.1; overflow-wrap: anywhere; }
.words span { padding: .15em .3em; margin-right: .15em; border-radius: .3em; border-bottom: 2px solid transparent; }
.words span.positive { border-bottom: 2px solid rgb(22, 163, 74); }
.words span.negative { border-bottom: 2px dashed rgb(220, 38, 38); }
.words small { font-size: .72em; margin-left: .25em; white-space: nowrap; font-variant-numeric: tabular-nums; }
</style>"""


def highlighted(words: Sequence[dict[str, Any]]) -> str:
    """Return words with their signed weights as HTML: green, underlined and plus for positive; red, dashed and minus for negative.

    Args:
        words: `{word, weight}` as the model explains an answer: what the score loses without each.
    """
    return f'{_STYLE}<div class="words">{" ".join(_one(word["word"], word["weight"]) for word in words)}</div>'


def _one(word: str, weight: float) -> str:
    shown = f"<bdi>{html.escape(word)}</bdi>"  # a mark that turns the direction of writing ends with the word, and turns no number
    if abs(weight) < LEAST:
        return f"<span>{shown}</span>"
    kind, colour = ("positive", _POSITIVE) if weight > 0 else ("negative", _NEGATIVE)
    strength = 0.1 + 0.3 * min(abs(weight) / FULL, 1)
    number = f"{weight:+.2f}".replace("-", "\N{MINUS SIGN}")
    return (
        f'<span class="{kind}" style="background: rgba({colour}, {strength:.2f})">{shown}<small>{number}</small></span>'
    )
