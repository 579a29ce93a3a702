"""What the pages of the console show: known answers of everything that is computed for them."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import torch

from models.candidates import CandidateGenerator
from models.config import Configuration, Strategy
from models.config import Policy as PolicySettings
from models.controls import NAMED, RULES, decode_control
from models.decisions import GateRecord
from models.events import ERASE, DeadLetter, EventRecord, Refusal, Rejected
from models.fields import Reason
from models.policies.base import Step
from models.policies.learner import PolicyLearner
from models.policies.q_learning import QLearning
from models.policies.state import STATES, Context
from models.policies.thompson import Thompson
from models.replica import Replica
from models.topics import Metric
from models.traces import Trace
from models.versions import encode_version
from serving.console import words
from serving.console.access import EVERYTHING, HOURS, Access
from serving.console.charts import Line, heat_map, over_time
from serving.console.desk import JobWatch
from serving.console.flink import job_health
from serving.console.histories import ACTS, Histories
from serving.console.learned import DEPTH_OUTCOME, Learned, read_policy, state_in_words
from serving.console.letters import LETTERS, Letters, pretty
from serving.console.markup import Bar, Column, Markup, bars, facts, table, titled
from serving.console.pages import dead_letters
from serving.console.rates import SECONDS, Rates
from serving.console.recent import USERS, RecentUsers
from serving.console.slates import longest_contributions, moves, reason_bars
from serving.console.templates import EXAMPLES, example, label_of, meaning, rule_name
from serving.console.traces import Traces
from serving.console.windows import WINDOWS, WindowedMetrics
from tests.unit.serving_slates import NOW_MS, Api, record, slate

# ------------------------------------------------------------------------------------------------ Live


def test_rates_count_by_second_in_whatever_order_slates_come():
    rates = Rates()
    for at_s, latency_ms in ((103, 30), (100, 10), (103, 20), (104, None), (109, 40)):
        rates.add(at_s, latency_ms=latency_ms)
    older, newer = rates.points(110, step_s=5, seconds=10)
    assert (older.at_s, older.slates_per_s, older.p50_ms) == (100, 4 / 5, 20.0)
    assert (newer.at_s, newer.slates_per_s, newer.p50_ms) == (105, 1 / 5, 40.0)
    assert rates.last(110, seconds=10).slates_per_s == 0.5


def test_a_step_that_is_not_over_is_left_out_and_what_is_unknown_is_none():
    rates = Rates()
    rates.add(111, latency_ms=None)
    assert [point.slates_per_s for point in rates.points(114, step_s=5, seconds=10)] == [0.0, 0.0]
    last = rates.last(112, seconds=2)
    assert (last.slates_per_s, last.p50_ms, last.p99_ms) == (0.5, None, None)


def test_rates_forget_what_is_long_ago():
    rates = Rates()
    for at_s in range(SECONDS + 50):
        rates.add(at_s, latency_ms=1)
    assert rates.last(50, seconds=50).slates_per_s == 0.0
    assert rates.last(SECONDS + 50, seconds=10).slates_per_s == 1.0


def metric(start_ms: int, name: str, value: float | None, n: int, part: str = "all") -> Metric:
    return Metric(window_start_ms=start_ms, window_end_ms=start_ms + 60_000, metric=name, slice=part, value=value, n=n)


def windowed(*metrics: Metric) -> WindowedMetrics:
    found = WindowedMetrics()
    for one in metrics:
        found.put(one)
    return found


def test_a_series_is_in_the_order_of_the_windows_and_a_window_that_is_written_again_replaces_what_it_said():
    said = ((60_000, 0.2, 5), (0, 0.5, 2), (60_000, 0.3, 5), (120_000, None, 0))
    found = windowed(*(metric(start_ms, "ctr", value, n) for start_ms, value, n in said))
    assert found.series("ctr") == [(0, 0.5), (60_000, 0.3), (120_000, None)]
    assert found.latest("ctr").value == 0.3
    assert found.window_ms == 60_000


def test_arms_and_their_strategies_are_read_from_the_slices():
    found = windowed(*(metric(0, "reward", 0.1, 1, part) for part in ("all", "arm=b", "arm=a", "arm=a/action=x", "type=click")))
    assert found.arms() == ["a", "b"]
    assert found.actions("a") == ["x"]
    assert found.actions(None) == []


def test_a_pooled_mean_is_weighted_and_its_interval_is_that_of_independent_windows():
    found = windowed(
        metric(0, "reward", 0.2, 100), metric(0, "reward_low", 0.1, 100), metric(0, "reward_high", 0.3, 100),
        metric(60_000, "reward", 0.4, 300), metric(60_000, "reward_low", 0.34, 300), metric(60_000, "reward_high", 0.46, 300),
    )  # fmt: skip
    pooled = found.pooled("reward")
    half = ((100 * 0.1) ** 2 + (300 * 0.06) ** 2) ** 0.5 / 400
    assert pooled.value == pytest.approx(0.35)
    assert (pooled.low, pooled.high, pooled.n) == (pytest.approx(0.35 - half), pytest.approx(0.35 + half), 400)


def test_nothing_is_pooled_of_nothing_and_no_interval_is_made_up():
    found = windowed(metric(0, "ndcg_at_k", 0.2, 10), metric(0, "ctr", None, 0))
    assert found.pooled("ctr") is None
    assert found.pooled("ndcg_at_k").low is None
    assert found.total("ndcg_at_k") == pytest.approx(0.2)


def test_only_so_many_windows_are_kept():
    found = windowed(*(metric(60_000 * number, "ctr", 0.1, 1) for number in range(WINDOWS + 3)))
    assert len(found.series("ctr")) == WINDOWS
    assert found.series("ctr")[0][0] == 180_000


def test_health_is_put_together_from_what_flink_says():
    job = {
        "jid": "1f", "state": "RUNNING", "start-time": 1_000,
        "vertices": [
            {"name": "RECOMMEND", "parallelism": 2, "tasks": {"RUNNING": 2}},
            {"name": "LEARNER", "parallelism": 1, "tasks": {"RUNNING": 0, "INITIALIZING": 1}},
        ],
    }  # fmt: skip
    checkpoints = {
        "counts": {"completed": 7, "failed": 1, "restored": 2},
        "latest": {"completed": {"latest_ack_timestamp": 5_000, "end_to_end_duration": 120, "state_size": 9_000}},
    }
    health = job_health(job, checkpoints)
    assert not health.runs
    assert [(o.name, o.running, o.parallelism) for o in health.operators] == [("RECOMMEND", 2, 2), ("LEARNER", 0, 1)]
    assert (health.checkpoints.restored, health.checkpoints.last_ms, health.checkpoints.size_bytes) == (2, 5_000, 9_000)
    assert job_health(job, {"counts": {}, "latest": None}).checkpoints.last_ms is None


def test_flink_is_asked_again_when_something_else_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.console.desk._ASK_FLINK_EVERY_S", 0)
    asked = asyncio.Event()

    class Client:
        times = 0

        async def health(self) -> None:
            Client.times += 1
            if Client.times == 1:
                job_health({"errors": ["not found"]}, {})
            if Client.times == 3:
                asked.set()

        async def close(self) -> None:
            """Nothing is open."""

    async def watched() -> tuple[str, str]:
        watch = JobWatch(Client())  # type: ignore[arg-type]
        running = asyncio.create_task(watch.run())
        async with asyncio.timeout(10):
            await asyncio.wait((asyncio.create_task(asked.wait()), running), return_when=asyncio.FIRST_COMPLETED)
        assert not running.done()
        running.cancel()
        return watch.in_words()

    assert asyncio.run(watched()) == ("no job runs", "bad")


# ------------------------------------------------------------------------------------------------ User


def test_moves_say_what_rose_fell_and_is_new():
    assert [move.in_words()[0] for move in moves(["a", "b", "c"], ["c", "d", "b", "a"])] == ["up 2", "new", "down 1", "down 3"]
    assert [move.in_words()[0] for move in moves([], ["a", "b"])] == ["", ""]


def test_bars_compare_contributions_of_one_kind_only():
    reasons = [Reason(kind="item_cf", item_id="i1", contribution=0.5), Reason(kind="user_cf", contribution=4.0), Reason(kind="trending")]
    longest = longest_contributions([*reasons, Reason(kind="item_cf", contribution=1.0)])
    assert longest == {"item_cf": 1.0, "user_cf": 4.0, "trending": 0.0}
    said = reason_bars(reasons, longest=longest, titles={"i1": "Heat & Dust"}.get)
    assert "because of Heat &amp; Dust" in said
    assert "width:50.0%" in said
    assert "width:100.0%" in said
    assert "trending</span>" in said


def event(number: int, user_id: str = "u", **of: object) -> EventRecord:
    return EventRecord(**({"event_id": number, "user_id": user_id, "item_id": f"i{number}", "event_time_ms": number} | of))


def test_a_history_is_the_newest_first_bounded_and_forgotten_when_its_user_is_erased():
    histories = Histories()
    for number in (2, 1, *range(3, ACTS + 10)):
        histories.put(event(number))
    acts = histories.of("u")
    assert len(acts) == ACTS
    assert [act.event_time_ms for act in acts] == sorted((act.event_time_ms for act in acts), reverse=True)
    # the job reads types in whatever case
    histories.put(event(99, type=f" {ERASE.upper()}"))
    assert histories.of("u") == []


def test_users_served_lately_are_the_newest_first_and_each_once():
    users = RecentUsers()
    for user_id in ("a", "b", "a", "c"):
        users.put(user_id)
    assert users.newest(most=2) == ["c", "a"]
    for number in range(USERS + 5):
        users.put(str(number))
    assert len(users.newest(most=USERS + 5)) == USERS


# ------------------------------------------------------------------------------------------------ Why


def trace(name: str, user_id: str = "u") -> Trace:
    return Trace(
        slate_id=name, user_id=user_id, event_id="e", event_time_ms=1, policy="p", action="a", action_probability=1.0, epsilon=0.0,
        arm="default", versions={}, source_weights={}, rules=[], feature_names=[], profile=[], candidates=[],
    )  # fmt: skip


def test_who_waits_for_a_trace_gets_it_from_the_thread_that_reads():
    traces = Traces()

    async def wait() -> Trace | None:
        waiting = asyncio.ensure_future(traces.wait_for("s1", timeout_s=5))
        await asyncio.sleep(0)
        thread = threading.Thread(target=traces.put, args=(trace("s1"),))
        thread.start()
        thread.join()
        return await waiting

    assert asyncio.run(wait()).slate_id == "s1"
    assert asyncio.run(traces.wait_for("s1", timeout_s=0)).slate_id == "s1"
    assert asyncio.run(traces.wait_for("other", timeout_s=0)) is None
    traces.put(trace("s2", "v"))
    assert [one.slate_id for one in traces.newest()] == ["s2", "s1"]
    assert [one.slate_id for one in traces.newest("u")] == ["s1"]


def test_a_state_in_words_has_the_levels_of_docs_policies():
    assert state_in_words(0) == "new, last seen minutes ago, the sitting begins, last slate none yet"
    assert state_in_words(STATES - 1) == "very active, last seen long ago, the sitting is long, last slate taken up"
    assert state_in_words(27 + 9 + 3 + 2) == "active, last seen today, the sitting goes on, last slate taken up"


# ------------------------------------------------------------------------------------------------ Experiments

STRATEGIES = {"personal": Strategy(), "sources": Strategy(scorer_weight=0.0)}


def published(policy: QLearning | Thompson) -> bytes:
    tensors = {name: torch.from_numpy(table) for name, table in policy.tables().items()}
    return encode_version(3, 4, tensors)


def context(state: int) -> Context:
    return Context(state, np.zeros(6))


def test_q_values_are_read_by_action_and_state_and_nan_where_nothing_was_tried():
    policy = QLearning(PolicySettings(name="q_learning", strategies=STRATEGIES, learning_rate=0.5))
    policy.learn(Step(context=context(41), action=1, reward=1.0))
    one = read_policy("policy:q_learning@spring.b", published(policy), ("sources", "personal"))
    assert (one.name, one.arm, one.by_state) == ("q_learning", "spring.b", True)
    assert one.actions == ("sources", "personal")
    assert one.values[0, 41] == pytest.approx(0.5)
    assert np.isnan(np.delete(one.values, 41, axis=1)).all()
    assert one.steps.sum() == 1
    assert one.version.startswith("3.4-")


def test_mean_rewards_of_a_bandit_are_read_and_an_action_without_a_known_name_keeps_its_number():
    policy = Thompson(PolicySettings(name="thompson", strategies=STRATEGIES))
    for reward in (1.0, 0.0, 0.0, 1.0):
        policy.learn(Step(context=context(0), action=0, reward=reward))
    one = read_policy("policy:thompson", published(policy), ("personal",))
    assert (one.arm, one.by_state) == (None, False)
    assert one.actions[0] == "personal"
    assert len(one.actions[1]) == 8
    assert one.values[0, 0] == pytest.approx(0.5)


def test_learned_keeps_the_newest_of_each_policy_and_the_gate():
    learned = Learned()
    learner = PolicyLearner(PolicySettings(name="thompson", strategies=STRATEGIES))
    learner.policy.learn(Step(context=context(0), action=0, reward=1.0))
    learned.put("policy:thompson", published(learner.policy))
    learned.put("row:i1", b"of no interest")
    gate = GateRecord(name="ranker", scorer="fism", mode="online", examples=5, serving="1.2", good="1.1", kept=["1.1"], decisions=[])
    learned.put("gate:ranker", msgspec.json.encode(gate))
    assert [one.name for one in learned.policies(("personal", "sources"))] == ["thompson"]
    assert learned.gate == gate
    learned.put("policy:thompson", None)
    assert learned.policies(()) == []
    assert learned.changes == 3


def test_a_heat_map_is_grey_where_there_is_no_value_and_full_at_the_highest():
    values = np.array([[np.nan, 0.0], [1.0, 2.0]])
    options = heat_map(values, rows=("a", "b"), columns=("c", "d"), tips=[["1", "2"], ["3", "4"]], lowest=0.0, highest=2.0)
    cells = {tuple(cell["value"][:2]): cell["itemStyle"] for cell in options["series"][0]["data"]}
    assert cells[0, 0]["color"] == "var(--heat-none)"
    assert [cells[place]["opacity"] for place in ((1, 0), (0, 1), (1, 1))] == [0.12, 0.56, 1.0]
    assert len(DEPTH_OUTCOME) ** 2 == STATES


def test_a_chart_in_percent_is_scaled_and_keeps_its_gaps():
    [line] = over_time([Line("hr", [(1, 0.25), (2, None)], "s1")], percent=True)["series"]
    assert line["data"] == [[1, 25.0], [2, None]]


# ------------------------------------------------------------------------------------------------ Controls


@pytest.mark.parametrize("kind", RULES)
def test_each_kind_of_rule_begins_with_an_example_and_says_what_its_fields_mean(kind):
    if kind != "pinned_version":  # a version has to be named
        decode_control(f"{kind}:NAME" if kind in NAMED else kind, example(kind).encode())
    said, fields = meaning(kind)
    assert said[0].isupper()
    if kind != "experiment":
        assert {name for names, _ in fields for name in names.split(", ")} == set(RULES[kind].__struct_fields__)
    assert kind in EXAMPLES


def test_a_rule_is_named_by_its_kind_and_a_label_where_there_may_be_several():
    assert rule_name("boost", " summer ") == "boost:summer"
    assert rule_name("boost", "") == "boost"
    assert rule_name("epsilon", "ignored") == "epsilon"
    assert label_of("boost:summer:x") == ("boost", "summer:x")


# ------------------------------------------------------------------------------------------------ Dead letters


def letter(reason: Refusal, raw: bytes | None) -> DeadLetter:
    return DeadLetter.of(Rejected(reason, "detail"), raw, topic="events")


@pytest.mark.parametrize(("scopes", "sent"), [({"read", "write"}, 0), (EVERYTHING, 1)])
def test_to_erase_by_a_letter_that_is_sent_again_needs_admin_and_the_store_is_told(
    scopes: frozenset[str], sent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, letters = Api(tmp_path), Letters()
    api.service.store.apply([record(slate("ann"))], {})
    letters.put(letter(Refusal.MISSING_FIELD, b'{"event_id":"e1","user_id":"ann"}'))
    monkeypatch.setattr(dead_letters, "tell", lambda *_, **__: None)
    page = object.__new__(dead_letters._DeadLettersPage)
    page.client = None
    page.desk = SimpleNamespace(service=api.service, configuration=api.config, may=lambda scope: scope in scopes)
    asyncio.run(page.send_again(letters.newest()[0], '{"event_id":"e1","user_id":"ann","type":"Erase","event_time_ms":1}'))
    assert len(api.brokers.sent) == sent
    assert (api.service.store.get("ann", now_ms=NOW_MS) is None) == bool(sent)
    api.close()


def test_letters_are_counted_by_reason_and_listed_the_newest_first():
    letters = Letters()
    for reason, raw in ((Refusal.NOT_JSON, b"{"), (Refusal.BAD_ID, b"{}"), (Refusal.NOT_JSON, b"\xff")):
        letters.put(letter(reason, raw))
    assert letters.counts == {"not_json": 2, "bad_id": 1}
    assert [one.number for one in letters.newest()] == [3, 2, 1]
    assert [one.number for one in letters.newest("not_json", most=1)] == [3]
    assert letters.find(2).text == "{}"
    assert letters.find(3).text is None
    assert letters.find(3).hexadecimal() == "ff"
    assert letters.find(4) is None


def test_the_oldest_letters_leave_and_stay_counted():
    letters = Letters()
    for _ in range(LETTERS + 2):
        letters.put(letter(Refusal.EMPTY, None))
    assert letters.find(2) is None
    assert letters.counts["empty"] == letters.came == LETTERS + 2


def test_json_is_written_a_field_a_line_and_anything_else_is_left_as_it_is():
    assert pretty('{"a":1,"b":[2]}') == '{\n  "a": 1,\n  "b": [\n    2\n  ]\n}'
    assert pretty("{ no json") == "{ no json"


# ------------------------------------------------------------------------------------------------ words, markup, access


def test_texts_are_escaped_wherever_they_are_put():
    evil = '<script>alert("x")</script>'
    for made in (
        table((Column(evil),), [(evil,)], caption=evil), bars([Bar(evil, 0.5, evil)]), facts([(evil, evil)]), titled(evil, evil),
    ):  # fmt: skip
        assert "<script" not in made
        assert 'alert("' not in made
    assert Markup("<b>x</b>") in table((Column("a"),), [(Markup("<b>x</b>"),)], caption="c")


def test_numbers_are_on_the_right():
    made = table((Column("name"), Column("n", number=True)), [("a", "1")], caption="c")
    assert '<td class="number">1</td>' in made
    assert "<td>a</td>" in made


def test_words():
    assert words.size(43_900_000) == "43.9 MB"
    assert words.size(12) == "12 B"
    assert [words.duration(ms) for ms in (40, 12_000, 180_000, 7_200_000, 432_000_000)] == ["40 ms", "12 s", "3 min", "2 h", "5 d"]
    assert words.significant(0.123456) == "0.123"
    assert words.significant(1234.5) == "1,234"
    assert words.share(0.1234) == "12.3 %"
    assert words.number(None) == words.share(float("nan")) == words.UNKNOWN


def test_every_source_of_the_job_has_words():
    settings = Configuration()
    named = CandidateGenerator(settings, Replica(settings)).source_names
    assert set(named) <= words.SOURCES.keys()
    assert {"item_cf", "rule", "request"} <= set(named)


def test_a_source_without_words_is_shown_by_its_name_and_behind_the_others():
    assert words.source("what_is_new") == "what is new"
    assert words.sources(["what_is_new", "request", "item_cf", "request"]) == ["item_cf", "request", "what_is_new"]


def test_everybody_may_do_everything_where_there_are_no_tokens():
    assert Access(None).scopes("any") == EVERYTHING


def test_a_token_gives_its_scopes_to_one_browser_until_they_end(monkeypatch):
    monkeypatch.setattr("serving.console.access._AFTER_A_WRONG_TOKEN_S", 0.0)
    now = [0.0]
    access = Access({"right": frozenset({"read"})}.get, clock=lambda: now[0])
    assert access.scopes("mine") == frozenset()
    assert not asyncio.run(access.sign_in("mine", "wrong"))
    assert access.scopes("mine") == frozenset()
    assert asyncio.run(access.sign_in("mine", "right"))
    assert access.scopes("mine") == {"read"}
    assert access.scopes("another") == frozenset()
    now[0] = HOURS * 3600 + 1.0
    assert access.scopes("mine") == frozenset()
    asyncio.run(access.sign_in("mine", "right"))
    access.sign_out("mine")
    assert access.scopes("mine") == frozenset()
