"""Business rules: no slate ever breaks one, and what is logged with a slate stays the probability that it had."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import combinations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models.controls import decode_control
from models.events import Event, Rejected
from models.identity import hash64
from models.pipeline import LocalPipeline
from models.policies.slots import explore_slots
from models.rules import lay_out
from models.topics import CatalogueItem
from models.validation import parse_configuration
from tests.synthetic import events

CATEGORIES = 4
ITEMS = 60


# ------------------------------------------------------------------------------------------------ lists and pools


def table(categories: list[set[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A label set of its own for each candidate, as the kernel takes them."""
    offsets = np.cumsum([0] + [len(names) for names in categories]).astype(np.int64)
    members = np.array([name for names in categories for name in sorted(names)], np.int64)
    return np.arange(len(categories), dtype=np.int32), offsets, members


@st.composite
def layouts(draw):
    categories = draw(st.lists(st.sets(st.integers(0, CATEGORIES - 1), max_size=2), max_size=12))
    caps = draw(st.lists(st.integers(1, 3) | st.just(1 << 30), min_size=CATEGORIES, max_size=CATEGORIES))
    ranked = draw(st.permutations(range(len(categories))))
    pins = draw(st.lists(st.integers(-1, len(categories) - 1), max_size=6))
    return categories, np.array(caps, np.int64), np.array(ranked, np.int64), np.array(pins, np.int64), draw(st.integers(1, 6))


def within(rows, categories, caps) -> bool:
    counts = Counter(name for row in rows for name in categories[row])
    return all(counts[name] <= caps[name] for name in counts)


@given(layouts())
@settings(max_examples=200)
def test_whatever_a_slate_draws_it_keeps_every_cap_and_shows_no_item_twice(layout):
    categories, caps, ranked, pins, k = layout
    listed, pool, pinned = (found.tolist() for found in lay_out(ranked, *table(categories), caps, pins, k))
    assert len(set(listed) | set(pool)) == len(listed) + len(pool)
    # every set of positions that may be replaced, and every set of items that may come there
    places = [place for place, fixed in enumerate(pinned) if not fixed]
    for n in range(min(len(places), len(pool)) + 1):
        for replaced in combinations(places, n):
            stay = [row for place, row in enumerate(listed) if place not in replaced]
            for drawn in combinations(pool, n):
                assert within(stay + list(drawn), categories, caps), (replaced, drawn)


@given(layouts())
@settings(max_examples=150)
def test_the_list_is_the_best_that_the_caps_allow_around_what_is_pinned(layout):
    categories, caps, ranked, pins, k = layout
    listed, _, pinned = (found.tolist() for found in lay_out(ranked, *table(categories), caps, pins, k))
    wanted = {row: place for place, row in reversed(list(enumerate(pins.tolist()[:k]))) if row >= 0}
    assert {row for row, fixed in zip(listed, pinned, strict=True) if fixed} <= set(wanted)
    free = [row for row, fixed in zip(listed, pinned, strict=True) if not fixed]
    assert free == [row for row in ranked.tolist() if row in free], "in the order of the ranking"
    if len(listed) == min(k, len(ranked)):
        assert all(listed[wanted[row]] == row for row, fixed in zip(listed, pinned, strict=True) if fixed)
    # what was passed over could not stand there: with what is pinned and what ranks higher it breaks a cap
    for row in set(ranked.tolist()) - set(listed):
        if len(listed) == k:
            above = [other for other in free if ranked.tolist().index(other) < ranked.tolist().index(row)]
            passed = ranked.tolist().index(row) < ranked.tolist().index(free[-1]) if free else False
            assert not passed or not within([*above, row, *(r for r, f in zip(listed, pinned, strict=True) if f)], categories, caps)
        else:
            assert not within([*listed, row], categories, caps), "a list is short only where nothing fits"


