"""Gets the Open Bandit sample, for `flinkrec ope --obd`, and keeps it as logs of the form of `cli.bandit.log`.

6 x 10,000 impressions of a fashion shop, of three campaigns and two policies, which show items at three places: one draws them
uniformly, the other is Bernoulli Thompson sampling (Saito, Aihara, Matsutani and Narita, "Open Bandit Dataset and Pipeline",
NeurIPS Datasets and Benchmarks 2021). The data is never part of this repository. It lies in the wheel of obp on PyPI, which is
downloaded, read and thrown away; obp itself is not installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import yaml

from cli.bandit.log import BanditLog, read_log
from cli.errors import UserError
from cli.wheel import DataWheel
from models.ope.policies import Target
from models.ope.rounds import Rounds
from models.ope.thompson import slate_probabilities

POLICIES = {"random": "uniform", "bts": "bts"}
"""Names of the logs, and of the policies that made them."""
CAMPAIGNS = ("all", "men", "women")
LOGS = tuple(f"{policy}/{campaign}" for policy in POLICIES for campaign in CAMPAIGNS)
PRIOR_MEMBER = "obp/policy/conf/prior_bts.yaml"
PRIOR_FILE = "open-bandit-prior.yaml"
PLACES = 3


def member(log: str) -> str:
    """Path in the wheel of a log such as ``random/men``."""
    return f"obp/dataset/obd/{log}/{log.split('/')[1]}.csv"


WHEEL = DataWheel(
    title="the Open Bandit sample",
    requirement="obp==0.4.1",
    sha256={
        PRIOR_MEMBER: "81a54fbdc184021ccc62ab97de81ec35461c032e3d7f99ccaa0a9745f732d251",
        member("random/all"): "7168295b6e0a9eabcf3392320a5dd434e542b68e705d5cd9491499af589812f1",
        member("random/men"): "ede6d08c6877f99cd3770f7d09e26c738e6aa6de4445ccccfb1356ba5d06b1eb",
        member("random/women"): "e65f3bd3beb17664fa69cc129bf7bf852a775f8ffa630506e505fc905315bb34",
        member("bts/all"): "0ad874e4dbf6902f0845dd478ad8dde5ef6903583d3ffaace78411bdad064106",
        member("bts/men"): "db6d1f7ed2d591ba521533e45286d4c1fba7fe57a8ad2e80342210335f43c527",
        member("bts/women"): "e5d1b49a39b608585a2f3014a3f54970430cd37a495c1b73fceb85cdf428a5b8",
    },
)


def open_bandit_log(log: str, cache_dir: Path) -> BanditLog:
    """Read one of the six logs; it knows the policy `bts`, and the log that each of the two policies made itself.

    Parameters
    ----------
    log : one of `LOGS`
    cache_dir : a directory outside the repository; all logs are put into it unless they are there

    Raises
    ------
    UserError
        When there is no such log, or the wheel cannot be had.
    """
    if log not in LOGS:
        raise UserError(f"--obd: expected one of {', '.join(LOGS)}, got {log!r}")
    _require_files(cache_dir)
    campaign = log.split("/")[1]
    read = read_log(_path(cache_dir, log))

    def other(policy: str) -> Callable[[], Rounds]:
        return lambda: read_log(_path(cache_dir, f"{policy}/{campaign}")).rounds

    return BanditLog(
        f"Open Bandit sample, {log}",
        read.rounds,
        read.actions,
        {"bts": lambda: thompson_sampling(read.rounds, cache_dir, campaign)},
        {name: other(policy) for policy, name in POLICIES.items()},
    )


def thompson_sampling(rounds: Rounds, cache_dir: Path, campaign: str) -> Target:
    """Bernoulli Thompson sampling with the beta distributions that it had when the log began; it learned little afterwards."""
    prior = yaml.safe_load((cache_dir / PRIOR_FILE).read_text(encoding="utf-8"))[campaign]
    by_place = slate_probabilities(np.array(prior["alpha"]), np.array(prior["beta"]), places=PLACES)
    return Target.of(rounds, by_place[rounds.position])


def log_of(impressions: bytes) -> pa.Table:
    """The columns of `cli.bandit.log`, from a CSV file of the wheel; it is in the order of time."""
    table = pyarrow.csv.read_csv(pa.BufferReader(impressions))
    names = {"item_id": "action", "position": "position", "click": "reward", "propensity_score": "propensity"}
    names |= {f"user_feature_{number}": f"context_user_feature_{number}" for number in range(4)}
    return table.select(list(names)).rename_columns(list(names.values()))


def _require_files(cache_dir: Path) -> None:
    paths = {log: _path(cache_dir, log) for log in LOGS}
    prior_path = cache_dir / PRIOR_FILE
    if all(path.exists() for path in (*paths.values(), prior_path)):
        return
    cache_dir.mkdir(parents=True, exist_ok=True)
    files = WHEEL.read()
    for log, path in paths.items():
        parquet = pa.BufferOutputStream()
        pyarrow.parquet.write_table(log_of(files[member(log)]), parquet)
        _write(path, parquet.getvalue())
    _write(prior_path, files[PRIOR_MEMBER])


def _path(cache_dir: Path, log: str) -> Path:
    return cache_dir / f"open-bandit-{log.replace('/', '-')}.parquet"


def _write(path: Path, content: bytes | pa.Buffer) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.replace(path)
