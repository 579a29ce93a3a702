"""Published versions of a network: an order, a content hash and the weights as safetensors.

Layout of a `model-updates` record under the key ``weights:NAME`` (little endian): ``version u8 | kind 'w' | epoch u32 |
number u64 | content hash 8 bytes | safetensors``. A version is newer than another when its (epoch, number) is larger: the
epoch rises each time the learner starts, so that versions of two lives of the learner are never confused.

The weights of a network say in the metadata of their safetensors, under the one key ``flinkrec``, as JSON: ``shape``, the settings
that decide which tensors there are and what they mean, and ``rollback_of``, the version that this one replaces where it was worse.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from safetensors import numpy as tables

if TYPE_CHECKING:
    import torch

_LAYOUT = 1
_KIND = b"w"
_HEAD = struct.Struct("<BcIQ8s")
_HEADER_LENGTH = struct.Struct("<Q")
# One key alone: safetensors writes several in an order that changes from run to run.
_ABOUT = "flinkrec"


def weights_key(name: str) -> str:
    """Key of a network's published weights in `model-updates`."""
    return f"weights:{name}"


def version_key(name: str, version: str) -> str:
    """Key of one version of a network, ``EPOCH.NUMBER``, under which it stays in `model-updates` for a while."""
    return f"{weights_key(name)}@{version}"


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
        return f"{self.name}-{self.content}"

    @property
    def name(self) -> str:
        """``EPOCH.NUMBER``, by which people and keys call it."""
        return f"{self.epoch}.{self.number}"


class About(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What weights say of themselves.

    Attributes
    ----------
    shape : settings of the network, None where an earlier release wrote the weights
    rollback_of : ``EPOCH.NUMBER`` of the version that was worse, where this one is an earlier one once more
    """

    shape: dict[str, Any] | None = None
    rollback_of: str | None = None


def encode_tensors(tensors: Mapping[str, torch.Tensor], about: About | None = None) -> bytes:
    """Tensors by name as safetensors."""
    from safetensors.torch import save  # PyTorch: not for who only reads which version it is

    metadata = None if about is None else {_ABOUT: msgspec.json.encode(about).decode()}
    return bytes(save({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, metadata=metadata))


def decode_tensors(raw: bytes) -> dict[str, torch.Tensor]:
    """The tensors in safetensors bytes."""
    from safetensors.torch import load

    return dict(load(raw))


def encode_tables(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays by name as safetensors."""
    return bytes(tables.save({name: np.asarray(array, order="C") for name, array in arrays.items()}))


def decode_tables(raw: bytes) -> dict[str, np.ndarray]:
    """The arrays in safetensors bytes; they are the caller's own."""
    return dict(tables.load(raw))


def weights_about(weights: bytes) -> tuple[About, dict[str, tuple[int, ...]]]:
    """What safetensors bytes say of themselves, and the shape of each tensor, without reading one.

    Raises
    ------
    ValueError
        When the bytes have no such header.
    """
    try:
        header = msgspec.json.decode(weights[_HEADER_LENGTH.size :][: _HEADER_LENGTH.unpack_from(weights)[0]])
        metadata = header.pop("__metadata__", {})
        about = msgspec.json.decode(metadata[_ABOUT], type=About) if _ABOUT in metadata else About()
        return about, {name: tuple(tensor["shape"]) for name, tensor in header.items()}
    except (msgspec.MsgspecError, struct.error, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"weights without a readable header: {error}") from None


def encode_version(
    epoch: int, number: int, tensors: Mapping[str, torch.Tensor], about: About | None = None
) -> bytes:
    """The record of a version (layout: module docstring)."""
    return version_record(epoch, number, encode_tensors(tensors, about))


def version_record(epoch: int, number: int, weights: bytes) -> bytes:
    """The record of a version of which the safetensors bytes are at hand."""
    return _HEAD.pack(_LAYOUT, _KIND, epoch, number, blake2b(weights, digest_size=8).digest()) + weights


def decode_version(raw: bytes) -> tuple[Version, bytes]:
    """Which version a record holds, and its safetensors bytes.

    Raises
    ------
    ValueError
        When the record is of another layout or kind, or its weights are not those that were written.
    """
    layout, kind, epoch, number, content = _HEAD.unpack_from(raw)
    if layout != _LAYOUT or kind != _KIND:
        raise ValueError(f"weights of layout {layout} and kind {kind!r}, this release reads {_LAYOUT} {_KIND!r}")
    weights = raw[_HEAD.size :]
    if blake2b(weights, digest_size=8).digest() != content:
        raise ValueError(f"weights of version {epoch}.{number} are not those that were written: the record is damaged")
    return Version(epoch, number, content.hex()), weights