def test_without_rules_list_and_pool_are_those_of_the_ranking():
    ranked = np.array([3, 1, 4, 0, 2], np.int64)
    none = np.zeros(0, np.int64)
    listed, pool, pinned = lay_out(ranked, np.zeros(5, np.int32), np.array([0, 0]), none, none, none, 2)
    assert (listed.tolist(), pool.tolist(), pinned.tolist()) == ([3, 1], [4, 0, 2], [False, False])


def test_rows_are_those_of_all_candidates_also_where_only_some_may_be_shown():
    # as Python, which knows the bounds of an array
    ranked, none = np.array([5, 2, 4], np.int64), np.zeros(0, np.int64)
    listed, pool, _ = lay_out.py_func(ranked, *table([{0}, {0}, {0}, {0}, set(), {1}]), np.array([1, 1], np.int64), none, 2)
    assert (listed.tolist(), pool.tolist()) == ([5, 2], [4])


def test_a_pool_is_as_large_as_a_cap_allows_by_hand():
    # rows 0, 1, 2 are the list; 0 is of category 0, whose cap is 2: one more may come in, or as many as can only replace it
    categories = [{0}, set(), set(), {0}, {0}, {1}]
    ranked, none = np.arange(6, dtype=np.int64), np.zeros(0, np.int64)
    caps = np.array([2, 5], np.int64)
    assert lay_out(ranked, *table(categories), caps, none, 3)[1].tolist() == [3, 5]
    assert lay_out(ranked, *table(categories), caps, none, 1)[1].tolist() == [1, 2, 3, 4, 5]


def test_frequencies_are_the_logged_propensities_with_pins_and_caps_in_force():
    categories = [{0}, {1}, {0}, {1}, {2}, {0}, {1}, {2}, {3}, set(), {3}, {2}]
    caps, pins = np.array([2, 3, 2, 1], np.int64), np.array([-1, 4], np.int64)
    listed, pool, pinned = lay_out(np.arange(12, dtype=np.int64), *table(categories), caps, pins, 5)
    assert pinned.tolist() == [False, True, False, False, False]
    assert 2 <= len(pool) < 12 - len(listed), "some may be drawn, and a cap keeps some out"
    slates, epsilon = 100_000, 0.3
    shown: defaultdict[int, Counter[int]] = defaultdict(Counter)
    said: defaultdict[int, dict[int, float]] = defaultdict(dict)
    for number in range(slates):
        slots = explore_slots(listed, pool, epsilon=epsilon, key=hash64(f"slate-{number}"), seed=7, pinned=pinned)
        assert within([slot.item for slot in slots], categories, caps)
        for place, slot in enumerate(slots):
            shown[place][slot.item] += 1
            assert said[place].setdefault(slot.item, slot.propensity) == slot.propensity
    assert shown[1] == {4: slates}
    assert said[1] == {4: 1.0}
    statistic = freedom = 0
    for place in set(shown) - {1}:
        if len(shown[place]) == 1:
            assert list(said[place].values()) == [1.0]
            continue
        assert sum(said[place].values()) == pytest.approx(1.0)
        expected = np.array([said[place][item] * slates for item in shown[place]])
        statistic += float((np.square(np.array(list(shown[place].values())) - expected) / expected).sum())
        freedom += len(expected) - 1
    assert freedom > 0
    assert stats.chi2.sf(statistic, freedom) > 0.01


# ------------------------------------------------------------------------------------------------ slates


def pipeline_of(policy=None, **sections) -> LocalPipeline:
    """A recommender that knows 60 items of 6 kinds by 3 brands."""
    plain = {"scorer": {"name": "none", "candidates": 30}, "learner": {"enabled": False}, "slate": {"k": 6}}
    config = plain | {"policy": {"epsilon": 0.5} | (policy or {})} | sections
    pipeline = LocalPipeline(parse_configuration(config, "test.yaml"), publish_every=1)
    for number in range(ITEMS):
        item = CatalogueItem(categories=[f"kind {number % 6}"], brand=f"brand {number % 3}")
        pipeline.recommender.apply_catalogue(f"item-{number}", msgspec.json.encode(item))
    for event in events(200, users=10, items=ITEMS):
        pipeline.learn(event)
    return pipeline


