"""A trained network as a file, for a learner and a recommender to start from: safetensors, never pickle.

Tensors: ``network.NAME`` (the state of the scorer) and ``normal.mean``, ``normal.square`` (float64[width], running moments of the
frozen matrix). Metadata, all text: ``format`` "flinkrec 1", ``features`` and ``scorer`` as JSON, ``count`` (rows behind the
moments), ``examples`` (learned in all) and ``content``, the BLAKE2 hash of the tensors' bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from models.config import Scorer as ScorerConfig
from models.feature_table import FEATURES

_FORMAT = "flinkrec 1"
_HEADER_LENGTH = struct.Struct("<Q")
# Settings that change the shape of the network or what it was trained on; the others may differ.
_SHAPE = ("name", "hidden", "options")
_ENCODER_SHAPE = ("history", "embedding_rows", "embedding_dim")
# So many rows stand behind the moments of what is started from without a file: those of its own examples soon outweigh them.
_ROWS_OF_A_START = 100_000.0


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What a file holds.

    Attributes
    ----------
    name : of the file, for errors
    features : names of the columns it was trained on
    scorer : the settings of its scorer
    network : the scorer's state
    mean, square, count : running moments of the frozen matrix and the rows behind them
    content : hash of the tensors, hexadecimal
    """

    name: str
    features: list[str]
    scorer: dict[str, Any]
    network: dict[str, torch.Tensor]
    mean: np.ndarray
    square: np.ndarray
    count: float
    content: str

    def require_fit(self, config: ScorerConfig) -> None:
        """Check that a configuration can start from this file.

        Raises
        ------
        ValueError
            When it cannot, with what differs.
        """
        ours = _settings(config)
        if self.features != list(FEATURES):
            named = sorted(set(self.features) ^ set(FEATURES)) or ["their order"]
            raise ValueError(f"{self.name}: it was trained on other features than this release has: {', '.join(named)}")
        for key in dict.fromkeys((*self.scorer, *ours)):
            if self.scorer.get(key) != ours.get(key):
                raise ValueError(
                    f"{self.name}: its scorer.{key} is {self.scorer.get(key)!r}, the configuration's is {ours.get(key)!r}"
                )


def network_shape(config: ScorerConfig) -> dict[str, Any]:
    """What decides which tensors a network has and what they mean: the settings of its scorer, and a hash of the features' names."""
    return _settings(config) | {"features": blake2b("\x1f".join(FEATURES).encode(), digest_size=8).hexdigest()}


def started_from(config: ScorerConfig, network: Mapping[str, torch.Tensor], *, name: str) -> ModelFile:
    """What a network knows that serves, for another learner to start from: as a file of it would, but for the exact moments.

    The learner goes on from the network's own mean and deviation of each column, as if some batches had made them.
    """
    mean = network["mean"].double().numpy()
    square = np.square(mean) + np.square(1.0 / network["inverse_deviation"].double().numpy())
    return ModelFile(name, list(FEATURES), _settings(config), dict(network), mean, square, _ROWS_OF_A_START, content="")


def _settings(config: ScorerConfig) -> dict[str, Any]:
    keys: tuple[str, ...] = _SHAPE if config.name == "mlp" else _SHAPE + _ENCODER_SHAPE
    if config.name == "text":
        keys += ("vector_dimension",)
    values = msgspec.to_builtins(config)
    return {key: list(values[key]) if key == "hidden" else values[key] for key in keys}


def encode_model(
    config: ScorerConfig,
    network: Mapping[str, torch.Tensor],
    *,
    mean: np.ndarray,
    square: np.ndarray,
    count: float,
    examples: int,
) -> bytes:
    """The bytes of a file (layout: module docstring)."""
    tensors = {f"network.{name}": tensor.detach().contiguous() for name, tensor in network.items()}
    tensors["normal.mean"], tensors["normal.square"] = torch.from_numpy(mean), torch.from_numpy(square)
    metadata = {
        "format": _FORMAT,
        "features": msgspec.json.encode(list(FEATURES)).decode(),
        "scorer": msgspec.json.encode(_settings(config)).decode(),
        "count": repr(count),
        "examples": str(examples),
        "content": _content(save(tensors)),
    }
    return bytes(save(tensors, metadata=metadata))


def decode_model(raw: bytes, name: str) -> ModelFile:
    """Read a file.

    Parameters
    ----------
    name : of the file, for errors

    Raises
    ------
    ValueError
        When it is not such a file, or was damaged.
    """
    try:
        tensors = load(raw)
        header = msgspec.json.decode(raw[_HEADER_LENGTH.size :][: _HEADER_LENGTH.unpack_from(raw)[0]])
    except (SafetensorError, msgspec.DecodeError, struct.error) as error:
        raise ValueError(f"{name}: not a safetensors file: {error}") from None
    metadata = header.get("__metadata__", {})
    if metadata.get("format") != _FORMAT:
        raise ValueError(f"{name}: not a model of `flinkrec train`: its format is {metadata.get('format')!r}, not {_FORMAT!r}")
    if _content(raw) != metadata["content"]:
        raise ValueError(f"{name}: its tensors are not those that were written: the file is damaged")
    return ModelFile(
        name=name,
        features=msgspec.json.decode(metadata["features"]),
        scorer=msgspec.json.decode(metadata["scorer"]),
        network={key.removeprefix("network."): tensor for key, tensor in tensors.items() if key.startswith("network.")},
        mean=tensors["normal.mean"].numpy(),
        square=tensors["normal.square"].numpy(),
        count=float(metadata["count"]),
        content=metadata["content"],
    )


def _content(raw: bytes) -> str:
    start = _HEADER_LENGTH.size + _HEADER_LENGTH.unpack_from(raw)[0]
    return blake2b(raw[start:], digest_size=8).hexdigest()
