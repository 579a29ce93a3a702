"""User CF: known answers by hand, and brute force in numpy where the panel holds everybody."""

from __future__ import annotations

import numpy as np
import pytest

from models.board import USER_CF, USER_CF_NEAR, Board
from models.identity import hash64
from models.panel import decode_member, encode_member, panel_key, user_of_key
from models.profile import ITEM_DTYPE, UserState
from models.replica import Replica
from models.sources import Visit
from models.sources.user_cf import EPSILON, UserCF
from models.topics import CatalogueItem
from models.validation import parse_configuration

NAN = float("nan")


def profile(*ratings, weight=1.0):
    """Items of a user, the oldest first, as (name, value)."""
    items = np.zeros(len(ratings), ITEM_DTYPE)
    for place, (name, value) in enumerate(ratings):
        items[place] = (hash64(name), place, value, weight, 0)
    return items


def new_replica(**user_cf):
    return Replica(parse_configuration({"user_cf": user_cf}, "test.yaml"))


def fill(replica, users):
    for items in users.values():
        for item in items:
            replica.apply_catalogue_item(item[0], CatalogueItem())
    for user, items in users.items():
        replica.panel.apply(encode_member(hash64(user), profile(*items)))


def predicted(replica, user, items, **settings):
    """``{item: (score, score near the item that both have)}`` that user CF brings a user with these items."""
    configuration = parse_configuration({"user_cf": settings}, "test.yaml")
    source = UserCF(configuration.user_cf, replica, bit=2)
    board = Board()
    state = UserState(items=profile(*items))
    board.start(replica.index_table, replica.capacity, state.items["item"], None, size=100)
    places = np.arange(len(items) - 1, -1, -1, dtype=np.int32)
    indices = np.array([replica.index_of(int(h)) for h in state.items["item"][places]], np.int32)
    hashes = state.items["item"].copy()
    source.collect(Visit(hash64(user), state, hashes, indices, places, np.ones(len(items)), np.zeros(len(items))), board)
    return {
        replica.item_ids[x]: (float(board.sums[x, USER_CF]), float(board.sums[x, USER_CF_NEAR]))
        for x in board.touched[: board.found]
    }


USERS = {
    "ann": [("a", 5.0), ("b", 3.0), ("c", 4.0)],
    "bob": [("a", 4.0), ("b", 2.0), ("d", 5.0)],
    "cid": [("a", 1.0), ("b", 5.0), ("e", 2.0)],
}


def test_cosine_by_hand():
    replica = new_replica()
    fill(replica, USERS)
    # weights are 1, the user's own fall by 0.5: a is 0.5, b is 1; norms sqrt(1.25) and sqrt(3)
    found = predicted(replica, "dan", [("a", 4.0), ("b", 3.0)], decay=0.5)
    similarity = 1.5 / np.sqrt(1.25 * 3)
    score = similarity / np.sqrt(3 * similarity**2 + EPSILON)
    assert found == {item: pytest.approx((score, score)) for item in "cde"}


def test_pearson_by_hand_leaves_those_of_the_opposite_taste_out():
    replica = new_replica(similarity="pearson")
    fill(replica, USERS)
    found = predicted(replica, "dan", [("a", 5.0), ("b", 3.0)], similarity="pearson", shared_items=1)
    # the user is +1, -1 around the own mean 4; ann +1, -1 around 4; bob 1/3, -5/3 around 11/3; cid against
    ann = 2 / np.sqrt(2 * 2)
    bob = (1 / 3 + 5 / 3) / np.sqrt(2 * (1 / 9 + 25 / 9))
    scale = np.sqrt(ann**2 + bob**2 + EPSILON)
    assert found == {"c": pytest.approx((ann * 4 / scale,) * 2), "d": pytest.approx((bob * 5 / scale,) * 2)}


def test_a_correlation_over_few_items_counts_in_proportion():
    replica = new_replica(similarity="pearson")
    users = {"ann": [("a", 5.0), ("b", 1.0), ("c", 3.0)], "bob": [("x", 1.0), ("y", 5.0), ("a", 5.0), ("b", 1.0), ("d", 3.0)]}
    fill(replica, users)
    mine = [("x", 1.0), ("y", 5.0), ("a", 5.0), ("b", 1.0)]
    found = predicted(replica, "dan", mine, similarity="pearson", shared_items=4)
    # both agree fully; ann over two items of four
    assert found["c"][0] / found["d"][0] == pytest.approx(0.5)


