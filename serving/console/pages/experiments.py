"""Experiments: arms and what they earn, what the policies have learned, and which version of the ranker serves."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from nicegui import ui

from models.config import Arm, Experiment
from models.decisions import Decision, GateRecord
from models.events import Rejected
from models.experiments import MISMATCH_USERS, mismatch
from models.policies.state import STATES
from serving.brokers import NotAcknowledged
from serving.console.access import ADMIN
from serving.console.charts import heat_map
from serving.console.desk import Desk
from serving.console.frame import button, html, panel, tell
from serving.console.learned import ACTIVITY_RECENCY, DEPTH_OUTCOME, PolicyTable, state_in_words
from serving.console.markup import Bar, Column, Markup, bars, chip, empty, facts, joined, table
from serving.console.windows import Interval, WindowedMetrics
from serving.console.words import UNKNOWN, number, share, significant

_REFRESH_S = 3.0
_DECISIONS = 12
_PINNED = "pinned_version"


def experiments(desk: Desk, _user: str) -> None:
    """Build the page."""
    _ExperimentsPage(desk).build()


class _ExperimentsPage:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.client = ui.context.client
        self.metrics_at = self.learned_at = -1
        self.pinned_at: object = ()

    def build(self) -> None:
        with panel("Arms", note="Over all windows that the console has read; intervals of 95 %."):
            self.arms = html("")
        with panel("Strategies", note="What each way to rank earned, with its interval."):
            self.strategies = html("")
        self.policies = ui.element("div").classes("stack").style("gap: 16px")
        with panel(
            "Versions of the ranker",
            note="The gate publishes a version only while it is not worse, and takes back one that turns out to be.",
        ):
            self.gate = html("")
            self.versions = ui.element("div").classes("stack")
        self.refresh()
        ui.timer(_REFRESH_S, self.refresh)

    def refresh(self) -> None:
        feed = self.desk.feed
        if self.metrics_at != feed.metrics.changes:
            self.metrics_at = feed.metrics.changes
            self.arms.set_content(_arms(feed.metrics, self.experiment(), k=self.desk.configuration.slate.k))
            self.strategies.set_content(_strategies(feed.metrics))
        pinned = self.pinned()
        if (self.learned_at, self.pinned_at) != (feed.learned.changes, pinned):
            self.learned_at, self.pinned_at = feed.learned.changes, pinned
            self.put_policies()
            self.put_versions(feed.learned.gate, pinned)

    def experiment(self) -> Experiment:
        """The experiment in force: of the rules, or else of the configuration."""
        control = self.desk.service.controls().get("experiment")
        if control is None or control.rule is None:
            return self.desk.configuration.experiment
        return msgspec.convert(control.rule, Experiment)

    def pinned(self) -> str | None:
        control = self.desk.service.controls().get(_PINNED)
        return None if control is None or control.rule is None else str(control.rule["version"])

    def put_policies(self) -> None:
        tables = self.desk.feed.learned.policies(self.desk.actions)
        self.policies.clear()
        with self.policies:
            if not tables:
                with panel("Policies"):
                    html(
                        empty(
                            "No policy has learned yet.",
                            "One learns from slates whose windows are over, where there is more than one strategy.",
                        )
                    )
            for one in tables:
                put_policy(one)

    def put_versions(self, gate: GateRecord | None, pinned: str | None) -> None:
        self.gate.set_content(_gate(gate, pinned))
        self.versions.clear()
        if gate is None:
            return
        with self.versions:
            with ui.element("div").classes("row tight"):
                if pinned is not None:
                    button("Unpin: let the newest serve", lambda: self.pin(None), kind="primary")
                if gate.good and gate.good not in (gate.serving, pinned):
                    button(f"Roll back to the good version {gate.good}", lambda: self.pin(gate.good), kind="danger")
            if gate.kept:
                html("<h3>Versions that can be pinned</h3>")
                with ui.element("div").classes("row tight"):
                    for version in reversed(gate.kept):
                        one = button(f"Pin {version}", lambda version=version: self.pin(version), small=True)
                        one.set_enabled(version != pinned)
            html(_decisions(gate.decisions))

    async def pin(self, version: str | None) -> None:
        """Let one version serve until it is unpinned; None: the newest."""
        if not self.desk.may(ADMIN):
            tell(self.client, "This token does not allow admin: nothing was changed.", kind="warning")
            return
        try:
            control = await self.desk.service.put_control(_PINNED, None if version is None else msgspec.json.encode({"version": version}))
        except (Rejected, NotAcknowledged) as error:
            tell(self.client, f"Refused: {error}", kind="negative")
            return
        said = "The newest version serves." if version is None else f"Version {version} serves until it is unpinned."
        tell(
            self.client,
            said if control.in_force else "Sent; the job has not said that it keeps it. Does it run?",
            kind="positive" if control.in_force else "warning",
        )


def _own(arm: Arm | None) -> tuple[str, str]:
    """The policy and the scorer of an arm."""
    if arm is None:
        return "ended", "ended"
    scorer = str(arm.scorer.get("name", "as configured, apart")) if arm.scorer else "everybody's"
    return str(arm.policy.get("name", "as configured")), scorer


def _arms(metrics: WindowedMetrics, experiment: Experiment, *, k: int) -> Markup:
    names = list(dict.fromkeys([*experiment.arms, *metrics.arms()]))
    if not names:
        return empty(
            "No experiment runs.", "Put a rule of the kind experiment in force on the page Controls; docs/online-experiments.md tells how."
        )
    weights = {name: arm.weight for name, arm in experiment.arms.items()}
    total = sum(weights.values())
    users = {name: int(metrics.total("users", f"arm={name}")) for name in names}
    columns = (
        Column("Arm"), Column("Policy"), Column("Scorer"),
        Column("Share wanted", number=True), Column("Users", number=True), Column("Events", number=True),
        Column("Mean reward", number=True), Column(f"HR@{k}", number=True), Column(f"NDCG@{k}", number=True), Column("CTR", number=True),
    )  # fmt: skip
    rows = [
        (
            Markup(f"<b>{joined([name])}</b>"),
            *_own(experiment.arms.get(name)),
            share(weights[name] / total) if name in weights and total else UNKNOWN,
            number(users[name]),
            number(metrics.total("events", f"arm={name}")),
            _interval(metrics.pooled("reward", f"arm={name}"), percent=False),
            _interval(metrics.pooled("hr_at_k", f"arm={name}")),
            _interval(metrics.pooled("ndcg_at_k", f"arm={name}"), percent=False),
            _interval(metrics.pooled("ctr", f"arm={name}")),
        )
        for name in names
    ]
    wanted = {name: weight / total for name, weight in weights.items()} if total else {}
    warning = mismatch(users, wanted) if len(wanted) > 1 else None
    said = f'<div class="note warn">{joined([warning[0].upper() + warning[1:]])}.</div>' if warning else ""
    few = '<p class="muted small">Fewer users than it takes to test the split.</p>' if 0 < sum(users.values()) < MISMATCH_USERS else ""
    return Markup(said + table(columns, rows, caption="Arms") + few)


def _interval(interval: Interval | None, *, percent: bool = True) -> Markup:
    if interval is None:
        return Markup(UNKNOWN)
    say = share if percent else lambda value: number(value, digits=4)
    said = say(interval.value)
    if interval.low is None or interval.high is None:
        return Markup(said)
    return Markup(f'{said} <span class="muted small">{say(interval.low).removesuffix(" %")} to {say(interval.high)}</span>')


def _strategies(metrics: WindowedMetrics) -> Markup:
    rows = []
    arms: Sequence[str | None] = metrics.arms() or [None]
    for arm in arms:
        for action in metrics.actions(arm):
            part = f"action={action}" if arm is None else f"arm={arm}/action={action}"
            reward, hits = metrics.pooled("reward", part), metrics.pooled("hr_at_k", part)
            if reward is not None:
                rows.append((arm or "everybody", action, number(reward.n), _interval(reward, percent=False), _interval(hits)))
    if not rows:
        return empty(
            "Nothing is known of strategies yet.",
            "Metrics have slices of them where there is more than one strategy, see docs/policies.md.",
        )
    columns = (
        Column("Arm"),
        Column("Strategy"),
        Column("Slates judged", number=True),
        Column("Mean reward", number=True),
        Column("Hit rate", number=True),
    )
    return table(columns, rows, caption="Strategies")


# ------------------------------------------------------------------------------------------------ policies


def put_policy(one: PolicyTable) -> None:
    """A panel with what one policy has learned."""
    where = "" if one.arm is None else f" in {one.arm}"
    with panel(f"Policy {one.name}{where}", note=f"{number(int(one.steps.sum()))} steps learned, version {one.version}."):
        if one.values is None:
            html(empty("Its values depend on the user's features.", "They are no table; the page Why shows them for one user."))
        elif one.by_state:
            _put_states(one, one.values)
        else:
            html(_values(one, one.values))


def _values(one: PolicyTable, values: np.ndarray) -> Markup:
    most = max(float(np.nanmax(np.abs(values))) if not np.isnan(values).all() else 0.0, 1e-9)
    return bars(
        Bar(
            f"{action}, learned from {number(int(one.steps[place, 0]))} times",
            abs(values[place, 0]) / most if values[place, 0] == values[place, 0] else 0.0,
            significant(float(values[place, 0])),
        )
        for place, action in enumerate(one.actions)
    )


def _put_states(one: PolicyTable, values: np.ndarray) -> None:
    """A heat map of the user states for each action, on one scale."""
    known = values[~np.isnan(values)]
    lowest, highest = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    html(
        Markup(
            f'<p class="muted small">Value of each strategy by user state, {significant(lowest)} (pale) to {significant(highest)} (full); '
            "grey: never tried. Down: activity and when last seen. Across: the sitting and what came of the last slate.</p>"
        )
    )
    with ui.element("div").classes("grid three"):
        for place, action in enumerate(one.actions):
            with ui.element("div").classes("stack").style("gap: 4px"):
                html(f"<h3>{joined([action])}, {number(int(one.steps[place].sum()))} steps</h3>")
                tips = [
                    [
                        _tip(action, values[place, row * 9 + column], int(one.steps[place, row * 9 + column]), row * 9 + column)
                        for column in range(9)
                    ]
                    for row in range(STATES // 9)
                ]
                options = heat_map(
                    values[place].reshape(-1, 9), rows=ACTIVITY_RECENCY, columns=DEPTH_OUTCOME, tips=tips, lowest=lowest, highest=highest
                )
                ui.echart(options, renderer="svg").classes("chart").style("height: 340px").props(
                    f'role="img" aria-label="Values of the strategy {action} by user state"'
                )


def _tip(action: str, value: float, steps: int, state: int) -> str:
    said = "never tried" if value != value else f"worth {significant(value)}, {number(steps)} steps"
    return f"{action}: {said}\n{state_in_words(state)}"


# ------------------------------------------------------------------------------------------------ versions


def _gate(gate: GateRecord | None, pinned: str | None) -> Markup:
    if gate is None:
        return empty("No version is published yet.", "The learner publishes after its first batches; learner.enabled must be on.")
    serving = gate.serving or "the untrained network"
    return facts(
        [
            ("Serves", Markup(f"{joined([pinned or serving])} {chip('pinned', 'warn') if pinned else ''}")),
            ("Newest published", serving),
            ("Good", gate.good or "the untrained network"),
            ("Network", f"{gate.scorer}, mode {gate.mode}"),
            ("Learned from", f"{number(gate.examples)} examples"),
        ]
    )


def _decisions(decisions: list[Decision]) -> Markup:
    if not decisions:
        return Markup("")
    kinds = {"published": "good", "held": "warn", "rolled_back": "bad"}
    columns = (
        Column("Examples", number=True), Column("Verdict"), Column("Version"), Column("Loss, candidate", number=True),
        Column("Loss, serving", number=True), Column("Hits, candidate", number=True), Column("Hits, serving", number=True),
        Column("Reason"),
    )  # fmt: skip
    rows = [
        (
            number(d.examples), chip(d.verdict.replace("_", " "), kinds[d.verdict]), d.version or "untrained",
            significant(d.candidate.rank_loss),
            significant(d.serving.rank_loss), share(d.candidate.hit_rate), share(d.serving.hit_rate), d.reason,
        )
        for d in reversed(decisions[-_DECISIONS:])
    ]  # fmt: skip
    return Markup(f"<h3>Decisions of the gate, the newest first</h3>{table(columns, rows, caption='Decisions of the gate')}")
