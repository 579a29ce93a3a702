"""Which published version of a network scores: the newest one, or the one that is pinned.

`model-updates` holds the newest version under ``weights:NAME`` and some earlier ones under ``weights:NAME@EPOCH.NUMBER``
(`models.learner`). Of the earlier ones the bytes are kept as they came, so that a pin takes effect at once: at most
gate.keep of them, less than 1 MB each.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import torch

from models.config import Scorer as ScorerConfig
from models.model_file import network_shape
from models.scorers.base import Scorer
from models.versions import Version, decode_tensors, decode_version, version_key, weights_about, weights_key


class ServedNetwork:
    """Follows the published versions of one network.

    Parameters
    ----------
    network : that scores, untrained; it is given the weights
    scorer : its section
    name : of the network
    keep : how many earlier versions stay reachable, gate.keep

    Attributes
    ----------
    network : as given
    version : of the weights that score, None for untrained ones
    """

    def __init__(self, network: Scorer, scorer: ScorerConfig, *, name: str, keep: int) -> None:
        self.network = network
        self._key, self._prefix = weights_key(name), version_key(name, "")
        # as it is read from JSON
        self._shape = msgspec.json.decode(msgspec.json.encode(network_shape(scorer)))
        self._tensors = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        self._most = keep
        self._kept: dict[str, bytes] = {}
        self._newest: bytes | None = None
        self._newest_version: Version | None = None
        self._start: dict[str, torch.Tensor] | None = None
        self.version: Version | None = None
        self._pinned: str | None = None

    def begin_with(self, tensors: Mapping[str, torch.Tensor], version: Version) -> None:
        """Score with trained weights until a later version is published."""
        self.network.load(tensors)
        self._start = dict(tensors)
        self._newest_version = self.version = version

    def begin_as(self, other: ServedNetwork) -> None:
        """Score with the weights of another network of the same shape until a version of this one is published."""
        self.network.load(other.network.published())
        self.version = other.version

    def is_shaped_like(self, other: ServedNetwork) -> bool:
        """Whether the weights of another network mean the same in this one."""
        return (self._shape, self._tensors) == (other._shape, other._tensors)

    def apply(self, key: str, value: bytes | None) -> str | None:
        """Take one record of `model-updates` under a key of this network; the newest wins, applying it twice changes nothing.

        Returns
        -------
        Why it was passed over, where it is of a network of another shape; such a version is another job's, or of before a change of
        the configuration. None otherwise.

        Raises
        ------
        ValueError
            When it is damaged, or of a layout that this release cannot read.
        """
        if key.startswith(self._prefix):
            self._keep(key.removeprefix(self._prefix), value)
            return None
        if key != self._key or value is None:
            return None
        version, weights = decode_version(value)
        foreign = self._foreign(version, weights)
        if foreign is None and (self._newest_version is None or version > self._newest_version):
            self._newest, self._newest_version, self._start = value, version, None
            if self._pinned_record() is None:
                self._load(version, weights)
        return foreign

    def pin(self, version: str | None) -> None:
        """Score with one version and stay with it; None: with the newest.

        Parameters
        ----------
        version : ``EPOCH.NUMBER``, with or without the content behind a dash; while no such version of this network is known, the newest
            scores
        """
        self._pinned = None if version is None else version.partition("-")[0]
        self._choose()

    def _keep(self, name: str, value: bytes | None) -> None:
        if value is None:
            if name != self._pinned:
                self._kept.pop(name, None)
            return
        self._kept[name] = value
        if name == self._pinned:
            self._choose()
        # those that a life left behind that ended before it could take them back
        while len(self._kept) > self._most + 1:
            self._kept.pop(min((one for one in self._kept if one != self._pinned), key=_order))

    def _pinned_record(self) -> bytes | None:
        """The record of the pinned version, where it is known and of a network of this shape."""
        record = None if self._pinned is None else self._kept.get(self._pinned)
        return None if record is None or self._foreign(*decode_version(record)) is not None else record

    def _choose(self) -> None:
        pinned = self._pinned_record()
        if pinned is None and self._start is not None:
            self.network.load(self._start)
            self.version = self._newest_version
            return
        record = pinned or self._newest
        if record is None:
            return
        version, weights = decode_version(record)
        if version != self.version and self._foreign(version, weights) is None:
            self._load(version, weights)

    def _load(self, version: Version, weights: bytes) -> None:
        self.network.load(decode_tensors(weights))
        self.version = version

    def _foreign(self, version: Version, weights: bytes) -> str | None:
        """What says that these are the weights of another network."""
        about, tensors = weights_about(weights)
        if about.shape is not None and about.shape != self._shape:
            names = [name for name in dict.fromkeys((*about.shape, *self._shape)) if about.shape.get(name) != self._shape.get(name)]
            said = ", ".join(f"scorer.{name} {about.shape.get(name)!r}, ours {self._shape.get(name)!r}" for name in names)
            return f"version {version} of {self._key} is of another network: {said}"
        if tensors == self._tensors:
            return None
        if about.shape is not None:
            raise ValueError(f"version {version} of {self._key} has not the tensors of the network that it says it is")
        return f"version {version} of {self._key} is of a network with other tensors"


def _order(name: str) -> tuple[int, int]:
    epoch, _, number = name.partition(".")
    return int(epoch), int(number)
