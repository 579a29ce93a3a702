"""What packed bytes have in common: they begin with the version of their layout."""

from __future__ import annotations


def require_version(raw: bytes, version: int, *, what: str, oldest: int | None = None) -> None:
    """Find out whether this release can read packed bytes.

    Parameters
    ----------
    raw : bytes, the version first
    version : the one that is written
    what : they are, in words
    oldest : the first version that is still read; None: only `version`

    Raises
    ------
    ValueError
        When they are of another version.
    """
    first = version if oldest is None else oldest
    if not first <= raw[0] <= version:
        read = version if first == version else f"{first} to {version}"
        raise ValueError(f"{what} of version {raw[0]}, this release reads {read}")
