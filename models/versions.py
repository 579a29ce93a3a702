"""Published versions of a network: an order, a content hash and the weights as safetensors.

Layout of a `model-updates` record under the key ``weights:NAME`` (little endian): ``version u8 | kind 'w' | epoch u32 |
number u64 | content hash 8 bytes | safetensors``. A version is newer than another when its (epoch, number) is larger: the
epoch rises each time the learner starts, so that versions of two lives of the learner are never confused.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import torch
from safetensors.torch import load, save

_LAYOUT = 1
_KIND = b"w"
_HEAD = struct.Struct("<BcIQ8s")


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """Which weights these are.

    Parameters
    ----------
    epoch : of the life of the learner that made it; in the job the time of its start in seconds, or later
    number : of the version within the epoch's lineage, rising
    content : first 8 bytes of the BLAKE2 hash of the weights, hexadecimal
    """

    epoch: int
    number: int
    content: str

    def __str__(self) -> str:
        return f"{self.epoch}.{self.number}-{self.content}"


def encode_tensors(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Tensors by name as safetensors."""
    return bytes(save({name: tensor.detach().contiguous() for name, tensor in tensors.items()}))


def decode_tensors(raw: bytes) -> dict[str, torch.Tensor]:
    """The tensors in safetensors bytes."""
    return dict(load(raw))


def encode_version(epoch: int, number: int, tensors: Mapping[str, torch.Tensor]) -> bytes:
    """The record of a version (layout: module docstring)."""
    weights = encode_tensors(tensors)
    return _HEAD.pack(_LAYOUT, _KIND, epoch, number, blake2b(weights, digest_size=8).digest()) + weights


def decode_version(raw: bytes) -> tuple[Version, bytes]:
    """Which version a record holds, and its safetensors bytes.

    Raises
    ------
    ValueError
        When the record is of another layout or kind.
    """
    layout, kind, epoch, number, content = _HEAD.unpack_from(raw)
    if layout != _LAYOUT or kind != _KIND:
        raise ValueError(f"weights of layout {layout} and kind {kind!r}, this release reads {_LAYOUT} {_KIND!r}")
    return Version(epoch, number, content.hex()), raw[_HEAD.size :]