@pytest.fixture(scope="module")
def pipeline() -> LocalPipeline:
    return pipeline_of()


@pytest.fixture(autouse=True)
def no_rules_left_over(request):
    yield
    if "pipeline" in request.fixturenames:
        found = request.getfixturevalue("pipeline").recommender
        for name in list(found._controls):
            found.apply_control(name, None)


def slates(pipeline: LocalPipeline, rules: dict[str, object], *, n: int = 60, **event: object):
    for name, rule in rules.items():
        pipeline.recommender.apply_control(name, msgspec.json.encode(rule))
    made = []
    for number in range(n):
        cause = Event(f"asked-{number}", f"user-{number % 10}", "item-1", "view", 10**12, **event)
        made.append(pipeline.recommend(cause))
    return made


def shown(slate) -> list[str]:
    return [item.item_id for item in slate.items]


def kinds(slate) -> Counter[int]:
    return Counter(int(item.removeprefix("item-")) % 6 for item in shown(slate))


def test_excluded_items_categories_and_brands_are_never_shown_and_come_back(pipeline):
    before = pipeline.recommender.replica.known_items
    popular = Counter(item for slate in slates(pipeline, {}) for item in shown(slate)).most_common(1)[0][0]
    rules = {"exclude": {"items": [popular], "categories": ["kind 2"]}, "exclude:brands": {"brands": ["brand 0"]}}
    for slate in slates(pipeline, rules):
        assert len(slate.items) == 6
        for item in shown(slate):
            number = int(item.removeprefix("item-"))
            assert item != popular
            assert number % 6 != 2
            assert number % 3 != 0
    # an item that comes into a category that is excluded, and one that leaves it
    recommender = pipeline.recommender
    recommender.apply_catalogue("item-1", b'{"categories": ["kind 2"]}')
    assert not recommender.replica.available[recommender.replica.index_of(hash64("item-1"))]
    recommender.apply_catalogue("item-1", b'{"categories": ["kind 1"], "brand": "brand 1"}')
    assert recommender.replica.available[recommender.replica.index_of(hash64("item-1"))]
    for name in rules:
        recommender.apply_control(name, None)
    assert recommender.replica.known_items == before
    assert any(popular in shown(slate) for slate in slates(pipeline, {}))


def test_an_item_that_the_rule_knows_before_the_catalogue_does_is_not_shown(pipeline):
    recommender = pipeline.recommender
    recommender.apply_control("exclude", b'{"items": ["late"], "categories": ["later"]}')
    for item, categories in (("late", []), ("other", ["later"])):
        recommender.apply_catalogue(item, msgspec.json.encode(CatalogueItem(categories=categories)))
        assert not recommender.replica.available[recommender.replica.index_of(hash64(item))]
        recommender.apply_catalogue(item, None)


def test_what_is_taken_off_the_catalogue_stays_off_when_a_rule_is_taken_back():
    recommender = pipeline_of().recommender
    recommender.apply_control("exclude", b'{"items": ["item-3"]}')
    recommender.apply_catalogue("item-3", None)
    recommender.apply_control("exclude", None)
    assert not recommender.replica.available[recommender.replica.index_of(hash64("item-3"))]


@pytest.mark.parametrize("diversity", [0.0, 0.6])
def test_no_slate_has_more_of_a_category_than_its_cap_however_it_explores(diversity):
    pipeline = pipeline_of({"strategies": {"exploit": {"diversity": diversity}}})
    rules = {"category_caps": {"most": 2}, "category_caps:1": {"categories": {"kind 1": 1, "never seen": 1}}}
    explored = 0
    for slate in slates(pipeline, rules, n=200):
        assert len(slate.items) == 6
        counted = kinds(slate)
        assert max(counted.values()) <= 2
        assert counted[1] <= 1
        explored += sum(item.explored for item in slate.items)
    assert explored > 100


