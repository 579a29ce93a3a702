"""User: what one user did, what they are shown and why; act as this user, and watch the next slate come."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from dataclasses import dataclass
from urllib.parse import quote

import msgspec
from nicegui import ui

from models.topics import Recommendation, RecommendedItem, slate_number
from serving.brokers import NotAcknowledged
from serving.console.access import WRITE
from serving.console.desk import Desk
from serving.console.frame import button, html, panel, tell, text_field
from serving.console.histories import Act
from serving.console.markup import Bar, Column, Markup, bars, chip, empty, joined, table, titled
from serving.console.slates import Move, longest_contributions, moves, reason_bars
from serving.console.words import UNKNOWN, ago, duration, number, significant
from serving.service import new_id

_REFRESH_S = 0.5
_ANSWER_WITHIN_S = 20.0
_FOUND_ITEMS = 6
_OFFERED_USERS = 12


@dataclass(frozen=True, slots=True)
class Shown:
    """What stands on the page as the slate.

    Attributes
    ----------
    items : by position
    slate : that they are of, None for popular items
    """

    items: list[RecommendedItem]
    slate: Recommendation | None

    @property
    def item_ids(self) -> list[str]:
        """By position."""
        return [item.item_id for item in self.items]


def user(desk: Desk, user_id: str) -> None:
    """Build the page."""
    _UserPage(desk).build(user_id)


class _UserPage:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.client = ui.context.client
        self.user_id = ""
        self.shown = Shown([], None)
        self.acting, self.served = False, False
        self.history_at: tuple[str, ...] = ()
        self.sought: str | None = None
        types = desk.configuration.events.types
        self.types = [name for name, kind in types.items() if kind.makes_slate]
        self.type = "click" if "click" in self.types else desk.configuration.events.default_type

    def build(self, user_id: str) -> None:
        with panel():
            with ui.element("form").classes("row").on("submit.prevent", self.choose_typed):
                self.field = text_field("User", value=user_id, placeholder="id of a user").props("autofocus")
                button("Show", kind="primary", submit=True)
                button("New user", self.new_user)
                self.type_field = ui.select(self.types, value=self.type, label="Act by").props("outlined dense").style("min-width: 140px")
                ui.element("div").classes("grow")
                self.why = html("")
            self.offered = ui.element("div").classes("row tight small").props('aria-label="Users served lately"')
        self.news = html("").classes("status").props('role="status" aria-live="polite"')
        with ui.element("div").classes("grid aside"):
            with ui.element("div").classes("stack").style("gap: 16px"):
                with panel("History"):
                    self.history = html("")
                with panel("Taste", note="Categories of these items."):
                    self.taste = html("")
                with panel("Act on another item"):
                    search = text_field("Find an item", placeholder="part of a title", on_change=lambda change: self.find(change.value))
                    search.props("clearable debounce=200")
                    self.found = ui.element("div").classes("stack")
            with panel():
                with ui.element("div").classes("row apart"):
                    html("<h2>Slate</h2>")
                    self.about = html("")
                self.slate = ui.element("div").classes("slate").props('role="list" aria-label="Slate"')
        self.offer(self.desk.feed.users.newest(most=_OFFERED_USERS))
        if user_id:
            self.choose(user_id)
        else:
            self.show_nobody()
        ui.timer(_REFRESH_S, self.refresh)

    # ------------------------------------------------------------------------------------------------ whom

    def offer(self, users: list[str]) -> None:
        self.served = bool(users)
        self.offered.clear()
        with self.offered:
            said = "Served lately:" if users else "Nobody was served yet: flinkrec demo or flinkrec replay sends events."
            html(f'<span class="muted">{said}</span>')
            for user_id in users:
                button(user_id, lambda user_id=user_id: self.choose(user_id), kind="quiet", small=True)

    def choose_typed(self) -> None:
        self.choose(self.field.value)

    def new_user(self) -> None:
        self.choose(f"guest-{secrets.token_hex(3)}")

    def choose(self, user_id: str | None) -> None:
        user_id = (user_id or "").strip()
        if not user_id:
            tell(self.client, "Type the id of a user first.", kind="warning")
            return
        self.user_id, self.shown, self.history_at = user_id, Shown([], None), ()
        self.field.value = user_id
        self.news.set_content("")
        ui.navigate.history.replace(f"?user={quote(user_id)}")
        self.why.set_content(f'<a href="why?user={quote(user_id)}">Why this slate?</a>')
        self.put(self.current())
        self.put_history()

    def show_nobody(self) -> None:
        self.slate.clear()
        with self.slate:
            html(empty("No user is chosen.", "Type an id, take one of those who were served lately, or make a new user."))
        self.history.set_content(empty("No user is chosen.", "What a user did stands here."))
        self.taste.set_content("")

    # ------------------------------------------------------------------------------------------------ what they see

    def current(self) -> Shown:
        stored = self.desk.service.slate(self.user_id)
        if stored is not None and stored.slate.items:
            return Shown(stored.slate.items, stored.slate)
        popular = self.desk.service.popular(self.desk.configuration.slate.k)
        items = [
            RecommendedItem(item_id=item.item_id, title=item.title, position=place, score=0.0, sources=["popularity"])
            for place, item in enumerate(popular, 1)
        ]
        return Shown(items, None)

    def refresh(self) -> None:
        """Follow what others do to this user, and whether anybody is served."""
        if not self.served and (users := self.desk.feed.users.newest(most=_OFFERED_USERS)):
            self.offer(users)
        if not self.user_id or self.acting:
            return
        self.put_history()
        now = self.current()
        before, after = self.shown.slate, now.slate
        if (before and before.revision) != (after and after.revision) or (after is None and now.items != self.shown.items):
            self.put(now)

    def put(self, now: Shown) -> None:
        moved = moves(self.shown.item_ids if self.shown.slate or now.slate is None else [], now.item_ids)
        self.shown = now
        self.slate.clear()
        with self.slate:
            if not now.items:
                html(empty("Nothing to show.", "There is neither a slate of this user nor a popular item: send some events first."))
            longest = longest_contributions(reason for item in now.items for reason in item.reasons)
            for item, move in zip(now.items, moved, strict=True):
                self.put_item(item, move, longest)
        self.about.set_content(self.about_slate())

    def about_slate(self) -> Markup:
        slate = self.shown.slate
        if slate is None:
            return chip("popular items: this user is not known", "warn")
        now_ms = time.time_ns() // 1_000_000
        parts = [chip(f"number {slate_number(slate.seq)}"), chip(f"strategy {slate.action}"), chip(f"policy {slate.policy}")]
        if slate.arm != "default":
            parts.append(chip(f"arm {slate.arm}"))
        return Markup(
            f'<span class="row tight">{joined(parts)}'
            f'<span class="muted small">{ago(slate.timings.emitted_at_ms, now_ms=now_ms)}</span></span>'
        )

    def put_item(self, item: RecommendedItem, move: Move, longest: dict[str, float]) -> None:
        word, kind = move.in_words()
        marks = [chip(word, kind)] if word else []
        if item.explored:
            marks.append(chip("explored", "warn"))
        name = item.title or item.item_id
        with ui.element("div").classes("item" + (" is-new" if word == "new" else "")).props('role="listitem"'):
            html(f'<div class="place">{item.position}</div>')
            score = f"score {significant(item.score)}" if self.shown.slate is not None else "popular"
            if item.probability is not None:
                score += f", probability {100 * item.probability:.1f} %"
            html(
                f'<div class="title">{titled(item.title, item.item_id)}</div>'
                f'<div class="row tight small muted">{score} {joined(marks)}</div>'
            )
            html(reason_bars(item.reasons, longest=longest, titles=self.desk.title)).classes("grow")
            self.act_button(item.item_id, name, item.position)

    def act_button(self, item_id: str, name: str, position: int | None) -> None:
        words = self.type_field.value.capitalize()
        one = button(words, lambda: self.act(item_id, position), read=f"{words} on {name}")
        one.props["data-item"] = item_id

    def put_history(self) -> None:
        acts = self.desk.feed.histories.of(self.user_id)
        at = (self.user_id, *(act.event_id for act in acts))
        if at == self.history_at:
            return
        self.history_at = at
        now_ms = time.time_ns() // 1_000_000
        if not acts:
            self.history.set_content(empty("Nothing lately.", "Act on an item of the slate: it is the first thing this user does."))
            self.taste.set_content(Markup('<p class="muted small">Nothing is known yet.</p>'))
            return
        rows = [self.history_row(act, now_ms) for act in acts]
        columns = (Column("Item"), Column("Did"), Column("Value", number=True), Column("When", number=True))
        self.history.set_content(
            Markup(f'<div style="max-height: 380px; overflow-y: auto">{table(columns, rows, caption="What this user did")}</div>')
        )
        self.taste.set_content(self.taste_of(acts))

    def history_row(self, act: Act, now_ms: int) -> tuple[str | Markup, ...]:
        value = UNKNOWN if act.value is None else significant(act.value)
        when = duration(max(0, now_ms - act.event_time_ms))
        return titled(self.desk.title(act.item_id), act.item_id), act.type or self.desk.configuration.events.default_type, value, when

    def taste_of(self, acts: list[Act]) -> Markup:
        items = [self.desk.service.item(act.item_id) for act in acts]
        counts = Counter(category for item in items if item is not None for category in item.categories)
        if not counts:
            return Markup('<p class="muted small">The catalogue says no categories of these items.</p>')
        most = counts.most_common(8)
        return bars([Bar(name, count / most[0][1], number(count), "s2") for name, count in most])

    async def find(self, text: str | None) -> None:
        self.sought = text
        if not text or len(text.strip()) < 2:
            self.found.clear()
            return
        found = await self.desk.service.find_items(text, most=_FOUND_ITEMS)
        if text != self.sought:
            return
        self.found.clear()
        with self.found:
            if not found:
                html(Markup('<p class="muted small">No item has this in its title or id.</p>'))
            for item_id, title in found:
                with ui.element("div").classes("row apart"):
                    html(titled(title, item_id)).classes("grow")
                    self.act_button(item_id, title or item_id, None)

    # ------------------------------------------------------------------------------------------------ what they do

    async def act(self, item_id: str, position: int | None) -> None:
        """Send an event of this user, and show the slate that answers it as soon as it is there."""
        if self.acting:
            return
        if not self.desk.may(WRITE):
            tell(self.client, "This token does not allow write: nothing was sent.", kind="warning")
            return
        self.acting = True
        type_name = self.type_field.value
        self.news.set_content(Markup('<div class="note">Sent; waiting for the next slate …</div>'))
        event_id, now_ms = f"console-{new_id()}", time.time_ns() // 1_000_000
        event = {
            "event_id": event_id,
            "user_id": self.user_id,
            "item_id": item_id,
            "type": type_name,
            "event_time_ms": now_ms,
            "sent_at_ms": now_ms,
            "source": "console",
            "trace": True,
        }
        if position is not None and self.shown.slate is not None:
            event |= {"slate_id": self.shown.slate.slate_id, "revision": self.shown.slate.revision, "position": position}
        began_s = time.perf_counter()
        try:
            result, slate = await self.desk.service.act(msgspec.json.encode(event), event_id=event_id, timeout_s=_ANSWER_WITHIN_S)
            took_ms = 1000 * (time.perf_counter() - began_s)
            if not result.accepted:
                self.say(f"Refused: {result.detail}", "bad")
            elif slate is None:
                self.say(f"Kafka has the event; no slate came within {_ANSWER_WITHIN_S:.0f} s. Does the job run? See Live.", "warn")
            else:
                self.put(Shown(slate.items, slate))
                self.focus(position)
                said = f"{type_name} on {self.desk.title(item_id) or item_id}"
                self.say(
                    f"A new slate {took_ms:,.0f} ms after the {said}; "
                    f"the recommender itself took {slate.timings.compute_us / 1000:.1f} ms.",
                    "good",
                )
        except NotAcknowledged as error:
            self.say(f"Kafka did not take the event: {error}", "bad")
        finally:
            self.acting = False
        self.put_history()

    def focus(self, position: int | None) -> None:
        """Let who works by the keyboard go on where they were: the buttons are others now."""
        if position is not None:
            self.client.run_javascript(f"document.querySelectorAll('.slate [data-item]')[{position - 1}]?.focus()")

    def say(self, sentence: str, kind: str) -> None:
        self.news.set_content(Markup(f'<div class="note {kind}">{joined([sentence])}</div>'))
