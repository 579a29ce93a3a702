"""The demo of the domain text: as every domain of people, and beside it what tuning and texts are worth over time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cli.domains import people
from cli.domains.registry import DOMAINS, DomainDemo

if TYPE_CHECKING:
    from models.config import Configuration

SLATES = 1_200
"""Of each run in this process: what is learned of texts needs some hundred events."""


def variants(preset: Configuration) -> dict[str, Configuration]:
    """The preset with the projection that users tune, with the vectors as they came, and without any."""
    from models.config import Text

    replace = msgspec.structs.replace
    untuned = replace(preset.scorer, options=preset.scorer.options | {"tuned": False})
    return {
        "tuned": preset,
        "untuned": replace(preset, scorer=untuned),
        "no text": replace(preset, text=Text(), scorer=replace(preset.scorer, name="fism", options={})),
    }


def show(demo: DomainDemo) -> Path:
    """Show the domain; returns the page."""
    from models.domains.text import TextWorld

    last_ms = int(TextWorld(people.SEED).came_ms.max())
    return people.show(
        demo, DOMAINS["text"], headline="cold_hit", variants=variants(demo.configuration), slates=SLATES, last_ms=last_ms
    )
