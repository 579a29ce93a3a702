"""Item-based collaborative filtering: what follows and precedes the user's last items.

    score(x) = sum_d step_d * C[j_d, x] / sqrt((n_{j_d} + shrinkage) * (n_x + shrinkage))
    step_d = decay**(d-1) * gap_decay**(pauses since j_d) * weight of the event on j_d * (liked or disliked weight)

An event of a negative weight, such as a skip, takes away from what is near its item, from all sums alike.

with C of `models.cooccurrence` and the user's items j_1 (the latest), j_2, .... One pass over the neighbour lists of the
profile gathers this score, and the two others that candidates are chosen by, for all that is in them. A second one gathers the
variants (other decays, one direction only, the latest item alone, ...) side by side, for what was chosen alone: they are the
collaborative features of a candidate.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from models.board import (
    BACKWARD_LAST,
    BEST,
    CF,
    CF_FORWARD,
    CF_LONG,
    CF_PLAIN,
    CF_SHORT,
    FAST_BACKWARD,
    FAST_FORWARD,
    FORWARD_LAST,
    LIKED,
    POINTERS,
    SITTING,
    SUMS,
    Board,
    begin,
)
from models.config import ItemCF as Settings
from models.replica import Replica
from models.sources import Visit

LONG_DECAY = 0.98
SHORT_DECAY = 0.6
_POINTING_ITEMS = 10
_SHARE_OF_OTHER_ORDERS = 0.15
# Kinds of weights that a neighbour has.
_WEIGHTS = 5
_FORWARD, _BACKWARD, _FAST_FORWARD, _FAST_BACKWARD, _SITTING = range(_WEIGHTS)


@njit(cache=True)
def profile_steps(places, items, mean_value, decay, gap_decay, liked_weight, disliked_weight):  # type: ignore[no-untyped-def]
    """How much each of the user's items counts.

    Parameters
    ----------
    places : int32[m], where among `items` those that count stand, the latest first
    items : `models.profile.ITEM_DTYPE`[n], the user's
    mean_value : of this user, NaN where there is none

    Returns
    -------
    steps : float64[m], ``step_d`` of the module docstring
    liked : float64[m], 1 where the value is at or above the user's mean, else 0
    """
    steps, liked = np.empty(len(places)), np.zeros(len(places))
    step = 1.0
    for d in range(len(places)):
        item = items[places[d]]
        if d > 0:
            step *= decay
            if item.sitting != items[places[d - 1]].sitting:
                step *= gap_decay
        steps[d] = step * item.weight
        if item.weight > 0 and item.value == item.value and mean_value == mean_value:
            liked[d] = 1.0 if item.value >= mean_value else 0.0
            steps[d] *= liked_weight if liked[d] > 0 else disliked_weight
    return steps, liked


@njit(cache=True)
def gather(  # type: ignore[no-untyped-def]
    profile,
    steps,
    lists,
    neighbour,
    weights,
    counts,
    available,
    reverse_weight,
    shrinkage,
    sums,
    touched,
    found,
    marks,
):
    """Sum over the neighbour lists of a profile what candidates are chosen by: the columns CF, CF_SHORT and FAST_FORWARD.

    Parameters
    ----------
    profile : int32[m], dense indices of the user's items, the latest first
    steps : of `profile_steps`
    lists, neighbour, weights : of `models.replica.Replica`
    counts : float64[items], events of each item
    available : bool[items], an item that is not is no candidate
    sums, touched, found, marks : of `models.board.Board`

    Returns
    -------
    int, how many entries of `touched` are valid now
    """
    already, serial = found, marks[0]
    reverse = np.float32(reverse_weight)
    short = 1.0
    for d in range(len(profile)):
        j = profile[d]
        norm_j = 1.0 / np.sqrt(counts[j] + shrinkage)
        at_step = np.float32(steps[d] * norm_j)
        at_short = np.float32(short * norm_j if steps[d] >= 0 else -short * norm_j)
        for s in range(lists[j, 0], lists[j, 0] + lists[j, 1]):
            x = neighbour[s]
            if marks[1 + x] != serial:
                if marks[1 + x] == -serial or not available[x]:
                    continue
                begin(x, sums, touched, found, marks)
                found += 1
            backward, forward, fast_forward = weights[s, 0], weights[s, 3], weights[s, 4]
            both = forward + reverse * backward
            sums[x, CF] += at_step * both
            sums[x, CF_SHORT] += at_short * both
            sums[x, FAST_FORWARD] += at_short * fast_forward
        short *= SHORT_DECAY
    for f in range(already, found):
        x = touched[f]
        norm_x = np.float32(1.0 / np.sqrt(counts[x] + shrinkage))
        for column in (CF, CF_SHORT, FAST_FORWARD):
            sums[x, column] *= norm_x
    return found


@njit(cache=True)
def fill(  # type: ignore[no-untyped-def]
    items, profile, steps, liked, lists, neighbour, weights, counts, decay, reverse_weight, shrinkage, sums, places
):
    """Fill all columns of item CF for the few items that were chosen, by a second pass over the neighbour lists.

    Parameters
    ----------
    items : int32[n], dense indices, none twice
    profile, steps, lists, neighbour, weights, counts, sums : as in `gather`
    liked : of `profile_steps`
    decay : per step back, of the sums that follow the order alone
    places : int32[all items], scratch, all zeros before and after

    Returns
    -------
    float64[n, m], what each profile item adds to the CF score of each of `items`
    """
    reverse = np.float32(reverse_weight)
    nothing = np.float32(0.0)
    parts = np.zeros((len(items), len(profile)))
    norms = np.empty(len(items))
    for k in range(len(items)):
        places[items[k]] = k + 1
        norms[k] = 1.0 / np.sqrt(counts[items[k]] + shrinkage)
        for c in range(CF, LIKED + 1):
            sums[items[k], c] = nothing
    # What each weight of a neighbour adds to the columns. A whole row is added at once, zeros too: with vector instructions
    # that takes a third of the time of the thirteen sums one by one.
    adds = np.zeros((_WEIGHTS, SUMS), np.float32)
    plain, long, short = 1.0, 1.0, 1.0
    for d in range(len(profile)):
        j = profile[d]
        norm_j = 1.0 / np.sqrt(counts[j] + shrinkage)
        step = steps[d] * norm_j
        at_step = np.float32(step)
        if steps[d] < 0:
            norm_j = -norm_j
        adds[_FORWARD, CF] = at_step
        adds[_FORWARD, CF_PLAIN] = plain * norm_j
        adds[_FORWARD, CF_LONG] = long * norm_j
        adds[_FORWARD, CF_SHORT] = short * norm_j
        adds[_FORWARD, LIKED] = at_step * liked[d]
        adds[_FORWARD, CF_FORWARD] = plain * norm_j
        adds[_FORWARD, FORWARD_LAST] = norm_j if d == 0 else 0.0
        for column in (CF, CF_PLAIN, CF_LONG, CF_SHORT, LIKED):
            adds[_BACKWARD, column] = reverse * adds[_FORWARD, column]
        adds[_BACKWARD, BACKWARD_LAST] = reverse * adds[_FORWARD, FORWARD_LAST]
        adds[_FAST_FORWARD, FAST_FORWARD] = short * norm_j
        adds[_FAST_BACKWARD, FAST_BACKWARD] = short * norm_j
        adds[_SITTING, SITTING] = plain * norm_j
        pointer = np.float32(1.0 if d < _POINTING_ITEMS else 0.0)
        for s in range(lists[j, 0], lists[j, 0] + lists[j, 1]):
            k = places[neighbour[s]] - 1
            if k < 0:
                continue
            x = items[k]
            backward, fast_backward, sitting_backward = weights[s, 0], weights[s, 1], weights[s, 2]
            forward, fast_forward, sitting_forward = weights[s, 3], weights[s, 4], weights[s, 5]
            both = forward + reverse * backward
            sitting = sitting_forward + reverse * sitting_backward
            best = max(sums[x, BEST], at_step * both)
            pointers = sums[x, POINTERS] + (pointer if both > nothing else nothing)
            for c in range(SUMS):
                sums[x, c] += (
                    adds[_FORWARD, c] * forward
                    + adds[_BACKWARD, c] * backward
                    + adds[_FAST_FORWARD, c] * fast_forward
                    + adds[_FAST_BACKWARD, c] * fast_backward
                    + adds[_SITTING, c] * sitting
                )
            sums[x, BEST] = best
            sums[x, POINTERS] = pointers
            parts[k, d] = step * norms[k] * (forward + reverse_weight * backward)
        plain *= decay
        long *= LONG_DECAY
        short *= SHORT_DECAY
    for k in range(len(items)):
        x = items[k]
        pointers, norm_x = sums[x, POINTERS], np.float32(norms[k])
        for c in range(CF, LIKED + 1):
            sums[x, c] *= norm_x
        sums[x, POINTERS] = pointers
        places[x] = 0
    return parts


@njit(cache=True)
def largest_parts(parts, rows, named, most):  # type: ignore[no-untyped-def]
    """The largest parts of some rows.

    Parameters
    ----------
    parts : float64[n, m]
    rows : int64[k], which are looked at
    named : bool[m], columns that may be chosen
    most : how many are chosen of a row

    Returns
    -------
    columns : int64[k, most], -1 behind the last positive part
    chosen : float64[k, most], their parts, the largest first
    rest : float64[k], the sum of all the others
    totals : float64[k], the sum of all
    """
    k, m = len(rows), parts.shape[1]
    columns = np.full((k, most), -1, np.int64)
    chosen = np.zeros((k, most))
    rest, totals = np.zeros(k), np.zeros(k)
    for row in range(k):
        for d in range(m):
            part = parts[rows[row], d]
            left_over = part
            if named[d] and part > 0:
                place = most
                while place > 0 and part > chosen[row, place - 1]:
                    place -= 1
                if place < most:
                    left_over = chosen[row, most - 1]
                    for p in range(most - 1, place, -1):
                        chosen[row, p] = chosen[row, p - 1]
                        columns[row, p] = columns[row, p - 1]
                    chosen[row, place] = part
                    columns[row, place] = d
            rest[row] += left_over
            totals[row] += part
    return columns, chosen, rest, totals


class ItemCF:
    """Candidates by item CF: most by its score, some by what follows the last few items, some by a fast decay.

    It is the first source to collect: its sums are normalised over all items touched by itself.

    Parameters
    ----------
    settings : section of the configuration
    replica : the model
    bit : of this source in `Board.origins`
    """

    name = "item_cf"

    def __init__(self, settings: Settings, replica: Replica, *, bit: int) -> None:
        self._settings, self._replica, self._bit = settings, replica, bit
        self._places = np.zeros(0, np.int32)

    def collect(self, visit: Visit, board: Board) -> None:
        """Gather the columns that candidates are chosen by."""
        replica, settings = self._replica, self._settings
        board.found = gather(
            visit.profile,
            visit.steps,
            replica.lists,
            replica.neighbour,
            replica.weights,
            replica.stats[:, 0],
            replica.available,
            settings.reverse_weight,
            settings.shrinkage,
            board.sums,
            board.touched,
            board.found,
            board.marks,
        )

    def choose(self, visit: Visit, board: Board, size: int) -> None:
        """Choose by the score, and a share each by the two other orders: what the score ranks too low."""
        by_others = int(size * _SHARE_OF_OTHER_ORDERS)
        board.take_best(CF, size - 2 * by_others, bit=self._bit)
        board.take_best(FAST_FORWARD, by_others, bit=self._bit)
        board.take_best(CF_SHORT, by_others, bit=self._bit)

    def fill(self, visit: Visit, board: Board) -> np.ndarray:
        """Fill all of item CF's columns of what was chosen, whichever source chose it.

        Returns
        -------
        float64[candidates, m], what each item of `visit.profile` adds to their scores; each row sums to the score
        """
        replica, settings = self._replica, self._settings
        if len(self._places) != replica.capacity:
            self._places = np.zeros(replica.capacity, np.int32)
        return fill(
            board.chosen,
            visit.profile,
            visit.steps,
            visit.liked,
            replica.lists,
            replica.neighbour,
            replica.weights,
            replica.stats[:, 0],
            settings.score_decay,
            settings.reverse_weight,
            settings.shrinkage,
            board.sums,
            self._places,
        )
