"""A shop: prices, brands, categories, and pieces in stock that are sold out and come again; docs/domains/products.md specifies it."""

from __future__ import annotations

import numpy as np

from models.domains.base import HOUR_MS, Floats, Ints, Member, TasteWorld, Visit
from models.events import Event
from models.simulation.world import DAY_MS, START_MS
from models.topics import CatalogueItem

_BRANDS = 24
_TASTE, _FAME, _BRAND, _PRICE, _OFFSET = 1.6, 0.6, 1.0, 1.0, -4.5
_CART, _BUYS = 0.4, 1.0
_ACTS_MS = 5_000
_RESTOCK_MS = 3 * DAY_MS
_OTHER_SALES_DAYS = 20
_KINDS = ("lamp", "chair", "kettle", "backpack", "keyboard", "tent", "jacket", "knife", "speaker", "puzzle", "plant pot", "bicycle light")


class ProductsWorld(TasteWorld):
    """The shop.

    Attributes
    ----------
    price : float64[items], in the shop's currency
    brand : int64[items]
    stock : int64[items], pieces that are left
    """

    def __init__(self, seed: int, *, users: int = 150, items: int = 400, start_ms: int = START_MS) -> None:
        super().__init__(seed=seed, users=users, items=items, genres=len(_KINDS), joining_days=4.0, start_ms=start_ms)
        rng = self.rng
        level = rng.normal(3.3, 0.6, len(_KINDS))
        self.price: Floats = np.round(np.exp(level[self.genre] + rng.normal(0, 0.6, items)), 2)
        self.brand: Ints = (2 * self.genre + rng.integers(0, 5, items)) % _BRANDS
        self._fame = rng.normal(size=items)
        self._pieces: Ints = 2 + rng.poisson(4, items)
        self.stock: Ints = self._pieces.copy()
        self._likes = [np.random.default_rng((seed, 10, n)).normal(size=_BRANDS) for n in range(users)]
        self._spends = [float(np.random.default_rng((seed, 11, n)).normal(3.3, 0.7)) for n in range(users)]
        self.schedule((start_ms, item) for item in range(items))
        # pieces leave by other ways too, such as shops in town
        days = rng.exponential(_OTHER_SALES_DAYS, items)
        self._sold_elsewhere = {item: start_ms + int(day * DAY_MS) for item, day in enumerate(days.tolist())}
        self.schedule((time_ms, item) for item, time_ms in self._sold_elsewhere.items())

    def entry(self, item: int, time_ms: int) -> CatalogueItem:
        kind = _KINDS[self.genre[item]]
        return CatalogueItem(
            title=f"{kind.capitalize()} no. {item} by Brand {self.brand[item]}",
            categories=[kind],
            brand=f"Brand {self.brand[item]}",
            price=float(self.price[item]),
            stock=int(self.stock[item]),
        )

    def turn(self, item: int, time_ms: int) -> None:
        """The first record of an item, the last piece sold elsewhere, or new pieces."""
        if time_ms == self._sold_elsewhere[item]:
            self.stock[item] = 0
            self.schedule([(time_ms + _RESTOCK_MS, item)])
        elif self.stock[item] == 0:
            self.stock[item] = self._pieces[item]

    def sell(self, item: int, time_ms: int) -> None:
        """One piece leaves; the catalogue says so."""
        self.stock[item] -= 1
        if self.stock[item] == 0:
            self.schedule([(time_ms + _RESTOCK_MS, item)])
        self.write(item, time_ms)

    def utilities(self, person: Member, time_ms: int) -> Floats:
        n = person.index
        worth: Floats = (
            _TASTE * self.factors @ person.taste
            + _FAME * self._fame
            + _BRAND * self._likes[n][self.brand]
            - _PRICE * np.abs(np.log(self.price) - self._spends[n])
            + _OFFSET
        )
        worth[self.stock == 0] = -np.inf
        worth[list(person.had)] = -np.inf
        return worth

    def buys(self, person: Member, item: int) -> float:
        """Probability that somebody who has an item in the cart buys it: it must be within what they spend."""
        return float(1 / (1 + np.exp(2 * (np.log(self.price[item]) - self._spends[person.index] - _BUYS))))

    def session(self, person: Member, *, k: int, reports: bool) -> Shopping:
        return Shopping(self, person, k=k, reports=reports)


class Shopping(Visit):
    """One visit to the shop."""

    look_ms, away_at_least_ms, returns_ms = 20_000, 2 * HOUR_MS, 12 * HOUR_MS

    def __init__(self, world: ProductsWorld, person: Member, *, k: int, reports: bool) -> None:
        super().__init__(world, person, k=k, reports=reports)
        self._world = world

    def measures(self, shown: Ints, time_ms: int) -> dict[str, float]:
        return {"conversion": 0.0, "revenue": 0.0, "out_of_stock": float((self._world.stock[shown] == 0).sum())}

    def clicked(self, item: int, slate_id: str, place: int, time_ms: int) -> tuple[list[Event], dict[str, float]]:
        world, person = self._world, self.person
        price = float(world.price[item])
        person.had[item] = time_ms
        events = [self.event("click", item, time_ms, slate_id, place)]
        came: dict[str, float] = {}
        if self.rng.random() < _CART:
            events.append(self.event("cart", item, time_ms + _ACTS_MS, slate_id, place, value=price))
            if self.rng.random() < world.buys(person, item):
                events.append(self.event("purchase", item, time_ms + 2 * _ACTS_MS, slate_id, place, value=price))
                world.sell(item, time_ms)
                came = {"conversion": 1.0, "revenue": price}
        return events, came