def test_what_a_member_had_near_the_item_that_both_have_counts_more_and_what_came_after_it_most():
    replica = new_replica()
    fill(replica, {"ann": [("w", 1.0), ("x", 1.0), ("a", 1.0), ("y", 1.0), ("z", 1.0)]})
    near = {item: score for item, (_, score) in predicted(replica, "dan", [("b", 1.0), ("a", 1.0)]).items()}
    assert near == {
        "w": pytest.approx(near["y"] * 0.7 * 0.95),
        "x": pytest.approx(near["y"] * 0.7),
        "y": near["y"],
        "z": pytest.approx(near["y"] * 0.95),
    }


def test_near_is_near_the_latest_of_the_users_items_that_a_member_has_wherever_it_stands_in_the_lists():
    replica = new_replica()
    # ann is the first whom the list of a leads to, and the second in that of b, which dan had later
    fill(replica, {"ann": [("b", 1.0), ("x", 1.0), ("a", 1.0), ("y", 1.0)], "bob": [("b", 1.0)]})
    near = {item: score for item, (_, score) in predicted(replica, "dan", [("a", 1.0), ("b", 1.0)]).items()}
    assert near["y"] == pytest.approx(near["x"] * 0.95**2)


@pytest.mark.parametrize("similarity", ["cosine", "pearson"])
def test_a_panel_of_everybody_is_brute_force(similarity):
    draw = np.random.default_rng(5)
    names = [f"i{n}" for n in range(40)]
    users = {
        f"u{n}": [(names[i], float(draw.integers(1, 6))) for i in draw.permutation(40)[: draw.integers(3, 20)]]
        for n in range(60)
    }
    replica = new_replica(similarity=similarity, panel_size=1000)
    fill(replica, users)
    settings = {"similarity": similarity, "neighbours": 7, "recent": 1000, "decay": 0.8, "shared_items": 3}
    compared = 0
    for user, items in users.items():
        truth = brute_force(users, user, similarity=similarity, neighbours=7, decay=0.8, shared_items=3)
        found = predicted(replica, user, items, **settings)
        assert {item: score for item, (score, _) in found.items()} == pytest.approx(truth, rel=1e-4)
        compared += len(truth)
    assert compared > 500


def brute_force(users, user, *, similarity, neighbours, decay, shared_items):
    """The definition, over dense vectors."""
    names = sorted({item for items in users.values() for item, _ in items})
    column = {name: n for n, name in enumerate(names)}

    def vector(items, fall=1.0):
        dense = np.full(len(names), np.nan)
        for back, (item, value) in enumerate(reversed(items)):
            dense[column[item]] = value if similarity == "pearson" else fall**back
        return dense

    mine = vector(users[user], decay)
    similarities = {}
    for other, items in users.items():
        theirs = vector(items)
        both = ~np.isnan(mine) & ~np.isnan(theirs)
        if other == user or not both.any():
            continue
        if similarity == "cosine":
            a = (mine[both] @ theirs[both]) / np.sqrt(np.nansum(mine**2) * np.nansum(theirs**2))
        else:
            x, y = mine[both] - np.nanmean(mine), theirs[both] - np.nanmean(theirs)
            spread = np.sqrt((x @ x) * (y @ y))
            a = x @ y / spread * min(1.0, both.sum() / shared_items) if spread > 0 else 0.0
        if a > 0:
            similarities[other] = a
    nearest = sorted(similarities, key=lambda other: -similarities[other])[:neighbours]
    scale = np.sqrt(sum(similarities[v] ** 2 for v in nearest) + EPSILON)
    scores = {}
    for v in nearest:
        for item, value in users[v]:
            if np.isnan(mine[column[item]]):
                rating = value if similarity == "pearson" else 1.0
                scores[item] = scores.get(item, 0.0) + similarities[v] * rating / scale
    return scores


def test_a_record_gives_back_what_it_was_made_of_and_of_a_repeated_item_the_latest():
    items = profile(("a", 1.0), ("b", NAN), ("a", 2.0), weight=3.0)
    user, hashes, weights, values = decode_member(encode_member(-5, items))
    assert (user, hashes.tolist(), weights.tolist()) == (-5, [hash64("b"), hash64("a")], [3.0, 3.0])
    assert np.isnan(values[0])
    assert values[1] == 2.0
    with pytest.raises(ValueError, match="version 9"):
        decode_member(b"\x09" + encode_member(-5, items)[1:])
    assert panel_key(-1) == "panel:" + "f" * 16


