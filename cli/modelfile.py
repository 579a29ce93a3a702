"""A file of `flinkrec train` that a command begins with (`models.model_file`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.errors import UserError

if TYPE_CHECKING:
    from models.config import Configuration
    from models.model_file import ModelFile

MODEL = typer.Option(help="Begin with this file of `flinkrec train` instead of an untrained network.")


def read_model(path: Path | None, configuration: Configuration) -> ModelFile | None:
    """Read a file and find out whether it fits; None for none.

    Raises
    ------
    UserError
        When it cannot be read, is no such file, or does not fit the configuration.
    """
    if path is None:
        return None
    from models.model_file import decode_model

    if configuration.scorer.name == "none":
        raise UserError("--model: scorer.name is 'none': there is no network to begin with")
    try:
        model = decode_model(path.read_bytes(), str(path))
        model.require_fit(configuration.scorer)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(str(error)) from None
    return model
