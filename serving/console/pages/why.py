"""Why: one slate taken apart, from the job's own account of it on `traces`."""

from __future__ import annotations

import time
from urllib.parse import quote

from nicegui import ui

from models.events import Rejected
from models.traces import Trace, TracedCandidate
from serving.brokers import NotAcknowledged
from serving.console.desk import Desk
from serving.console.frame import button, html, panel, tell, text_field
from serving.console.learned import state_in_words
from serving.console.markup import Bar, Column, Markup, bars, chip, empty, facts, joined, table, titled
from serving.console.slates import Titles, longest_contributions, reason_bars
from serving.console.words import COLOURS, UNKNOWN, ago, number, share, significant, source, sources

_TRACE_WITHIN_S = 20.0
_OFFERED = 8
_REFRESH_S = 2.0


def why(desk: Desk, user_id: str) -> None:
    """Build the page."""
    _WhyPage(desk).build(user_id)


class _WhyPage:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.client = ui.context.client
        self.trace: Trace | None = None
        self.offered_now: tuple[str, ...] = ()
        self.all_candidates = False

    def build(self, user_id: str) -> None:
        with panel():
            with ui.element("form").classes("row").on("submit.prevent", self.ask):
                self.field = text_field("User", value=user_id, placeholder="id of a user").props("autofocus")
                self.button = button("Ask and take apart", kind="primary", submit=True)
                self.spinner = ui.spinner(size="20px")
                self.spinner.set_visibility(False)
                html(
                    Markup(
                        '<span class="muted small">Asks the job for a slate of this user. '
                        "It teaches the model nothing, but counts as a slate that was shown.</span>"
                    )
                ).classes("grow")
            self.offered = ui.element("div").classes("row tight small").props('aria-label="Slates taken apart lately"')
        self.content = ui.element("div").classes("stack").style("gap: 16px")
        newest = self.desk.feed.traces.newest(user_id or None, most=1) if user_id else []
        self.show(newest[0] if newest else None)
        ui.timer(_REFRESH_S, self.offer)

    def offer(self) -> None:
        traces = self.desk.feed.traces.newest(most=_OFFERED)
        now = tuple(trace.slate_id for trace in traces)
        if now == self.offered_now:
            return
        self.offered_now = now
        now_ms = time.time_ns() // 1_000_000
        self.offered.clear()
        with self.offered:
            html('<span class="muted">Taken apart lately:</span>')
            for trace in traces:
                cause = "asked" if trace.request_id is not None else "event"
                button(
                    f"{trace.user_id} ({cause}, {ago(trace.event_time_ms, now_ms=now_ms)})",
                    lambda trace=trace: self.show(trace),
                    kind="quiet",
                    small=True,
                )

    async def ask(self) -> None:
        user_id = (self.field.value or "").strip()
        if not user_id:
            tell(self.client, "Type the id of a user first.", kind="warning")
            return
        self.button.disable()
        self.spinner.set_visibility(True)
        try:
            answer = await self.desk.ask(user_id, deadline_ms=int(1000 * _TRACE_WITHIN_S), trace=True)
            made = None if answer.stale else answer.slate_id
            trace = None if made is None else await self.desk.feed.traces.wait_for(made, timeout_s=_TRACE_WITHIN_S)
        except (Rejected, NotAcknowledged) as error:
            tell(self.client, f"Refused: {error}", kind="negative")
            return
        finally:
            self.button.enable()
            self.spinner.set_visibility(False)
        if trace is None:
            tell(self.client, f"No account of the slate came within {_TRACE_WITHIN_S:.0f} s. Does the job run? See Live.", kind="warning")
            return
        ui.navigate.history.replace(f"?user={quote(user_id)}")
        self.show(trace)

    # ------------------------------------------------------------------------------------------------ the slate taken apart

    def show(self, trace: Trace | None) -> None:
        self.trace = trace
        self.content.clear()
        with self.content:
            if trace is None:
                html(
                    empty(
                        "No slate is taken apart yet.",
                        "Ask for one above; a click on the page User takes the slate that answers it apart, too.",
                    )
                )
                return
            shown = [candidate for candidate in trace.candidates if candidate.position is not None]
            with ui.element("div").classes("grid three"):
                with panel("Decision"):
                    html(_decision(trace))
                with panel(
                    "Candidates by source",
                    note=f"{len(trace.candidates)} items could have been shown; a source may share some with another.",
                ):
                    html(_by_source(trace))
                with panel("What the policy expects", note="Of each strategy, for this user now."):
                    html(_action_values(trace))
            self.details = ui.element("div")
            with panel():
                with ui.element("div").classes("row apart"):
                    html("<h2>Ranking</h2><p class='muted small'>What each source gave, their blend, and what it was ranked by.</p>")
                    ui.switch("All candidates", value=self.all_candidates, on_change=lambda change: self.put_ranking(trace, change.value))
                self.ranking = html("")
            self.put_ranking(trace, self.all_candidates)
            with ui.element("div").classes("grid two"):
                with panel("One item", note="Why it was shown, and what the scorer saw of it."):
                    names = {candidate.item_id: candidate.title or candidate.item_id for candidate in trace.candidates}
                    ui.select(
                        names,
                        value=shown[0].item_id if shown else next(iter(names), None),
                        label="Item",
                        on_change=lambda change: self.put_item(trace, change.value),
                    ).props("outlined dense")
                    self.item = html("")
                with panel("What the model remembers of the user", note="The newest first, at most 50 items."):
                    html(_profile(trace))
            if trace.candidates:
                self.put_item(trace, shown[0].item_id if shown else trace.candidates[0].item_id)

    def put_ranking(self, trace: Trace, everything: bool) -> None:
        self.all_candidates = everything
        self.ranking.set_content(_ranking(trace, everything=everything))

    def put_item(self, trace: Trace, item_id: str | None) -> None:
        candidate = next((one for one in trace.candidates if one.item_id == item_id), None)
        if candidate is not None:
            self.item.set_content(_one_item(trace, candidate, self.desk.title))


