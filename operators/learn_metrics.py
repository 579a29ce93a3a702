"""What the learn path tells Flink's metrics (names: `operators.metrics`) and its log.

================================ =============================================================================================
``learned``                      messages: pairs, examples, or steps
``published{record}``            records of the kind: row, delta, weights, gate, policy, and so on
``rows``                         CO-OCCURRENCE: items in the tables of this subtask
``learners``                     BANDIT: policies that learn
``arm_networks``                 LEARNER: networks of an experiment's arms that learn; the figures below are those of everybody's
``remembered``, ``reports``      ANSWERS: questions in the memory; slates of which it is known whether they solved theirs
``examples``, ``steps``          LEARNER: learned, and optimiser steps taken, over all its lives
``skipped_steps``                LEARNER: not taken, since something was not finite
``sample_rate_ppm``              LEARNER: share of the examples that RECOMMEND sends
``gate_decisions{verdict}``      LEARNER: published, held, rolled_back, in this life
``gate_held``                    LEARNER: candidates held since the last publication
``gate_judged``                  LEARNER: examples in the gate's window
``gate_rank_loss_milli{network}``, ``gate_probability_loss_milli{network}``, ``gate_hit_rate_ppm{network}``
                                 LEARNER: means over the window at the last decision, of candidate and serving: thousandths of a nat, and
                                 parts per million
================================ =============================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, get_args

from models.answers.memory import AnswerMemory
from models.config import Configuration
from models.cooccurrence import CooccurrenceTable
from models.decisions import Decision, Measures, Verdict
from operators.logs import Log
from operators.metrics import Metrics

if TYPE_CHECKING:
    from models.arm_learner import ArmLearner
    from models.learner import Learner

Watch = Callable[[Metrics, Log], Callable[[Mapping[Any, Any]], None]]
"""Registers gauges; what it returns sets them by the models of all keys of the subtask."""

_NETWORKS = ("candidate", "serving")


def watch_tables(metrics: Metrics, _log: Log) -> Callable[[Mapping[Any, CooccurrenceTable]], None]:
    """CO-OCCURRENCE's."""
    rows = metrics.gauge("rows")

    def watch(tables: Mapping[Any, CooccurrenceTable]) -> None:
        rows.value = sum(map(len, tables.values()))

    return watch


def watch_policies(metrics: Metrics, _log: Log) -> Callable[[Mapping[Any, Any]], None]:
    """BANDIT's."""
    learners = metrics.gauge("learners")

    def watch(models: Mapping[Any, Any]) -> None:
        learners.value = len(models)

    return watch


def watch_answers(metrics: Metrics, _log: Log) -> Callable[[Mapping[Any, AnswerMemory]], None]:
    """ANSWERS'."""
    remembered, reports = metrics.gauge("remembered"), metrics.gauge("reports")

    def watch(memories: Mapping[Any, AnswerMemory]) -> None:
        remembered.value = sum(map(len, memories.values()))
        reports.value = sum(memory.confidence.examples for memory in memories.values())

    return watch


class RankerWatch:
    """LEARNER's: what its network has learned, and what the gate decides of it."""

    def __init__(self, metrics: Metrics, log: Log, *, configuration: Configuration) -> None:
        self._log = log
        self._examples, self._steps = metrics.gauge("examples"), metrics.gauge("steps")
        self._skipped = metrics.gauge("skipped_steps")
        metrics.gauge("sample_rate_ppm").value = round(1_000_000 * configuration.learner.sample_rate)
        self._decisions = {verdict: metrics.counter("gate_decisions", verdict=verdict) for verdict in get_args(Verdict)}
        self._held, self._judged = metrics.gauge("gate_held"), metrics.gauge("gate_judged")
        self._figures = {
            (figure, network): metrics.gauge(f"gate_{figure}", network=network)
            for figure in ("rank_loss_milli", "probability_loss_milli", "hit_rate_ppm")
            for network in _NETWORKS
        }
        self._arms = metrics.gauge("arm_networks")
        self._seen: dict[Any, Decision | None] = {}

    def __call__(self, models: Mapping[Any, Learner | ArmLearner]) -> None:
        from models.learner import Learner

        everybodys = {key: learner for key, learner in models.items() if isinstance(learner, Learner)}
        self._arms.value = len(models) - len(everybodys)
        for key, learner in everybodys.items():
            self._examples.value, self._steps.value = learner.examples, learner.steps
            self._skipped.value = learner.skipped_steps
            self._held.value, self._judged.value = learner.held, learner.gate.judged
            for decision in self._new(key, learner.gate.decisions):
                self._decided(decision)

    def _new(self, key: Any, decisions: list[Decision]) -> list[Decision]:
        """Decisions since the last call; those that a restore brings back were counted by the life that made them."""
        last = decisions[-1] if decisions else None
        if key not in self._seen:
            self._seen[key] = last
            return []
        seen, new = self._seen[key], []
        for decision in reversed(decisions):
            if decision is seen:
                break
            new.append(decision)
        self._seen[key] = last
        return new[::-1]

    def _decided(self, decision: Decision) -> None:
        self._decisions[decision.verdict].n += 1
        for network in _NETWORKS:
            measures: Measures = getattr(decision, network)
            for figure, value, unit in (
                ("rank_loss_milli", measures.rank_loss, 1_000),
                ("probability_loss_milli", measures.probability_loss, 1_000),
                ("hit_rate_ppm", measures.hit_rate, 1_000_000),
            ):
                if value is not None:
                    self._figures[figure, network].value = round(unit * value)
        if decision.verdict == "published":
            if self._log.debugs:
                self._log.debug("version published", version=decision.version, examples=decision.examples)
            return
        self._log.warn(
            "candidate held" if decision.verdict == "held" else "version rolled back",
            version=decision.version,
            rollback_of=decision.rollback_of,
            reason=decision.reason,
            examples=decision.examples,
        )
