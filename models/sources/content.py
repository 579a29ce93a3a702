"""Content: items whose catalogue entries are like those of the user's last items. A new item needs no event to be found.

    score(x) = cosine of x's labels and the user's label vector + max(0, cosine of x's vector and the latest item's)

over what lies in the buckets (`models.content`) of the user's strongest labels and of the latest item's signature.

Where the learn path makes vectors of the items (section ``text``), the cosine is exact, and with the user's items instead of the
latest alone:

    score(x) = cosine of the labels + max(0, v_x . u / |u|),     u = sum_d steps_d v_d

over the same buckets, those of the signature of u, and the pool of new items: what nobody has tried has no other way to be found. Where
a scorer has learned what vectors mean to users, what it makes of x's is added: told(x) of `models.scorers.text`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from models.board import CONTENT, Board, begin
from models.content import BUCKET, LABELS, label_cosine, label_vector, signature_cosine
from models.replica import Replica
from models.sources import Visit

_STRONGEST_LABELS = 3
_LEAST = np.float32(1e-6)


@njit(cache=True)
def _strongest(vector, places, size):  # type: ignore[no-untyped-def]
    """Places of the largest positive entries into the first `size` of `places`, which are -1, the largest first."""
    for place in range(len(vector)):
        if vector[place] <= 0:
            continue
        at = size
        while at > 0 and (places[at - 1] < 0 or vector[places[at - 1]] < vector[place]):
            at -= 1
        for p in range(size - 1, at, -1):
            places[p] = places[p - 1]
        if at < size:
            places[at] = place


@njit(cache=True)
def _bands_of(signature, out, first):  # type: ignore[no-untyped-def]
    """The buckets of a signature's bytes into eight places of `out` from `first` on, left alone where there is no signature."""
    if signature != 0:
        for band in range(8):
            byte = (signature >> np.uint64(8 * band)) & np.uint64(0xFF)
            out[first + band] = LABELS + 256 * band + np.int64(byte)


@njit(cache=True)
def add_content(  # type: ignore[no-untyped-def]
    profile, steps, labels, signatures, buckets, bucket_sizes, available, sums, touched, found, marks
):
    """Add the content score of the items in the user's buckets.

    Parameters
    ----------
    profile, steps : of `models.sources.Visit`
    labels, signatures, buckets, bucket_sizes : of `models.content.Content`
    available : bool[items], an item that is not is no candidate
    sums, touched, found, marks : of `models.board.Board`

    Returns
    -------
    int, how many entries of `touched` are valid now
    """
    vector = np.empty(LABELS, np.float32)
    norm = label_vector(profile, steps, labels, vector)
    signature = signatures[profile[0]]
    chosen = np.full(_STRONGEST_LABELS + 8, -1, np.int64)
    _strongest(vector, chosen, _STRONGEST_LABELS)
    _bands_of(signature, chosen, _STRONGEST_LABELS)
    for bucket in chosen:
        if bucket < 0:
            continue
        for place in range(min(bucket_sizes[bucket], BUCKET)):
            x = buckets[bucket, place]
            if marks[1 + x] != marks[0]:
                if marks[1 + x] == -marks[0] or not available[x]:
                    continue
                begin(x, sums, touched, found, marks)
                found += 1
            if sums[x, CONTENT] == 0:  # not from another bucket yet
                likeness = max(0.0, signature_cosine(signature, signatures[x]))
                sums[x, CONTENT] = label_cosine(x, labels, vector, norm) + likeness
    return found


@njit(cache=True)
def vector_sum(profile, steps, rows, values, scales):  # type: ignore[no-untyped-def]
    """Weighted sum of the vectors of the user's items, float32[dimension], of length 1; zeros where none has a vector."""
    out = np.zeros(values.shape[1], np.float32)
    square = np.float32(0.0)
    for d in range(len(profile)):
        row = rows[profile[d]]
        if row >= 0:
            weight = np.float32(steps[d]) * scales[row]
            for c in range(len(out)):
                out[c] += weight * np.float32(values[row, c])
    for c in range(len(out)):
        square += out[c] * out[c]
    if square > 0:
        out /= np.sqrt(square)
    return out


