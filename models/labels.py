"""Which categories, which brand and which campaign each item has, exactly: what business rules are said in.

The bit sets of `models.replica` and `models.content` hash names, and two names may share a bit: good enough to compare items by,
not to keep one off a slate. Here every distinct combination is kept once, as names, and an item holds the
number of its combination: whatever follows from the labels is worked out once a combination and looked up by item.

Memory: ``4 bytes * items``, and the names of each distinct combination that there ever was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class LabelSet:
    """One combination.

    Attributes
    ----------
    categories : names, each once
    brand, campaign : None where there is none
    """

    categories: tuple[str, ...] = ()
    brand: str | None = None
    campaign: str | None = None


class Labels:
    """The label sets of all items.

    Attributes
    ----------
    sets : by number; number 0 is that of an item of which the catalogue says nothing. It only grows
    of_item : int32[items], number of each item's set, by dense index
    categories : number of each category that an item ever had
    brands, campaigns : the same of each brand and each campaign; the numbers go through all of them
    """

    def __init__(self) -> None:
        self.sets = [LabelSet()]
        self.categories: dict[str, int] = {}
        self.brands: dict[str, int] = {}
        self.campaigns: dict[str, int] = {}
        self.of_item = np.zeros(0, np.int32)
        self._numbers = {self.sets[0]: 0}
        self._offsets = [0, 0]
        self._members: list[int] = []
        self._table = (np.zeros(0, np.int64), np.zeros(0, np.int64))

    def grow_items(self, capacity: int) -> None:
        """Make room for this many items."""
        of_item = np.zeros(capacity, np.int32)
        of_item[: len(self.of_item)] = self.of_item
        self.of_item = of_item

    def put(self, index: int, categories: Iterable[str], brand: str | None, campaign: str | None = None) -> None:
        """Let an item have these labels instead of those it had."""
        labels = LabelSet(tuple(dict.fromkeys(categories)), brand, campaign)
        number = self._numbers.get(labels)
        if number is None:
            number = self._numbers[labels] = len(self.sets)
            self.sets.append(labels)
            self._members += [self.categories.setdefault(name, self.numbers) for name in labels.categories]
            for name, numbers in ((brand, self.brands), (campaign, self.campaigns)):
                if name is not None:
                    self._members.append(numbers.setdefault(name, self.numbers))
            self._offsets.append(len(self._members))
        self.of_item[index] = number

    @property
    def numbers(self) -> int:
        """How many categories, brands and campaigns there are."""
        return len(self.categories) + len(self.brands) + len(self.campaigns)

    def of(self, index: int) -> LabelSet:
        """The labels of an item."""
        return self.sets[self.of_item[index]]

    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """Categories, brand and campaign of each set, for kernels.

        Returns
        -------
        offsets : int64[sets + 1]
        members : int64[n], numbers of the labels of set s are ``members[offsets[s]:offsets[s + 1]]``
        """
        if len(self._table[0]) != len(self._offsets):
            self._table = (np.array(self._offsets, np.int64), np.array(self._members, np.int64))
        return self._table