def test_a_cap_of_what_there_is_of_one_kind_only_makes_the_slate_shorter(pipeline):
    others = [f"kind {number}" for number in range(1, 6)]
    slates(pipeline, {"exclude": {"categories": others}, "category_caps": {"categories": {"kind 0": 4}}}, n=0)
    assert kinds(pipeline.recommend(Event("e", "newcomer", "item-1", "view", 10**12))) == {0: 4}


def test_an_included_item_is_a_candidate_of_everybody_and_says_that_a_rule_brought_it(pipeline):
    unknown = CatalogueItem(title="new")
    pipeline.recommender.apply_catalogue("nobody-knows", msgspec.json.encode(unknown))
    pipeline.recommender.apply_control("sources", b'{"item_cf": 1}')
    assert not any("nobody-knows" in shown(slate) for slate in slates(pipeline, {}))
    with_rule = slates(pipeline, {"include:new": {"items": ["nobody-knows", "no such item"]}, "boost": {"factor": 900, "items": ["x"]}})
    found = [item for slate in with_rule for item in slate.items if item.item_id == "nobody-knows"]
    assert found, "it may be explored"
    assert all(item.explored for item in found), "its score is 0"
    assert all(item.sources == ["rule"] and item.reasons[0].kind == "rule" for item in found)
    pipeline.recommender.apply_catalogue("nobody-knows", None)


def test_included_items_are_half_of_the_candidates_at_most(pipeline):
    asked = {"include": {"items": [f"item-{number}" for number in range(ITEMS)]}}
    for slate in slates(pipeline, asked, n=20):
        assert len(slate.items) == 6
    rules = pipeline.recommender._rules
    assert len(rules.asked_of(Event("e", "u", "i", "view", 1)).joining) == 15


def test_a_factor_moves_items_up_or_down_and_several_count_together(pipeline):
    def share_of_kind_3(factor: float) -> float:
        pipeline.recommender.apply_control("epsilon", b'{"epsilon": 0}')
        boosts = {"boost": {"factor": factor, "categories": ["kind 3"]}, "boost:b": {"factor": factor, "brands": ["brand 0"]}}
        return sum(kinds(slate)[3] for slate in slates(pipeline, boosts))

    plain, up, down = share_of_kind_3(1.0), share_of_kind_3(30.0), share_of_kind_3(0.02)
    assert up > 1.5 * plain > plain > 2 * down


def test_factors_multiply_what_the_sources_say_and_the_odds_of_a_scorer(pipeline):
    recommender = pipeline.recommender
    recommender.apply_control("boost", b'{"factor": 4, "items": ["item-7"], "categories": ["kind 2"]}')
    recommender.apply_control("boost:2", b'{"factor": 0.5, "items": ["item-8"]}')
    items = recommender.replica.indices_of(np.array([hash64(f"item-{number}") for number in (7, 8, 9)]))
    scores = np.array([0.5, 0.25, -1.0], np.float32)
    multiplied = recommender._rules.boosted(scores, items, odds=False)
    assert multiplied.tolist() == pytest.approx([2.0, 0.5, -1.0])  # item-8 is of kind 2: 4 * 0.5
    added = recommender._rules.boosted(scores, items, odds=True)
    assert np.exp(added - scores).tolist() == pytest.approx([4.0, 2.0, 1.0], rel=1e-5)


