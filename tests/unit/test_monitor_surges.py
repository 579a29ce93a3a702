"""When a topic is written about in another way than it is used to: known answers for what is usual, and for alerts raised and cleared once."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from models.config import Monitor
from models.monitor.alerts import Alert
from models.monitor.seasons import VOLUME, Series
from models.monitor.surges import WHOLE, Counts, TopicWatch

HOUR_MS = 3_600_000
MONDAY = 1_704_067_200_000 // HOUR_MS
"""Number of the first hour of Monday, 1 January 2024."""
A_DAY = 24
SETTINGS = Monitor(window_s=3_600, min_days=2, min_texts=8)


def series(**changed: int) -> Series:
    made = Series(**{"window_s": 3_600, "history_days": 28, "min_days": 2, **changed})
    made.begin(MONDAY)
    return made


def filled(hours: int, texts: Any, *, flags: Any = lambda hour: 0) -> Series:
    """A series whose hour h (from Monday) had texts(h) texts."""
    made = series()
    for hour in range(hours):
        made.add(MONDAY + hour, texts(hour), 0, usual=None, flags=flags(hour))
    return made


def expected(made: Series) -> float | None:
    """What is usual for the next hour."""
    usual = made.judge((made.last_index or 0) + 1, 0, 0)
    return None if usual is None else usual.texts


# ------------------------------------------------------------------------------------------------ what is usual


def test_usual_is_the_median_of_the_same_hour_of_earlier_workdays():
    def texts(hour: int) -> int:
        return (10, 12, 90, 11, 0)[hour // A_DAY] if hour % A_DAY == 9 else 2

    assert expected(filled(4 * A_DAY + 9, texts)) == pytest.approx(11.5, abs=0.01)
    assert expected(filled(4 * A_DAY + 10, texts)) == pytest.approx(2)


def test_what_is_usual_on_a_weekend_is_not_what_is_usual_on_workdays():
    def texts(hour: int) -> int:
        return 3 if hour // A_DAY % 7 >= 5 else 20

    assert expected(filled(13 * A_DAY, texts)) == pytest.approx(3)  # the second Sunday
    assert expected(filled(14 * A_DAY, texts)) == pytest.approx(20)  # the third Monday


def test_three_weeks_of_a_weekday_are_a_season_of_their_own():
    def texts(hour: int) -> int:
        return 40 if hour // A_DAY % 7 == 2 and hour % A_DAY == 18 else 4

    assert expected(filled(23 * A_DAY + 18, texts)) == pytest.approx(40)
    assert expected(filled(22 * A_DAY + 18, texts)) == pytest.approx(4)


def test_another_kind_of_day_says_how_much_is_usual_at_most():
    assert expected(filled(5 * A_DAY, lambda hour: 5 + hour // A_DAY)) == pytest.approx(9)  # on the first Saturday
    assert expected(filled(A_DAY, lambda hour: 5)) is None


def test_windows_of_a_surge_are_not_usual():
    def in_surge(hour: int) -> bool:
        return A_DAY <= hour < 2 * A_DAY

    made = filled(3 * A_DAY, lambda hour: 50 if in_surge(hour) else 5, flags=lambda hour: VOLUME * in_surge(hour))
    assert expected(made) == pytest.approx(5)


def test_the_score_is_in_standard_deviations_of_a_count():
    made = filled(15 * A_DAY, lambda hour: 9)
    usual = made.judge(MONDAY + 15 * A_DAY, 25, 0)
    # 2 sqrt(25.375) - 2 sqrt(9.375), and the median of eleven workdays adds pi / 2 / 11 to the variance of 1
    assert usual.volume_score == pytest.approx(3.951 / np.sqrt(1 + np.pi / 22), abs=0.01)


def test_the_share_of_negative_texts_is_the_median_of_days_drawn_to_the_prior():
    made = series()
    for hour in range(3 * A_DAY):
        made.add(MONDAY + hour, 10, (2, 2, 9)[hour // A_DAY], usual=None, flags=0)
    usual = made.judge(MONDAY + 3 * A_DAY, 10, 5, prior_share=0.25)
    assert usual.share == pytest.approx((0.2 * 720 + 0.25 * 20) / 740)
    assert usual.share_score == pytest.approx((5 - 10 * usual.share) / np.sqrt(10 * usual.share * (1 - usual.share)))


def test_a_series_is_read_from_its_bytes_with_what_it_keeps():
    made = filled(6 * A_DAY, lambda hour: hour % 7)
    loaded = series(history_days=4)
    loaded.load(made.encode())
    assert len(loaded) == 4 * A_DAY
    assert expected(loaded) == expected(made)
    with pytest.raises(ValueError, match="version 9"):
        loaded.load(b"\x09" + made.encode()[1:])


# ------------------------------------------------------------------------------------------------ surges


def watched(texts: dict[str, dict[int, Counts]], *, days: int, settings: Monitor = SETTINGS, usual: int = 6) -> list[Alert]:
    """Alerts of a topic with so many texts an hour, a quarter of them negative; and what differs by name and hour."""
    watch = TopicWatch("deals", settings)
    alerts = []
    for hour in range(days * A_DAY):
        counts = {WHOLE: Counts(usual, usual // 4)}
        counts |= {name: of_hours[hour] for name, of_hours in texts.items() if hour in of_hours}
        alerts += watch.close((MONDAY + hour + 1) * HOUR_MS, counts, ())
    return alerts


def hours(alerts: list[Alert]) -> list[tuple[str, str, str | None, int]]:
    return [(one.state, one.kind, one.entity, one.window_start_ms // HOUR_MS - MONDAY) for one in alerts]


WEDNESDAY = 2 * A_DAY
SURGE = range(WEDNESDAY + 9, WEDNESDAY + 13)


def test_a_surge_of_volume_is_raised_in_its_first_window_and_cleared_after_two_calm_ones():
    alerts = watched({WHOLE: dict.fromkeys(SURGE, Counts(30, 8))}, days=4)
    assert hours(alerts) == [("raised", "volume", None, SURGE[0]), ("cleared", "volume", None, SURGE[-1] + 2)]
    assert len({one.alert_id for one in alerts}) == 1
    assert (alerts[0].texts, alerts[0].expected_texts, alerts[1].cleared_by) == (30, pytest.approx(6), "usual")


def test_a_calm_window_within_a_surge_neither_clears_it_nor_raises_it_again():
    counts = {hour: Counts(30, 8) for hour in SURGE if hour != SURGE[1]}
    assert [one[0] for one in hours(watched({WHOLE: counts}, days=4))] == ["raised", "cleared"]


def test_a_negative_surge_is_summed_up_over_windows_that_are_too_small_by_themselves():
    alerts = watched({WHOLE: dict.fromkeys(SURGE, Counts(6, 6))}, days=4)
    assert hours(alerts)[0] == ("raised", "negative", None, SURGE[1])
    assert alerts[0].negative_share == 1
    assert len(alerts) == 2


def test_twice_as_many_texts_and_few_texts_are_no_surge():
    assert watched({WHOLE: dict.fromkeys(SURGE, Counts(9, 2))}, days=4) == []
    assert watched({WHOLE: {SURGE[0]: Counts(3, 3)}}, days=4, usual=0) == []


def test_the_peak_of_every_day_is_no_surge_once_two_days_have_had_it():
    peaks = {day * A_DAY + 9: Counts(40, 10) for day in range(5)}
    assert watched({WHOLE: peaks}, days=5) == []


def test_an_entity_that_has_most_of_the_excess_is_what_the_alert_is_of_and_there_is_one():
    counts = {WHOLE: dict.fromkeys(SURGE, Counts(26, 6)), "Norvik": dict.fromkeys(SURGE, Counts(20, 5)), "Quill": {1: Counts(1, 0)}}
    assert hours(watched(counts, days=4)) == [
        ("raised", "volume", "Norvik", SURGE[0]),
        ("cleared", "volume", "Norvik", SURGE[-1] + 2),
    ]


def test_a_surge_of_the_topic_covers_its_entities():
    counts = {WHOLE: dict.fromkeys(SURGE, Counts(60, 15)), "Norvik": dict.fromkeys(SURGE, Counts(20, 5)), "Quill": dict.fromkeys(SURGE, Counts(15, 3))}
    assert [one[2] for one in hours(watched(counts, days=4))] == [None, None]


def test_what_lasts_is_cleared_and_is_usual_from_then_on():
    settings = msgspec.structs.replace(SETTINGS, max_surge_hours=24.0)
    alerts = watched({WHOLE: dict.fromkeys(range(WEDNESDAY, 12 * A_DAY), Counts(40, 10))}, days=12, settings=settings)
    assert hours(alerts) == [("raised", "volume", None, WEDNESDAY), ("cleared", "volume", None, WEDNESDAY + 24)]
    assert alerts[1].cleared_by == "duration"
