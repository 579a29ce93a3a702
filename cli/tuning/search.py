"""The search: configurations walk through the first part of a stream, the best goes on through the rest beside the base.

    |<------------------- tuning, 70 % ------------------->|<----- rest, 30 % ----->|
    |             learned only         |<-- last third --->|  base and best alone   |
    |                                  |  is the score     |  confirm               |

A trial changes a few keys of the best configuration so far; which values they take, Optuna's tree-structured Parzen
estimator says from all trials before (Bergstra et al., "Algorithms for hyper-parameter optimization", NIPS 2011). It starts
from the best one because nearly every random point of two dozen keys is worse than what somebody tuned before, and so that
what is found differs in few keys.

After a third and after two thirds of its way a trial goes on only where it is among the better half of those that came so
far (Optuna's `SuccessiveHalvingPruner`; Li et al., "A system for massively parallel hyperparameter tuning", 2020), by the
score that it would have if the tuning part ended there, less the base's: the ups and downs of the stream cancel. The walks of
the base and of the best are kept, so that confirming costs no more than the rest; time for that is set aside.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from cli.evaluation.run import Asked
from cli.tuning.metric import Metric
from cli.tuning.walk import Walk
from models.config import Configuration, ConfigurationError
from models.evaluation.space import Choice, Row, Space, Value, WholeRange, including, rounded
from models.events import Event
from models.topics import CatalogueItem
from models.validation import parse_configuration

TUNING_SHARE = 0.7
STEPS = 20
"""Places of the tuning part, evenly spaced, at which a trial has a running score."""
_FIRST_CUT, _BETTER_PART = 7, 2  # cuts at places 7 and 14: before, the network has hardly begun to learn
_STARTUP_TRIALS = 6
_MOST_CHANGES = 4
_MOST_REFUSALS_IN_A_ROW = 100
_CHUNK = 250
# An event of the rest costs more than one of the tuning part, whose rows are shorter.
_MARGIN = 1.25
# So many whole walks through the tuning part have to fit; nearly twice as many trials, as most are given up.
_WALKS = 15


@dataclass(slots=True, eq=False)
class Trial:
    """One configuration and how far it came.

    Attributes
    ----------
    number : 0 for the base
    values : of the keys of the space
    walk : through the tuning part, and on where it is confirmed
    scores : running score at each place so far
    seconds : that the walk took through the tuning part
    finished : whether it came to the end of the tuning part
    """

    number: int
    values: dict[str, Value]
    walk: Walk
    scores: list[float]
    seconds: float = 0.0
    finished: bool = False

    @property
    def score(self) -> float:
        """At the last place so far."""
        return self.scores[-1]

    @property
    def pace_s(self) -> float:
        """Seconds an event."""
        return self.seconds / max(1, len(self.walk))


class OutOfTime(Exception):
    """The time ended before the base configuration was judged."""


class Search:
    """A search over one stream.

    Parameters
    ----------
    base : the configuration to improve
    stream : events in time order
    catalogue : by item id
    space : what may be changed; a key for which the base has no value is left alone
    starts : what is tried first, each with the other values of the best so far
    metric : what is tuned for
    asked : which slate an event tests
    seed : of every draw
    clock : seconds, rising
    deadline_s : on this clock, for all of it
    on_step : told of each place that a trial reaches
    on_trial : told of each trial that ends

    Attributes
    ----------
    first, best : the base, and the trial with the highest score; None before the base is judged
    finished, given_up, refused : number of trials; refused are those that the configuration's validation turned down, and
        those that had been tried before
    """

    def __init__(
        self,
        base: Configuration,
        stream: Sequence[Event],
        catalogue: Mapping[str, CatalogueItem],
        *,
        space: Space,
        starts: Sequence[Mapping[str, Value]] = (),
        metric: Metric,
        asked: Asked,
        seed: int,
        clock: Callable[[], float],
        deadline_s: float,
        on_step: Callable[[Trial], None] = lambda trial: None,
        on_trial: Callable[[Trial], None] = lambda trial: None,
    ) -> None:
        self._base, self._stream, self._catalogue = base, stream, catalogue
        self._metric, self._asked = metric, asked
        self._clock, self._deadline_s = clock, deadline_s
        self._on_step, self._on_trial = on_step, on_trial
        self._starts = iter(starts)
        self._base_values = {key: value for key in space if (value := value_at(base, key)) is not None}
        self._distributions = {
            key: _distribution(including(space[key], value)) for key, value in self._base_values.items()
        }
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS, multivariate=False),
            pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=_FIRST_CUT, reduction_factor=_BETTER_PART),
        )
        self._random = random.Random(seed)
        self._tried: set[tuple[Value, ...]] = set()
        self.tuning_events = round(TUNING_SHARE * len(stream))
        self.first: Trial | None = None
        self.best: Trial | None = None
        self.finished = self.given_up = self.refused = 0

    def run(self, trials: int | None = None) -> None:
        """Try the base and then others, until there were so many trials beside it or the time is up.

        Raises
        ------
        OutOfTime
            When it was up before the base was judged.
        """
        base = self._try(self._base_values)
        assert base is not None, "the base is valid, and the first"
        if not base.finished:
            raise OutOfTime
        self.first = self.best = base
        refused_in_a_row = 0
        while self._time_for_another() and refused_in_a_row < _MOST_REFUSALS_IN_A_ROW:
            if trials is not None and self.finished + self.given_up - 1 >= trials:
                return
            trial = self._try(self._next_values())
            refused_in_a_row = refused_in_a_row + 1 if trial is None else 0
            if trial is not None and trial.finished and trial.score > self.best.score:
                self.best = trial

    def _next_values(self) -> dict[str, Value]:
        """The values of the best trial: with those of the next start, or without those of the few keys that are to be drawn."""
        assert self.best is not None
        start = next(self._starts, None)
        if start is not None:
            return self.best.values | {key: value for key, value in start.items() if key in self._distributions}
        keys = list(self._distributions)
        changed = self._random.sample(keys, min(len(keys), self._random.randint(1, _MOST_CHANGES)))
        return {key: value for key, value in self.best.values.items() if key not in changed}

    def _try(self, fixed: Mapping[str, Value]) -> Trial | None:
        """Run one configuration with these values, the others of the space drawn; None where it is refused."""
        self._study.enqueue_trial({key: _label(value) for key, value in fixed.items()})
        handle = self._study.ask(self._distributions)
        drawn = {key: rounded(_unlabelled(value)) for key, value in handle.params.items() if key not in fixed}
        values = {key: fixed[key] if key in fixed else drawn[key] for key in self._distributions}
        configuration = self._untried(values)
        if configuration is None:
            self.refused += 1
            self._study.tell(handle, state=TrialState.FAIL)
            return None
        walk = Walk(configuration, self._catalogue, asked=self._asked)
        trial = Trial(self.finished + self.given_up, values, walk, [])
        started_s = self._clock()
        state = self._walk(trial, handle)
        trial.seconds = self._clock() - started_s
        trial.finished = state is TrialState.COMPLETE
        self._study.tell(handle, self._gain(trial) if trial.finished else None, state=state)
        self.finished += trial.finished
        self.given_up += not trial.finished
        self._on_trial(trial)
        return trial

    def _untried(self, values: Mapping[str, Value]) -> Configuration | None:
        """The base with these values, None where that is no valid configuration or not a new one."""
        signature = tuple(values.values())
        if signature in self._tried:
            return None
        self._tried.add(signature)
        try:
            return with_values(self._base, values)
        except ConfigurationError:
            return None

    def _walk(self, trial: Trial, handle: optuna.Trial) -> TrialState:
        """Walk through the tuning part, as far as it is worth it and there is time."""
        started_s = self._clock()
        for place in range(1, STEPS + 1):
            end = round(place * self.tuning_events / STEPS)
            while len(trial.walk) < end:
                trial.walk.take(self._stream[len(trial.walk) : min(end, len(trial.walk) + _CHUNK)])
                trial.seconds = self._clock() - started_s
                if self._clock() > self._deadline_s - self._reserve_s(trial):
                    return TrialState.FAIL
            trial.scores.append(trial.walk.score(self._metric))
            handle.report(self._gain(trial), place)
            self._on_step(trial)
            # asked for the base too: it is one of those that the others have to be better than
            is_behind = handle.should_prune()
            if is_behind and self.first is not None and place < STEPS:
                return TrialState.PRUNED
        return TrialState.COMPLETE

    def _gain(self, trial: Trial) -> float:
        """The running score less the base's at the same place."""
        return 0.0 if self.first is None else trial.score - self.first.scores[len(trial.scores) - 1]

    def _reserve_s(self, running: Trial) -> float:
        """Time that the base and another one need for the rest."""
        paces_s = [trial.pace_s for trial in (self.best, running) if trial is not None]
        base_s = running.pace_s if self.first is None else self.first.pace_s
        return _MARGIN * (base_s + max(paces_s)) * (len(self._stream) - self.tuning_events)

    def _time_for_another(self) -> bool:
        assert self.first is not None
        assert self.best is not None
        return self._clock() + self.first.seconds < self._deadline_s - self._reserve_s(self.best)

    def confirm(self) -> Iterator[int]:
        """Let base and best go on through the rest, side by side until the deadline; the events that both have taken of it."""
        assert self.first is not None
        assert self.best is not None
        walks = [self.first.walk, self.best.walk][: 1 if self.best is self.first else 2]
        for start in range(self.tuning_events, len(self._stream), _CHUNK):
            chunk = self._stream[start : start + _CHUNK]
            for walk in walks:
                walk.take(chunk)
            yield start + len(chunk) - self.tuning_events
            if self._clock() > self._deadline_s:
                return


