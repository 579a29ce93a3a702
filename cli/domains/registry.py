"""The domains that `flinkrec demo --domain` knows. What a domain needs is imported when it runs: the list answers at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from cli.stack import Home, Stack
    from models.config import Configuration
    from models.simulation.loop import DomainWorld

DEFAULT = "products"


@dataclass(frozen=True, slots=True)
class DomainDemo:
    """What a demo of a domain is given.

    Attributes
    ----------
    console : to print on
    home : directory of everything that is written; the page belongs into `pages`
    stack : Kafka and Flink, started
    configuration : the preset, on that stack
    """

    console: Console
    home: Home
    stack: Stack
    configuration: Configuration

    def pages(self, name: str) -> Path:
        """The directory of a domain's page, made where it is missing."""
        directory = self.home.root / "domains" / name
        directory.mkdir(parents=True, exist_ok=True)
        return directory


@dataclass(frozen=True, slots=True)
class Domain:
    """One domain.

    Attributes
    ----------
    name : as the command line and the preset's file say it
    title : what it is, in a few words
    preset : path of its configuration
    run : shows it, and returns the page that it ends with
    world : makes the world of a seed, where the domain is one of people who react to slates (`models.domains`)
    """

    name: str
    title: str
    preset: Path
    run: Callable[[DomainDemo], Path]
    world: Callable[[int], DomainWorld] | None = None


def preset_path(name: str) -> Path:
    """The file of a domain's preset, as it is packaged."""
    import conf

    assert conf.__file__ is not None
    return Path(conf.__file__).parent / "domains" / f"{name}.yaml"


def _world(name: str) -> Callable[[int], DomainWorld]:
    """Makes the world of a domain; the worlds are imported only then, as the names of the domains are wanted by `--help`."""

    def make(seed: int) -> DomainWorld:
        from models.domains.ads import AdsWorld
        from models.domains.music import MusicWorld
        from models.domains.news import NewsWorld
        from models.domains.products import ProductsWorld
        from models.domains.text import TextWorld
        from models.domains.video import VideoWorld

        worlds: dict[str, Callable[[int], DomainWorld]] = {
            "ads": AdsWorld,
            "music": MusicWorld,
            "news": NewsWorld,
            "products": ProductsWorld,
            "text": TextWorld,
            "video": VideoWorld,
        }
        return worlds[name](seed)

    return make


def _show_ads(demo: DomainDemo) -> Path:
    from cli.domains.ads import spending
    from cli.domains.people import show

    return show(demo, DOMAINS["ads"], headline="revenue", sections=spending)


def _show_text(demo: DomainDemo) -> Path:
    from cli.domains.text import show

    return show(demo)


def _show_service(demo: DomainDemo) -> Path:
    from cli.domains.service import show

    return show(demo)


def _of_people(name: str, title: str, *, headline: str) -> Domain:
    """A domain whose demo is people who react to slates in its world."""

    def run(demo: DomainDemo) -> Path:
        from cli.domains.people import show

        return show(demo, DOMAINS[name], headline=headline)

    return Domain(name, title, preset_path(name), run, _world(name))


def _show_opinion(demo: DomainDemo) -> Path:
    from cli.domains.opinion import show

    return show(demo)


DOMAINS: dict[str, Domain] = {
    domain.name: domain
    for domain in (
        _of_people("products", "a shop with prices, brands and stock", headline="revenue"),
        _of_people("news", "items that live for hours, breaking ones at once", headline="dwell_s"),
        _of_people("music", "tracks that are heard again, moods, and skips", headline="listened"),
        _of_people("video", "films, and series in order, watched to the end or not", headline="minutes"),
        Domain("ads", "a site with ads: bids, budgets, frequency caps", preset_path("ads"), _show_ads, _world("ads")),
        Domain("text", "stories told by a few sentences and a cover", preset_path("text"), _show_text, _world("text")),
        Domain("service", "questions of customers, and the answer templates that solve them", preset_path("service"), _show_service),
        Domain("opinion", "what is written about companies: topics, mood, alerts", preset_path("opinion"), _show_opinion),
    )
}


def listed() -> str:
    """The domains, one a line."""
    width = max(map(len, DOMAINS))
    return "\n".join(f"  {domain.name:{width}}  {domain.title}" for domain in DOMAINS.values())


def find_domain(name: str) -> Domain:
    """The domain of a name.

    Raises
    ------
    UserError
        When there is none; it lists those that there are.
    """
    domain = DOMAINS.get(name)
    if domain is None:
        raise UserError(f"--domain: there is no domain {name!r}; these are there:\n{listed()}")
    return domain
