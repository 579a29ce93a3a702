"""Dead letters: what the job could not use, by reason, with the record as it came and a button to send it again."""

from __future__ import annotations

import time
from dataclasses import dataclass

from nicegui import ui

from models.topics import CONTROLS, EVENTS, ITEMS, REQUESTS, topic_name
from serving.brokers import NotAcknowledged
from serving.console.access import ADMIN, WRITE
from serving.console.desk import Desk
from serving.console.frame import button, html, panel, tell
from serving.console.letters import Letter, pretty
from serving.console.markup import Markup, chip, empty, facts
from serving.console.words import UNKNOWN, ago, moment, number, size

_REFRESH_S = 2.0
_LISTED = 40
_ALL = "all reasons"
_SHOWN_CHARACTERS = 20_000


def dead_letters(desk: Desk, _user: str) -> None:
    """Build the page."""
    _DeadLettersPage(desk).build()


@dataclass(slots=True)
class _Listed:
    """What the list shows."""

    reason: str = _ALL
    came: int = -1


class _DeadLettersPage:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.client = ui.context.client
        self.listed = _Listed()
        self.chosen: int | None = None

    def build(self) -> None:
        with ui.element("div").classes("grid aside"):
            with panel("Reasons"):
                self.reasons = ui.element("div").classes("stack").style("gap: 4px")
            with panel("Latest", note="The newest first. Choose one to see its record."):
                self.letters = ui.element("div").classes("stack").style("gap: 0; max-height: 360px; overflow-y: auto")
        self.detail = panel("Record")
        with self.detail:
            self.content = ui.element("div").classes("stack")
        self.show(None)
        ui.timer(_REFRESH_S, self.refresh)

    def refresh(self) -> None:
        if self.listed.came != self.desk.feed.letters.came:
            self.listed.came = self.desk.feed.letters.came
            self.list_reasons()
            self.list_letters()

    def list_reasons(self) -> None:
        counts = self.desk.feed.letters.counts
        self.reasons.clear()
        with self.reasons:
            if not counts:
                html(empty("No dead letters.", "Records that the job cannot use are listed here, none is lost."))
                return
            for reason, count in [(_ALL, counts.total()), *counts.most_common()]:
                chosen = reason == self.listed.reason
                one = button(
                    f"{reason.replace('_', ' ')}: {number(count)}",
                    lambda reason=reason: self.choose_reason(reason),
                    kind="plain" if chosen else "quiet",
                    small=True,
                )
                one.props(f"align=left aria-pressed={str(chosen).lower()}")

    def choose_reason(self, reason: str) -> None:
        self.listed.reason = reason
        self.list_reasons()
        self.list_letters()

    def list_letters(self) -> None:
        now_ms = time.time_ns() // 1_000_000
        reason = None if self.listed.reason == _ALL else self.listed.reason
        self.letters.clear()
        with self.letters:
            found = self.desk.feed.letters.newest(reason, most=_LISTED)
            if not found:
                html(empty("Nothing here.", "No record was refused for this reason."))
            for letter in found:
                self.list_letter(letter, now_ms)

    def list_letter(self, letter: Letter, now_ms: int) -> None:
        content = letter.content
        with ui.element("div").classes("letter"):
            html(chip(content.reason.replace("_", " "), "bad"))
            ui.label(content.detail).classes("detail small").tooltip(content.detail)
            ui.label(ago(content.rejected_at_ms, now_ms=now_ms)).classes("muted small nowrap")
            button("Open", lambda: self.show(letter), small=True, read=f"Open the record of letter {letter.number}")

    def show(self, letter: Letter | None) -> None:
        self.content.clear()
        with self.content:
            if letter is None:
                html(empty("No letter is open.", "Open one of the list to see the record as it came."))
                return
            content = letter.content
            place = UNKNOWN if content.partition is None else f"partition {content.partition}, offset {content.offset}"
            html(
                facts(
                    [
                        ("Reason", content.reason.replace("_", " ")),
                        ("What is wrong", content.detail),
                        ("Topic", f"{content.topic} ({place})"),
                        ("Key", content.key or "none"),
                        ("Size", size(content.raw_bytes)),
                        ("Refused", moment(content.rejected_at_ms)),
                    ]
                )
            )
            self.show_record(letter)

    def show_record(self, letter: Letter) -> None:
        text = letter.text
        if text is None or len(text) > _SHOWN_CHARACTERS:
            if letter.content.raw is not None:
                html(
                    Markup(
                        f'<p class="muted small">The first bytes: it is no short text.</p><code class="mono">{letter.hexadecimal()}</code>'
                    )
                )
            editor = None
        else:
            editor = ui.textarea("Record, as it is sent", value=pretty(text)).props("outlined autogrow").classes("mono")
        with ui.element("div").classes("row"):
            button("Send again", lambda: self.send_again(letter, None if editor is None else editor.value), kind="primary")
            ui.label("To the topic that it came from, under its key. Mend the text first where that helps.").classes("muted small")

    async def send_again(self, letter: Letter, edited: str | None) -> None:
        content = letter.content
        prefix = self.desk.configuration.kafka.topic_prefix
        inputs = {topic_name(prefix, name): name for name in (EVENTS, REQUESTS, ITEMS, CONTROLS)}
        to = inputs.get(content.topic)
        unchanged = edited is None or (letter.text is not None and edited == pretty(letter.text))
        value = content.raw if unchanged or edited is None else edited.encode()
        erased_by = value if to == EVENTS and value is not None and self.desk.service.erases(value) else None
        scope = WRITE if to in (EVENTS, REQUESTS) and erased_by is None else ADMIN
        if not self.desk.may(scope):
            tell(self.client, f"This token does not allow {scope}: nothing was sent.", kind="warning")
        elif to is None:
            tell(self.client, f"{content.topic} is no input of this job: nothing was sent.", kind="warning")
        elif edited is None and not letter.is_whole:
            tell(self.client, "Only the beginning of this record was kept: it cannot be sent again.", kind="warning")
        else:
            try:
                if erased_by is not None:
                    await self.desk.service.send([erased_by], may_erase=True)
                else:
                    key = content.key.encode() if content.key else None
                    await self.desk.service.send_as_it_is(content.topic, key, value)
            except NotAcknowledged as error:
                tell(self.client, f"Kafka did not take the record: {error}", kind="negative")
            else:
                tell(self.client, "Sent again. If it is refused once more, it comes back to this list.")
