"""Small changes of a text that leave its feeling as it was: typing errors, case, links, handles, signs, emoji.

Behavioural tests hold a model to them, and a training may learn from texts so changed. Pure: each function takes a text and a
random generator, and returns another text, or the same where it finds nothing to change.
"""

import random
import re
import string
from collections.abc import Callable

_CONTRACTIONS = {
    "I am": "I'm", "it is": "it's", "that is": "that's", "there is": "there's", "what is": "what's", "he is": "he's",
    "she is": "she's",
    "they are": "they're", "we are": "we're", "you are": "you're", "I have": "I've", "we have": "we've", "they have": "they've",
    "you have": "you've", "I will": "I'll", "we will": "we'll", "they will": "they'll", "it will": "it'll", "you will": "you'll",
    "I would": "I'd", "do not": "don't", "does not": "doesn't", "did not": "didn't", "is not": "isn't", "are not": "aren't",
    "was not": "wasn't", "were not": "weren't", "has not": "hasn't", "have not": "haven't", "had not": "hadn't", "will not": "won't",
    "would not": "wouldn't", "could not": "couldn't", "should not": "shouldn't", "cannot": "can't", "can not": "can't",
}  # fmt: skip
_SHORT = {long.lower(): short for long, short in _CONTRACTIONS.items()}
_CONTRACTIBLE = re.compile(
    r"\b(" + "|".join(sorted(map(re.escape, _SHORT), key=len, reverse=True)) + r")\b", re.IGNORECASE
)
#: Where two different letters stand that are neither the first nor the last of their word.
_INNER_PAIR = re.compile(r"(?<=[A-Za-z])(?=([A-Za-z])(?!\1)[A-Za-z][A-Za-z])")
_NEUTRAL_EMOJI = ["✈️", "🛫", "🧳", "📍", "🕐", "📱", "🚌", "🪟", "📎", "🗓️"]
_LETTERS = string.ascii_lowercase


def typo(text: str, chance: random.Random) -> str:
    """Swap two neighbouring letters inside a word of four letters or more."""
    return _swapped(text, 1, chance)


def two_typos(text: str, chance: random.Random) -> str:
    """Swap two pairs of neighbouring letters that do not touch."""
    return _swapped(text, 2, chance)


def _swapped(text: str, count: int, chance: random.Random) -> str:
    places = [match.start() for match in _INNER_PAIR.finditer(text)]
    for _ in range(min(count, len(places))):
        place = chance.choice(places)
        text = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
        places = [other for other in places if abs(other - place) > 1]
        if not places:
            break
    return text


def contraction(text: str, _: random.Random) -> str:
    """Contract what is written out: `do not` becomes `don't`."""
    return _CONTRACTIBLE.sub(_contracted, text)


def _contracted(match: re.Match[str]) -> str:
    short = _SHORT[match.group().lower()]
    return short[0].upper() + short[1:] if match.group()[0].isupper() else short[0].lower() + short[1:]


def punctuation(text: str, chance: random.Random) -> str:
    """Take the sign at the end away, or put a full stop or an ellipsis there."""
    bare = text.rstrip(" .!")
    return chance.choice([end for end in (bare, f"{bare}.", f"{bare}...") if end != text])


def link(text: str, chance: random.Random) -> str:
    """Append a link."""
    path = "".join(chance.choices(_LETTERS + string.digits, k=7))
    return f"{text} {chance.choice(['http://bit.ly/', 'https://t.co/', 'http://tinyurl.com/', 'http://twitpic.com/'])}{path}"


def handle(text: str, chance: random.Random) -> str:
    """Put an invented handle in front."""
    return f"@{''.join(chance.choices(_LETTERS, k=chance.randint(5, 9)))}{chance.randint(1, 99)} {text}"


def letter_case(text: str, chance: random.Random) -> str:
    """Write all in lower case, all in capitals, or each word with one."""
    others = [other for other in (text.lower(), text.upper(), text.title()) if other != text]
    return chance.choice(others) if others else text


def elongation(text: str, chance: random.Random) -> str:
    """Draw out the last vowel of a word: `so` becomes `sooo`."""
    places = [match.start(1) for match in re.finditer(r"\b[A-Za-z]{1,7}?([aeiouyAEIOUY])[A-Za-z]?\b", text)]
    if not places:
        return text
    place = chance.choice(places)
    return text[:place] + text[place] * chance.randint(3, 4) + text[place + 1 :]


def neutral_emoji(text: str, chance: random.Random) -> str:
    """Append an emoji that says nothing of feeling."""
    return f"{text} {chance.choice(_NEUTRAL_EMOJI)}"


#: Each change by its name.
CHANGES: dict[str, Callable[[str, random.Random], str]] = {
    change.__name__: change
    for change in (link, handle, punctuation, typo, two_typos, contraction, letter_case, elongation, neutral_emoji)
}