def test_the_panel_is_the_users_with_the_smallest_hashes_whatever_their_order():
    users = {f"u{n}": [(f"i{n % 7}", 1.0), (f"i{n % 5 + 7}", 1.0)] for n in range(50)}
    smallest = sorted(users, key=hash64)[:8]
    panels = []
    for order in (list(users), list(users)[::-1]):
        replica = new_replica(panel_size=8)
        fill(replica, {user: users[user] for user in order})
        assert len(replica.panel) == 8
        assert {user for user in users if replica.panel.member(hash64(user)) >= 0} == set(smallest)
        assert [user for user in users if replica.panel.wants(hash64(user))] == [u for u in users if u in smallest]
        panels.append(predicted(replica, "dan", [("i0", 1.0), ("i8", 1.0), ("i3", 1.0)]))
    assert set(panels[0]) == set(panels[1])
    assert all(panels[0][item] == pytest.approx(panels[1][item]) for item in panels[0])


def test_a_later_record_of_a_member_replaces_the_earlier_one():
    replica = new_replica()
    fill(replica, {"ann": [("a", 1.0), ("old", 1.0)], "bob": [("a", 1.0), ("kept", 1.0)]})
    fill(replica, {"ann": [("a", 1.0), ("new", 1.0)]})
    assert set(predicted(replica, "dan", [("a", 1.0)])) == {"kept", "new"}
    assert len(replica.panel) == 2


def test_only_the_members_that_were_active_last_are_looked_at():
    replica = new_replica()
    fill(replica, {f"u{n}": [("a", 1.0), (f"i{n}", 1.0)] for n in range(6)})
    assert set(predicted(replica, "dan", [("a", 1.0)], recent=2)) == {"i4", "i5"}


def test_without_a_panel_nobody_is_wanted():
    assert not new_replica(panel_size=0).panel.wants(-(2**63))


def test_the_panel_says_which_share_of_all_users_it_is_a_sample_of():
    replica = new_replica(panel_size=100)
    assert replica.panel.share == 1.0
    for number in range(2_000):
        replica.panel.apply(encode_member(hash64(f"user-{number}"), profile(("a", 1.0))))
    assert len(replica.panel) == 100
    assert replica.panel.share == pytest.approx(100 / 2_000, rel=0.25)
    assert new_replica(panel_size=0).panel.share == 0.0


def test_a_forgotten_member_brings_nothing_and_its_place_is_taken_by_another():
    replica, never = new_replica(), new_replica()
    fill(replica, USERS)
    fill(never, {name: items for name, items in USERS.items() if name != "bob"})
    own = [("a", 4.0), ("b", 3.0)]
    assert "d" in predicted(replica, "dan", own)
    replica.panel.forget(hash64("bob"))
    replica.panel.forget(hash64("bob"))
    replica.panel.forget(hash64("a stranger"))
    assert (len(replica.panel), replica.panel.member(hash64("bob"))) == (2, -1)
    assert predicted(replica, "dan", own) == predicted(never, "dan", own)
    for panel in (replica, never):
        fill(panel, {"eve": [("a", 4.0), ("b", 2.0), ("f", 5.0)], "fay": [("b", 1.0), ("g", 1.0)]})
    assert len({replica.panel.member(hash64(name)) for name in ("ann", "cid", "eve", "fay")}) == 4
    assert predicted(replica, "dan", own) == predicted(never, "dan", own)


def test_a_full_panel_that_forgets_somebody_takes_in_another_and_stays_as_large():
    names = sorted((f"user {n}" for n in range(200)), key=hash64)
    replica = new_replica(panel_size=100)
    fill(replica, {name: [("a", 1.0)] for name in names})
    for name in names[:30]:
        replica.panel.forget(hash64(name))
    assert replica.panel.wants(hash64(names[150]))
    fill(replica, {name: [("a", 1.0)] for name in names[30:]})
    assert len(replica.panel) == 100
    assert {name for name in names if replica.panel.member(hash64(name)) >= 0} == set(names[30:130])
    assert not replica.panel.wants(hash64(names[150]))


@pytest.mark.parametrize("user", [1, -1, 2**63 - 1, -(2**63)])
def test_a_key_names_its_user(user):
    assert user_of_key(panel_key(user)) == user
