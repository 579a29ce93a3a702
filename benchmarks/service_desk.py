"""The figures of docs/domains/service.md: a service desk of 30 days in this process, and the kept questions after them.

    python -m benchmarks.service_desk [--seeds 101,102,103] [--encoder words] [--open]

Workload service-desk-1: `models/domains/service.py`, the preset conf/domains/service.yaml. About three minutes a seed with the language
model on one core. `--open`: nothing is learned.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import torch

from cli.configuration import load_configuration
from models.domains.service import DAY_MS, NEW_FROM_DAY, START_MS, Case, ServiceDesk
from models.domains.service_figures import Closed, LocalDesk, ServiceFigures, close, examine, of_days, work
from models.domains.service_texts import TEMPLATES

PRESET = Path(__file__).resolve().parents[1] / "conf" / "domains" / "service.yaml"
DAYS = 30


def main() -> None:
    """Print the figures of each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="101,102,103", help="separated by commas")
    parser.add_argument("--encoder", help="instead of the preset's")
    parser.add_argument("--open", action="store_true", help="the desk learns nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    configuration = load_configuration(PRESET)
    if arguments.encoder:
        text = msgspec.structs.replace(configuration.text, encoder=arguments.encoder)
        configuration = msgspec.structs.replace(configuration, text=text)
    for seed in map(int, arguments.seeds.split(",")):
        world, desk = ServiceDesk(seed=seed), LocalDesk(configuration, learns=not arguments.open)
        closed: list[Closed] = []
        for one in work(world, desk, days=DAYS):
            if not closed:
                _say(seed, "kept, by text alone", ServiceFigures.of(examine(world, desk, day=0)))
            if closed and closed[-1].case.time_ms < START_MS + NEW_FROM_DAY * DAY_MS <= one.case.time_ms:
                _say(seed, f"new templates on day {NEW_FROM_DAY}, asked and kept", _of_new(world, desk))
            closed.append(one)
        for first in (0, DAYS - 5):
            _say(seed, f"cases of days {first} to {first + 4}", of_days(closed, first=first))
        _say(seed, "kept", ServiceFigures.of(examine(world, desk, day=DAYS)))
        _say(seed, "kept, as they are written", ServiceFigures.of(_as_written(world, desk, case) for case in world.kept_cases(day=DAYS)))


def _of_new(world: ServiceDesk, desk: LocalDesk) -> ServiceFigures:
    kept = [case for case in world.kept_cases(day=NEW_FROM_DAY) if case.template in world.new_templates]
    asked = [
        Case(len(TEMPLATES) + number, f"tester of a new one {number}", kept[0].time_ms, text, one.name)
        for number, (one, text) in enumerate((one, text) for one in TEMPLATES if one.name in world.new_templates for text in one.asked)
    ]
    return ServiceFigures.of(close(world, desk, case, reports=False) for case in (*kept, *asked))


def _as_written(world: ServiceDesk, desk: LocalDesk, case: Case) -> Closed:
    said = [text for one in TEMPLATES for text in one.kept]
    text = said[case.number] if case.number < len(said) else case.text
    return close(world, desk, Case(case.number, f"{case.user_id} again", case.time_ms, text, case.template), reports=False)


def _say(seed: int, what: str, figures: ServiceFigures) -> None:
    shares = ("top3", "solved", "handed_over", "precision", "recall", "calibration_error")
    print(f"seed {seed}, {what}: " + ", ".join(f"{name.replace('_', ' ')} {getattr(figures, name):.3f}" for name in shares), flush=True)
    print("    said / right / cases: " + "  ".join(f"{said:.2f}/{right:.2f}/{n}" for said, right, n in figures.reliability), flush=True)


if __name__ == "__main__":
    main()
