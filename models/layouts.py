"""What packed bytes have in common: they begin with the version of their layout."""

from __future__ import annotations


def require_version(raw: bytes, version: int, *, what: str) -> None:
    """Find out whether this release can read packed bytes.

    Parameters
    ----------
    raw : bytes, the version first
    version : the one that is read
    what : they are, in words

    Raises
    ------
    ValueError
        When they are of another version.
    """
    if raw[0] != version:
        raise ValueError(f"{what} of version {raw[0]}, this release reads {version}")
