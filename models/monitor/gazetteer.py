"""Entities by their names: which of the known names stand in a text, as whole words, whatever their case."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence


class Gazetteer:
    """Finds entities by their names and aliases.

    Parameters
    ----------
    entities : aliases of each entity; its own name is one without being said

    Examples
    --------
    >>> Gazetteer({"Norvik Bank": ["NVB", "Norvik"]}).find("Shares of $NVB fell; norvik bank did not answer")
    ('Norvik Bank',)
    """

    def __init__(self, entities: Mapping[str, Sequence[str]]) -> None:
        self._entity = {name.casefold(): entity for entity, aliases in entities.items() for name in (entity, *aliases)}
        # the longest first: Norvik Bank is not Norvik
        names = sorted(self._entity, key=len, reverse=True)
        self._names = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)") if names else None

    def find(self, text: str) -> tuple[str, ...]:
        """The entities of a text, in the order of their first names."""
        if self._names is None:
            return ()
        return tuple(dict.fromkeys(self._entity[found] for found in self._names.findall(text.casefold())))
