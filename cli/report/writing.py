"""How a page is rendered and written: one HTML file that loads nothing, from a template beside this module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from cli.errors import UserError


def render(template: str, *, filters: Mapping[str, Callable[..., object]], **values: Any) -> str:
    """The whole page.

    Parameters
    ----------
    template : file name
    filters : of the template, beside ``count`` (a whole number with its thousands apart)
    values : what the template names; it is given ``style``, the common style sheet, beside these
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cli", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters, count=lambda number: f"{number:,}")
    return environment.get_template(template).render(style=Markup(environment.get_template("style.css").render()), **values)


def write_page(directory: Path, page: str, *, option: str = "") -> Path:
    """Write ``index.html`` into a directory that is there; returns its path.

    Parameters
    ----------
    option : of the command line that named the directory, with a space behind it

    Raises
    ------
    UserError
        When it cannot be written.
    """
    path = directory / "index.html"
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{option}{directory}: cannot be written: {error.strerror}") from None
    return path
