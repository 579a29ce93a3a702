"""User-based collaborative filtering: what the most similar members of the panel have.

    r_ui = sum_v(a_uv * r_vi) / sqrt(sum_v(a_uv ** 2) + eps)

over the `neighbours` most similar members v of the panel (`models.panel`) that share an item with the user, with a_uv either

- the cosine of the two profiles, the user's own ratings falling by `decay` per item back, or
- Pearson's correlation over the items that both have (Resnick et al., "GroupLens", CSCW 1994), with significance weighting:
  it counts in proportion to the number of shared items up to `shared_items` (Herlocker et al., SIGIR 1999).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from models.board import USER_CF, USER_CF_NEAR, Board, begin
from models.config import UserCF as Settings
from models.replica import Replica
from models.sources import Visit

EPSILON = 1e-6
# Of USER_CF_NEAR: a member's rating falls by this factor per item away from the latest one that both have, and what came
# before it counts less than what came after.
_NEAR_DECAY = 0.95
_NEAR_BEFORE = 0.7
_FARTHEST = 200  # profile.items at most
_NEAR = np.array(
    [
        _NEAR_DECAY ** (ahead - 1) if ahead > 0 else _NEAR_BEFORE * _NEAR_DECAY ** max(0, -ahead - 1)
        for ahead in range(-_FARTHEST, _FARTHEST + 1)
    ],
    np.float32,
)
# What is added up of a member.
SCRATCH = 6
_LATEST, _ANCHOR, _XY, _XX, _YY, _SHARED = range(SCRATCH)


@njit(cache=True)
def own_ratings(profile, places, items, size, decay, pearson):  # type: ignore[no-untyped-def]
    """The user's own ratings of the last `size` items, of a repeated item the latest.

    Parameters
    ----------
    profile : int32[m], dense indices of the user's items, the latest first
    places : int32[m], where they stand among `items`
    items : `models.profile.ITEM_DTYPE`[n], the user's
    decay : a weight falls by this factor per item back
    pearson : whether values count as they are, else decayed weights

    Returns
    -------
    rated : int32[r], dense indices
    ratings : float64[r]
    """
    rated, ratings = np.empty(len(profile), np.int32), np.empty(len(profile))
    n, step = 0, 1.0
    for d in range(min(size, len(profile))):
        weight, value = items[places[d]].weight, items[places[d]].value
        again = weight < 0  # what the user did not want is not theirs
        for e in range(n):
            again = again or rated[e] == profile[d]
        if not again:
            rated[n] = profile[d]
            ratings[n] = (value if value == value else weight) if pearson else weight * step
            n += 1
        step *= decay
    return rated[:n], ratings[:n]


@njit(cache=True)
def nearest_members(  # type: ignore[no-untyped-def]
    profile,
    ratings,
    own,
    heads,
    links,
    bits,
    norms,
    means,
    recent,
    neighbours,
    pearson,
    shared_items,
    scratch,
    marks,
):
    """The panel members most similar to a user.

    Parameters
    ----------
    profile : int32[m], dense indices of the user's items, none twice
    ratings : float64[m], the user's own
    own : the user's own number in the panel, which is passed over; -1 for none
    heads, links, bits, norms, means : of `models.panel.Panel`
    recent : members looked at per item, the most recently active first
    neighbours : members returned, at most
    pearson : whether similarity is Pearson's correlation, else the cosine
    shared_items : shared items at which a correlation counts in full
    scratch : float64[members, SCRATCH], of the items that both have: of the user's latest the place in `profile` and in the member's
        items, and the sums of the products of the ratings (of Pearson's: and of the squares, and their number)
    marks : int64[1 + members], marks[0] is a serial, as in `models.sources.item_cf.gather`

    Returns
    -------
    members : int32[n], the most similar first
    similarities : float64[n], above 0
    anchors : int32[n], where in the member's items the user's latest item stands that both have
    """
    marks[0] += 1
    serial = marks[0]
    mean, norm = 0.0, 0.0
    for d in range(len(profile)):
        mean += ratings[d] / len(profile)
        norm += ratings[d] * ratings[d]
    norm = np.sqrt(norm)
    found = 0
    touched = np.empty(min(len(norms), len(profile) * recent), np.int32)
    # One step along all lists at a time: what comes next in each is on its way from memory while the others are worked on.
    walking, at = np.arange(len(profile)), heads[profile]
    left = len(profile)
    for _ in range(recent):
        walks, left = left, 0
        for walk in range(walks):
            e, d = at[walk], walking[walk]
            if e < 0:
                continue
            at[left], walking[left] = links[e].following, d
            left += 1
            v = e >> bits
            if v == own:
                continue
            if marks[1 + v] != serial:
                marks[1 + v] = serial
                touched[found] = v
                found += 1
                scratch[v, :] = 0.0
                scratch[v, _LATEST] = len(profile)
            if d < scratch[v, _LATEST]:
                scratch[v, _LATEST], scratch[v, _ANCHOR] = d, e & ((1 << bits) - 1)
            if pearson:
                x, y = ratings[d] - mean, links[e].rating - means[v]
                scratch[v, _XY] += x * y
                scratch[v, _XX] += x * x
                scratch[v, _YY] += y * y
                scratch[v, _SHARED] += 1.0
            else:
                scratch[v, _XY] += ratings[d] * links[e].rating
        if left == 0:
            break
    members = np.empty(neighbours, np.int32)
    anchors = np.empty(neighbours, np.int32)
    similarities = np.empty(neighbours)
    n = 0
    for f in range(found):
        v = touched[f]
        if pearson:
            spread = np.sqrt(scratch[v, _XX] * scratch[v, _YY])
            similarity = scratch[v, _XY] / spread * min(1.0, scratch[v, _SHARED] / shared_items) if spread > 0 else 0.0
        else:
            lengths = norm * norms[v]
            similarity = scratch[v, _XY] / lengths if lengths > 0 else 0.0
        if similarity <= 0 or (n == neighbours and similarity <= similarities[n - 1]):
            continue
        place = n if n < neighbours else n - 1
        while place > 0 and similarities[place - 1] < similarity:
            similarities[place], members[place] = similarities[place - 1], members[place - 1]
            anchors[place] = anchors[place - 1]
            place -= 1
        similarities[place], members[place], anchors[place] = similarity, v, np.int32(scratch[v, _ANCHOR])
        n = min(n + 1, neighbours)
    return members[:n], similarities[:n], anchors[:n]


@njit(cache=True)
def add_user_cf(  # type: ignore[no-untyped-def]
    members, similarities, anchors, lengths, item, links, bits, available, sums, touched, found, marks
):
    """Add ``r_ui`` of what the members have, and the same with the weight on what is near the item that both had.

    Parameters
    ----------
    members, similarities, anchors : of `nearest_members`
    lengths, item, links, bits : of `models.panel.Panel`
    available : bool[items], an item that is not is no candidate
    sums, touched, found, marks : of `models.board.Board`

    Returns
    -------
    int, how many entries of `touched` are valid now
    """
    squares = EPSILON
    for v in range(len(members)):
        squares += similarities[v] * similarities[v]
    scale = 1.0 / np.sqrt(squares)
    serial = marks[0]
    for v in range(len(members)):
        a = np.float32(similarities[v] * scale)
        first = members[v] << bits
        for e in range(first, first + lengths[members[v]]):
            x = item[e]
            if marks[1 + x] != serial:
                if marks[1 + x] == -serial or not available[x]:
                    continue
                begin(x, sums, touched, found, marks)
                found += 1
            part = a * links[e].rating
            sums[x, USER_CF] += part
            sums[x, USER_CF_NEAR] += part * _NEAR[_FARTHEST + e - first - anchors[v]]
    return found


class UserCF:
    """Candidates by user CF.

    Parameters
    ----------
    settings : section of the configuration
    replica : holds the panel
    bit : of this source in `Board.origins`
    """

    name = "user_cf"

    def __init__(self, settings: Settings, replica: Replica, *, bit: int) -> None:
        self._settings, self._replica, self._bit = settings, replica, bit
        self._pearson = settings.similarity == "pearson"
        self._marks = np.zeros(1, np.int64)
        self._sums = np.zeros((0, SCRATCH))

    def collect(self, visit: Visit, board: Board) -> None:
        """Find the similar members and add what they have."""
        panel, settings = self._replica.panel, self._settings
        if len(panel) == 0:
            return
        if len(panel.lengths) != len(self._sums):
            self._marks = np.zeros(len(panel.lengths) + 1, np.int64)
            self._sums = np.zeros((len(panel.lengths), SCRATCH))
        items, ratings = own_ratings(
            visit.profile,
            visit.places,
            visit.state.items,
            settings.items,
            settings.decay,
            self._pearson,
        )
        members, similarities, anchors = nearest_members(
            items,
            ratings,
            panel.member(visit.user),
            panel.heads,
            panel.links,
            panel.bits,
            panel.norms,
            panel.means,
            settings.recent,
            settings.neighbours,
            self._pearson,
            settings.shared_items,
            self._sums,
            self._marks,
        )
        board.found = add_user_cf(
            members,
            similarities,
            anchors,
            panel.lengths,
            panel.item,
            panel.links,
            panel.bits,
            self._replica.available,
            board.sums,
            board.touched,
            board.found,
            board.marks,
        )

    def choose(self, visit: Visit, board: Board, size: int) -> None:
        """Choose the best by ``r_ui``."""
        board.take_best(USER_CF, size, bit=self._bit)