def test_a_pinned_item_stands_at_its_position_for_certain_and_only_where_it_applies(pipeline):
    rules = {
        "pin": {"item": "item-50", "position": 3},
        "pin:mobile": {"item": "item-51", "position": 1, "context": {"device": "mobile"}},
        "pin:kind": {"item": "item-52", "position": 5, "category": "kind 4"},
    }
    for slate in slates(pipeline, rules):
        had = {pipeline.recommender.replica.item_ids[index] for index in
               pipeline.recommender.replica.indices_of(pipeline.user(slate.user_id).seen.hashes)}
        if "item-50" in had:
            assert "item-50" not in shown(slate)
        else:
            assert slate.items[2].item_id == "item-50"
            assert (slate.items[2].propensity, slate.items[2].explored) == (1.0, False)
        assert shown(slate)[0] != "item-51" or slate.items[0].propensity < 1
        assert shown(slate)[4] != "item-52" or slate.items[4].propensity < 1
    mobile = slates(pipeline, {}, context={"device": "mobile", "page": 3})
    assert sum(slate.items[0].item_id == "item-51" and slate.items[0].propensity == 1 for slate in mobile) > 30
    cause = Event("on kind 4", "somebody", "item-4", "view", 10**12)
    assert pipeline.recommend(cause).items[4].item_id == "item-52"


def test_exclusion_and_caps_are_stronger_than_a_pin(pipeline):
    pins = {f"pin:{place}": {"item": f"item-{6 * place}", "position": place} for place in (1, 2, 3)}
    rules = pins | {"category_caps": {"categories": {"kind 0": 2}}, "exclude": {"items": ["item-6"]}}
    cause = Event("e", "nobody before", "item-1", "view", 10**12)
    slates(pipeline, rules, n=1)
    slate = pipeline.recommend(cause)
    assert "item-6" not in shown(slate)
    assert shown(slate)[1:3] == ["item-12", "item-18"]
    assert kinds(slate)[0] == 2


def test_a_pin_beyond_the_slate_changes_nothing(pipeline):
    plain = [shown(slate) for slate in slates(pipeline, {"epsilon": {"epsilon": 0}}, n=5)]
    assert [shown(slate) for slate in slates(pipeline, {"pin": {"item": "item-50", "position": 100}}, n=5)] == plain


def test_rules_that_do_not_touch_a_slate_leave_it_as_it_is_to_the_last_draw():
    plain, ruled = pipeline_of(), pipeline_of()
    rules = {"category_caps": {"categories": {"no such": 1}}, "boost": {"factor": 3, "brands": ["no such"]}}
    for one, other in zip(slates(plain, {}), slates(ruled, rules), strict=True):
        assert msgspec.structs.replace(one, timings=None) == msgspec.structs.replace(other, timings=None)


@given(
    excluded=st.sets(st.integers(0, 5), max_size=2),
    caps=st.dictionaries(st.integers(0, 5), st.integers(1, 3), max_size=4),
    pins=st.dictionaries(st.integers(1, 6), st.integers(0, ITEMS - 1), max_size=3),
    factor=st.floats(0.001, 1000),
)
@settings(max_examples=40)
def test_no_combination_of_rules_is_broken_by_a_slate(shared, excluded, caps, pins, factor):
    rules = {f"pin:{place}": {"item": f"item-{item}", "position": place} for place, item in pins.items()}
    rules["boost"] = {"factor": factor, "categories": ["kind 1"]}
    if excluded:
        rules["exclude"] = {"categories": [f"kind {kind}" for kind in excluded]}
    if caps:
        rules["category_caps"] = {"categories": {f"kind {kind}": most for kind, most in caps.items()}}
    try:
        for slate in slates(shared, rules, n=10):
            counted = kinds(slate)
            assert not excluded & set(counted)
            assert all(counted[kind] <= most for kind, most in caps.items())
            assert len(set(shown(slate))) == len(slate.items)
            for item in slate.items:
                assert item.propensity == pytest.approx(1.0) or 0 < item.propensity < 1
                assert not item.explored or item.propensity < 1
    finally:
        for name in rules:
            shared.recommender.apply_control(name, None)


@pytest.fixture(scope="module")
def shared() -> LocalPipeline:
    return pipeline_of()


