"""Who took what so far: the memory that the baselines of a comparison share, and how a slate is cut from it.

Users and items get dense indices in the order in which they are first seen. What is kept grows by one entry of a dict
for each pair of a user and an item.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable
from itertools import chain, islice

import numpy as np
from scipy.sparse import csr_matrix


class PopularityOrder:
    """Indices by how often they were counted, kept in order as they are counted; O(1) a count, for any number of them.

    Examples
    --------
    >>> order = PopularityOrder()
    >>> for index in (0, 1, 2, 2, 1, 2):
    ...     order.count(index)
    >>> order.best
    [2, 1, 0]
    """

    def __init__(self) -> None:
        self.best: list[int] = []
        self.counts: list[int] = []
        self._place: list[int] = []
        # Where the indices with a count begin in `best`; those without one begin at its end.
        self._begin: dict[int, int] = {}

    def count(self, index: int) -> None:
        """Count an index once; a new one must be the number of those known so far."""
        if index == len(self.counts):
            self.best.append(index)
            self.counts.append(0)
            self._place.append(index)
            self._begin.setdefault(0, index)
        count, place = self.counts[index], self._place[index]
        begin = self._begin[count]
        other = self.best[begin]
        self.best[begin], self.best[place] = index, other
        self._place[index], self._place[other] = begin, place
        if begin + 1 < len(self.best) and self.counts[self.best[begin + 1]] == count:
            self._begin[count] = begin + 1
        else:
            del self._begin[count]
        self._begin.setdefault(count + 1, begin)
        self.counts[index] = count + 1


class Interactions:
    """The items of every user, and the popularity of every item, so far in a stream.

    Parameters
    ----------
    repeats : whether a user may be recommended what the same user had

    Attributes
    ----------
    events : learned so far
    item_ids : by item index
    popularity : item indices by the number of their events

    Examples
    --------
    >>> so_far = Interactions(repeats=False)
    >>> for user_id, item_id in [("u", "a"), ("u", "b"), ("v", "b")]:
    ...     _ = so_far.learn_one(user_id, item_id)
    >>> so_far.last("u", 1), so_far.slate("v", [], 2)
    ([1], ['a'])
    """

    def __init__(self, *, repeats: bool) -> None:
        self._repeats = repeats
        self.events = 0
        self.item_ids: list[str] = []
        self.popularity = PopularityOrder()
        self._item_index: dict[str, int] = {}
        self._user_index: dict[str, int] = {}
        # Of each user, the events of each item, the item of the latest event last.
        self._own: list[dict[int, int]] = []

    def learn_one(self, user_id: str, item_id: str) -> tuple[int, int]:
        """Take the next event of the stream; returns the indices of its user and its item."""
        user = self._user_index.setdefault(user_id, len(self._own))
        if user == len(self._own):
            self._own.append({})
        item = self._item_index.setdefault(item_id, len(self.item_ids))
        if item == len(self.item_ids):
            self.item_ids.append(item_id)
        own = self._own[user]
        own[item] = own.pop(item, 0) + 1
        self.popularity.count(item)
        self.events += 1
        return user, item

    def user(self, user_id: str) -> int | None:
        """Index of a user, None before the user's first event."""
        return self._user_index.get(user_id)

    def last(self, user_id: str, n: int, *, among: Container[int] | None = None) -> list[int]:
        """Indices of the last n different items of a user, the latest first; if told so only of those among others."""
        items: Iterable[int] = reversed(self._items_of(user_id))
        if among is not None:
            items = (item for item in items if item in among)
        return list(islice(items, n))

    def own(self, user: int) -> Collection[int]:
        """Indices of the items that the user of this index took."""
        return self._own[user].keys()

    def barred(self, user_id: str) -> Collection[int]:
        """Indices of the items that the user may not be recommended."""
        return () if self._repeats else self._items_of(user_id).keys()

    def _items_of(self, user_id: str) -> dict[int, int]:
        user = self._user_index.get(user_id)
        return {} if user is None else self._own[user]

    def matrix(self, *, last: int) -> csr_matrix:
        """How often each user took each item, of each user's last different items only.

        Returns
        -------
        csr_matrix
            float32, shape (users, items).
        """
        rows = [own if len(own) <= last else dict(islice(reversed(own.items()), last)) for own in self._own]
        sizes = np.fromiter(map(len, rows), np.int64, len(rows))
        columns = np.fromiter(chain.from_iterable(rows), np.int32, int(sizes.sum()))
        counts = np.fromiter(chain.from_iterable(row.values() for row in rows), np.float32, len(columns))
        begins = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
        return csr_matrix((counts, columns, begins), shape=(len(rows), len(self.item_ids)))

    def slate(self, user_id: str, ranked: Iterable[int], k: int) -> list[str]:
        """The first k items of a ranking that the user may be recommended, filled up with the most popular ones.

        Parameters
        ----------
        ranked : item indices, distinct, the best first
        """
        barred = self.barred(user_id)
        chosen = list(islice((item for item in ranked if item not in barred), k))
        if len(chosen) < k:
            taken = set(chosen)
            popular = (item for item in self.popularity.best if item not in barred and item not in taken)
            chosen.extend(islice(popular, k - len(chosen)))
        return [self.item_ids[item] for item in chosen]

    def slate_of_scores(self, user_id: str, scores: np.ndarray, k: int, *, above: float = 0.0) -> list[str]:
        """As `slate`, of the items with the highest scores.

        Parameters
        ----------
        scores : float[m], by item index, of the first m items; it is written to
        above : only items with more than this are ranked; the slate is filled up with popular ones
        """
        barred = self.barred(user_id)
        indices = np.fromiter(barred, np.int64, len(barred))
        scores[indices[indices < len(scores)]] = -np.inf
        return self.slate(user_id, best(scores, k, above=above), k)


def best(scores: np.ndarray, k: int, *, above: float) -> list[int]:
    """Indices of the k highest scores, the highest first, of equal ones the lower index.

    Which of equal scores are left out at the end of the list is not said, but always the same.

    Parameters
    ----------
    scores : float[m]
    above : scores that are not more than this are left out
    """
    # First, as most scores are 0 for most baselines, and a partition of equal numbers takes ten times as long.
    chosen = np.flatnonzero(scores > above)
    if len(chosen) > k:
        chosen = chosen[np.argpartition(-scores[chosen], k)[:k]]
    ordered: list[int] = chosen[np.lexsort((chosen, -scores[chosen]))].tolist()
    return ordered
