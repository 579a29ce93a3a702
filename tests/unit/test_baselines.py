"""Each baseline against figures worked out by hand on a few events, or against its formula in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from implicit.nearest_neighbours import CosineRecommender
from implicit.utils import ParameterWarning
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from models.evaluation.baselines.ease import EASE, ease_weights
from models.evaluation.baselines.implicit_als import ImplicitALS
from models.evaluation.baselines.implicit_cosine import ImplicitCosine, _neighbours
from models.evaluation.baselines.last_item_markov import LastItemMarkov
from models.evaluation.baselines.popularity import Popularity
from models.evaluation.baselines.river_mf import RiverBiasedMF
from models.evaluation.baselines.session_knn import SessionKNN
from tests.synthetic import events

MINUTE_MS = 60_000


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As the command does."""
    with threadpool_limits(1):
        yield


def taught(model, *histories: str):
    """Teach each user's items, a letter an item, one user after the other, a minute apart."""
    time_ms = 0
    for user, items in enumerate(histories):
        for item_id in items:
            model.learn_one(f"u{user}", item_id, time_ms)
            time_ms += MINUTE_MS
    return model


def test_popularity_ranks_by_the_number_of_events():
    assert taught(Popularity(repeats=False), "abc", "bc", "c", "d").recommend("u3", 2) == ["c", "b"]
    assert taught(Popularity(repeats=True), "abc", "bc", "c", "cd").recommend("u3", 2) == ["c", "b"]


def test_markov_ranks_by_what_followed_the_last_item():
    # After a: b twice, c and d once, of which d is the more popular, more so than b. What came before a says nothing.
    model = taught(LastItemMarkov(repeats=False), "ab", "ab", "ac", "xad", "d", "d", "za")
    assert model.recommend("u6", 4) == ["b", "d", "c", "x"]


def test_markov_counts_a_transition_from_the_latest_event_even_of_an_item_that_came_before():
    model = taught(LastItemMarkov(repeats=True), "abac", "a")
    assert model.recommend("u1", 3) == ["b", "c", "a"], "each followed a once; b came first"
    assert taught(LastItemMarkov(repeats=True), "abacac", "a").recommend("u1", 2) == ["c", "b"]
    assert taught(LastItemMarkov(repeats=True), "aab", "aa", "a").recommend("u2", 1) == ["a"], "a followed itself twice"


def test_cosine_sums_the_similarities_of_the_weighted_last_items():
    # Users of a: 0, 1, 3, 4; of b: 0, 1; of c: 2, 3; of d: 2.
    histories = ("ab", "ab", "cd", "ca", "a")
    model = taught(ImplicitCosine(repeats=False, last_items=2, profile_decay=0.5, refit_every=9), *histories)
    taken = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [1, 0, 0, 0]], float)
    unit = taken / np.linalg.norm(taken, axis=0)
    similarity = unit.T @ unit
    a, b, c, d = range(4)
    assert similarity[a, b] == pytest.approx(2 / np.sqrt(4 * 2))
    # To u3, whose latest item is a and whose item before it is c: b by a, d by c.
    expected = {"b": similarity[a, b], "d": 0.5 * similarity[c, d]}
    assert expected == {"b": pytest.approx(0.7071, abs=1e-4), "d": pytest.approx(0.3536, abs=1e-4)}
    assert model.recommend("u3", 2) == ["b", "d"]
    # To u1 with the latest item b, then a: c by a alone; d has nothing in common and comes by popularity.
    assert model.recommend("u1", 4) == ["c", "d"]
    assert taught(ImplicitCosine(repeats=False, last_items=1, refit_every=9), *histories).recommend("u3", 1) == ["b"]


def test_cosine_ranks_as_implicit_does_when_asked_directly():
    stream = events(400)
    model, last = ImplicitCosine(repeats=False, refit_every=200), {}
    for event in stream:
        model.learn_one(event.user_id, event.item_id, event.event_time_ms)
        last.setdefault(event.user_id, []).append(event.item_id)
    item_ids = list(dict.fromkeys(event.item_id for event in stream))
    users = list(last)
    taken = np.zeros((len(users), len(item_ids)), np.float32)
    for event in stream:
        taken[users.index(event.user_id), item_ids.index(event.item_id)] = 1
    asked = CosineRecommender(K=len(item_ids), num_threads=1)
    with pytest.warns(ParameterWarning):  # implicit warns of what it does itself
        asked.fit(csr_matrix(taken), show_progress=False)
    for user_id in users[:20]:
        profile = np.zeros((1, len(item_ids)))
        for age, item_id in enumerate(reversed(last[user_id][-10:])):
            profile[0, item_ids.index(item_id)] = 0.9**age
        own = [item_ids.index(item_id) for item_id in last[user_id]]
        indices, _ = asked.recommend(0, csr_matrix(profile), N=5, filter_already_liked_items=False, filter_items=own)
        assert model.recommend(user_id, 5) == [item_ids[index] for index in indices[:5]]


