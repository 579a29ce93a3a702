"""The learner of the network of an experiment's arm: a `models.learner.Learner` that begins with a definition, and ends.

A message is an example (`models.examples`), or a definition: ``0 u8 | JSON of RankerDefinition``. Before a definition, and after one
without a scorer, nothing is learned and nothing is kept. The rows of its snapshot are those of the learner, and ``definition``.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from models.config import Configuration
from models.config import Scorer as ScorerConfig
from models.decisions import gate_key
from models.learner import Learner
from models.model_file import started_from
from models.versions import decode_tensors, weights_key

_DEFINITION = b"\0"


class RankerDefinition(msgspec.Struct, frozen=True):
    """What the learner of a network is.

    Attributes
    ----------
    name : of the network; there is one definition of each name
    scorer : its section; None: it ends
    start : safetensors of a network of this shape that it begins with, empty: it begins untrained
    """

    name: str
    scorer: ScorerConfig | None
    start: bytes = b""


def encode_definition(definition: RankerDefinition) -> bytes:
    """The message that defines a learner, or ends it."""
    return _DEFINITION + msgspec.json.encode(definition)


class ArmLearner:
    """Learns the network of an arm while there is one.

    Parameters
    ----------
    configuration : the whole configuration, of which the definition replaces section scorer
    epoch : of its versions, see `models.learner.Learner`

    Attributes
    ----------
    learner : None before its definition, and after its end
    """

    def __init__(self, configuration: Configuration, *, epoch: int = 0) -> None:
        self._config, self._epoch = configuration, epoch
        self._definition: RankerDefinition | None = None
        self._tombstones: list[tuple[str, bytes | None]] = []
        self.learner: Learner | None = None

    def learn_one(self, message: bytes) -> None:
        """Take one example or definition; a definition that says nothing new changes nothing."""
        if message[:1] != _DEFINITION:
            if self.learner is not None:
                self.learner.learn_one(message)
            return
        definition = msgspec.json.decode(message[1:], type=RankerDefinition)
        if definition.scorer is None:
            self._tombstones = [(weights_key(definition.name), None), (gate_key(definition.name), None)]
            self._definition = self.learner = None
        elif self.learner is None:
            self._definition, self.learner = definition, self._learner_of(definition, definition.scorer)

    def _learner_of(self, definition: RankerDefinition, scorer: ScorerConfig) -> Learner:
        config, start = self._config, None
        if definition.start:
            start = started_from(scorer, decode_tensors(definition.start), name="everybody's network")
        # by hand only everybody's versions are pinned: two networks may have versions of the same number
        return Learner(
            config.learner,
            scorer,
            gate=config.gate,
            k=config.slate.k,
            name=definition.name,
            pinnable=False,
            epoch=self._epoch,
            start=start,
        )

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing to keep of it, once its updates are taken."""
        return self.learner is None

    def has_updates(self) -> bool:
        """Whether something waits for its publication."""
        return bool(self._tombstones) or (self.learner is not None and self.learner.has_updates())

    def take_updates(self) -> list[tuple[str, bytes | None]]:
        """What is to be published: see `models.learner.Learner.take_updates`; tombstones at its end."""
        tombstones, self._tombstones = self._tombstones, []
        return [*tombstones, *([] if self.learner is None else self.learner.take_updates())]

    def take_snapshot(self) -> list[tuple[str, bytes]]:
        """The rows of the state that changed since the last snapshot."""
        if self.learner is None or self._definition is None:
            return []
        # what it began with is in the learner's own rows by now
        definition = msgspec.structs.replace(self._definition, start=b"")
        return [("definition", msgspec.json.encode(definition)), *self.learner.take_snapshot()]

    def load_snapshot(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Carry on from an earlier snapshot, in a new epoch.

        Raises
        ------
        ValueError
            When the snapshot does not fit the network.
        """
        saved = dict(rows)
        if saved:
            self.learn_one(_DEFINITION + saved.pop("definition"))
            assert self.learner is not None
            self.learner.load_snapshot(saved.items())