def _decision(trace: Trace) -> Markup:
    explored = sum(candidate.explored for candidate in trace.candidates)
    versions = joined([chip(f"{part} {version}") for part, version in trace.versions.items()])
    return facts(
        [
            ("User", trace.user_id),
            ("Cause", f"request {trace.request_id}" if trace.request_id is not None else f"event {trace.event_id}"),
            ("Arm", trace.arm),
            ("Policy", trace.policy),
            ("Strategy", f"{trace.action}, with probability {share(trace.action_probability)}"),
            ("Exploration", f"each free slot with probability {share(trace.epsilon)}; {number(explored)} explored here"),
            ("User state", UNKNOWN if trace.state is None else f"{state_in_words(trace.state)} (state {trace.state})"),
            ("Rules", joined([chip(rule, "accent") for rule in trace.rules]) if trace.rules else "none acted"),
            ("Versions", versions or UNKNOWN),
        ]
    )


def _by_source(trace: Trace) -> Markup:
    counts = {name: 0 for name in trace.source_weights}
    for candidate in trace.candidates:
        for name in candidate.sources:
            counts[name] = counts.get(name, 0) + 1
    most = max(counts.values(), default=0)
    return bars(
        Bar(
            f"{source(name)} (weight {significant(trace.source_weights.get(name, 0.0))})",
            count / most if most else 0.0,
            number(count),
            COLOURS.get(name, "s6"),
        )
        for name, count in sorted(counts.items(), key=lambda entry: -entry[1])
    )


def _action_values(trace: Trace) -> Markup:
    values = trace.action_values
    if not values:
        return empty("Nothing to compare.", "This policy holds no value of each strategy, or there is only one strategy.")
    most = max((abs(value) for value in values.values()), default=0.0)
    return bars(
        Bar(
            f"{name} (chosen)" if name == trace.action else name,
            abs(value) / most if most else 0.0,
            significant(value),
            "s1" if name == trace.action else "s6",
        )
        for name, value in sorted(values.items(), key=lambda entry: -entry[1])
    )


def _ranking(trace: Trace, *, everything: bool) -> Markup:
    named = sources(name for candidate in trace.candidates for name in candidate.sources)
    columns = [Column("Shown", number=True), Column("Item"), *(Column(source(name), number=True) for name in named)]
    columns += [Column(title, number=True) for title in ("Blend", "Score", "Probability", "Propensity")] + [Column("Marks")]
    shown = sorted((c for c in trace.candidates if c.position is not None), key=lambda c: c.position or 0)
    candidates = shown + ([c for c in trace.candidates if c.position is None] if everything else [])
    rows = [
        (
            UNKNOWN if c.position is None else str(c.position),
            titled(c.title, c.item_id),
            *(_given(c, name) for name in named),
            significant(c.base),
            significant(c.score),
            share(c.probability),
            UNKNOWN if c.propensity is None else share(c.propensity),
            joined(([chip("explored", "warn")] if c.explored else []) + [chip(rule, "accent") for rule in c.rules]),
        )
        for c in candidates
    ]
    return table(
        columns, rows, caption="Candidates of the slate", classes=["" if c.position is not None else "unshown" for c in candidates]
    )


def _given(candidate: TracedCandidate, source: str) -> str:
    """What a source gave an item; some only choose and give no score."""
    score = candidate.sources.get(source)
    return "" if score is None else significant(score) if score else "✓"


def _one_item(trace: Trace, candidate: TracedCandidate, titles: Titles) -> Markup:
    longest = longest_contributions(reason for one in trace.candidates for reason in one.reasons)
    reasons = (
        reason_bars(candidate.reasons, longest=longest, titles=titles)
        if candidate.reasons
        else Markup('<p class="muted small">It was not shown: reasons are given of what is.</p>')
    )
    largest = max((abs(value) for value in candidate.features), default=0.0)
    features = bars(
        Bar(name.replace("_", " "), abs(value) / largest if largest else 0.0, f"{value:.3g}", "s1" if value >= 0 else "s7")
        for name, value in zip(trace.feature_names, candidate.features, strict=False)
        if value
    )
    saw = features if candidate.features else Markup('<p class="muted small">No scorer ranks here: there are no features.</p>')
    return Markup(
        f"<h3>Reasons</h3>{reasons}<h3 style='margin-top: 12px'>Features that are not 0</h3>"
        f"<div style='max-height: 360px; overflow-y: auto'>{saw}</div>"
    )


def _profile(trace: Trace) -> Markup:
    if not trace.profile:
        return empty("Nothing is known of this user.", "The slate is of what is popular, new and trending.")
    now_ms = time.time_ns() // 1_000_000
    rows = [
        (
            titled(item.title, item.item_id or "(forgotten)"),
            UNKNOWN if item.value is None else significant(item.value),
            ago(item.event_time_ms, now_ms=now_ms),
        )
        for item in trace.profile
    ]
    columns = (Column("Item"), Column("Value", number=True), Column("When", number=True))
    return Markup(f'<div style="max-height: 460px; overflow-y: auto">{table(columns, rows, caption="Profile")}</div>')
