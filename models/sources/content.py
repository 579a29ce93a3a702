"""Content: items whose catalogue entries are like those of the user's last items. A new item needs no event to be found.

    score(x) = cosine of x's labels and the user's label vector + max(0, cosine of x's vector and the latest item's)

over what lies in the buckets (`models.content`) of the user's strongest labels and of the latest item's signature.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from models.board import CONTENT, Board, touch
from models.content import BUCKET, LABELS, label_cosine, label_vector, signature_cosine
from models.replica import Replica
from models.sources import Visit

_STRONGEST_LABELS = 3


@njit(cache=True)
def _strongest(vector, size):  # type: ignore[no-untyped-def]
    """Places of the largest positive entries, the largest first."""
    places = np.full(size, -1, np.int64)
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
    return places


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
    chosen[:_STRONGEST_LABELS] = _strongest(vector, _STRONGEST_LABELS)
    if signature != 0:
        for band in range(8):
            byte = (signature >> np.uint64(8 * band)) & np.uint64(0xFF)
            chosen[_STRONGEST_LABELS + band] = LABELS + 256 * band + np.int64(byte)
    for bucket in chosen:
        if bucket < 0:
            continue
        for place in range(min(bucket_sizes[bucket], BUCKET)):
            x = buckets[bucket, place]
            if marks[1 + x] != marks[0]:
                if not touch(x, sums, touched, found, marks, available):
                    continue
                found += 1
            likeness = max(0.0, signature_cosine(signature, signatures[x]))
            sums[x, CONTENT] = label_cosine(x, labels, vector, norm) + likeness
    return found


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

    def choose(self, visit: Visit, board: Board, size: int) -> None:
        """Choose the most alike."""
        board.take_best(CONTENT, size, bit=self._bit)
