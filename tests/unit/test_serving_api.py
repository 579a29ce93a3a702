"""The HTTP API without brokers: what is refused, what is at hand, and that it judges events as the job does."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.config import Answers, Flink
from models.events import UNKNOWN_WATERMARK_MS, EventCleaner, Rejected
from models.topics import CatalogueItem
from serving.answers import Answer, answer_of
from serving.client import _in_path
from serving.guard import OwnNames
from serving.health import Health
from serving.store import SlateRecord
from tests.unit.fake_flink import FakeFlink
from tests.unit.serving_slates import NOW_MS, Api, record, slate

TOKENS = [
    {"name": "page", "token": "page-reads-0123456789", "scopes": ["read"]},
    {"name": "shop", "token_env": "SHOP_TOKEN", "scopes": ["read", "write"]},
    {"name": "boss", "token": "boss-rules-0123456789", "scopes": ["read", "write", "admin"]},
]
ENVIRONMENT = {"SHOP_TOKEN": "shop-writes-0123456789"}
PAGE, SHOP, BOSS = "page-reads-0123456789", "shop-writes-0123456789", "boss-rules-0123456789"
EVENT = {"event_id": "e1", "user_id": "ann", "item_id": "a", "type": "click", "event_time_ms": 1_000}

Make = Callable[..., Api]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Api] = []

    def api(**given: Any) -> Api:
        made.append(Api(tmp_path / f"store-{len(made)}", **given))
        return made[-1]

    yield api
    for each in made:
        each.close()


def ask(api: Api, method: str, path: str, *, token: str | None = None, **more: Any) -> httpx.Response:
    headers = more.pop("headers", {}) | ({} if token is None else {"Authorization": f"Bearer {token}"})
    return asyncio.run(api.ask(method, path, headers=headers, **more))


def answer(response: httpx.Response) -> Answer:
    assert response.status_code == 200, response.text
    return msgspec.json.decode(response.content, type=Answer)


def shown(response: httpx.Response) -> list[str]:
    return [item.item_id for item in answer(response).items]


def stored(api: Api, *slates: Any) -> None:
    """Slates of now, as if a follower had read them."""
    api.service.store.apply([record(each, at_ms=time.time_ns() // 1_000_000) for each in slates], {0: 1})


def catalogue(api: Api, *items: str) -> None:
    for item in items:
        api.service.model.apply_item(item.encode(), msgspec.json.encode(CatalogueItem(title=f"Title of {item}")))
    api.service.model.publish(popular=200)


# -------------------------------------------------------------------------------------------------------------- slates


def test_a_known_user_gets_the_stored_slate_as_long_as_asked_for_and_explained_when_asked(make: Make) -> None:
    api = make()
    stored(api, slate(items=("a", "b", "c")))
    plain = answer(ask(api, "GET", "/v1/users/ann/recommendations?k=2"))
    assert (plain.source, plain.stale, [item.item_id for item in plain.items]) == ("stored", False, ["a", "b"])
    assert plain.explanation is None
    assert plain.items[0].reasons is None
    assert plain.items[0].title == "Title of a"
    explained = answer(ask(api, "GET", "/v1/users/ann/recommendations?explain=true"))
    assert explained.items[2].sources == ["popularity"]
    assert explained.explanation is not None
    assert explained.explanation.policy == "epsilon_greedy"


def test_a_new_user_gets_popular_items_that_are_marked(make: Make) -> None:
    api = make()
    catalogue(api, "x", "y", "z")
    found = answer(ask(api, "GET", "/v1/users/nobody/recommendations?k=2"))
    assert (found.source, found.slate_id) == ("popular", None)
    assert [(item.item_id, item.position) for item in found.items] == [("x", 1), ("y", 2)]


def test_a_new_user_gets_an_empty_answer_and_no_error_where_nothing_is_known(make: Make) -> None:
    assert answer(ask(make(), "GET", "/v1/users/nobody/recommendations")).items == []


def test_while_the_job_is_down_slates_are_marked_stale_and_nobody_waits_for_an_answer(make: Make) -> None:
    api = make()
    stored(api, slate())
    catalogue(api, "x")
    api.service.health.job = "down"
    assert answer(ask(api, "GET", "/v1/users/ann/recommendations")).stale
    assert answer(ask(api, "GET", "/v1/users/nobody/recommendations")).stale
    fresh = answer(ask(api, "POST", "/v1/recommendations", json={"user_id": "ann"}))
    assert (fresh.source, fresh.stale) == ("stored", True)
    assert api.brokers.sent == []


def test_when_the_job_does_not_answer_in_time_the_stored_slate_keeps_what_the_question_says(make: Make) -> None:
    api = make()
    stored(api, slate(items=("a", "b", "c", "d")))
    catalogue(api, "a", "b", "c", "d", "x", "y")

    def fresh(**question: Any) -> Answer:
        return answer(ask(api, "POST", "/v1/recommendations", json={"user_id": "ann", "deadline_ms": 20} | question))

    found = fresh(exclude=["a"], restrict=["a", "c", "d"], k=1)
    assert (found.source, found.stale, [item.item_id for item in found.items]) == ("stored", True, ["c"])
    sent = msgspec.json.decode(api.brokers.sent[-1].value or b"")
    assert (sent["restrict"], sent["exclude"], sent["k"]) == (["a", "c", "d"], ["a"], 1)
    # nothing of the slate may be shown: what may is taken in the order of the question
    found = fresh(restrict=["y", "x", "unheard-of"], exclude=["unheard-of"])
    assert found.source == "popular"
    assert {item.item_id for item in found.items} == {"x", "y"}
    assert fresh(restrict=[]).items == []
    assert [item.item_id for item in fresh(seed_items=["b", "a"]).items] == ["c", "d"]
    assert msgspec.json.decode(api.brokers.sent[-1].value or b"")["seed_items"] == ["b", "a"]


def test_a_question_that_nobody_answers_in_time_is_handed_over_and_shows_nothing(make: Make) -> None:
    api = make()
    stored(api, slate(items=("a", "b")))
    question = {"user_id": "ann", "deadline_ms": 20, "text": "where is it"}
    assert shown(ask(api, "POST", "/v1/recommendations", json=question)) == ["a", "b"]
    api.service.configuration = msgspec.structs.replace(api.config, answers=Answers(enabled=True))
    given = answer(ask(api, "POST", "/v1/recommendations", json=question))
    assert (given.items, given.hand_over, given.stale) == ([], True, True)
    assert msgspec.json.decode(api.brokers.sent[-1].value or b"")["text"] == "where is it"


def test_who_hands_over_gets_suggestions_and_shows_none_of_what_was_withdrawn() -> None:
    made = slate(items=("a", "b"), event_id="", request_id="r1")
    handed = msgspec.structs.replace(made, items=[], suggestions=made.items, hand_over=True, confidence=0.2)
    given = answer_of(handed, source="fresh", stale=False, k=None, explain=False, hidden={"b"})
    assert (given.items, [item.item_id for item in given.suggestions]) == ([], ["a"])
    assert (given.hand_over, given.confidence) == (True, 0.2)


def test_the_answer_of_the_job_is_handed_to_who_waits_for_it(make: Make) -> None:
    api = make()
    stored(api, slate(seq=3, items=("old",)))

    async def answered() -> httpx.Response:
        asking = asyncio.create_task(
            api.ask("POST", "/v1/recommendations", json={"user_id": "ann", "request_id": "r1", "deadline_ms": 5_000})
        )
        while not api.brokers.sent:
            await asyncio.sleep(0)
        api.service._answered(("ann", "r1"), msgspec.json.encode(slate(seq=4, items=("new",), event_id="", request_id="r1")))
        return await asking

    fresh = answer(asyncio.run(answered()))
    assert (fresh.source, fresh.stale, fresh.request_id) == ("fresh", False, "r1")
    assert [item.item_id for item in fresh.items] == ["new"]
    # it was made for one question: it is not what the user is given otherwise
    assert shown(ask(api, "GET", "/v1/users/ann/recommendations")) == ["old"]
    assert not api.service._asking


def test_two_users_may_give_their_questions_the_same_id(make: Make) -> None:
    api = make()
    made = [slate(user, items=(f"for {user}",), event_id="", request_id="1") for user in ("ann", "bob")]

    async def answered() -> list[httpx.Response]:
        asking = [
            asyncio.create_task(
                api.ask("POST", "/v1/recommendations", json={"user_id": of.user_id, "request_id": "1", "deadline_ms": 5_000})
            )
            for of in made
        ]
        while len(api.brokers.sent) < len(made):
            await asyncio.sleep(0)
        api.service._loop = asyncio.get_running_loop()
        raws = [msgspec.json.encode(of) for of in made]
        api.service._take_slates([SimpleNamespace(value=lambda raw=raw: raw, timestamp=lambda: (1, NOW_MS)) for raw in raws], {})
        return await asyncio.gather(*asking)

    assert [shown(given) for given in asyncio.run(answered())] == [["for ann"], ["for bob"]]


def test_what_was_withdrawn_or_excluded_is_not_shown_from_the_store_nor_among_popular_items(make: Make) -> None:
    api = make()
    stored(api, slate(items=("a", "b", "c")))
    catalogue(api, "a", "b", "c")
    api.service.model.apply_item(b"a", None)
    api.service.model.apply_control(b"exclude:recall", b'{"items": ["b"]}')
    api.service.model.publish(popular=200)
    found = answer(ask(api, "GET", "/v1/users/ann/recommendations"))
    # events quote the position that it had
    assert [(item.item_id, item.position) for item in found.items] == [("c", 3)]
    assert shown(ask(api, "GET", "/v1/users/nobody/recommendations")) == ["c"]
    assert ask(api, "GET", "/v1/users/ann/because/a").status_code == 404
    api.service.model.apply_control(b"exclude:recall", None)
    api.service.model.publish(popular=200)
    assert shown(ask(api, "GET", "/v1/users/ann/recommendations")) == ["b", "c"]


def test_because_names_the_reasons_with_titles_and_nothing_of_an_item_that_is_not_shown(make: Make) -> None:
    from models.fields import Reason

    api = make()
    catalogue(api, "i7")
    made = slate(items=("a",))
    item = msgspec.structs.replace(made.items[0], reasons=[Reason(kind="item_cf", item_id="i7", contribution=0.5)])
    stored(api, msgspec.structs.replace(made, items=[item]))
    found = ask(api, "GET", "/v1/users/ann/because/a").json()
    assert found["reasons"] == [{"kind": "item_cf", "item_id": "i7", "contribution": 0.5, "title": "Title of i7"}]
    assert ask(api, "GET", "/v1/users/ann/because/i7").status_code == 404


# -------------------------------------------------------------------------------------------------------------- events


def test_good_events_are_sent_as_they_came_keyed_by_their_user_with_their_time(make: Make) -> None:
    api = make()
    first = b'{"event_id":"e1", "user_id": 7,"item_id":"a","event_time_ms":1000}'
    body = b" [ " + first + b' ,{"event_id":"e2","user_id":" ann ","item_id":"b","event_time_ms":2000}]'
    response = ask(api, "POST", "/v1/events", content=body)
    assert (response.status_code, response.json()["accepted"]) == (202, 2)
    assert [(sent.topic, sent.key, sent.timestamp_ms) for sent in api.brokers.sent] == [("events", b"7", 1000), ("events", b"ann", 2000)]
    assert api.brokers.sent[0].value == first


def test_of_several_events_the_good_ones_are_sent_and_the_answer_names_the_bad_ones(make: Make) -> None:
    api = make()
    response = ask(api, "POST", "/v1/events", json=[EVENT, EVENT | {"type": "teleport"}, EVENT | {"user_id": ""}])
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    results = response.json()["results"]
    assert [(result["index"], result["accepted"], result.get("reason")) for result in results] == [
        (0, True, None),
        (1, False, "unknown_type"),
        (2, False, "bad_id"),
    ]
    assert len(api.brokers.sent) == 1


def test_events_that_kafka_does_not_acknowledge_are_not_accepted(make: Make) -> None:
    api = make()
    api.brokers.answer = False
    response = ask(api, "POST", "/v1/events", json=EVENT)
    assert (response.status_code, response.json()["reason"]) == (503, "not_acknowledged")
    assert response.headers["retry-after"]


field = st.one_of(
    *(st.none(), st.integers(), st.floats(), st.text(max_size=8), st.booleans(), st.just("click"), st.lists(st.integers(), max_size=2))
)
near_event = st.dictionaries(
    st.sampled_from(["event_id", "user_id", "item_id", "type", "event_time_ms", "value", "context", "position", "slate_id"]), field
).map(lambda changes: EVENT | changes)


@given(near=near_event, cut=st.integers(0, 400), junk=st.binary(max_size=4))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_event_is_judged_as_the_job_judges_the_same_bytes(shared: Api, near: dict[str, Any], cut: int, junk: bytes) -> None:
    raw = json.dumps(near).encode()
    raw = raw[:cut] + junk + raw[cut:] if cut % 4 == 0 else raw
    cleaner, api = EventCleaner(shared.config.events), shared
    if raw.lstrip(b" \t\r\n").startswith(b"["):
        return
    api.brokers.sent.clear()
    response = ask(api, "POST", "/v1/events", content=raw)
    try:
        event = cleaner.clean(raw, key=None, now_ms=2_000_000_000_000, watermark_ms=UNKNOWN_WATERMARK_MS)
    except Rejected as rejected:
        assert response.status_code == 422
        assert response.json()["results"][0]["reason"] == rejected.reason.value
        assert api.brokers.sent == []
    else:
        assert response.status_code == 202
        [sent] = api.brokers.sent
        # the job reads it by this key
        assert cleaner.clean(sent.value, key=sent.key.decode(), now_ms=2_000_000_000_000, watermark_ms=UNKNOWN_WATERMARK_MS) == event


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    api = Api(tmp_path_factory.mktemp("store"), rate_per_s=None)
    yield api
    api.close()


def test_an_erasure_is_sent_and_the_store_has_forgotten_the_user_before_the_job_has(make: Make) -> None:
    api = make()
    stored(api, slate(seq=3), slate("bob"))
    response = ask(api, "DELETE", "/v1/users/ann")
    assert response.status_code == 202
    [sent] = api.brokers.sent
    assert (sent.key, msgspec.json.decode(sent.value or b"")["type"]) == (b"ann", "erase")
    assert answer(ask(api, "GET", "/v1/users/ann/recommendations")).source == "popular"
    assert answer(ask(api, "GET", "/v1/users/bob/recommendations")).source == "stored"


# -------------------------------------------------------------------------------------------------------------- rules


def test_a_rule_is_checked_before_it_is_sent(make: Make) -> None:
    api = make()
    api.service.health.job = "down"
    for name, rule, reason in (
        ("teleport", {}, "unknown_type"),
        ("pin", {"item": "a"}, "wrong_type"),
        ("exclude:x", {}, "missing_field"),
        ("experiment", {"arms": {"a": {"policy": {"name": "nonsense"}}}}, "wrong_type"),
        ("policy", {"strategy": "no-such-strategy"}, "wrong_type"),
    ):
        response = ask(api, "PUT", f"/v1/controls/{name}", json=rule)
        assert (response.status_code, response.json()["reason"]) == (422, reason), name
    assert api.brokers.sent == []
    response = ask(api, "PUT", "/v1/controls/pin:front", json={"item": "a", "position": 1})
    assert response.json() == {"name": "pin:front", "rule": {"item": "a", "position": 1}, "in_force": False}
    assert [(sent.topic, sent.key) for sent in api.brokers.sent] == [("controls", b"pin:front")]


@pytest.mark.parametrize("job", ["running", "unknown"])
def test_a_rule_that_the_job_has_not_confirmed_in_time_is_not_said_to_be_in_force(
    make: Make, monkeypatch: pytest.MonkeyPatch, job: str
) -> None:
    monkeypatch.setattr("serving.service._ACCEPTED_WITHIN_S", 0.05)
    api = make()
    api.service.health.job = job
    response = ask(api, "PUT", "/v1/controls/pin", json={"item": "a", "position": 1})
    assert (response.status_code, response.json()["in_force"]) == (200, False)


def test_of_a_rule_nothing_is_kept_when_nobody_waits_for_it(make: Make) -> None:
    api = make()
    api.service.health.job = "down"
    assert ask(api, "DELETE", "/v1/controls/exclude:gone").status_code == 200
    assert not api.service._accepting


def test_a_stored_slate_that_this_release_cannot_read_is_none(make: Make) -> None:
    api = make()
    catalogue(api, "p")
    api.service.store.apply([SlateRecord("eve", 1, False, time.time_ns() // 1_000_000, b'{"user_id":"eve","seq":1}')], {})
    assert ask(api, "GET", "/v1/users/eve/recommendations").status_code == 200


def test_a_rule_is_in_force_once_the_job_says_so(make: Make) -> None:
    api = make()
    model = api.service.model
    model.apply_control(b"pin", b'{"item":"a","position":1}')
    assert ask(api, "GET", "/v1/controls").json()["controls"]["pin"]["in_force"] is False
    model.apply_update(b"control:pin", b'{"item":"a","position":1}')
    assert ask(api, "GET", "/v1/controls/pin").json()["in_force"] is True
    model.apply_control(b"pin", None)
    assert ask(api, "GET", "/v1/controls/pin").json() == {"name": "pin", "rule": None, "in_force": False}
    # as Flink's sink writes a tombstone
    model.apply_update(b"control:pin", b"")
    assert ask(api, "GET", "/v1/controls/pin").status_code == 404


# -------------------------------------------------------------------------------------------------------------- who may


@pytest.mark.parametrize(
    ("method", "path", "body", "lowest"),
    [
        ("GET", "/v1/users/ann/recommendations", None, PAGE),
        ("POST", "/v1/recommendations", {"user_id": "ann", "deadline_ms": 1}, PAGE),
        ("GET", "/v1/controls", None, PAGE),
        ("POST", "/v1/events", EVENT, SHOP),
        ("DELETE", "/v1/users/ann", None, BOSS),
        ("PUT", "/v1/controls/pin", {"item": "a", "position": 1}, BOSS),
        ("DELETE", "/v1/controls/pin", None, BOSS),
    ],
)
def test_each_endpoint_needs_its_scope(make: Make, method: str, path: str, body: Any, lowest: str) -> None:
    api = make(tokens=TOKENS, environment=ENVIRONMENT)
    api.service.health.job = "down"
    more = {} if body is None else {"json": body}
    order = [PAGE, SHOP, BOSS]
    for token in order:
        status = ask(api, method, path, token=token, **more).status_code
        assert (status < 300) == (order.index(token) >= order.index(lowest)), (token, status)
        assert status < 300 or status == 403
    for nobody in (None, "", "page-reads-012345678", PAGE + "x", "é"):
        headers = {} if nobody is None else {"Authorization": f"Bearer {nobody}".encode()}
        response = asyncio.run(api.ask(method, path, headers=headers, **more))
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://in.front.of.it"}, True),
        ({"Origin": "http://localhost"}, True),
        ({}, True),
    ],
)
def test_a_page_of_another_site_writes_nothing_where_there_are_no_tokens(
    make: Make, headers: dict[str, str], allowed: bool
) -> None:
    event = {"event_id": "x", "user_id": "ann", "type": "erase", "event_time_ms": 1}
    # as a form of that page sends it
    sent = {"content": json.dumps(event).encode(), "headers": {"Content-Type": "text/plain"} | headers}
    api = make()
    assert ask(api, "POST", "/v1/events", **sent).status_code == (202 if allowed else 403)
    assert len(api.brokers.sent) == allowed
    sent["headers"] |= {"Authorization": f"Bearer {BOSS}"}
    assert ask(make(tokens=TOKENS, environment=ENVIRONMENT), "POST", "/v1/events", **sent).status_code == 202


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("localhost:8080", True),
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("192.0.2.7", True),
        ("rebound.evil.example:8080", False),
        ("localhost.evil.example", False),
        ("[", False),
        ("", False),
    ],
)
def test_where_there_are_no_tokens_it_answers_by_names_of_this_machine_alone(make: Make, host: str, answered: bool) -> None:
    for path in ("/v1/users/ann/recommendations", "/healthz", "/docs"):
        assert (ask(make(), "GET", path, headers={"Host": host}).status_code < 300) == answered, path
    # what has tokens, or is for other machines, may have any name
    by_token = make(tokens=TOKENS, environment=ENVIRONMENT)
    assert ask(by_token, "GET", "/v1/users/ann/recommendations", token=PAGE, headers={"Host": host}).status_code == 200
    assert ask(make(host="0.0.0.0"), "GET", "/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(("host", "heard"), [(b"localhost:8080", ["taken"]), (b"rebound.evil.example", ["websocket.close"])])
def test_nor_does_it_open_a_websocket_by_another_name(host: bytes, heard: list[str]) -> None:
    said: list[str] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        said.append("taken")

    async def send(message: Any) -> None:
        said.append(message["type"])

    asyncio.run(OwnNames(behind)({"type": "websocket", "headers": [(b"host", host)]}, send, send))
    assert said == heard


def test_to_erase_by_an_event_needs_admin_too(make: Make) -> None:
    api = make(tokens=TOKENS, environment=ENVIRONMENT)
    erasure = {"event_id": "e1", "user_id": "ann", "type": "erase", "event_time_ms": 1_000}
    response = ask(api, "POST", "/v1/events", token=SHOP, json=[erasure])
    assert (response.status_code, response.json()["results"][0]["reason"]) == (422, "forbidden")
    assert api.brokers.sent == []
    assert ask(api, "POST", "/v1/events", token=BOSS, json=[erasure]).status_code == 202


def test_a_token_that_the_environment_does_not_have_stops_the_start(make: Make) -> None:
    from models.config import ConfigurationError

    with pytest.raises(ConfigurationError, match="SHOP_TOKEN"):
        make(tokens=TOKENS, environment={})


def test_health_metrics_and_documentation_need_no_token_and_name_no_user(make: Make) -> None:
    api = make(tokens=TOKENS, environment=ENVIRONMENT)
    ask(api, "GET", "/v1/users/very-secret/recommendations", token=PAGE)
    assert ask(api, "GET", "/healthz").status_code == 200
    assert ask(api, "GET", "/docs").status_code == 200
    metrics = ask(api, "GET", "/metrics").text
    assert 'route="/v1/users/{user_id:path}/recommendations",status="200"' in metrics
    assert "very-secret" not in metrics


# -------------------------------------------------------------------------------------------------------------- limits


def test_a_body_that_is_too_long_is_refused_with_or_without_its_length(make: Make) -> None:
    api = make(max_body_bytes=1_024)

    async def in_pieces() -> Any:
        for _ in range(100):
            yield b" " * 100

    for content in (b" " * 2_000, in_pieces()):
        response = asyncio.run(api.ask("POST", "/v1/events", content=content))
        assert (response.status_code, response.headers["content-type"]) == (413, "application/problem+json")
    assert ask(api, "POST", "/v1/events", json=EVENT).status_code == 202


def test_more_events_than_a_batch_may_have_are_refused_as_a_whole(make: Make) -> None:
    api = make(max_batch=2)
    assert ask(api, "POST", "/v1/events", json=[EVENT] * 3).status_code == 413
    assert api.brokers.sent == []
    assert ask(api, "POST", "/v1/events", json=[EVENT] * 2).status_code == 202


def test_who_asks_too_often_is_refused_and_others_are_not(make: Make) -> None:
    api = make(rate_per_s=3, tokens=TOKENS, environment=ENVIRONMENT)
    path = "/v1/users/ann/recommendations"
    statuses = [ask(api, "GET", path, token=PAGE).status_code for _ in range(5)]
    assert statuses[:3] == [200, 200, 200]
    assert 429 in statuses
    refused = ask(api, "GET", path, token=PAGE)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert ask(api, "GET", path, token=SHOP).status_code == 200
    # guessing tokens is no way around it
    assert [ask(api, "GET", path, token="x" * 20).status_code for _ in range(5)][-1] == 429


# -------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nowhere", b"", 404),
        ("GET", "/v1/nowhere", b"", 404),
        ("GET", "/v1/items/unknown/similar", b"", 404),
        ("PATCH", "/healthz", b"", 405),
        ("GET", "/v1/users/ann/recommendations?k=0", b"", 422),
        ("GET", "/v1/users/ann/recommendations?k=abc", b"", 422),
        ("POST", "/v1/events", b"[{", 400),
        ("POST", "/v1/events", b"[" * 100_000, 400),
        ("POST", "/v1/recommendations", b"", 400),
        ("POST", "/v1/recommendations", b"[]", 422),
        ("POST", "/v1/recommendations", b'{"user_id":"ann","restrct":["a"]}', 422),
        ("POST", "/v1/recommendations", b'{"user_id":""}', 422),
        ("PUT", "/v1/controls/pin", b"{", 422),
        ("DELETE", "/v1/controls/nonsense", b"", 422),
    ],
)
def test_every_error_is_a_problem(shared: Api, method: str, path: str, body: bytes, status: int) -> None:
    response = ask(shared, method, path, content=body)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json"), response.text
    said = response.json()
    assert said["status"] == status
    assert said["title"]
    assert said["detail"]


def test_what_should_not_fail_and_does_is_a_problem_that_tells_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    api = make()

    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("secret of the inside")

    monkeypatch.setattr(api.service, "recommendations", fails)
    response = asyncio.run(_without_raising(api))
    assert (response.status_code, response.headers["content-type"]) == (500, "application/problem+json")
    assert "secret" not in response.text


async def _without_raising(api: Api) -> httpx.Response:
    transport = httpx.ASGITransport(api._app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.get("/v1/users/ann/recommendations")


def test_without_kafka_it_is_not_ready_and_says_why(make: Make) -> None:
    response = ask(make(), "GET", "/readyz")
    assert response.status_code == 503
    assert any("does not answer" in said for said in response.json()["problems"])


def test_the_documentation_loads_nothing_from_elsewhere_and_names_all_endpoints(make: Make) -> None:
    import re

    api = make()
    page = ask(api, "GET", "/docs").text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert loaded
    assert not [address for address in loaded if "//" in address]
    assert all(ask(api, "GET", address).status_code == 200 for address in loaded)
    said = ask(api, "GET", "/openapi.json").json()
    assert {(method, path) for path, methods in said["paths"].items() for method in methods} >= {
        ("get", "/v1/users/{user_id}/recommendations"),
        ("post", "/v1/events"),
        ("post", "/v1/recommendations"),
        ("get", "/v1/items/{item_id}/similar"),
        ("get", "/v1/users/{user_id}/because/{item_id}"),
        ("delete", "/v1/users/{user_id}"),
        ("get", "/v1/controls"),
        ("put", "/v1/controls/{name}"),
    }
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(said)))
    assert named <= set(said["components"]["schemas"])


@pytest.mark.parametrize("user_id", ["a/b ü", "..", ".", "a.b"])
def test_ids_of_any_letters_reach_their_user_as_the_client_writes_them(make: Make, user_id: str) -> None:
    api = make()
    stored(api, slate(user_id))
    assert answer(ask(api, "GET", f"/v1/users/{_in_path(user_id)}/recommendations")).source == "stored"


# -------------------------------------------------------------------------------------------------------------- Flink


@pytest.fixture
def flink(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeFlink]:
    """A cluster behind a proxy that the environment names and that is not there."""
    monkeypatch.setenv("HTTP_PROXY", "http://localhost:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with FakeFlink() as running:
        yield running


def health_of(flink: FakeFlink, topic_prefix: str) -> Health:
    health = Health(Flink(jobmanager=flink.address), topic_prefix, lambda timeout_s: True)
    health.start()
    assert health.asked.wait(30)
    health.stop()
    return health


def test_a_job_runs_where_it_has_the_topics_that_are_served_or_does_not_say_which(flink: FakeFlink) -> None:
    for said in ({"flinkrec.topic-prefix": "shop-"}, {}):
        flink.parameters = said
        health = health_of(flink, "shop-")
        assert (health.job, health.elsewhere) == ("running", None)


def test_a_job_with_other_topics_does_not_run_for_those_that_are_served(flink: FakeFlink, make: Make) -> None:
    flink.parameters = {"flinkrec.topic-prefix": "demo-1-"}
    health = health_of(flink, "shop-")
    assert (health.job, health.elsewhere) == ("down", "demo-1-")
    api = make()
    api.service.health.job, api.service.health.elsewhere = health.job, health.elsewhere
    said = ask(api, "GET", "/readyz").json()
    assert any("has other topics, demo-1-NAME and not" in problem for problem in said["problems"])
