"""The report as one HTML file: styles and drawings inside, nothing to load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml

from cli.errors import UserError
from cli.report import writing
from cli.report.plots import milliseconds
from cli.report.sections import by_part, plots_by_section
from models.config import Configuration
from models.evaluation.ablation import Ablation
from models.evaluation.comparison import Comparison
from models.evaluation.figures import Figures
from models.evaluation.report import EvaluationReport
from models.evaluation.uncertainty import Z95, Mean

HIDDEN_SETTINGS = (("kafka", "properties"), ("kafka", "client_properties"), ("flink", "options"))


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a run was made, for the reader of its page.

    Attributes
    ----------
    events_file : name of the file
    engine : ``local`` or ``flink``
    asked : ``before`` or ``served``
    every : every N-th event that could be judged was
    """

    events_file: str
    engine: str
    asked: str
    every: int


def write_page(
    directory: Path,
    figures: Figures,
    report: EvaluationReport,
    protocol: Protocol,
    *,
    ablations: Sequence[Ablation] = (),
    comparison: Comparison | None = None,
) -> Path:
    """Write ``index.html`` and ``figures.json`` into a directory, which is made where it is missing.

    Parameters
    ----------
    figures, report : of the run
    ablations : empty where none were run
    comparison : with the baselines, None where they were not run

    Returns
    -------
    Path of the page.

    Raises
    ------
    UserError
        When nothing was judged, or the directory cannot be written.
    """
    if not report.evaluated:
        raise UserError("--report: no event of this file tested a slate, there is nothing to show")
    html = render(figures, report, protocol, ablations=ablations, comparison=comparison)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "figures.json").write_bytes(figures.encode())
    except OSError as error:
        raise UserError(f"--report {directory}: cannot be written: {error.strerror}") from None
    return writing.write_page(directory, html, option="--report ")


def render(
    figures: Figures,
    report: EvaluationReport,
    protocol: Protocol,
    *,
    ablations: Sequence[Ablation] = (),
    comparison: Comparison | None = None,
) -> str:
    """The whole page."""
    filters = {
        "rate": lambda share: f"{share:.4f}",
        "signed": lambda share: f"{share:+.4f}".replace("-", "−"),
        "milliseconds": milliseconds,
        "percent": lambda share: f"{share:.1%}",
        "date": lambda time_ms: datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%-d %b %Y"),
    }
    return writing.render(
        "page.html.jinja",
        filters=filters,
        figures=figures,
        report=report,
        protocol=protocol,
        ablations=by_part(ablations),
        plots=plots_by_section(figures, ablations, comparison),
        comparison=comparison,
        verdict=_verdict(figures),
        clear=_is_clear,
        changed=_changed(report.config),
        configuration=yaml.safe_dump(_shown_settings(report.config), sort_keys=False, allow_unicode=True),
    )


def _verdict(figures: Figures) -> str:
    ours, baseline = figures.overall.hit_rate.value, figures.overall.best_baseline.hit_rate.value
    found = f"The item that came next was among the {figures.k} recommended in {ours:.1%} of cases"
    if not baseline:
        return f"{found}."
    times = ours / baseline
    return f"{found}, {times:.1f} times as often as on a list of the most popular items."


def _is_clear(mean: Mean) -> bool:
    """Whether zero lies outside the 95 % interval."""
    return abs(mean.value) > Z95 * mean.standard_error


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def _changed(config: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Key, default and value of what is not as in the defaults."""
    defaults = _flat(_shown_settings(msgspec.to_builtins(Configuration())))
    return [
        (key, defaults.get(key, "—"), value)
        for key, value in _flat(_shown_settings(config)).items()
        if defaults.get(key) != value
    ]


def _shown_settings(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration without what may hold passwords: a page is passed on."""
    return {
        section: {
            key: dict.fromkeys(value, "(hidden)") if (section, key) in HIDDEN_SETTINGS else value
            for key, value in values.items()
        }
        for section, values in config.items()
    }