@pytest.mark.parametrize(("items", "neighbours"), [(0, 0), (1_682, 1_682), (10_000, 1_000), (100_000, 100), (10**7, 20)])
def test_the_neighbours_of_all_items_together_stay_bounded(items, neighbours):
    assert _neighbours(items) == neighbours


def test_als_scores_by_the_least_squares_vector_of_the_last_items():
    model = taught(ImplicitALS(repeats=False, factors=3, last_items=2, refit_every=10), "abc", "abd", "xyz", "x")
    items = model._model.item_factors.astype(float)  # of a b c d x y z, in the order of their first event
    # Of u0 the last two items are c and b. implicit gives them the confidence 1 and all others 1 as well, which leaves
    # the vector that fits 1 there and 0 elsewhere (Hu et al., equation 4), with implicit's penalty of 0.01.
    wanted = np.zeros(7)
    wanted[[1, 2]] = 1.0
    vector = np.linalg.solve(items.T @ items + 0.01 * np.eye(3), items.T @ wanted)
    scores = items @ vector
    ranked = sorted(range(3, 7), key=lambda index: -scores[index])
    assert model.recommend("u0", 4) == ["abcdxyz"[index] for index in ranked]


def test_ease_has_the_weights_of_its_closed_form():
    taken = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1], [1, 0, 0, 1]], float)
    inverse = np.linalg.inv(taken.T @ taken + 0.5 * np.eye(4))
    weights = ease_weights(taken.T @ taken, 0.5)
    for i in range(4):
        for j in range(4):
            assert weights[i, j] == pytest.approx(0 if i == j else -inverse[i, j] / inverse[j, j], abs=1e-6)


def test_ease_minimises_its_own_loss():
    draw = np.random.default_rng(3)
    taken = (draw.random((40, 6)) < 0.4).astype(float)

    def loss(weights):
        return ((taken - taken @ weights) ** 2).sum() + 2.0 * (weights**2).sum()

    weights = ease_weights(taken.T @ taken, 2.0).astype(float)
    for _ in range(50):
        step = 0.01 * draw.normal(size=weights.shape)
        np.fill_diagonal(step, 0)
        assert loss(weights) < loss(weights + step)


def test_a_gram_matrix_that_is_none_is_refused():
    with pytest.raises(ValueError, match="positive definite"):
        ease_weights(np.array([[0.0, 5.0], [5.0, 0.0]]), 1.0)


def test_ease_sums_the_weights_of_the_weighted_last_items():
    histories = "ab", "abc", "bcd", "cd", "ad"
    taken = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1], [1, 0, 0, 1]], float)
    weights = ease_weights(taken.T @ taken, 0.5)
    a, b, c, d = range(4)
    # u4 has d, the latest, and a. a speaks for b, d for c, as much: the nearer one decides.
    assert weights[a, b] == pytest.approx(weights[d, c])
    assert weights[d, c] + 0.5 * weights[a, c] > weights[d, b] + 0.5 * weights[a, b]
    model = taught(EASE(repeats=False, penalty=0.5, profile_decay=0.5, refit_every=12), *histories)
    assert model.recommend("u4", 2) == ["c", "b"]
    longer = taught(EASE(repeats=False, penalty=0.5, profile_decay=2.0, refit_every=12), *histories)
    assert longer.recommend("u4", 2) == ["b", "c"]
    of_one = taught(EASE(repeats=False, penalty=0.5, last_items=1, refit_every=12), "ab", "abc", "bcd", "cd", "da")
    assert of_one.recommend("u4", 1) == ["b"]


def test_ease_of_more_items_than_it_may_have_keeps_the_most_popular_and_says_so():
    histories = "ab", "ab", "ab", "xc", "yx", "p", "p", "p", "p", "a", "y"
    model = taught(EASE(repeats=False, penalty=0.5, refit_every=16, most_items=3), *histories)
    assert model._weights.shape == (3, 3)
    assert model.recommend("u9", 2) == ["b", "p"], "a, b and p are kept: b by a, p by popularity"
    assert set(model.recommend("u10", 2)) == {"p", "a"}, "y is not: by popularity"
    assert "only the 3 most popular of 6 items" in model.settings()
    assert "all items" in EASE(repeats=False).settings()


