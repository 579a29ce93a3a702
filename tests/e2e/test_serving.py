"""`flinkrec serve` as a process of its own beside a real broker and a real job, asked by the client that the project has."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
import yaml

from cli.cluster import Cluster
from cli.stack import Stack
from models.events import Event
from models.identity import slate_id
from models.topics import ITEMS, RECOMMENDATIONS, CatalogueItem, slate_number, topic_name
from serving.answers import Answer
from serving.client import Client, Refused
from tests import synthetic
from tests.e2e import running

USER = "user-3"
AT_ONCE_S = 20.0
NOBODY = "localhost:1"


class Server:
    """A `flinkrec serve` that can be killed and started again on its store."""

    def __init__(self, directory: Path, config: dict[str, object], *, store: Path) -> None:
        self._command = [sys.executable, "-m", "cli.main", "serve", "--port", "0", "--store", str(store)]
        self._file = directory / "serving.yaml"
        self._file.write_text(yaml.safe_dump(config))
        self._log = directory / "serve.log"
        self.start()

    def start(self) -> None:
        with self._log.open("w") as log:
            self._process = subprocess.Popen([*self._command, "--config", str(self._file)], stdout=log, stderr=log)
        running.await_true(lambda: "on http://" in self._log.read_text(), "the server does not start", timeout_s=120)
        said = self._log.read_text().split("on http://")[1].split(",")[0]
        self.client = Client(f"http://{said}")

    def await_ready(self) -> None:
        running.await_true(lambda: self.client.ready().ready, f"it is not ready: {self._log.read_text()}")

    def kill(self) -> None:
        self.client.close()
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """End it as Ctrl-C does; its exit code."""
        self.client.close()
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(timeout=30)


class Shop:
    """A running job with a server, fed through the server alone."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        # a wait for the event that a request names which is longer than the machine is slow
        self.config = running.configuration(
            stack, learner={"enabled": False}, scorer={"name": "none"}, requests={"wait_ms": 10_000}
        )
        self.job_id = running.submitted(self.config)
        self.jobmanager = stack.jobmanager
        self.directory = directory
        self.mapping = msgspec.to_builtins(self.config)
        self.server = Server(directory, self.mapping, store=directory / "store")
        self.stream = synthetic.events(400, users=20)
        self.now_ms = self.stream[-1].event_time_ms
        self._count = 0
        self.tell_catalogue()
        self.server.await_ready()
        self.client.send(*(fields_of(event) for event in self.stream))
        running.await_true(lambda: len(self.slates()) >= len(self.stream), "not every event is answered", timeout_s=180)

    @property
    def client(self) -> Client:
        return self.server.client

    def tell_catalogue(self, **changes: CatalogueItem | None) -> None:
        from kafka import KafkaProducer

        known = changes or {event.item_id: CatalogueItem(title=f"Title of {event.item_id}") for event in self.stream}
        producer = KafkaProducer(bootstrap_servers=self.config.kafka.bootstrap_servers)
        for item_id, item in known.items():
            value = None if item is None else msgspec.json.encode(item)
            producer.send(topic_name(self.config.kafka.topic_prefix, ITEMS), key=item_id.encode(), value=value)
        producer.close()

    def slates(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = running.values(self.config, RECOMMENDATIONS)
        return found

    def click(self, user: str, item: str) -> str:
        """One event over HTTP; its id."""
        self._count += 1
        self.now_ms += 1_000
        event_id = f"click-{self._count}"
        event = {"event_id": event_id, "user_id": user, "item_id": item, "type": "click", "event_time_ms": self.now_ms}
        [result] = self.client.send(event)
        assert result.accepted
        return event_id

    def slate_after(self, user: str, event_id: str) -> Answer:
        """The stored slate of a user, once it is the one that answers an event."""
        return self.when(lambda: self.client.recommend(user, explain=True), lambda found: found.slate_id == slate_id(event_id, user))

    def when(self, look: Callable[[], Answer], holds: Callable[[Answer], bool]) -> Answer:
        deadline = time.monotonic() + AT_ONCE_S
        while not holds(found := look()):
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found


def fields_of(event: Event) -> dict[str, object]:
    return {
        name: getattr(event, name) for name in ("event_id", "user_id", "item_id", "type", "event_time_ms", "value")
    }


def items_of(answer: Answer) -> list[str]:
    return [item.item_id for item in answer.items]


@pytest.fixture(scope="module")
def shop(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    opened = Shop(stack, tmp_path_factory.mktemp("shop"))
    yield opened
    assert opened.server.stop() == 0


def test_an_event_changes_the_slate_that_is_given_next(shop: Shop) -> None:
    before = shop.client.recommend(USER)
    clicked = items_of(before)[0]
    after = shop.slate_after(USER, shop.click(USER, clicked))
    assert (after.source, after.stale) == ("stored", False)
    assert clicked not in items_of(after)
    assert items_of(after) != items_of(before)
    assert items_of(shop.client.recommend(USER, k=3)) == items_of(after)[:3]
    assert all(item.title == f"Title of {item.item_id}" for item in after.items)


def test_a_fresh_answer_is_made_for_the_question_and_knows_of_the_event_before(shop: Shop) -> None:
    stored = shop.client.recommend(USER)
    clicked = items_of(stored)[0]
    event_id = shop.click(USER, clicked)
    fresh = shop.client.fresh(USER, k=5, after_event_id=event_id, explain=True, deadline_ms=10_000)
    assert (fresh.source, fresh.stale, len(fresh.items)) == ("fresh", False, 5)
    assert clicked not in items_of(fresh)
    allowed = items_of(fresh)[1:4]
    narrow = shop.client.fresh(USER, restrict=allowed, exclude=allowed[:1], deadline_ms=10_000)
    assert narrow.source == "fresh"
    assert set(items_of(narrow)) == set(allowed[1:])
    # what was asked for one question is not what everybody gets
    assert shop.slate_after(USER, event_id).slate_id != narrow.slate_id


def test_a_new_user_gets_popular_items_until_the_first_event(shop: Shop) -> None:
    taken = Counter(event.item_id for event in shop.stream)
    # the server follows the rows: what it knows when it starts is not yet what is popular
    first = shop.when(
        lambda: shop.client.recommend("new", k=5),
        lambda found: len(found.items) == 5 and all(taken[item] > 1 for item in items_of(found)),
    )
    assert (first.source, first.stale) == ("popular", False)
    after = shop.slate_after("new", shop.click("new", items_of(first)[0]))
    assert after.source == "stored"


def test_similar_items_and_reasons_name_what_people_had_together(shop: Shop) -> None:
    item = items_of(shop.client.recommend("new", k=1))[0]
    similar = shop.client.similar(item, k=5)
    assert similar.title == f"Title of {item}"
    assert len(similar.items) == 5
    together = {other.item_id for other in similar.items}
    had = {event.user_id for event in shop.stream if event.item_id == item}
    assert all(any(event.user_id in had and event.item_id == other for event in shop.stream) for other in together - {"new"})
    assert [other.similarity for other in similar.items] == sorted((o.similarity for o in similar.items), reverse=True)
    slate = shop.client.recommend(USER, explain=True)
    because = shop.client.because(USER, slate.items[0].item_id)
    assert because.reasons
    assert [(reason.kind, reason.item_id) for reason in because.reasons] == [(r.kind, r.item_id) for r in slate.items[0].reasons or []]
    own = {event.item_id for event in shop.stream if event.user_id == USER}
    named = [reason for reason in because.reasons if reason.item_id is not None]
    assert all(reason.title == f"Title of {reason.item_id}" for reason in named)
    assert any(reason.item_id in own for reason in named)
    with pytest.raises(Refused, match="404"):
        shop.client.similar("unheard-of")


def test_a_rule_is_confirmed_by_the_job_and_holds_for_stored_slates_too(shop: Shop) -> None:
    unwanted = items_of(shop.client.recommend(USER))[0]
    assert shop.client.put_control("exclude:recall", {"items": [unwanted]}).in_force
    shop.when(lambda: shop.client.recommend(USER), lambda found: unwanted not in items_of(found))
    assert unwanted not in items_of(shop.client.fresh(USER, deadline_ms=10_000))
    assert shop.client.controls()["exclude:recall"].rule == {"items": [unwanted]}
    with pytest.raises(Refused) as refused:
        shop.client.put_control("exclude:recall", {"itms": [unwanted]})
    assert refused.value.problem.status == 422
    assert shop.client.put_control("exclude:recall", None).in_force
    assert "exclude:recall" not in shop.client.controls()
    shop.when(lambda: shop.client.recommend(USER), lambda found: unwanted in items_of(found))


def test_an_item_that_is_withdrawn_leaves_the_stored_slates(shop: Shop) -> None:
    gone = items_of(shop.client.recommend(USER))[0]
    shop.tell_catalogue(**{gone: None})
    shop.when(lambda: shop.client.recommend(USER), lambda found: gone not in items_of(found))


def test_events_are_acknowledged_one_by_one(shop: Shop) -> None:
    good = {"user_id": "careful", "item_id": "item-1", "type": "click"}
    with pytest.raises(Refused) as refused:
        shop.client.send(good, good | {"type": "teleport"})
    assert [(result.accepted, result.reason) for result in refused.value.results] == [(True, None), (False, "unknown_type")]
    shop.when(lambda: shop.client.recommend("careful"), lambda found: found.source == "stored")


def test_an_erased_user_is_unknown_to_the_store_and_to_the_job(shop: Shop) -> None:
    before = shop.client.recommend(USER)
    assert before.source == "stored"
    shop.client.erase(USER)
    assert shop.client.recommend(USER).source == "popular"
    running.await_true(
        lambda: any(slate["user_id"] == USER and slate["erased"] for slate in shop.slates()), "the job does not say that it has erased"
    )
    assert shop.client.recommend(USER).source == "popular"
    # the job knows nothing either: what comes next is their first event
    shop.slate_after(USER, shop.click(USER, "item-1"))
    last = [slate for slate in shop.slates() if slate["user_id"] == USER][-1]
    assert slate_number(last["seq"]) == 1


def test_a_server_that_is_killed_answers_from_its_store_at_once_and_catches_up(shop: Shop) -> None:
    kept = shop.slate_after("user-5", shop.click("user-5", "item-1"))
    shop.server.kill()
    mapping = {**shop.mapping, "kafka": {**shop.mapping["kafka"], "bootstrap_servers": NOBODY}}
    lonely = Server(shop.directory, mapping, store=shop.directory / "store")
    assert items_of(lonely.client.recommend("user-5")) == items_of(kept)
    assert lonely.client.recommend("never-seen").source == "popular"
    ready = lonely.client.ready()
    assert not ready.ready
    assert any("does not answer" in said for said in ready.problems)
    with pytest.raises(Refused, match="503"):
        lonely.client.send({"user_id": "user-5", "item_id": "item-2"})
    lonely.kill()
    shop.server = Server(shop.directory, shop.mapping, store=shop.directory / "store")
    shop.server.await_ready()
    assert items_of(shop.client.recommend("user-5")) == items_of(kept)
    shop.slate_after("user-5", shop.click("user-5", "item-2"))


def test_nothing_is_an_error_while_the_job_is_down(shop: Shop) -> None:
    kept = items_of(shop.client.recommend("user-5"))
    Cluster(shop.jobmanager).cancel(shop.job_id)
    found = shop.when(lambda: shop.client.recommend("user-5"), lambda found: found.stale)
    assert (found.source, items_of(found)) == ("stored", kept)
    assert shop.client.recommend("never-seen").source == "popular"
    fresh = shop.client.fresh("user-5", exclude=kept[:1], deadline_ms=60_000)
    assert (fresh.source, fresh.stale, items_of(fresh)) == ("stored", True, kept[1:])
    assert shop.client.fresh("never-seen").source == "popular"
    [result] = shop.client.send({"user_id": "user-5", "item_id": "item-3"})
    assert result.accepted
    assert shop.client.ready().job == "down"
    assert httpx.get(f"{shop.client._http.base_url}/metrics").text.count('flinkrec_http_slates_total{source="stored",stale="true"}') == 1