@njit(cache=True)
def vector_cosine(row, values, scales, vector):  # type: ignore[no-untyped-def]
    """Cosine of an item's vector and one of length 1, 0 where it has none."""
    if row < 0:
        return np.float32(0.0)
    dot = np.float32(0.0)
    for c in range(len(vector)):
        dot += np.float32(values[row, c]) * vector[c]
    return dot * scales[row]


@njit(cache=True)
def add_by_vectors(  # type: ignore[no-untyped-def]
    profile,
    steps,
    labels,
    latest,
    signature,
    buckets,
    bucket_sizes,
    rows,
    values,
    scales,
    vector,
    new,
    available,
    sums,
    touched,
    found,
    marks,
):
    """`add_content` with exact cosines.

    Parameters
    ----------
    latest, signature : signatures of the latest item and of `vector`
    rows, values, scales : where the items' vectors stand, and these (`models.text.vectors.ItemVectors`)
    vector : of `vector_sum`
    new : int32[n], the pool of new items
    """
    label_sums = np.empty(LABELS, np.float32)
    norm = label_vector(profile, steps, labels, label_sums)
    chosen = np.full(_STRONGEST_LABELS + 16, -1, np.int64)
    _strongest(label_sums, chosen, _STRONGEST_LABELS)
    _bands_of(latest, chosen, _STRONGEST_LABELS)
    _bands_of(signature, chosen, _STRONGEST_LABELS + 8)
    for b in range(len(chosen) + 1):
        last = b == len(chosen)
        if not last and chosen[b] < 0:
            continue
        for place in range(len(new) if last else min(bucket_sizes[chosen[b]], BUCKET)):
            x = new[place] if last else buckets[chosen[b], place]
            if marks[1 + x] != marks[0]:
                if marks[1 + x] == -marks[0] or not available[x]:
                    continue
                begin(x, sums, touched, found, marks)
                found += 1
            if sums[x, CONTENT] == 0:
                likeness = max(np.float32(0.0), vector_cosine(rows[x], values, scales, vector))
                sums[x, CONTENT] = label_cosine(x, labels, label_sums, norm) + likeness
    return found


def _add_told(board: Board, told: Callable[[np.ndarray, np.ndarray], np.ndarray], rows: np.ndarray, history: np.ndarray) -> None:
    """Add to what is alike how well it fits, by what was learned of vectors."""
    items = board.touched[: board.found]
    items = items[board.sums[items, CONTENT] != 0]
    if len(items):
        # the column is of what the source brings: more than 0
        board.sums[items, CONTENT] = np.maximum(board.sums[items, CONTENT] + told(rows[items], history), _LEAST)


class Content:
    """Candidates by content.

    Parameters
    ----------
    replica : holds what the catalogue says
    bit : of this source in `Board.origins`
    """

    name = "content"

    def __init__(self, replica: Replica, *, bit: int) -> None:
        self._replica, self._bit = replica, bit

    def collect(self, visit: Visit, board: Board) -> None:
        """Score what is in the user's buckets."""
        if len(visit.profile) == 0:
            return
        content = self._replica.content
        if len(self._replica.vectors):
            self._collect_by_vectors(visit, board)
            return
        board.found = add_content(
            visit.profile,
            visit.steps,
            content.labels,
            content.signatures,
            content.buckets,
            content.bucket_sizes,
            self._replica.available,
            board.sums,
            board.touched,
            board.found,
            board.marks,
        )

    def _collect_by_vectors(self, visit: Visit, board: Board) -> None:
        replica, content, vectors = self._replica, self._replica.content, self._replica.vectors
        vector = vector_sum(visit.profile, visit.steps, content.rows, vectors.values, vectors.scales)
        board.found = add_by_vectors(
            visit.profile,
            visit.steps,
            content.labels,
            content.signatures[visit.profile[0]],
            np.uint64(content.signature_of(vector)),
            content.buckets,
            content.bucket_sizes,
            content.rows,
            vectors.values,
            vectors.scales,
            vector,
            replica.pools().new,
            replica.available,
            board.sums,
            board.touched,
            board.found,
            board.marks,
        )

        if replica.told is not None:
            _add_told(board, replica.told, content.rows, replica.hashes[visit.profile])

    def choose(self, visit: Visit, board: Board, size: int) -> None:
        """Choose the most alike."""
        board.take_best(CONTENT, size, bit=self._bit)