def test_session_knn_has_the_weights_of_the_paper():
    # Current items of u3, the latest first: c, b, a. pi(c) = 1, pi(b) = 2/3, pi(a) = 1/3.
    # r(u0) = pi(a) + pi(b) = 1, first shared b at d = 2: weight 1 * 0.8; r(u1) = pi(c) = 1, d = 1: weight 1 * 0.9;
    # r(u2) = pi(a) = 1/3, d = 3: weight 1/3 * 0.7. So y: .9, x: .8, z: .7/3 + 0.
    model = taught(SessionKNN(repeats=False), "abx", "cy", "az", "abc")
    sessions, weights = model._nearest(model._so_far.last("u3", 10), but=3)
    assert dict(zip(sessions.tolist(), weights.tolist(), strict=True)) == pytest.approx({0: 0.8, 1: 0.9, 2: 0.7 / 3})
    assert model.recommend("u3", 3) == ["y", "x", "z"]


@pytest.mark.parametrize(("recent", "nearest"), [(3, "v"), (4, "x")])
def test_session_knn_takes_the_nearest_of_the_latest_sessions(recent, nearest):
    # u0 shares a and c with u4, but four sessions share something and u0's is the oldest. Of the others u2 and u3 share
    # b and u1 the older a; u3 is the latest.
    histories = "acx", "aw", "by", "bv", "abc"
    model = taught(SessionKNN(repeats=False, recent=recent, neighbours=1), *histories)
    assert model.recommend("u4", 1) == [nearest]


@pytest.mark.parametrize(("pause_ms", "of_u"), [(10 * MINUTE_MS, ["b", "c"]), (10 * MINUTE_MS + 1, ["c", "b"])])
def test_a_pause_begins_a_new_session_but_not_a_new_user(pause_ms, of_u):
    model = SessionKNN(repeats=False, session_gap_ms=10 * MINUTE_MS)
    stream = [("v", "a", 0), ("v", "b", pause_ms), ("w", "c", pause_ms), ("x", "c", pause_ms), ("u", "a", pause_ms)]
    for user_id, item_id, time_ms in stream:
        model.learn_one(user_id, item_id, time_ms)
    assert model.recommend("u", 2) == of_u, "b is of a's session, or there is none and c is popular"
    assert model.recommend("v", 2) == ["c"], "items of an earlier session remain the user's own"


def test_session_knn_forgets_the_oldest_sessions_of_an_item_and_the_oldest_items_of_a_session():
    model = taught(SessionKNN(repeats=False, recent=3, session_items=2), *("a" * 1 for _ in range(40)), "abcdefgh")
    assert len(model._sessions_of_item[0]) < 6
    assert len(model._items_of_session[-1]) < 4
    assert model.recommend("u40", 1) == []


def test_river_is_ranked_as_its_own_loop_ranks():
    model, item_index, own = RiverBiasedMF(repeats=False), {}, {}
    for event in events(400):
        model.learn_one(event.user_id, event.item_id, event.event_time_ms)
        item_index.setdefault(event.item_id, len(item_index))
        own.setdefault(event.user_id, set()).add(event.item_id)
    item_ids = list(item_index)
    for user, user_id in enumerate(list(own)[:20]):
        ranked = model.model.rank(user, set(item_index.values()))
        expected = [item_ids[item] for item in ranked if item_ids[item] not in own[user_id]]
        assert model.recommend(user_id, 10) == expected[:10]


def test_river_is_taught_items_that_the_user_has_not_had_as_0():
    model = RiverBiasedMF(repeats=False, drawn_items=3)
    for _ in range(50):
        taught(model, "ab", "cd")
    a, c = 0, 2
    assert model.model.predict_one(0, a) > 0.8
    assert model.model.predict_one(0, c) < 0.2


def test_the_last_items_before_a_refit_are_of_the_profile_only_once_the_model_knows_them():
    for make in (ImplicitCosine, ImplicitALS, EASE):
        model = taught(make(repeats=False, refit_every=8), "ab", "ab", "cd", "cd")
        before = model.recommend("u0", 2)
        model.learn_one("u0", "new", 10**9)
        assert model.recommend("u0", 2) == before, make.title

