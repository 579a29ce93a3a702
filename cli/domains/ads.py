"""What the page of the demo of ads shows beside the ordinary: spending against budgets over the days of the run."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cli.report.domain import PageSection
from cli.report.svg import ACCENT, BASELINE, WARM, drawing

if TYPE_CHECKING:
    from models.config import Kafka
    from models.domains.ads import AdsWorld
    from models.topics import Charge

_HOUR_MS = 3_600_000
_COLUMNS = ("campaign", "budget a day", "spent of it", "most on a day", "clicks", "of them unpaid")


def spending(world: AdsWorld, kafka: Kafka) -> list[PageSection]:
    """Spending of the campaigns of a run, from the topic `charges`, while the topic is there."""
    from models.domains.ads import CAMPAIGNS, budget_of, campaign_name

    charges = _charges(kafka)
    if not charges:
        return []
    budgets = {campaign_name(number): budget_of(number) for number in range(CAMPAIGNS)}
    days = sorted({charge.day for charge in charges})
    # the first day begins without people, the last is not over
    whole = days[1:-1] or days[:1]
    rows, most = [], 0.0
    for name, budget in budgets.items():
        own = [charge for charge in charges if charge.campaign == name]
        by_day = [sum(charge.charged_micros for charge in own if charge.day == day) / 1e6 for day in days]
        spent = [by_day[days.index(day)] / budget for day in whole]
        most = max(most, max(by_day) - budget)
        unpaid = sum(charge.charged_micros < charge.price_micros for charge in own)
        rows.append((name, f"{budget:g}", f"{np.mean(spent):.0%}", f"{max(by_day) / budget:.1%}", str(len(own)), str(unpaid)))
    charged, promised = (sum(getattr(charge, name) for charge in charges) / 1e6 for name in ("charged_micros", "price_micros"))
    text = (
        f"{len(charges):,} clicks were charged, {charged:.2f} in all; {promised - charged:.2f} more was delivered for nothing, on slates "
        f"shown before the money of their campaign was gone. No campaign is above its budget on any day (the nearest: {most:+.2f}). "
        f"The lines are the part of its budget that each campaign had spent by the hour, on day {days.index(whole[-1]) + 1} of "
        "the run; the dashed one is the part of that day's traffic that had come."
    )
    return [PageSection("Spending", text, [("Part of the budget spent", _by_hour(world, charges, budgets, whole[-1]))], _COLUMNS, rows)]


def _charges(kafka: Kafka) -> list[Charge]:
    import msgspec

    from cli.clients import read_topic
    from models.topics import CHARGES, Charge

    decode = msgspec.json.Decoder(Charge).decode
    charges = [decode(value or b"") for _, value in read_topic(kafka, CHARGES)]
    return list({charge.charge_id: charge for charge in charges}.values())


def _by_hour(world: AdsWorld, charges: list[Charge], budgets: dict[str, float], day: int) -> str:
    spent: defaultdict[str, npt.NDArray[np.float64]] = defaultdict(lambda: np.zeros(25))
    for charge in charges:
        if charge.day == day:
            spent[charge.campaign][1 + charge.time_ms // _HOUR_MS % 24] += charge.charged_micros / 1e6
    came = world.days[day - world.start_ms // (24 * _HOUR_MS)].slates
    with drawing() as chart:
        for name, budget in budgets.items():
            chart.axes.plot(range(25), spent[name].cumsum() / budget, color=ACCENT, alpha=0.45, linewidth=1.0)
        chart.axes.plot(range(25), np.append(0, came.cumsum()) / max(1.0, came.sum()), color=WARM, linestyle=(0, (3, 2)))
        chart.axes.axhline(1.0, color=BASELINE, linewidth=1.0)
        chart.axes.set_xlim(0, 24)
        chart.axes.set_ylim(0, 1.05)
        chart.axes.set_xlabel("hour of the day")
        chart.axes.set_ylabel("part of the budget")
    return chart.svg
