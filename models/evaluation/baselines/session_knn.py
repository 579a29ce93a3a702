"""Session-based nearest neighbours with an index from items to recent sessions, as VMIS-kNN does it."""

from __future__ import annotations

from array import array

import numpy as np

from models.evaluation.interactions import Interactions


class SessionKNN:
    """Recommends from the recent sessions that share items with what the user did last.

    Kersbergen, Sprangers and Schelter, "Serenade: low-latency session-based recommendation in e-commerce at scale",
    SIGMOD 2022 (VMIS-kNN), after Ludewig and Jannach, "Evaluation of session-based recommendation algorithms", User
    Modeling and User-Adapted Interaction 28, 2018. With the user's last items i_1 (the latest), ..., i_s:

        pi(i_d)  = (s - d + 1) / s
        r(n)     = sum of pi(i_d) over the i_d in session n
        score(x) = sum over the nearest sessions n that hold x of r(n) * max(0, 1 - d(n) / 10)

    where d(n) is the least d with i_d in n, and the nearest are the `neighbours` sessions with the highest r of the
    `recent` latest ones that hold any i_d (of equal r the latest).

    What differs: sessions are indexed as they grow, not once a day; the last items are taken from whatever session, as
    after a pause there are none in the current one; and scores are not multiplied by the inverse document frequency,
    which makes them hit less often on films (0.130 instead of 0.151 of the events, before tuning the rest).

    What is kept grows with the events; an answer takes at most `last_items` * `recent` + `neighbours` *
    `session_items` steps and one pass over the items.

    Parameters
    ----------
    repeats : see `Baseline`
    last_items, recent, neighbours : see above; `recent` bounds the sessions of one item, too
    session_gap_ms : a pause of a user that is longer begins a new session
    session_items : of each session so many last items are recommended from
    """

    title = "session kNN"

    def __init__(
        self,
        *,
        repeats: bool,
        last_items: int = 10,
        recent: int = 500,
        neighbours: int = 50,
        session_gap_ms: int = 30 * 60 * 1_000,
        session_items: int = 1_000,
    ) -> None:
        self._so_far = Interactions(repeats=repeats)
        self._last_items, self._recent, self._neighbours = last_items, recent, neighbours
        self._session_gap_ms, self._session_items = session_gap_ms, session_items
        # By session: its items in the order of their first event; the number of its latest event.
        self._items_of_session: list[array[int]] = []
        self._latest_event = np.zeros(1_024, np.int64)
        # By item: the latest sessions that hold it, the latest last.
        self._sessions_of_item: list[array[int]] = []
        # By user: the current session, and the time of its latest event.
        self._current: list[tuple[int, int]] = []
        # By session, for the time of one answer.
        self._similarity = np.zeros(1_024)
        self._first_seen = np.zeros(1_024, np.int64)

    def learn_one(self, user_id: str, item_id: str, event_time_ms: int) -> None:
        user, item = self._so_far.learn_one(user_id, item_id)
        session = self._session(user, event_time_ms)
        if item == len(self._sessions_of_item):
            self._sessions_of_item.append(array("i"))
        items = self._items_of_session[session]
        if item not in items:
            _append_bounded(items, item, self._session_items)
            _append_bounded(self._sessions_of_item[item], session, self._recent)
        self._latest_event[session] = self._so_far.events

    def _session(self, user: int, event_time_ms: int) -> int:
        if user == len(self._current):
            self._current.append((self._new_session(), event_time_ms))
        session, before_ms = self._current[user]
        if event_time_ms - before_ms > self._session_gap_ms:
            session = self._new_session()
        self._current[user] = session, event_time_ms
        return session

    def _new_session(self) -> int:
        session = len(self._items_of_session)
        self._items_of_session.append(array("i"))
        if session == len(self._latest_event):
            self._latest_event = np.concatenate((self._latest_event, np.zeros_like(self._latest_event)))
            self._similarity = np.zeros(2 * session)
            self._first_seen = np.zeros(2 * session, np.int64)
        return session

    def recommend(self, user_id: str, k: int) -> list[str]:
        user, last = self._so_far.user(user_id), self._so_far.last(user_id, self._last_items)
        if user is None:
            return self._so_far.slate(user_id, (), k)
        sessions, weights = self._nearest(last, but=self._current[user][0])
        if not len(sessions):
            return self._so_far.slate(user_id, (), k)
        items = [self._items_of_session[session][-self._session_items :] for session in sessions.tolist()]
        scores = np.bincount(
            np.concatenate(items),
            weights=np.repeat(weights, [len(one) for one in items]),
            minlength=len(self._so_far.item_ids),
        )
        return self._so_far.slate_of_scores(user_id, scores, k)

    def _nearest(self, last: list[int], *, but: int) -> tuple[np.ndarray, np.ndarray]:
        """The nearest sessions, with the weight that each gives to its items."""
        found = [self._sessions_of_item[item][-self._recent :] for item in last]
        sizes = [len(one) for one in found]
        sessions = np.concatenate(found)
        position = np.repeat(np.arange(1, len(last) + 1), sizes)
        sessions, position = sessions[sessions != but], position[sessions != but]
        np.add.at(self._similarity, sessions, 1.0 - (position - 1) / len(last))
        # A session stands once for each item that it shares; written backwards, its first place is what remains.
        places = np.arange(len(sessions))
        self._first_seen[sessions[::-1]] = places[::-1]
        first = self._first_seen[sessions] == places
        similarity = self._similarity[sessions[first]]
        self._similarity[sessions] = 0.0
        sessions, position = sessions[first], position[first]

        latest = self._latest_event[sessions]
        recent = np.argsort(-latest)[: self._recent]
        near = recent[np.argsort(-similarity[recent], kind="stable")[: self._neighbours]]
        return sessions[near], similarity[near] * np.maximum(0.0, 1.0 - 0.1 * position[near])

    def settings(self) -> str:
        return (
            f"last {self._last_items} items, {self._neighbours} of the {self._recent} latest sessions, "
            f"which end after {self._session_gap_ms // 60_000} min"
        )


def _append_bounded(row: array[int], value: int, bound: int) -> None:
    """Append to a row of which the last `bound` values are used; the others leave when they are as many."""
    row.append(value)
    if len(row) >= 2 * bound:
        del row[:-bound]
