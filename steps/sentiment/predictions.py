"""Signed ids of answers: who holds the key can check one after a restart or on another machine, and nothing is stored.

An id is base64url of a nonce, the time, the row of its request, the label, the model's version, and an HMAC-SHA256 of all that.
"""

import base64
import binascii
import hmac
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

LABELS = ("negative", "positive")
#: Characters below which a key could be guessed.
SHORTEST_KEY = 16
#: Bytes of a nonce and of an HMAC-SHA256 that is cut (RFC 2104, section 5, allows down to half of it).
_NONCE, _MAC = 8, 16
#: Bytes of the time in milliseconds, of the row and of the label.
_TIME, _ROW, _LABEL = 6, 3, 1
_HEAD = _NONCE + _TIME + _ROW + _LABEL
#: Characters of the longest id that is looked at.
LONGEST = 512


@dataclass(frozen=True)
class Prediction:
    """What an id says: which version answered which label, and when (seconds since 1970)."""

    version: str
    label: str
    time: float


class Signer:
    """Signs ids with a key of at least SHORTEST_KEY bytes, and reads those that were signed with it."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod="sha256")  # the key is worked in once, and copied from here on

    def _mac(self, signed: bytes) -> bytes:
        mac = self._keyed.copy()
        mac.update(signed)
        return mac.digest()[:_MAC]

    def sign(self, version: str, labels: Iterable[str]) -> list[str]:
        """Return an id for each label of a request that `version` answered now."""
        start = os.urandom(_NONCE) + int(time.time() * 1000).to_bytes(_TIME, "big")
        tail = {label: bytes([number]) + version.encode() for number, label in enumerate(LABELS)}
        ids = []
        for row, label in enumerate(labels):
            signed = start + row.to_bytes(_ROW, "big") + tail[label]
            whole = signed + self._mac(signed)
            ids.append(base64.urlsafe_b64encode(whole).rstrip(b"=").decode())
        return ids

    def read(self, prediction_id: str) -> Prediction | None:
        """Return what an id says, or None if it was never signed with this key.

        Only the very characters that were signed are taken: spellings that decode to the same bytes would let one
        prediction be counted as several.
        """
        if len(prediction_id) > LONGEST:
            return None
        try:
            whole = base64.urlsafe_b64decode(prediction_id + "=" * (-len(prediction_id) % 4))
        except (binascii.Error, ValueError):
            return None
        signed, mac = whole[:-_MAC], whole[-_MAC:]
        if not hmac.compare_digest(self._mac(signed), mac):
            return None
        if base64.urlsafe_b64encode(whole).rstrip(b"=").decode() != prediction_id:
            return None
        milliseconds = int.from_bytes(signed[_NONCE : _NONCE + _TIME], "big")
        return Prediction(signed[_HEAD:].decode(), LABELS[signed[_HEAD - 1]], milliseconds / 1000)
