"""What a part is worth: the same events judged with it and without it."""

from __future__ import annotations

from msgspec import Struct

from models.evaluation.recorder import Recording
from models.evaluation.splits import gains, hits
from models.evaluation.uncertainty import Mean, mean_of


class Ablation(Struct, frozen=True, kw_only=True):
    """A run with one part exchanged or left out, against the whole.

    Attributes
    ----------
    part : what was changed, such as ``without features``
    name : which one, such as ``content``
    hit_rate, ndcg : of the changed run
    hit_rate_change, ndcg_change : paired differences, the changed run less the whole: negative where the part helps
    """

    part: str
    name: str
    hit_rate: Mean
    ndcg: Mean
    hit_rate_change: Mean
    ndcg_change: Mean


def ablation_of(part: str, name: str, *, whole: Recording, changed: Recording) -> Ablation:
    """Compare two runs event by event.

    Most events are hit by both or by neither; the error of the paired difference is therefore several times smaller than
    that of the difference of two runs over different events.

    Raises
    ------
    ValueError
        When the two did not judge the same events.
    """
    judged = whole.judged
    if len(judged) != len(changed.judged) or (judged != changed.judged).any():
        raise ValueError(f"{part} {name}: expected the same judged events as in the whole run")
    users, before, after = whole.users[judged], whole.positions[judged], changed.positions[judged]
    return Ablation(
        part=part,
        name=name,
        hit_rate=mean_of(hits(after), users),
        ndcg=mean_of(gains(after), users),
        hit_rate_change=mean_of(hits(after) - hits(before), users),
        ndcg_change=mean_of(gains(after) - gains(before), users),
    )
