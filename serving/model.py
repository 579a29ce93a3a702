"""What the service knows of the model: the catalogue, popular and similar items, the rules, and what may not be shown.

It is the copy that every recommender of the job holds (`models.replica`), fed from the same compacted topics. One thread applies
records; everybody else reads what it has published: values that are replaced as a whole, or the replica under its lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
from msgspec import Struct

from models.catalogue import decode_catalogue_entry
from models.config import Configuration
from models.controls import control_key, decode_control, require_few
from models.cooccurrence import ROW_PREFIX
from models.events import Rejected
from models.identity import hash64
from models.replica import WIDTH, Replica
from models.rules import Rules
from models.topics import CatalogueItem, kept_value
from serving.answers import Control, SimilarItem

_CONTROL = control_key("").encode()
_ROW = ROW_PREFIX.encode()
_decode_item = msgspec.json.Decoder(CatalogueItem).decode
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class PopularItem:
    """An item that many take, with its title."""

    item_id: str
    title: str | None


class Model:
    """Catalogue, published rows and rules.

    Parameters
    ----------
    configuration : the whole configuration
    on_accepted : called with the name of each rule that the job says it keeps or has taken back

    Attributes
    ----------
    hidden : items that may not be shown: withdrawn from the catalogue, or excluded by a rule
    popular : the best first, without those
    """

    def __init__(self, configuration: Configuration, *, on_accepted: Callable[[str], None] = lambda _: None) -> None:
        self._shrinkage = configuration.item_cf.shrinkage
        self._replica = Replica(configuration)
        self._rules = Rules(self._replica, candidates=configuration.scorer.candidates)
        self._on_accepted = on_accepted
        self._reading = threading.Lock()
        self._items: dict[str, bytes] = {}
        self._accepted: dict[str, bytes] = {}
        self._sent: dict[str, bytes | None] = {}
        self.hidden: frozenset[str] = frozenset()
        self.popular: tuple[PopularItem, ...] = ()

    # ------------------------------------------------------------------------------------------------ the thread that applies

    def apply_item(self, key: bytes | None, value: bytes | None) -> None:
        """Apply one record of `items`; one that is no catalogue entry is passed over, as it is by the job."""
        try:
            item_id, item = decode_catalogue_entry(None if key is None else key.decode("utf-8", "replace"), value)
        except Rejected:
            return
        with self._reading:
            if item is None or value is None:
                self._replica.withdraw(item_id)
                self._items.pop(item_id, None)
                return
            try:
                self._replica.apply_catalogue_item(item_id, item)
            except ValueError:
                return
            self._items[item_id] = value

    def apply_update(self, key: bytes | None, value: bytes | None) -> None:
        """Apply one record of `model-updates`: rows and accepted rules, the other parts are the job's alone.

        Raises
        ------
        ValueError
            When it is a row that this release cannot read.
        """
        if key is None:
            return
        value = kept_value(value)
        if key.startswith(_ROW):
            if value is not None:
                with self._reading:
                    self._replica.apply_row(value)
        elif key.startswith(_CONTROL):
            name = key.removeprefix(_CONTROL).decode("utf-8", "replace")
            if value is None:
                self._accepted.pop(name, None)
            else:
                self._accepted[name] = value
            self._install()
            self._on_accepted(name)

    def apply_control(self, key: bytes | None, value: bytes | None) -> None:
        """Apply one record of `controls`: a good one is kept here at once, whether or not a job runs that accepts it."""
        if key is None:
            return
        name = key.decode("utf-8", "replace")
        try:
            if value is not None:
                decode_control(name, value)
                require_few(self._in_force(), name)
        except Rejected:
            return
        self._sent[name] = value
        self._install()

    def _in_force(self) -> dict[str, Struct]:
        together = dict(self._accepted)
        for name, value in list(self._sent.items()):
            if value is None:
                together.pop(name, None)
            else:
                together[name] = value
        rules = {}
        for name, value in together.items():
            try:
                rules[name] = decode_control(name, value)
            except Rejected:
                continue  # of another release
        return rules

    def _install(self) -> None:
        rules = self._in_force()
        with self._reading:
            self._rules.install(rules)

    def publish(self, *, popular: int) -> None:
        """Let the others see what the records since the last call have changed.

        Parameters
        ----------
        popular : how many of the popular items
        """
        replica = self._replica
        ids = replica.item_ids
        # of a neighbour that is only named in a row the id is not known, and nobody can ask for it
        self.hidden = frozenset(ids[i] for i in np.flatnonzero(~replica.available[: len(ids)]).tolist() if ids[i])
        best = [i for i in replica.pools(at_once=True).popular.tolist() if replica.available[i]]
        if len(best) < popular:
            # a catalogue without events yet: any of it is better than nothing
            there = np.flatnonzero(replica.available[: len(ids)]).tolist()
            best = list(dict.fromkeys([*best, *there[:popular]]))
        self.popular = tuple(PopularItem(ids[i], replica.titles[i]) for i in best[:popular])

    # ------------------------------------------------------------------------------------------------ everybody else

    def item(self, item_id: str) -> CatalogueItem | None:
        """What the catalogue says of an item, None where it has none."""
        raw = self._items.get(item_id)
        return None if raw is None else _decode_item(raw)

    def title(self, item_id: str) -> str | None:
        """Title of an item, None where there is none."""
        item = self.item(item_id)
        return None if item is None else item.title

    def find_items(self, text: str, *, most: int) -> list[tuple[str, str | None]]:
        """Id and title of items whose title or id holds a text, whatever its case; those that begin with it first."""
        wanted, hidden = text.strip().casefold(), self.hidden
        with self._reading:
            known = list(zip(self._replica.item_ids, self._replica.titles, strict=True))
        found = []
        for item_id, title in known:
            if item_id and item_id not in hidden:
                places = [place for place in ((title or "").casefold().find(wanted), item_id.casefold().find(wanted)) if place >= 0]
                if places:
                    found.append((min(places) > 0, title or item_id, item_id, title))
        return [(item_id, title) for _, _, item_id, title in sorted(found, key=lambda entry: entry[:3])[:most]]

    def similar(self, item_id: str, k: int) -> list[SimilarItem] | None:
        """Items that are met with another, by their pairs in both directions over how often each is met.

        Parameters
        ----------
        k : at most so many

        Returns
        -------
        The closest first, without what may not be shown; None where nothing is known of the item.
        """
        with self._reading:
            replica = self._replica
            index = replica.index_of(hash64(item_id))
            if index < 0 or not replica.item_ids[index]:
                return None
            offset, length, _ = replica.lists[index].tolist()
            others = replica.neighbour[offset : offset + length]
            weights = replica.weights[offset : offset + length]
            counts = replica.stats[:, 0] + self._shrinkage
            similarity = (weights[:, 0] + weights[:, WIDTH]) / np.sqrt(counts[index] * counts[others])
            order = np.argsort(-similarity, kind="stable")
            best = [p for p in order.tolist() if replica.available[others[p]]][:k]
            return [
                SimilarItem(
                    item_id=replica.item_ids[others[p]],
                    similarity=float(similarity[p]),
                    title=replica.titles[others[p]],
                )
                for p in best
            ]

    def controls(self) -> dict[str, Control]:
        """All rules by name: those that the job keeps, and those that were sent and which it has not said to keep yet."""
        accepted = dict(self._accepted)
        shown = {
            name: Control(name=name, rule=msgspec.json.decode(value), in_force=True) for name, value in accepted.items()
        }
        for name, value in dict(self._sent).items():
            if value is not None and accepted.get(name) != value:
                shown[name] = Control(name=name, rule=msgspec.json.decode(value), in_force=False)
            elif value is None and name in accepted:
                shown[name] = Control(name=name, rule=None, in_force=False)
        return dict(sorted(shown.items()))

    def require_acceptable(self, name: str, value: bytes) -> None:
        """Check a rule as the job does.

        Raises
        ------
        Rejected
            When no rule has this name, the value is not what it takes, or it would be one too many.
        """
        decode_control(name, value)
        require_few(self._in_force(), name)

    def rules(self) -> dict[str, Struct]:
        """The rules that hold here, by name."""
        return self._in_force()


def encode_popular(popular: tuple[PopularItem, ...]) -> bytes:
    """Popular items as the store keeps them."""
    return _encode([[item.item_id, item.title] for item in popular])


def decode_popular(raw: bytes) -> tuple[PopularItem, ...]:
    """Popular items of the store."""
    return tuple(PopularItem(item_id, title) for item_id, title in msgspec.json.decode(raw))
