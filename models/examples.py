"""Training examples: the frozen candidates of a slate, and which of them came next.

Layout (little endian): ``version u8 | width u8 | candidates u16 | label u16 | features f16[candidates, width]``. The same
bytes without a label (``NO_LABEL``) are the pending example in the user's state: the next event of that user turns
them into an example when its item is among the candidates, whose hashes stand behind the features as ``i64[candidates]``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

VERSION = 1
NO_LABEL = 0xFFFF
_HEAD = struct.Struct("<BBHH")


@dataclass(frozen=True, slots=True)
class Example:
    """One list of candidates with its answer.

    Parameters
    ----------
    features : float16[candidates, width]
    label : position of the item that came next
    """

    features: np.ndarray
    label: int


def encode_pending(features: np.ndarray, items: np.ndarray) -> bytes:
    """The candidates of a slate, waiting for what comes next.

    Parameters
    ----------
    features : float16[candidates, width]
    items : int64[candidates], hashes of the candidates
    """
    n, width = features.shape
    return b"".join((_HEAD.pack(VERSION, width, n, NO_LABEL), features.tobytes(), items.tobytes()))


def label_pending(pending: bytes, item: int) -> bytes | None:
    """The example that the next event makes of the pending candidates; None when its item is not among them."""
    version, width, n, _ = _HEAD.unpack_from(pending)
    if version != VERSION:
        raise ValueError(f"pending example of version {version}, this release reads {VERSION}")
    features_end = _HEAD.size + 2 * n * width
    found = np.flatnonzero(np.frombuffer(pending, "<i8", n, features_end) == item)
    if len(found) == 0:
        return None
    return _HEAD.pack(VERSION, width, n, int(found[0])) + pending[_HEAD.size : features_end]


def decode_example(raw: bytes) -> Example:
    """The example in `raw`.

    Raises
    ------
    ValueError
        When the bytes are of another version, or carry no label.
    """
    version, width, n, label = _HEAD.unpack_from(raw)
    if version != VERSION or label >= n:
        raise ValueError(f"example of version {version} with label {label} of {n} candidates")
    return Example(np.frombuffer(raw, "<f2", n * width, _HEAD.size).reshape(n, width), label)
