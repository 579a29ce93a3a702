"""What followed the user's last item most often."""

from __future__ import annotations

from heapq import nsmallest

from models.evaluation.interactions import Interactions


class LastItemMarkov:
    """A first-order Markov chain over items, counted one event at a time.

    The score of x after i is the number of times that a user's event on i was followed by an event of the same user on
    x. Of equal scores the more popular item comes first.

    Rendle, Freudenthaler and Schmidt-Thieme, "Factorizing personalized Markov chains for next-basket recommendation",
    WWW 2010, section 3: their chain for everybody, with baskets of one item.

    Parameters
    ----------
    repeats : see `Baseline`

    Examples
    --------
    >>> model = LastItemMarkov(repeats=False)
    >>> for user_id, item_id in [("u", "a"), ("u", "b"), ("v", "c"), ("w", "c"), ("x", "a")]:
    ...     model.learn_one(user_id, item_id, 0)
    >>> model.recommend("x", 2)
    ['b', 'c']
    """

    title = "last-item Markov"

    def __init__(self, *, repeats: bool) -> None:
        self._so_far = Interactions(repeats=repeats)
        # Of each item, how often each other one followed it.
        self._followers: list[dict[int, int]] = []

    def learn_one(self, user_id: str, item_id: str, event_time_ms: int) -> None:
        before = self._so_far.last(user_id, 1)
        _, item = self._so_far.learn_one(user_id, item_id)
        if item == len(self._followers):
            self._followers.append({})
        for last in before:
            row = self._followers[last]
            row[item] = row.get(item, 0) + 1

    def recommend(self, user_id: str, k: int) -> list[str]:
        ranked: list[int] = []
        popularity, barred = self._so_far.popularity.counts, self._so_far.barred(user_id)
        for last in self._so_far.last(user_id, 1):
            row = self._followers[last]
            others = (item for item in row if item not in barred)
            ranked = nsmallest(k, others, key=lambda item: (-row[item], -popularity[item], item))
        return self._so_far.slate(user_id, ranked, k)

    def settings(self) -> str:
        return "transitions counted one event at a time"
