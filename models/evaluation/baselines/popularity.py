"""What most events were about, for everybody."""

from __future__ import annotations

from models.evaluation.interactions import Interactions


class Popularity:
    """The items with the most events so far that the user has not had.

    Examples
    --------
    >>> model = Popularity(repeats=False)
    >>> for user_id, item_id in [("u", "a"), ("v", "b"), ("w", "b")]:
    ...     model.learn_one(user_id, item_id, 0)
    >>> model.recommend("x", 10)
    ['b', 'a']
    """

    title = "popularity"

    def __init__(self, *, repeats: bool) -> None:
        self._so_far = Interactions(repeats=repeats)

    def learn_one(self, user_id: str, item_id: str, event_time_ms: int) -> None:
        self._so_far.learn_one(user_id, item_id)

    def recommend(self, user_id: str, k: int) -> list[str]:
        return self._so_far.slate(user_id, (), k)

    def settings(self) -> str:
        return "all events count the same"
