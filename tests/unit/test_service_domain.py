"""The service desk as a domain: its texts, its customers, and that the preset does better there than the shop's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import yaml

from models.config import Configuration
from models.domains.service import DAY_MS, NEW_FROM_DAY, PERSON, START_MS, ServiceDesk
from models.domains.service_figures import LocalDesk, ServiceFigures, examine, work
from models.domains.service_texts import TEMPLATES, UNANSWERED_ASKED, UNANSWERED_KEPT
from models.text.encoder import TextEncoder, make_encoder
from models.text.words import words_of
from models.validation import parse_configuration

PRESETS = Path(__file__).resolve().parents[2] / "conf" / "domains"
CASES = 200


def preset(name: str) -> Configuration:
    return parse_configuration(yaml.safe_load((PRESETS / f"{name}.yaml").read_text()) or {}, f"{name}.yaml")


def test_questions_are_kept_apart_and_in_words_of_their_own():
    said = [text for one in TEMPLATES for text in (*one.asked, *one.kept)] + [*UNANSWERED_ASKED, *UNANSWERED_KEPT]
    assert len(set(said)) == len(said)
    assert len({one.name for one in TEMPLATES}) == len(TEMPLATES) == 80
    assert {(len(one.asked), len(one.kept)) for one in TEMPLATES} == {(3, 3)}
    # words that half of the templates have say nothing
    often = {word for word, n in Counter(w for one in TEMPLATES for w in set(words_of(one.text))).items() if n > 16}
    shares = []
    for one in TEMPLATES:
        own = set(words_of(f"{one.title} {one.text}"))
        for text in one.kept:
            asked = set(words_of(text)) - often
            shares.append(len(asked & own) / max(1, len(asked)))
    assert np.mean(shares) < 0.25
    assert np.mean([share > 0.5 for share in shares]) < 0.05


def test_the_same_seed_gives_the_same_desk_and_another_another():
    one, same, other = (list(ServiceDesk(seed=seed).cases(days=2)) for seed in (1, 1, 2))
    assert one == same
    assert [case.text for case in one] != [case.text for case in other]
    assert len(one) == 120


def test_new_templates_are_written_later_and_nobody_can_be_given_them_before():
    world = ServiceDesk(seed=1)
    assert {name for name, _ in world.catalogue(day=NEW_FROM_DAY)} == world.new_templates
    assert len(world.catalogue(day=0)) + len(world.new_templates) == len(TEMPLATES)
    asked = [case for case in world.cases(days=30) if case.template in world.new_templates]
    late = {case.time_ms >= START_MS + NEW_FROM_DAY * DAY_MS for case in asked if world.is_answerable(case)}
    assert late == {True}
    early = next(case for case in asked if not world.is_answerable(case))
    assert {report.item_id for report in world.handle(early, (), hands_over=True).reports} == {PERSON}


def test_customers_take_the_right_answer_and_go_to_a_person_without_it():
    world, wrong = ServiceDesk(seed=1), ["x", "y", "z"]
    cases = [case for case in world.cases(days=10) if world.is_answerable(case)]
    first = [world.handle(case, [case.template or "", *wrong], hands_over=False) for case in cases]
    assert 0.92 < np.mean([handled.solved_by == case.template for case, handled in zip(cases, first, strict=True)]) < 0.98
    without = [world.handle(case, wrong, hands_over=False) for case in cases]
    assert np.mean([handled.solved_by is not None for handled in without]) < 0.08
    by_template = [any(r.type == "solved" and r.item_id == c.template for r in h.reports) for c, h in zip(cases, without, strict=True)]
    assert 0.45 < np.mean(by_template) < 0.6


class Remembering:
    """An encoder that encodes no text twice: three desks are asked the same."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder, self._known = encoder, dict[str, np.ndarray]()
        self.name, self.version, self.dimension = encoder.name, encoder.version, encoder.dimension

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        for text in texts:
            if text not in self._known:
                self._known[text] = self._encoder.encode([text])[0]
        return np.stack([self._known[text] for text in texts])


def worked(configuration: Configuration, encoder: TextEncoder, *, learns: bool = True) -> tuple[ServiceFigures, ServiceFigures]:
    """Figures of the first cases, and of some of the kept ones after them."""
    world, desk = ServiceDesk(seed=1), LocalDesk(configuration, encoder=encoder, learns=learns)
    closed = list(islice(work(world, desk, days=30), CASES))
    return ServiceFigures.of(closed), ServiceFigures.of(examine(world, desk, day=30)[::6])


def test_the_preset_solves_more_than_the_shops_preset_and_learns():
    service = preset("service")
    encoder = Remembering(make_encoder(service.text))
    learned, kept = worked(service, encoder)
    frozen, _ = worked(service, encoder, learns=False)
    # it would refuse the reports of a desk: it is given the types that the desk has
    shop, kept_shop = worked(msgspec.structs.replace(preset("products"), events=service.events), encoder)
    assert learned.top3 > frozen.top3 + 0.03
    assert learned.solved > 1.5 * shop.solved
    assert kept.top3 > 0.4
    assert kept.top3 > 2 * kept_shop.top3
    assert learned.recall > 0.6
    assert shop.handed_over == 0
