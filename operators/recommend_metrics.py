"""What RECOMMEND tells Flink's metrics (names: `operators.metrics`).

====================================== =======================================================================================
``events{type}``                       events that were learned and answered
``refused{reason}``                    records that became a dead letter, and catalogue entries of the bootstrap that cannot be read
``slates``                             slates sent
``latency_ms`` (histogram)             from the producer's sent_at_ms to the slate, of events that have one
``compute_us`` (histogram)             from the arrival of an event in RECOMMEND to its slate
``replica_lag_ms`` (histogram)         from the broker's time of a delta to its being served
``replica_items``, ``_rows``           items known; rows and deltas applied since the start
``replica_bytes``                      memory of the replica's arrays
``panel_members``, ``panel_share_ppm`` of user CF: members held, and the share of all users that they are a sample of
``model_published_ms{part}``           when what serves was published, since 1970; 0 where nothing was. Of the ranker and of the policy
``model_number{part}``                 number of that version within its epoch
====================================== =======================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyflink.metrics import MetricGroup

from models.events import Refusal
from models.policies.learner import POLICY_PREFIX
from models.topics import Recommendation
from models.versions import Version, version_key, weights_key
from operators.metrics import Metrics

if TYPE_CHECKING:
    from models.recommender import Recommender

LATENCY_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 60_000)
COMPUTE_US = (200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000)
REPLICA_LAG_MS = (50, 100, 200, 300, 500, 750, 1_000, 2_000, 5_000, 10_000, 60_000)
_RANKER = weights_key("ranker")
_RANKER_VERSION = version_key("ranker", "")


class RecommendMetrics:
    """The metrics of one RECOMMEND.

    Parameters
    ----------
    group : of the operator
    types : of events, by name
    recommender : whose replica and versions are told
    started_ms : when the model was submitted that the recommender begins with
    """

    def __init__(self, group: MetricGroup, *, types: Iterable[str], recommender: Recommender, started_ms: int) -> None:
        self._metrics = metrics = Metrics(group)
        self._recommender = recommender
        self._events = {name: metrics.counter("events", type=name) for name in types}
        self._refused = {reason: metrics.counter("refused", reason=reason.value) for reason in Refusal}
        self._slates = metrics.counter("slates")
        self._latency_ms = metrics.histogram("latency_ms", LATENCY_MS)
        self._compute_us = metrics.histogram("compute_us", COMPUTE_US)
        self._lag_ms = metrics.histogram("replica_lag_ms", REPLICA_LAG_MS)
        self._items, self._rows = metrics.gauge("replica_items"), metrics.gauge("replica_rows")
        self._bytes = metrics.gauge("replica_bytes")
        self._members, self._share = metrics.gauge("panel_members"), metrics.gauge("panel_share_ppm")
        self._published = {part: metrics.gauge("model_published_ms", part=part) for part in ("ranker", "policy")}
        self._number = {part: metrics.gauge("model_number", part=part) for part in ("ranker", "policy")}
        self._ranker: Version | None = None
        self._ranker_published_ms: dict[str, int] = {}
        self.versions_changed(started_ms)

    def event(self, type_name: str) -> None:
        """An event was let through."""
        self._events[type_name].n += 1

    def refusal(self, reason: Refusal) -> None:
        """A record was refused: told at once, as it is rare, and the last of a burst would wait for what comes next."""
        counter = self._refused[reason]
        counter.n += 1
        counter.tell()

    def slate(self, recommendation: Recommendation) -> None:
        """An event was answered."""
        timings = recommendation.timings
        self._slates.n += 1
        self._compute_us.observe(timings.compute_us)
        if timings.sent_at_ms is not None:
            self._latency_ms.observe(max(0, timings.emitted_at_ms - timings.sent_at_ms))

    def delta(self, published_ms: int, now_ms: int) -> None:
        """A delta was applied."""
        self._lag_ms.observe(max(0, now_ms - published_ms))

    def update(self, key: str, value: bytes | None, published_ms: int) -> None:
        """A record of `model-updates` was applied, which may have changed the versions that serve."""
        if key.startswith(_RANKER_VERSION):
            name = key.removeprefix(_RANKER_VERSION)
            if value is None:
                self._ranker_published_ms.pop(name, None)
            else:
                self._ranker_published_ms[name] = published_ms
        if key.startswith((_RANKER, "control:")):
            self.versions_changed(published_ms)
        elif key.startswith(POLICY_PREFIX) and value is not None:
            version = self._recommender.treatments.everybody.version
            if version is not None:
                self._serves("policy", version.number, published_ms)

    def versions_changed(self, published_ms: int) -> None:
        """Another version of the ranker may score: it was published just then, or a control pinned one of earlier."""
        version = self._recommender.version
        if version is not None and version != self._ranker:
            self._ranker = version
            self._serves("ranker", version.number, self._ranker_published_ms.get(version.name, published_ms))

    def _serves(self, part: str, number: int, published_ms: int) -> None:
        self._number[part].value, self._published[part].value = number, published_ms
        self._metrics.hasten()

    def tell(self) -> None:
        """Let Flink know, where it is time to."""
        if not self._metrics.is_due():
            return
        replica = self._recommender.replica
        self._items.value, self._rows.value = replica.known_items, replica.rows_applied
        self._bytes.value = replica.nbytes
        self._members.value, self._share.value = len(replica.panel), round(1_000_000 * replica.panel.share)
        self._metrics.tell()
