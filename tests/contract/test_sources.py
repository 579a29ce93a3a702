"""What every candidate source keeps to, found by discovery: a source without an entry in `MAKERS` fails the audit."""

from __future__ import annotations

import numpy as np
import pytest

import models.sources
from models.config import Sources
from models.identity import hash64
from models.pipeline import LocalPipeline
from models.sources.content import Content
from models.sources.item_cf import ItemCF
from models.sources.new_items import NewItems
from models.sources.popularity import Popularity
from models.sources.repeats import Repeats
from models.sources.trending import Trending
from models.sources.user_cf import UserCF
from models.topics import CatalogueItem
from models.validation import parse_configuration
from tests.contract.discovery import implementations
from tests.synthetic import events

MAKERS = {
    "item_cf": lambda config, replica: ItemCF(config.item_cf, replica, bit=1),
    "user_cf": lambda config, replica: UserCF(config.user_cf, replica, bit=1),
    "content": lambda config, replica: Content(replica, bit=1),
    "trending": lambda config, replica: Trending(replica, bit=1),
    "new_items": lambda config, replica: NewItems(config.new_items, replica, bit=1),
    "popularity": lambda config, replica: Popularity(replica, bit=1),
    "repeats": lambda config, replica: Repeats(replica, bit=1),
}
# Where items are recommended again nothing is hidden.
AGAIN = {"slate": {"recommend_seen": True}}
STREAM = events(400, users=20, items=150)

of_every_source = pytest.mark.parametrize("name", MAKERS)


@pytest.fixture(scope="module")
def pipeline():
    plain = {"scorer": {"name": "none"}, "learner": {"enabled": False}, "policy": {"epsilon": 0.0, "epsilon_min": 0.0}}
    pipeline = LocalPipeline(parse_configuration(plain, "test.yaml"), publish_every=1)
    replica = pipeline.recommender.replica
    for number in range(170):
        replica.apply_catalogue_item(f"item-{number}", CatalogueItem(categories=[f"kind {number % 6}"]))
    for event in STREAM:
        pipeline.learn(event)
    return pipeline


def chosen(pipeline, name, user_id, *, size=8, restrict=None, exclude=()):
    """Ids of the candidates that a source alone brings a user, through the generator's own steps."""
    recommender = pipeline.recommender
    source = MAKERS[name](recommender._config, recommender.replica)
    state, seen = pipeline.user(user_id).state, pipeline.user(user_id).seen
    board, replica = recommender._slates.generator._board, recommender.replica
    visit, _ = recommender._slates.generator._visit(hash64(user_id), state)
    hidden = np.array([hash64(item) for item in exclude], np.int64)
    if name != "repeats":
        hidden = np.concatenate((seen.hashes, hidden))
    only = None if restrict is None else np.array([hash64(item) for item in restrict], np.int64)
    board.start(replica.index_table, replica.capacity, hidden, only, size=30)
    source.collect(visit, board)
    source.choose(visit, board, size)
    assert (board.origins == 1).all()
    return [replica.item_ids[x] for x in board.chosen]


def test_no_source_escapes_the_contract():
    assert set(implementations(models.sources, "collect", "choose")) == set(MAKERS)
    assert set(Sources.__struct_fields__) == set(MAKERS) - {"popularity"}


@of_every_source
def test_a_source_has_the_name_of_its_file(name, pipeline):
    assert MAKERS[name](pipeline.recommender._config, pipeline.recommender.replica).name == name


@of_every_source
def test_a_source_brings_some_items_to_known_users_at_most_as_many_as_asked_and_none_twice(name, pipeline):
    brought = 0
    for user_id in pipeline.users:
        for size in (0, 1, 8):
            items = chosen(pipeline, name, user_id, size=size)
            assert len(items) == len(set(items)) <= size
            brought += len(items)
    assert brought > 20


@of_every_source
def test_no_source_brings_what_is_hidden_or_the_request_excludes(name, pipeline):
    for user_id in pipeline.users:
        had = {event.item_id for event in STREAM if event.user_id == user_id}
        first = chosen(pipeline, name, user_id)
        hidden = set() if name == "repeats" else had
        assert not hidden & set(first)
        assert not (hidden | set(first)) & set(chosen(pipeline, name, user_id, exclude=first))


@of_every_source
def test_a_source_brings_only_what_the_request_allows(name, pipeline):
    kept = 0
    for user_id in pipeline.users:
        allowed = chosen(pipeline, name, user_id)[:3]
        restricted = chosen(pipeline, name, user_id, restrict=[*allowed, "never seen"])
        assert set(restricted) <= set(allowed)
        kept += len(restricted)
    assert kept > 10 or name == "new_items"


@of_every_source
def test_an_item_that_was_taken_off_the_catalogue_is_not_brought(name, pipeline):
    replica = pipeline.recommender.replica
    for user_id in list(pipeline.users)[:5]:
        items = chosen(pipeline, name, user_id)
        for item in items[:2]:
            replica.withdraw(item)
        assert not set(items[:2]) & set(chosen(pipeline, name, user_id))
        for item in items[:2]:
            replica.apply_catalogue_item(item, CatalogueItem(categories=[f"kind {int(item[5:]) % 6}"]))


@of_every_source
def test_the_same_user_gets_the_same_items_and_a_user_without_events_no_error(name, pipeline):
    user_id = STREAM[-1].user_id
    assert chosen(pipeline, name, user_id) == chosen(pipeline, name, user_id)
    chosen(pipeline, name, "nobody knows")


@of_every_source
def test_a_source_that_is_switched_off_explains_nothing(name):
    if name == "popularity":
        pytest.skip("it fills up, whatever the configuration says")
    plain = {"scorer": {"name": "none"}, "learner": {"enabled": False}, "policy": {"epsilon": 0.0, "epsilon_min": 0.0}}
    plain |= AGAIN if name == "repeats" else {}
    on = dict.fromkeys(Sources.__struct_fields__, 0.2)
    both = []
    for weights in (on, on | {name: 0.0}):
        pipeline = LocalPipeline(parse_configuration(plain | {"sources": weights}, "test.yaml"), publish_every=1)
        for number in range(170):
            pipeline.recommender.replica.apply_catalogue_item(f"item-{number}", CatalogueItem(categories=[f"kind {number % 6}"]))
        sources = set()
        for event in STREAM[:200]:
            pipeline.learn(event)
            sources |= {source for item in pipeline.recommend(event).items for source in item.sources}
        both.append(sources)
    if name not in ("trending", "new_items"):  # these bring what scores nothing: only a scorer or exploration shows it
        assert name in both[0]
    assert name not in both[1]
