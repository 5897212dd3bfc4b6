"""Texts as people may be shown them: without handles and links."""

import re

from steps.sentiment.model import LINK

# Wider than MENTION: shown as read, a handle may follow a letter of mojibake, or an entity.
_HANDLE = re.compile(r"(@|&#0*64;|&#[xX]0*40;|&commat;)\w+")


def masked(text: str) -> str:
    """Return a text, or a word of one, with its handles and links masked."""
    return _HANDLE.sub("@user", LINK.sub("http://…", text))
