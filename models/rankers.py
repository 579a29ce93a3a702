"""Rankers: the networks that score, everybody's and those of the arms of an experiment that have a scorer of their own.

Each is known by its name in `model-updates`: ``ranker`` is everybody's, and an arm's is ``ranker/SALT.ARM.DIGEST``, with a digest of its
section scorer: another section is another network, which begins anew: as everybody's is then, where their weights mean the same (it has
other candidates, say, or ignores a group of features), otherwise untrained. LEARNER holds one learner for each. An arm's begins with a
definition, sent before its first example, and ends, with all its state and its records in `model-updates`, when it is told that nobody
is scored by it any more (`models.arm_learner`). An arm whose scorer is ``none`` has no network: it is ranked as the sources do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b

import msgspec

from models.arm_learner import RankerDefinition, encode_definition
from models.config import Configuration
from models.config import Scorer as ScorerConfig
from models.identity import hash64
from models.model_file import ModelFile
from models.scorers import make_scorer
from models.scorers.base import Scorer
from models.served import ServedNetwork
from models.versions import Version, decode_version, encode_tensors, weights_key

RANKER = "ranker"
"""Name of everybody's network."""
_ARMS_KEY = weights_key(f"{RANKER}/")


class Ranker:
    """What the candidates of some users are scored by.

    Attributes
    ----------
    name : of its network in `model-updates`
    scorer : its section
    learner : number by which messages for its learner are keyed, None for everybody's
    served : which version scores; None where the sources' own order is shown
    """

    def __init__(self, name: str, scorer: ScorerConfig, served: ServedNetwork | None) -> None:
        self.name, self.scorer, self.served = name, scorer, served
        self.learner = None if name == RANKER else hash64(name)

    @property
    def network(self) -> Scorer | None:
        """The network that scores; None where the sources' own order is shown."""
        return None if self.served is None else self.served.network

    @property
    def version(self) -> Version | None:
        """The version of the network that scores, None before the first one."""
        return None if self.served is None else self.served.version


class Rankers:
    """The rankers in force.

    Parameters
    ----------
    configuration : the whole configuration
    start : a network that everybody's begins with until its learner has published one
    epoch : of `start`, later than what earlier lives of a learner published

    Attributes
    ----------
    everybody : scores for all but the arms that have their own

    Raises
    ------
    ValueError
        When `start` does not fit the configuration.
    """

    def __init__(self, configuration: Configuration, *, start: ModelFile | None = None, epoch: int = 0) -> None:
        self._config = configuration
        # what only logs ranks as the sources do
        self._logs = configuration.learner.mode == "logging"
        self._arms: dict[str, Ranker] = {}
        self._by_learner: dict[int | None, Ranker] = {}
        # of the networks of arms that `model-updates` holds, the newest, also of those that nobody is scored by (yet)
        self._records: dict[str, bytes] = {}
        self._told: dict[str, Ranker] = {}
        self.everybody = self._ranker(RANKER, configuration.scorer)
        if start is not None and self.everybody.served is not None:
            start.require_fit(configuration.scorer)
            self.everybody.served.begin_with(start.network, Version(epoch, 0, start.content))

    def _ranker(self, name: str, scorer: ScorerConfig) -> Ranker:
        if scorer.name == "none" or self._logs:
            return Ranker(name, scorer, None)
        network = make_scorer(scorer, seed=self._config.learner.seed).eval()
        return Ranker(name, scorer, ServedNetwork(network, scorer, name=name, keep=self._config.gate.keep))

    def of_arm(self, arm: str, scorer: ScorerConfig) -> Ranker:
        """The ranker of an arm that has its own, from the start or from what its learner has published by now.

        Parameters
        ----------
        arm : ``SALT.ARM``
        """
        digest = blake2b(msgspec.json.encode(scorer), digest_size=4).hexdigest()
        name = f"{RANKER}/{arm}.{digest}"
        found = self._arms.get(name)
        if found is None:
            found = self._ranker(name, scorer)
            if found.served is not None:
                origin = self._origin_of(found.served)
                if origin is not None:
                    found.served.begin_as(origin)
                if name in self._records:
                    found.served.apply(weights_key(name), self._records[name])
        return found

    def _origin_of(self, served: ServedNetwork) -> ServedNetwork | None:
        """Everybody's network, where that of an arm goes on from what it has learned: where its weights mean the same in it."""
        everybody = self.everybody.served
        if everybody is None or everybody.version is None or not served.is_shaped_like(everybody):
            return None
        return everybody

    def put_in_force(self, rankers: Iterable[Ranker]) -> None:
        """Let these score, instead of those before."""
        self._arms = {ranker.name: ranker for ranker in rankers if ranker is not self.everybody}
        self._by_learner = {ranker.learner: ranker for ranker in (self.everybody, *self._arms.values())}

    def by_learner(self, learner: int | None) -> Ranker | None:
        """The ranker in force whose learner is keyed so; None where it is none any more."""
        return self._by_learner.get(learner)

    def apply(self, key: str, value: bytes | None) -> str | None:
        """Take one record of `model-updates`, whatever it is of.

        Returns
        -------
        Why it was passed over (`models.served.ServedNetwork.apply`), or None.

        Raises
        ------
        ValueError
            When it is damaged, or of a layout that this release cannot read.
        """
        if not key.startswith(_ARMS_KEY):
            return None if self.everybody.served is None else self.everybody.served.apply(key, value)
        name = key.removeprefix(weights_key(""))
        if value is None:
            self._records.pop(name, None)
            return None
        before = self._records.get(name)
        if before is None or decode_version(value)[0] > decode_version(before)[0]:
            self._records[name] = value
        served = None if name not in self._arms else self._arms[name].served
        return None if served is None else served.apply(key, value)

    def messages(self, ranker: Ranker, example: bytes) -> Iterator[tuple[int | None, bytes]]:
        """An example for its learner, by the number of the learner; an arm's is told first what it learns, once in each life."""
        if ranker.learner is not None and self._told.get(ranker.name) is not ranker:
            self._told[ranker.name] = ranker
            yield ranker.learner, encode_definition(RankerDefinition(ranker.name, ranker.scorer, self._start_of(ranker)))
        yield ranker.learner, example

    def _start_of(self, ranker: Ranker) -> bytes:
        origin = None if ranker.served is None else self._origin_of(ranker.served)
        return b"" if origin is None else encode_tensors(origin.network.published())

    def take_endings(self) -> list[tuple[int, bytes]]:
        """What the learners must be told whose network nobody is scored by any more, by their number."""
        ended = sorted((self._records.keys() | self._told.keys()) - self._arms.keys())
        for name in ended:
            self._records.pop(name, None)
            self._told.pop(name, None)
        return [(hash64(name), encode_definition(RankerDefinition(name, None))) for name in ended]
