"""The domain text: its generator does what its page says, and the demo compares what it names."""

from __future__ import annotations

import numpy as np

from cli.configuration import load_configuration
from cli.domains.registry import DOMAINS
from cli.domains.text import variants
from models.domains.text import COVER_NUMBERS, MOODS, SUBJECTS, TextWorld
from models.simulation.world import DAY_MS


def test_subjects_are_in_the_texts_and_moods_on_the_covers():
    world = TextWorld(7)
    entries = [world.entry(item, 0) for item in range(len(world.came_ms))]
    for item, entry in enumerate(entries):
        words = tuple(SUBJECTS.values())[world.genre[item]]
        assert any(word in (entry.text or "") for word in words)
        assert len(entry.vector or ()) == COVER_NUMBERS
    moods = [any(said in (entry.text or "") for mood in MOODS.values() for said in mood) for entry in entries]
    assert 0.4 < np.mean(moods) < 0.6
    cosines = world.covers @ world.covers.T
    same = world.mood[:, None] == world.mood[None, :]
    assert cosines[same].mean() > cosines[~same].mean() + 0.15
    assert (world.came_ms[:150] == world.start_ms).all()
    assert world.came_ms.max() < world.start_ms + 7 * DAY_MS


def test_a_seed_makes_the_same_world_and_another_seed_another():
    one, again, other = TextWorld(3), TextWorld(3), TextWorld(4)
    assert one.entry(200, 0) == again.entry(200, 0) != other.entry(200, 0)


def test_the_variants_differ_in_what_they_are_named_for():
    made = variants(load_configuration(DOMAINS["text"].preset))
    assert [one.text.makes_vectors for one in made.values()] == [True, True, False]
    assert [one.scorer.options.get("tuned", True) for one in made.values()] == [True, False, True]
