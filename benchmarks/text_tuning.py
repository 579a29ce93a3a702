"""What it is worth to tune a pretrained encoder by what readers do: the figures of docs/domains/text.md.

    python -m benchmarks.text_tuning [--seeds 101,102,103] [--slates 1000]

Workload text-tuning-1: `models/domains/text.py` with the preset conf/domains/text.yaml, beside the same with `tuned: false`,
which takes the encoder's vectors as they are, and beside the same without texts (scorer `fism`). About a minute a seed.
"""

from __future__ import annotations

import argparse

import msgspec
import torch

from cli.configuration import load_configuration
from cli.domains.registry import find_domain
from models.domains.comparison import compare
from models.simulation.figures import Figure


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="101,102,103", help="separated by commas")
    parser.add_argument("--slates", type=int, default=1000, help="of each run")
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    torch.set_num_threads(1)
    domain = find_domain("text")
    assert domain.world is not None
    preset = load_configuration(domain.preset)
    others = {
        "the untuned encoder": msgspec.structs.replace(preset.scorer, options=preset.scorer.options | {"tuned": False}),
        "no texts": msgspec.structs.replace(preset.scorer, name="fism"),
    }
    for name, scorer in others.items():
        other = msgspec.structs.replace(preset, scorer=scorer)
        print(f"less {name}, {len(seeds)} seeds, {arguments.slates:,} slates each; ± is one standard error of the paired difference:")
        for one in compare(domain.world, preset, other, seeds=seeds, slates=arguments.slates):
            print(f"  {one.name:12} {shown(one.preset)} {shown(one.other)} {shown(one.difference)}", flush=True)


def shown(figure: Figure) -> str:
    """A mean with its standard error, if it has one."""
    return f"{figure.value:+.3f}" + ("" if figure.standard_error is None else f" ± {figure.standard_error:.3f}")


if __name__ == "__main__":
    main()
