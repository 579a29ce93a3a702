"""Controls: the rules in force, an editor that says what is wrong before anything is sent, and a slate to see them act on."""

from __future__ import annotations

import msgspec
from nicegui import ui

from models.controls import SINGLE, decode_control
from models.events import Rejected
from serving.answers import Control, ShownItem
from serving.brokers import NotAcknowledged
from serving.console.access import ADMIN
from serving.console.desk import Desk
from serving.console.frame import button, html, panel, tell, text_field
from serving.console.markup import Column, Markup, chip, empty, facts, joined, table, titled
from serving.console.slates import moves
from serving.console.templates import EXAMPLES, example, label_of, meaning, pretty_rule, rule_name
from serving.console.words import significant, source

_REFRESH_S = 2.0
_ANSWER_WITHIN_MS = 5_000
_FOUND_ITEMS = 8
_SHOWN_CHARACTERS = 120


def controls(desk: Desk, user_id: str) -> None:
    """Build the page."""
    _ControlsPage(desk).build(user_id)


class _ControlsPage:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.client = ui.context.client
        self.listed: dict[str, Control] | None = None
        self.before: list[str] = []
        self.sought: str | None = None

    def build(self, user_id: str) -> None:
        with panel("Rules", note="What the job was told while it runs; they outlive restarts. docs/controls.md has all of them."):
            self.rules = ui.element("div").classes("stack").style("gap: 0")
        with ui.element("div").classes("grid two"):
            with panel("Edit"):
                self.build_editor()
            with panel(
                "See them act", note="A slate that the job makes now. It teaches the model nothing, but counts as a slate that was shown."
            ):
                with ui.element("form").classes("row").on("submit.prevent", self.ask):
                    self.user = text_field("User", value=user_id, placeholder="id of a user")
                    self.asking = button("Ask for a slate", submit=True)
                self.slate = html(
                    empty("No slate yet.", "Choose a user and ask: after each rule that you put in force, the slate is asked for again.")
                )
        self.refresh()
        ui.timer(_REFRESH_S, self.refresh)

    def build_editor(self) -> None:
        kinds = {kind: kind.replace("_", " ") for kind in EXAMPLES}
        with ui.element("div").classes("row"):
            self.kind = (
                ui.select(kinds, value="boost", label="Kind", on_change=lambda change: self.begin(change.value, example(change.value)))
                .props("outlined dense")
                .style("min-width: 170px")
            )
            self.label = text_field("Label, where there are several", on_change=self.check).classes("grow")
        self.text = (
            ui.textarea("Rule, as JSON", value=example("boost"), on_change=self.check)
            .props("outlined autogrow debounce=150 spellcheck=false")
            .classes("mono")
        )
        self.verdict = html("").props('role="status" aria-live="polite"')
        with ui.element("div").classes("row"):
            self.put_button = button("Put in force", self.put, kind="primary")
        self.fields = html("")
        search = text_field("Find the id of an item", placeholder="part of a title", on_change=lambda change: self.find(change.value))
        search.props("clearable debounce=200")
        self.found = html("")
        self.begin("boost", example("boost"))

    # ------------------------------------------------------------------------------------------------ what is in force

    def refresh(self) -> None:
        now = self.desk.service.controls()
        if now == self.listed:
            return
        self.listed = now
        self.rules.clear()
        with self.rules:
            if not now:
                html(empty("No rule is in force.", "Write one below: a boost, an exclusion, a pinned item, another policy, an experiment."))
            for name, control in now.items():
                self.list_rule(name, control)

    def list_rule(self, name: str, control: Control) -> None:
        value = msgspec.json.encode(control.rule).decode()
        with ui.element("div").classes("row apart entry"):
            with ui.element("div").classes("row tight grow"):
                html(Markup(f"<b>{joined([name])}</b>"))
                html(
                    chip("in force", "good")
                    if control.in_force
                    else chip("being taken back" if control.rule is None else "not kept by the job yet", "warn")
                )
                ui.label(value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + " …").classes("mono muted")
            with ui.element("div").classes("row tight"):
                button("Edit", lambda: self.edit(name, control), small=True, read=f"Edit {name}")
                button("Take back", lambda: self.send(name, None), kind="danger", small=True, read=f"Take back {name}")

    def edit(self, name: str, control: Control) -> None:
        kind, label = label_of(name)
        self.kind.value = kind
        self.begin(kind, pretty_rule(control.rule), label=label)

    # ------------------------------------------------------------------------------------------------ the editor

    def begin(self, kind: str, text: str, *, label: str = "") -> None:
        self.label.value = label
        self.label.set_enabled(kind not in SINGLE)
        self.text.value = text
        said, fields = meaning(kind)
        self.fields.set_content(Markup(f'<div class="meaning"><p>{joined([said])}</p><div class="small">{facts(fields)}</div></div>'))
        self.check()

    @property
    def name(self) -> str:
        """Of the rule in the editor."""
        return rule_name(self.kind.value, self.label.value)

    def check(self) -> None:
        """Say what is wrong with the rule, or that nothing is."""
        try:
            decode_control(self.name, (self.text.value or "").encode())
        except Rejected as rejected:
            self.verdict.set_content(Markup(f'<div class="note bad">{joined([rejected.detail])}</div>'))
            self.put_button.disable()
            return
        self.verdict.set_content(Markup(f'<div class="note good">{joined([f"{self.name} can be put in force."])}</div>'))
        self.put_button.enable()

    async def put(self) -> None:
        await self.send(self.name, (self.text.value or "").encode())

    async def send(self, name: str, value: bytes | None) -> None:
        """Put a rule in force, or take it back, and look at the slate again."""
        if not self.desk.may(ADMIN):
            tell(self.client, "This token does not allow admin: nothing was changed.", kind="warning")
            return
        try:
            control = await self.desk.service.put_control(name, value)
        except Rejected as rejected:
            self.verdict.set_content(Markup(f'<div class="note bad">{joined([rejected.detail])}</div>'))
            return
        except NotAcknowledged as error:
            tell(self.client, f"Kafka did not take the rule: {error}", kind="negative")
            return
        if control.in_force:
            tell(self.client, f"{name} is {'in force' if value is not None else 'taken back'}.")
        else:
            tell(self.client, f"{name} was sent; the job has not said that it keeps it. Does it run?", kind="warning")
        self.refresh()
        if (self.user.value or "").strip():
            await self.ask()

    async def find(self, text: str | None) -> None:
        self.sought = text
        if not text or len(text.strip()) < 2:
            self.found.set_content("")
            return
        found = await self.desk.service.find_items(text, most=_FOUND_ITEMS)
        if text != self.sought:
            return
        rows = [(title or item_id, item_id, self.categories(item_id)) for item_id, title in found]
        columns = (Column("Title"), Column("Id"), Column("Categories"))
        self.found.set_content(
            table(columns, rows, caption="Items found")
            if rows
            else Markup('<p class="muted small">No item has this in its title or id.</p>')
        )

    # ------------------------------------------------------------------------------------------------ the slate

    async def ask(self) -> None:
        """A slate of the job for the user in the field, with what has moved since the last one."""
        user_id = (self.user.value or "").strip()
        if not user_id:
            tell(self.client, "Type the id of a user first.", kind="warning")
            return
        self.asking.disable()
        try:
            answer = await self.desk.ask(user_id, deadline_ms=_ANSWER_WITHIN_MS, explain=True)
        except Rejected as rejected:
            tell(self.client, f"Refused: {rejected.detail}", kind="negative")
            return
        finally:
            self.asking.enable()
        said = (
            Markup('<div class="note warn">The job did not answer in time: this is what is stored, without the newest rules.</div>')
            if answer.stale
            else Markup("")
        )
        self.slate.set_content(Markup(said + self.rows(answer.items)))
        self.before = [item.item_id for item in answer.items]

    def rows(self, items: list[ShownItem]) -> Markup:
        moved = moves(self.before, [item.item_id for item in items])
        columns = (Column("", number=True), Column("Item"), Column("Categories"), Column("Score", number=True), Column("By"), Column(""))
        rows = [
            (
                str(item.position),
                titled(item.title, item.item_id),
                self.categories(item.item_id),
                significant(item.score),
                joined([chip(source(name), "accent" if name == "rule" else "") for name in item.sources or []]),
                chip(*move.in_words()) if move.in_words()[0] else "",
            )
            for item, move in zip(items, moved, strict=True)
        ]
        return table(columns, rows, caption="Slate under these rules")

    def categories(self, item_id: str) -> str:
        item = self.desk.service.item(item_id)
        return ", ".join(item.categories[:3]) if item is not None else ""
