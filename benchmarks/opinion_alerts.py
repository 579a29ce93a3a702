"""The figures of docs/domains/opinion.md: two weeks of texts about companies, judged and watched in this process.

    python -m benchmarks.opinion_alerts [--seeds 101,102,103] [--encoder words]

Workload opinion-alerts-1: `models/domains/opinion.py`, the preset conf/domains/opinion.yaml.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import torch

from cli.configuration import load_configuration
from models.domains.opinion import DAYS, START_MS, opinion_stream
from models.domains.opinion_figures import alert_figures, judgement_figures
from models.monitor.judge import Judgement
from models.monitor.local import LocalMonitor
from models.monitor.texts import Label, Text
from models.text.encoder import make_encoder

PRESET = Path(__file__).resolve().parents[1] / "conf" / "domains" / "opinion.yaml"
BATCH = 32
_DAY_MS = 86_400_000


def main() -> None:
    """Print the figures of each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="101,102,103", help="separated by commas")
    parser.add_argument("--encoder", help="instead of the preset's")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    configuration = load_configuration(PRESET)
    text = configuration.text
    encoder = make_encoder(msgspec.structs.replace(text, encoder=arguments.encoder) if arguments.encoder else text)
    for seed in map(int, arguments.seeds.split(",")):
        stream, monitor = opinion_stream(seed), LocalMonitor(configuration.monitor, encoder)
        timed: list[tuple[int, Text | Label]] = [(post.text.event_time_ms, post.text) for post in stream.posts]
        timed += [(one.time_ms, one.label) for one in stream.labels]
        taken = [one for _, one in sorted(timed, key=lambda one: one[0])]
        judgements: dict[str, Judgement] = {}
        for first in range(0, len(taken), BATCH):
            judgements |= {one.text.text.text_id: one for one in monitor.take(taken[first : first + BATCH])}
        monitor.advance(START_MS + (DAYS + 1) * _DAY_MS)
        alerts = alert_figures(stream, monitor.alerts)
        judged = judgement_figures(stream.posts, [judgements[post.text.text_id] for post in stream.posts])
        first_labels = [one.sentiment_right for one in monitor.learned if one.sentiment_right is not None]
        first_labels = first_labels[: len(first_labels) // 8]
        print(
            f"seed {seed}: alerts: precision {alerts.precision:.2f}, recall {alerts.recall:.2f} of {len(stream.surges)}, entities right "
            f"{alerts.entities_right} of {len(alerts.found)}, uncleared {alerts.uncleared}, windows after the begin: median "
            f"{sorted(alerts.windows_late)[len(alerts.windows_late) // 2]:.1f}, most {max(alerts.windows_late):.1f}\n"
            f"    near-duplicates: precision {judged.copy_precision:.3f}, recall {judged.copy_recall:.3f}; right: sentiment "
            f"{judged.sentiment:.3f} (first eighth of the labels, before they are learned: {sum(first_labels) / len(first_labels):.3f}), "
            f"topic {judged.topic:.3f}, entities {judged.entities:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
