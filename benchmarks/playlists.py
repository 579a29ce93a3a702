"""The figures of playlists in docs/domains/music.md: slates that go on from the first tracks of a list, and those that know the listener.

    python -m benchmarks.playlists [--seeds 101,102,103] [--slates 1000]

Workload playlists-1: `models/domains/music.py` with the preset conf/domains/music.yaml for so many slates in this process; then 200
listeners of each seed make a list of 15 tracks in a mood drawn evenly, so mostly not their usual one. The recommender is given the first
five (`seed_items`), or only told not to show them (`exclude`); nothing is learned from either. About ten seconds a seed.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from cli.configuration import load_configuration
from models.domains.music import MusicWorld
from models.evaluation.uncertainty import standard_error
from models.requests import Request
from models.simulation.competitors import Flinkrec
from models.simulation.loop import AtOnce, closed_loop
from models.simulation.world import item_id

PRESET = Path(__file__).resolve().parents[1] / "conf" / "domains" / "music.yaml"
LISTS, TRACKS, GIVEN = 200, 15, 5


def measured(seed: int, slates: int) -> dict[str, np.ndarray]:
    """Of each way to ask, the share of the left-out tracks in the slate and the share of its tracks in the genre of the list."""
    configuration = load_configuration(PRESET)
    world, recommender = MusicWorld(seed), Flinkrec(configuration)
    for seen in islice(closed_loop(world, AtOnce(recommender), k=configuration.slate.k), slates):
        now_ms = seen.time_ms
    rng = np.random.default_rng(seed)
    genre_of = {item_id(item): genre for item, genre in enumerate(world.genre)}
    found: dict[str, list[tuple[float, float]]] = {"seed_items": [], "exclude": []}
    for number in range(LISTS):
        person, mood = world.people[rng.integers(len(world.people))], int(rng.integers(len(world.directions)))
        tracks = [item_id(item) for item in world.playlist(person, mood, tracks=TRACKS, rng=rng)]
        given, left_out = tuple(tracks[:GIVEN]), set(tracks[GIVEN:])
        for way, kept in found.items():
            asked = Request(request_id=f"{number} {way}", user_id=person.user_id, event_time_ms=now_ms, **{way: given})
            shown = [item.item_id for item in recommender.pipeline.answer(asked).items]
            kept.append((len(left_out.intersection(shown)) / len(left_out), float(np.mean([genre_of[item] == mood for item in shown]))))
    return {way: np.mean(kept, axis=0) for way, kept in found.items()}


def main() -> None:
    """Print the figures of each seed and their means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="101,102,103", help="separated by commas")
    parser.add_argument("--slates", type=int, default=1000, help="that are seen before the lists")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    by_seed = []
    for seed in map(int, arguments.seeds.split(",")):
        by_seed.append(figures := measured(seed, arguments.slates))
        for way, (recall, genre) in figures.items():
            print(f"seed {seed}, {way:10} recall@10 {recall:.3f}  tracks in the genre of the list {genre:.3f}", flush=True)
    gain = np.array([figures["seed_items"] - figures["exclude"] for figures in by_seed])
    recall, genre = (f"{of.mean():+.3f} ± {standard_error(of):.3f}" for of in gain.T)
    print(f"seed_items less exclude: recall@10 {recall}, genre {genre}")


if __name__ == "__main__":
    main()
