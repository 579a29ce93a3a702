"""Off-policy evaluation: known answers, intervals that hold the truth, and doubts where they are due."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import t as student

from benchmarks import ope_coverage
from benchmarks.ope_coverage import SETTINGS, SHARPNESS, evaluations, run_of
from models.ope import reward_model
from models.ope.estimators import Terms, dr, ips, snips, switch_dr
from models.ope.evaluation import evaluate
from models.ope.intervals import _Sums, intervals_of, student_quantile
from models.ope.overlap import overlap_of
from models.ope.policies import Target, best_constant, epsilon_greedy, logged, uniform
from models.ope.reward_model import cross_fitted
from models.ope.rounds import Rounds, gather
from models.ope.thompson import slate_probabilities

WEIGHT, REWARD = np.array([2.0, 0.5, 0.0, 1.0]), np.array([1.0, 1.0, 1.0, 0.0])


def rounds_of(action, reward, propensity=0.5, *, unit=None, context=None, n_actions=2) -> Rounds:
    n = len(action)
    return Rounds(
        context=np.empty((n, 0)) if context is None else np.asarray(context, np.float64),
        action=np.asarray(action, np.int64),
        position=np.zeros(n, np.int64),
        reward=np.asarray(reward, np.float64),
        propensity=np.broadcast_to(np.asarray(propensity, np.float64), n),
        unit=np.arange(n) if unit is None else np.asarray(unit, np.int64),
        n_actions=n_actions,
    )


def tossed(n: int, *, seed: int = 3) -> Rounds:
    """Two actions at random, of which the second is rewarded where the context is above 0, the first elsewhere."""
    rng = np.random.default_rng(seed)
    context, action = rng.normal(size=(n, 1)), rng.integers(0, 2, n)
    return rounds_of(action, ((context[:, 0] > 0) == action).astype(float), context=context)


def test_estimators_of_four_rounds_by_hand():
    taken, target = np.array([0.5, 0.5, 0.2, 0.2]), np.array([0.4, 0.4, 0.3, 0.3])
    assert ips(WEIGHT, REWARD).value == pytest.approx(2.5 / 4)
    assert snips(WEIGHT, REWARD).value == pytest.approx(2.5 / 3.5)
    assert dr(WEIGHT, REWARD, taken=taken, target=target).value == pytest.approx((1.4 + (1.0 + 0.25 - 0.2)) / 4)
    assert switch_dr(WEIGHT, REWARD, taken=taken, target=target, tau=1.0).value == pytest.approx((1.4 + (0.25 - 0.2)) / 4)


def test_a_policy_that_the_log_never_follows_has_no_self_normalised_value():
    assert np.isnan(snips(np.zeros(4), REWARD).value)
    figures = intervals_of(snips(np.zeros(4), REWARD), np.random.default_rng(1))
    assert (figures.student.lower, figures.student.upper) == (-np.inf, np.inf)


def test_the_policy_that_made_the_log_is_worth_its_mean_reward_by_every_estimator():
    rounds = tossed(200)
    evaluation = evaluate(rounds, logged(rounds), np.random.default_rng(1), tau=10)
    assert [one.name for one in evaluation.estimates] == ["IPS", "SNIPS"]
    assert [one.figures.value for one in evaluation.estimates] == pytest.approx([rounds.reward.mean()] * 2)
    assert evaluation.overlap.effective_rounds == pytest.approx(200)


def test_the_standard_error_is_that_of_a_mean_and_of_a_ratio():
    rng = np.random.default_rng(5)
    weight, reward = rng.exponential(size=4_000), rng.normal(1.0, 1.0, 4_000)
    mean = intervals_of(ips(weight, reward), np.random.default_rng(1), resamples=500)
    assert mean.standard_error == pytest.approx(np.std(weight * reward, ddof=1) / np.sqrt(4_000))
    ratio = intervals_of(snips(weight, reward), np.random.default_rng(1), resamples=500)
    resampled = (ratio.percentile.upper - ratio.percentile.lower) / (2 * 1.96)
    assert ratio.standard_error == pytest.approx(resampled, rel=0.1)
    assert ratio.standard_error < mean.standard_error


def test_rounds_of_one_user_are_one_observation():
    rounds = rounds_of([0, 1] * 50, [1.0] * 50 + [0.0] * 50)
    copied = gather([rounds.take(slice(None))] * 4)
    alone, together = (
        evaluate(one, uniform(one), np.random.default_rng(1), tau=10).estimates[0].figures for one in (rounds, copied)
    )
    assert copied.n_actions == 2
    assert together.value == alone.value
    assert together.standard_error == pytest.approx(alone.standard_error)


def test_the_same_seed_gives_the_same_figures():
    rounds = tossed(100)
    first, again, other = (evaluate(rounds, uniform(rounds), np.random.default_rng(seed), tau=10) for seed in (1, 1, 2))
    assert first == again != other


def test_a_resample_has_the_ratio_and_the_error_of_its_terms_written_out():
    rng = np.random.default_rng(4)
    terms, times = snips(rng.exponential(size=50), rng.normal(2.0, 1.0, 50)), rng.multinomial(50, np.full(50, 1 / 50))
    distance, error = _Sums.of(terms, terms.value).distance_and_error(times.astype(float))
    written = Terms(np.repeat(terms.numerator, times), np.repeat(terms.denominator, times))
    assert terms.value + distance == pytest.approx(written.value)
    assert error == pytest.approx(intervals_of(written, rng, resamples=1).standard_error)


@pytest.mark.parametrize("degrees", [2.0, 2.5, 4.0, 17.3, 1e6])
def test_quantiles_of_students_t(degrees):
    assert student_quantile(degrees) == pytest.approx(student.ppf(0.975, degrees), rel=0.008 if degrees < 4 else 5e-4)


def test_heavy_terms_widen_the_interval_and_even_ones_do_not():
    even = Terms(np.tile([0.0, 1.0], 500), np.ones(1_000))
    heavy = Terms(np.r_[np.tile([0.0, 1.0], 499), 0.0, 100.0], np.ones(1_000))
    widths = []
    for terms in (even, heavy):
        figures = intervals_of(terms, np.random.default_rng(1), resamples=10)
        widths.append((figures.student.upper - figures.value) / (figures.normal.upper - figures.value))
    assert widths[0] == pytest.approx(1.0, abs=1e-9)
    assert widths[1] > 1.5


@pytest.mark.parametrize("setting", SHARPNESS)
def test_the_interval_of_dr_holds_the_truth_as_often_as_it_says(setting):
    """Of 300 runs 95 % within three standard errors of a share; the 2,000 of benchmarks/ope_coverage.py are in docs/ope.md."""
    held = []
    for run, evaluation in evaluations(SETTINGS[setting], 300, n=500, resamples=1):
        figures = evaluation.estimates[2].figures
        held.append(figures.student.lower <= run.truth <= figures.student.upper)
    assert 0.95 - 3 * np.sqrt(0.95 * 0.05 / 300) <= np.mean(held) <= 0.95 + 3 * np.sqrt(0.95 * 0.05 / 300)


def test_dr_is_more_precise_than_ips_where_rewards_can_be_estimated():
    run = run_of(1, sharpness=1.0, n=4_000)
    by_name = {one.name: one.figures for one in evaluate(run.rounds, run.target, np.random.default_rng(1), tau=10).estimates}
    assert by_name["DR"].standard_error < 0.9 * by_name["IPS"].standard_error
    assert abs(by_name["DR"].value - run.truth) < 3 * by_name["DR"].standard_error


def test_no_round_is_estimated_by_a_model_that_saw_its_user(monkeypatch):
    rounds = rounds_of([0, 1] * 30, np.arange(60.0), unit=np.arange(60) // 3)
    seen = []
    fit = reward_model.fit

    def watched(past, rng):
        seen.append(past)
        return fit(past, rng)

    monkeypatch.setattr(reward_model, "fit", watched)
    cross_fitted(rounds, np.random.default_rng(1))
    left_out = [set(rounds.unit) - set(past.unit) for past in seen]
    assert sorted(unit for units in left_out for unit in units) == list(range(20))
    assert all(len(past) == 60 - 3 * len(units) for past, units in zip(seen, left_out, strict=True))


def test_estimated_rewards_find_what_is_there_and_shrink_what_is_noise():
    rounds = tossed(2_000)
    estimated = cross_fitted(rounds, np.random.default_rng(1))
    best = np.argmax(estimated, axis=1)
    assert np.mean(best == (rounds.context[:, 0] > 0)) > 0.9
    rng = np.random.default_rng(2)
    noise = rounds_of(rng.integers(0, 50, 500), rng.integers(0, 2, 500), 1 / 50, n_actions=50)
    estimated = cross_fitted(noise, rng)
    assert estimated.std() < 0.5 * np.sqrt(0.25 / 10)  # that of the mean reward of an action
    assert ((estimated >= 0) & (estimated <= 1)).all()


def test_fitted_policies_do_what_the_first_half_taught_them():
    past, rounds = tossed(2_000).halves()
    greedy = epsilon_greedy(past, rounds, np.random.default_rng(1), epsilon=0.2)
    assert np.allclose(np.sort(greedy.distribution, axis=1), [0.1, 0.9])
    right = np.mean(np.argmax(greedy.distribution, axis=1) == (rounds.context[:, 0] > 0))
    assert right > 0.9
    interval = evaluate(rounds, greedy, np.random.default_rng(1), tau=10).estimates[2].figures.student
    assert interval.lower < 0.9 * right + 0.1 * (1 - right) < interval.upper

    past, rounds = rounds_of([0, 1] * 100, [0.2, 0.8] * 100).halves()
    constant = best_constant(past, rounds, np.random.default_rng(1))
    assert (constant.taken == rounds.action).all()


def test_halves_keep_a_user_on_one_side():
    rounds = rounds_of([0] * 6, range(6), unit=[7, 3, 7, 5, 3, 1])
    first, second = rounds.halves()
    assert (first.unit.tolist(), second.unit.tolist()) == ([7, 3, 7, 3], [5, 1])
    assert first.reward.tolist() == [0, 1, 2, 4]


def test_weights_are_described():
    overlap = overlap_of(np.r_[np.full(150, 0.5), 5.0, np.zeros(49)], np.ones(200))
    assert overlap.effective_rounds == pytest.approx(80**2 / (150 * 0.25 + 25))
    assert overlap.largest_weight == 5.0
    assert overlap.largest_share == pytest.approx(5 / 80)
    assert overlap.top_share == pytest.approx(5.5 / 80)
    assert overlap.mean_weight == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("weight", "reward", "doubt"),
    [
        (np.ones(99), np.ones(99), "worth 99.0 rounds, fewer than 100"),
        (np.ones(1_000), np.r_[np.ones(9), np.zeros(991)], "about 9.0 rewarded rounds are behind it, fewer than 10"),
        (np.r_[np.ones(499), 50.0] * 500 / 549, np.ones(500), "one round has 9% of the weight, more than 5%"),
        (np.tile([0.8, 1.0], 500), np.ones(1_000), "the weights average 0.90 instead of 1"),
        (np.tile([1.0, 1.2], 500), np.ones(1_000), "the weights average 1.10 instead of 1"),
    ],
)
def test_too_little_overlap_is_said_with_its_reason(weight, reward, doubt):
    assert any(doubt in found for found in overlap_of(weight, reward).doubts)


def test_enough_overlap_leaves_no_doubt():
    assert overlap_of(np.tile([0.5, 1.5], 500), np.tile([0.0, 0.0, 1.0, 0.0], 250)).doubts == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"propensity": [0.5, 0.0]}, r"row 2: expected propensity to be above 0 and at most 1, got 0\.0"),
        ({"propensity": [1.1, 0.5]}, "row 1: expected propensity"),
        ({"propensity": [0.5, np.nan]}, "row 2: expected propensity"),
        ({"reward": [1.0, np.inf]}, "row 2: expected reward to be a finite number"),
        ({"action": [0, 2]}, "row 2: expected action to be 0 to 1, got 2"),
        ({"context": [[1.0], [np.nan]]}, "row 2: expected context to be finite numbers"),
        ({"action": [], "reward": []}, "expected at least one round, got none"),
        ({"unit": [1]}, "expected 2 values of unit, one a round, got 1"),
    ],
)
def test_rounds_that_cannot_be_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        rounds_of(**({"action": [0, 1], "reward": [1.0, 0.0]} | changed))


def test_no_chunks_are_no_rounds():
    with pytest.raises(ValueError, match="at least one round"):
        gather([])


@pytest.mark.parametrize("distribution", [[0.5, 0.6], [1.5, -0.5], [np.nan, 0.5]])
def test_probabilities_that_cannot_be_are_refused(distribution):
    with pytest.raises(ValueError, match="row 1: expected the probabilities"):
        Target.of(rounds_of([0, 1], [0, 1]), np.array(distribution))


def test_thompson_sampling_agrees_with_draws_and_with_what_is_known():
    # Of a uniform draw and the least of three: the first is the larger with probability 3/4.
    exact = slate_probabilities(np.array([1.0, 1.0]), np.array([1.0, 3.0]), places=2)
    assert exact == pytest.approx(np.array([[0.75, 0.25], [0.25, 0.75]]), abs=1e-4)
    alpha, beta = np.array([3.0, 8.0, 60.0, 20.0, 5.0]), np.array([300.0, 900.0, 5_000.0, 1_500.0, 1_000.0])
    draws, n = np.random.default_rng(1).beta(alpha, beta, size=(200_000, 5)), 200_000
    order = np.argsort(-draws, axis=1)[:, :3]
    found = slate_probabilities(alpha, beta, places=3)
    for place in range(3):
        share = np.bincount(order[:, place], minlength=5) / n
        assert (np.abs(share - found[place]) < 4.5 * np.sqrt(found[place] * (1 - found[place]) / n) + 1e-5).all()


def test_a_log_of_the_simulator_is_whole_sessions_and_is_what_its_two_policies_say(monkeypatch):
    monkeypatch.setattr(ope_coverage, "SLATES_WALKED", 300)
    ope_coverage.walk.cache_clear()
    pool = ope_coverage.walk()
    ope_coverage.walk.cache_clear()
    monkeypatch.setattr(ope_coverage, "walk", lambda: pool)
    assert len(pool.contexts) == pool.sessions[-1] == 300
    run = ope_coverage.simulated(1, n=40_000)
    rounds = run.rounds
    assert 0 <= len(rounds) - 40_000 < 30
    sessions = np.split(rounds.context, np.flatnonzero(np.diff(rounds.unit)) + 1)
    known = {pool.contexts[start:end].tobytes() for start, end in pairwise(pool.sessions.tolist())}
    assert {session.tobytes() for session in sessions} == known
    # Horvitz and Thompson's estimate of the truth, and the log's own mean, within four standard errors
    weighted = run.target.taken / rounds.propensity * rounds.reward
    assert weighted.mean() == pytest.approx(run.truth, abs=4 * weighted.std() / 180)
    assert rounds.reward.mean() == pytest.approx(float((pool.logging * pool.clicks).sum(axis=1).mean()), abs=4 * 0.5 / 180)
    assert rounds.propensity.min() >= 0.1 - 1e-9