def seconds_of(events: int, pace_s: float, *, trials: int | None) -> float:
    """What a search over so many events should be given.

    Parameters
    ----------
    pace_s : seconds an event, of the base
    trials : at most, None for as many as there is time for
    """
    walks = _WALKS if trials is None else min(_WALKS, trials + 1)
    return events * pace_s * (TUNING_SHARE * walks + _MARGIN * 2 * (1 - TUNING_SHARE))


def value_at(configuration: Configuration, key: str) -> Any:
    """The value of a dotted key."""
    found: Any = configuration
    for part in key.split("."):
        found = getattr(found, part)
    return found


def with_values(configuration: Configuration, values: Mapping[str, Value]) -> Configuration:
    """A configuration with other values at some dotted keys.

    Raises
    ------
    ConfigurationError
        When they do not go together.
    """
    mapping = msgspec.to_builtins(configuration)
    for key, value in values.items():
        section, name = key.split(".")
        mapping[section][name] = value
    return parse_configuration(mapping, "trial")


def _distribution(row: Row) -> BaseDistribution:
    if isinstance(row, Choice):
        return CategoricalDistribution([_label(value) for value in row.values])
    if isinstance(row, WholeRange):
        return IntDistribution(row.low, row.high, log=row.log)
    return FloatDistribution(row.low, row.high, log=row.log)


def _label(value: Value) -> int | float | str:
    """A value as Optuna takes it: a list of numbers is a text."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


def _unlabelled(value: float | str) -> Value:
    return tuple(map(int, value.split(","))) if isinstance(value, str) else value
