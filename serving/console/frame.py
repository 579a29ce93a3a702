"""The frame of every page: bar, navigation, theme, and the question for a token where tokens are configured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nicegui import Client, ui

from serving.console.access import READ, this_browser
from serving.console.desk import Desk
from serving.console.markup import Markup, text

STATIC = "/static"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the console.

    Attributes
    ----------
    path : below the console's own
    title : in the navigation
    about : one sentence for somebody who sees it for the first time
    scope : what a browser must be allowed to see it
    build : fills it, given a user to begin with (or an empty text)
    """

    path: str
    title: str
    about: str
    build: Callable[[Desk, str], None]
    scope: str = READ


def register(desk: Desk, pages: tuple[Page, ...], *, root: str) -> None:
    """Make the pages known to NiceGUI."""
    for page in pages:
        _register(desk, page, pages, root)


def _register(desk: Desk, page: Page, pages: tuple[Page, ...], root: str) -> None:
    @ui.page(page.path, title=f"{page.title} · flinkrec")
    def show(user: str = "") -> None:
        ui.add_head_html(f'<link rel="stylesheet" href="{root}{STATIC}/console.css"><script src="{root}{STATIC}/console.js"></script>')
        _bar(desk, page, pages, root)
        with ui.element("div").classes("page") as main:
            with ui.element("div").classes("heading"):
                html(Markup(f"<h1>{page.title}</h1><p>{page.about}</p>"))
            if desk.may(page.scope):
                page.build(desk, user)
            else:
                _ask_for_token(desk, page.scope)
        ui.skip_link("Skip to the page", target=main)


def html(content: str) -> ui.html:
    """A piece of `serving.console.markup` on the page."""
    return ui.html(content, sanitize=False)


def _bar(desk: Desk, page: Page, pages: tuple[Page, ...], root: str) -> None:
    links = "".join(f'<a href="{root}{other.path}"{" aria-current=page" if other is page else ""}>{other.title}</a>' for other in pages)
    with ui.element("header").classes("bar"):
        html(f'<a class="mark" href="{root}/">flinkrec</a>')
        html(f'<nav aria-label="Pages">{links}</nav>').classes("grow")
        state = ui.label().classes("state small").props('role="status"')
        html('<button type="button" class="theme" id="theme">Theme</button>')
        if not desk.access.is_open and desk.access.scopes(this_browser()):
            button("Sign out", lambda: _sign_out(desk), kind="quiet", small=True)

    may_read = desk.may(READ)

    def refresh() -> None:
        if may_read and not desk.may(READ):
            # signed out in another tab, or after twelve hours: what is shown goes
            ui.navigate.reload()
        words, kind = ("Kafka does not answer", "bad") if desk.feed.problem else desk.watch.in_words()
        state.set_text(words)
        state.classes(replace=f"state small {kind}")

    ui.timer(2.0, refresh)


def _ask_for_token(desk: Desk, scope: str) -> None:
    browser = this_browser()

    async def sign_in() -> None:
        go_on.disable()
        known = await desk.access.sign_in(browser, field.value or "")
        go_on.enable()
        if known and scope in desk.access.scopes(browser):
            ui.navigate.reload()
        else:
            field.value = ""
            field.props(f'error error-message="{"This token does not allow" if known else "No such token: it must allow"} {scope}."')

    with ui.element("form").classes("panel").style("max-width: 420px").on("submit.prevent", sign_in):
        html(f"<h2>A token, please</h2><p class='muted'>This page needs one that allows <b>{scope}</b> (serving.tokens).</p>")
        field = ui.input("Token", password=True).props("outlined dense autofocus autocomplete=off").classes("grow")
        go_on = button("Continue", kind="primary", submit=True)


def _sign_out(desk: Desk) -> None:
    desk.access.sign_out(this_browser())
    ui.navigate.reload()


def panel(title: str | None = None, *, note: str | None = None) -> ui.element:
    """A framed part of a page; use it with ``with``."""
    box = ui.element("section").classes("panel")
    if title is not None:
        with box:
            html(f"<h2>{text(title)}</h2>" + (f"<p class='muted small'>{text(note)}</p>" if note else ""))
    return box


def button(
    words: str,
    on_click: Callable[..., Any] | None = None,
    *,
    kind: str = "plain",
    small: bool = False,
    read: str | None = None,
    submit: bool = False,
) -> ui.button:
    """A button in the colours of console.css.

    Parameters
    ----------
    kind : primary, plain, danger or quiet
    read : what is read to those who do not see what it stands beside
    submit : whether Enter in a field of its form presses it
    """
    one = ui.button(words, on_click=on_click, color=None).classes(kind)
    one.props("unelevated no-caps" if kind == "primary" else "flat no-caps")
    if small:
        one.props("dense")
    if submit:
        one.props("type=submit")
    if read is not None:
        one.props["aria-label"] = read
    return one


def text_field(label: str, *, value: str = "", placeholder: str = "", on_change: Callable[..., Any] | None = None) -> ui.input:
    """A line of text to type."""
    return ui.input(label, value=value, placeholder=placeholder, on_change=on_change).props("outlined dense autocomplete=off")


def tell(client: Client, sentence: str, *, kind: str = "positive") -> None:
    """Say something for a moment at the foot of a page.

    The client is named, as what was pressed may be gone by now, and with it the place that NiceGUI would find the page by.
    """
    with client:
        ui.notify(sentence, type=kind, position="bottom", timeout=4000)  # type: ignore[arg-type]
