"""`flinkrec ope`: what another policy would have earned, from a log of rounds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from cli.errors import UserError
from cli.submit import BOOTSTRAP

if TYPE_CHECKING:
    import numpy as np

    from cli.bandit.log import BanditLog
    from models.ope.evaluation import Evaluation
    from models.ope.intervals import Intervals
    from models.ope.policies import Target
    from models.ope.rounds import Rounds

MUCH_SWITCHED = 0.05


def ope(
    *,
    policy: Annotated[str, typer.Option(help="uniform, logged (what made the log), best-constant, epsilon-greedy (both fitted on "
        "the first half, evaluated on the other), column (target_prob of the file), bts (of --obd).")],
    log: Annotated[Path | None, typer.Option(help="CSV or Parquet: action,reward,propensity[,position][,user_id]"
        "[,context_...][,target_prob or target_prob_ACTION...].")] = None,
    obd: Annotated[str | None, typer.Option(help="A log of the Open Bandit sample instead: random or bts, a slash, and all, men "
        "or women. Downloaded once (25 MB).")] = None,
    outcomes: Annotated[Path | None, typer.Option(help="Records of a job's topic `outcomes` instead, one JSON a line.")] = None,
    topic: Annotated[bool, typer.Option("--topic", help="The topic `outcomes` itself instead, as far as it is committed.")] = False,
    config: Annotated[Path | None, typer.Option(help="Of --outcomes and --topic: YAML file with the policies' parameters and Kafka. "
        "Without it that of the job that was submitted last, or the defaults.")] = None,
    topic_prefix: Annotated[str | None, typer.Option(help="Of --topic, instead of the configuration's.")] = None,
    bootstrap_servers: Annotated[str | None, BOOTSTRAP] = None,
    epsilon: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of epsilon-greedy.")] = 0.1,
    tau: Annotated[float, typer.Option(min=0.0, help="The weight beyond which switch-DR trusts the estimated reward "
        "alone.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Of every draw.")] = 7,
    json: Annotated[Path | None, typer.Option(help="Write all figures to this file, as JSON.")] = None,
) -> None:
    """Estimate the value of a policy from the log of another, and say whether to believe it.

    IPS, SNIPS, doubly robust and switch-DR, each with its 95 % interval. docs/ope.md describes them and the columns of a log.
    """
    import msgspec
    import numpy as np

    from models.ope.evaluation import evaluate, mean_reward

    kafka = {"bootstrap_servers": bootstrap_servers, "topic_prefix": topic_prefix}
    source = _source(log, obd, outcomes, topic=topic, config=config, kafka=kafka)
    rng = np.random.default_rng(seed)
    try:
        rounds, target = _evaluated(source, policy, rng, epsilon)
        evaluation = evaluate(rounds, target, rng, tau=tau)
    except ValueError as error:
        raise UserError(f"{source.title}: {error}") from None
    own = mean_reward(source.own_log[policy](), rng) if policy in source.own_log else None
    _print(evaluation, policy, source, own)
    if json is not None:
        said = {"log": source.title, "policy": policy, "seed": seed, "own_log": own, "left_out": source.left_out}
        report = msgspec.json.encode(said | msgspec.structs.asdict(evaluation))
        try:
            json.write_bytes(msgspec.json.format(report, indent=2) + b"\n")
        except OSError as error:
            raise UserError(f"--json {json}: cannot be written: {error.strerror}") from None


def _source(
    log: Path | None,
    obd: str | None,
    outcomes: Path | None,
    *,
    topic: bool,
    config: Path | None,
    kafka: dict[str, str | None],
) -> BanditLog:
    """The rounds that were asked for. A further source is a further option here."""
    if [log is None, obd is None, outcomes is None, not topic].count(False) != 1:
        raise UserError("expected one of --log, --obd, --outcomes and --topic")
    if log is not None:
        from cli.bandit.log import read_log

        return read_log(log)
    if obd is not None:
        from cli.bandit.openbandit import open_bandit_log
        from cli.stack import Home

        return open_bandit_log(obd, Home.from_environment().data)
    from cli.bandit.outcomes import outcomes_of_file, outcomes_of_topic
    from cli.configuration import load_configuration, running_configuration, submitted_configuration

    if outcomes is not None:
        return outcomes_of_file(outcomes, load_configuration(config or submitted_configuration()).policy)
    configuration = running_configuration(config, **kafka)
    return outcomes_of_topic(configuration.kafka, configuration.policy)


def _evaluated(source: BanditLog, policy: str, rng: np.random.Generator, epsilon: float) -> tuple[Rounds, Target]:
    """The policy by its name, in the rounds to evaluate it on."""
    from models.ope import policies

    def fitted(fit: Callable[..., Target], **settings: Any) -> tuple[Rounds, Target]:
        past, rounds = source.rounds.halves()
        return rounds, fit(past, rounds, rng, **settings)

    rounds = source.rounds
    known: dict[str, Callable[[], tuple[Rounds, Target]]] = {
        "uniform": lambda: (rounds, policies.uniform(rounds)),
        "logged": lambda: (rounds, policies.logged(rounds)),
        "best-constant": lambda: fitted(policies.best_constant),
        "epsilon-greedy": lambda: fitted(policies.epsilon_greedy, epsilon=epsilon),
    }
    if policy in source.targets:
        return rounds, source.targets[policy]()
    if policy in source.fitted:
        return source.fitted[policy]()
    if policy in known:
        return known[policy]()
    if policy == "column":
        raise UserError(f"{source.title}: --policy column needs a column 'target_prob', or one 'target_prob_ACTION' an action")
    raise UserError(f"--policy: expected one of {', '.join((*known, *source.targets, *source.fitted))}, got {policy!r}")


def _print(evaluation: Evaluation, policy: str, source: BanditLog, own: Intervals | None) -> None:
    from rich.table import Table

    console = Console(highlight=False)
    console.print(
        f"{source.title}: {evaluation.rounds:,} rounds evaluated, {evaluation.actions:,} actions, {evaluation.positions} "
        f"position{'s' if evaluation.positions > 1 else ''}.",
        soft_wrap=True,
    )
    if source.left_out:
        counted = ", ".join(f"{count:,} {why}" for why, count in source.left_out.items())
        console.print(f"Left out: {counted}.", soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(f"value of {policy}")
    for heading in ("estimate", "standard error", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for estimate in evaluation.estimates:
        table.add_row(estimate.name, *_figures(estimate.figures))
    if own is not None:
        table.add_row("mean of its own log", *_figures(own), style="dim")
    table.add_row("mean of this log", *_figures(evaluation.logged), style="dim")
    console.print(table)
    overlap = evaluation.overlap
    console.print(
        f"The weights are worth {overlap.effective_rounds:,.0f} of {evaluation.rounds:,} rounds, about "
        f"{overlap.effective_rewards:,.0f} of them rewarded; the largest weight is {overlap.largest_weight:,.1f}, the top 1 % have "
        f"{overlap.top_share:.0%} of their sum, their mean is {overlap.mean_weight:.3f} ± {overlap.mean_weight_error:.3f}.",
        soft_wrap=True,
    )
    if evaluation.switched_share > MUCH_SWITCHED:
        console.print(
            f"Beyond tau = {evaluation.tau:g} lies {evaluation.switched_share:.0%} of the weight: there switch-DR trusts the "
            "estimated rewards, whose error its interval does not count.",
            soft_wrap=True,
        )
    if len(evaluation.estimates) == 2:
        console.print("DR and switch-DR need the policy's probability of every action, not only of the logged one.", soft_wrap=True)
    if evaluation.verdict:
        console.print(f"[bold yellow]{evaluation.verdict}", soft_wrap=True)


def _figures(figures: Intervals) -> tuple[str, str, str]:
    lower, upper = figures.student.lower, figures.student.upper
    return f"{figures.value:.5f}", f"{figures.standard_error:.5f}", f"{lower:.5f} to {upper:.5f}"
