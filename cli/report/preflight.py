"""What a command that writes a page needs to know before its long run."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from cli.errors import UserError


def require_file(file: Path, *, option: str) -> None:
    """A UserError when a file cannot be written, before the long run whose result it is to hold."""
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UserError(f"{option} {file}: expected a file that can be written, in a directory that is there")


def require_page(directory: Path, *, option: str) -> None:
    """Make the directory of a page; a UserError when it cannot be made, or the packages that draw are missing.

    `option` is what the person typed, such as ``--report``.
    """
    missing = [name for name in ("jinja2", "matplotlib") if find_spec(name) is None]
    if missing:
        raise UserError(f"{option} needs {' and '.join(missing)}: pip install 'flinkrec[evaluation]'")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{option} {directory}: cannot be made: {error.strerror}") from None