# ------------------------------------------------------------------------------------------------ what is accepted


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("boost:summer-sale", {"factor": 2, "brands": ["b"]}),
        ("exclude", {"items": ["a"]}),
        ("pin:x:y", {"item": "a", "position": 1, "context": {"a": 1, "b": None}}),
        ("category_caps", {"most": 3}),
        ("epsilon", {"epsilon": 0.1}),
        ("policy", {"name": "ucb1"}),
        ("experiment", {"salt": "s", "arms": {"a": {}, "b": {"weight": 2, "policy": {"epsilon": 0}}}}),
        ("pinned_version", {"version": "1700000000.12-00ff"}),
        ("sources", {"trending": 1}),
        ("include", {"items": ["a"]}),
    ],
)
def test_a_rule_of_every_kind_is_read(name, value):
    assert decode_control(name, msgspec.json.encode(value)) is not None


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        (None, b"{}", "there is no control"),
        ("bost", b"{}", "there is no control"),
        ("boost:", b"{}", "there is no control"),
        ("epsilon:mine", b'{"epsilon": 0.1}', "there is no control"),
        ("boost", b'{"factor": 2}', "expected items, categories or brands"),
        ("boost", b'{"factor": 0, "items": ["a"]}', "factor"),
        ("boost", b'{"factor": NaN, "items": ["a"]}', "malformed"),
        ("boost", b'{"factor": 2, "item": ["a"]}', "unknown field `item`"),
        ("category_caps", b"{}", "expected most or categories"),
        ("category_caps", b'{"most": 0}', "most"),
        ("pin", b'{"item": "a", "position": 0}', "position"),
        ("pin", b'{"item": "a", "position": 101}', "position"),
        ("epsilon", b'{"epsilon": 1.5}', "epsilon"),
        ("policy", b'{"name": "greedy"}', "name"),
        ("pinned_version", b'{"version": "newest"}', "version"),
        ("include", b'{"items": []}', "items"),
        ("sources", b"null", "null"),
        ("sources", b"{", "truncated"),
        ("pin", b'{"item":"a","position":1,"context":' + b'{"a":' * 5_000, "nested too deeply"),
    ],
)
def test_a_bad_rule_is_refused_and_says_why(name, value, why):
    with pytest.raises(Rejected, match=why):
        decode_control(name, value)


def test_a_rule_that_does_not_fit_the_configuration_is_refused_and_the_last_good_one_stays(pipeline):
    recommender = pipeline.recommender
    recommender.apply_control("policy", b'{"strategy": "exploit"}')
    before = recommender.treatments._plan
    for name, value in (
        ("policy", b'{"strategy": "explode"}'),
        ("experiment", b'{"arms": {"a": {"policy": {"epsilon": 7}}}}'),
        ("experiment", b'{"arms": {"a": {"sources": {"no_such": 7}}}}'),
        ("experiment", b'{"arms": {"a": {"scorer": {"name": "text"}}}}'),
        ("experiment", b'{"arms": {"a": {"weight": 0}}}'),
    ):
        with pytest.raises(Rejected):
            recommender.apply_control(name, value)
    assert recommender.treatments._plan is before
    assert list(recommender._controls) == ["policy"]


def test_there_are_so_many_rules_of_a_kind_and_no_more(pipeline):
    recommender = pipeline.recommender
    for number in range(64):
        recommender.apply_control(f"boost:{number}", b'{"factor": 2, "items": ["a"]}')
    recommender.apply_control("boost:63", b'{"factor": 3, "items": ["a"]}')
    with pytest.raises(Rejected, match="at most 64 rules of one kind"):
        recommender.apply_control("boost:64", b'{"factor": 2, "items": ["a"]}')
    recommender.apply_control("exclude:1", b'{"items": ["a"]}')


def test_taking_back_what_is_not_there_changes_nothing(pipeline):
    for name in ("boost:never", "no such kind"):
        pipeline.recommender.apply_control(name, None)
    with pytest.raises(Rejected, match="without a key"):
        pipeline.recommender.apply_control(None, None)
