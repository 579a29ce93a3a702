"""Stable numbers and names made from ids: the same text gives the same value in every process, run and version.

Python's own `hash` is salted per process, so nothing that reaches state, a topic or a random draw may use it. Every
random draw of the recommender is `uniform(key, seed, draw)` of something recorded, never a generator with hidden
state, so that a replay after a restore draws the same numbers.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

EMPTY = 0
"""Reserved for 'no id' in arrays of hashes; `hash64` never returns it."""

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_GOLDEN = 0x9E37_79B9_7F4A_7C15
_TO_UNIT = 2.0**-53


def hash64(text: str) -> int:
    """Hash a text to a signed 64-bit integer that is never 0.

    Parameters
    ----------
    text : any text; lone surrogates are hashed as they stand instead of raising

    Returns
    -------
    int
        In [-2**63, 2**63) and not `EMPTY`, so that it fits numpy's int64 and Java's LONG: the 8-byte BLAKE2b digest
        of the UTF-8 bytes, little-endian.

    Examples
    --------
    >>> hash64("item-1")
    8406168460641299428
    """
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True) or 1


@lru_cache(maxsize=262_144)
def item_hash64(item_id: str) -> int:
    """`hash64` of an item id, remembered for the items seen most recently (some 40 MB when full)."""
    return hash64(item_id)


def slate_id(cause_id: str, user_id: str) -> str:
    """Name the slate that answers one event or request of one user.

    Parameters
    ----------
    cause_id : id of the event or request that is answered
    user_id : whom it is answered to; without it two users with the same event id would share a slate

    Returns
    -------
    str
        16 lower-case hexadecimal characters, the same for the same cause: a replayed event names the same slate.
    """
    cause = cause_id.encode("utf-8", "surrogatepass")
    # The length keeps ("ab", "c") and ("a", "bc") apart.
    head = len(cause).to_bytes(8, "little")
    return blake2b(head + cause + user_id.encode("utf-8", "surrogatepass"), digest_size=8, person=b"slate").hexdigest()


def mix64(state: int) -> int:
    """The output function of SplitMix64: a bijection of the 64-bit integers that scatters every bit.

    Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014, variant 13 of Stafford.
    """
    state &= _MASK
    state = ((state ^ (state >> 30)) * 0xBF58_476D_1CE4_E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D0_49BB_1331_11EB) & _MASK
    return state ^ (state >> 31)


def uniform(key: int, seed: int, draw: int) -> float:
    """One uniform number, a pure function of what it is drawn for.

    Parameters
    ----------
    key : what the draw belongs to, such as ``int(slate_id, 16)`` or a `hash64`; taken modulo 2**64
    seed : the seed of the configuration; taken modulo 2**64
    draw : number of the draw within this key, from 0

    Returns
    -------
    float
        In [0, 1), a multiple of 2**-53. Draws of one (key, seed) are the SplitMix64 sequence whose start is the
        mixed (key, seed).
    """
    start = mix64(mix64(key + _GOLDEN) + seed * _GOLDEN)
    return (mix64(start + (draw + 1) * _GOLDEN) >> 11) * _TO_UNIT
