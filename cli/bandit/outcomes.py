"""The job's own `outcomes` as a source of rounds: from the topic, or from a file with one JSON record a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import get_args

import msgspec

from cli.bandit.log import BanditLog
from cli.errors import UserError
from models.config import Kafka, Policy, PolicyName
from models.ope.outcomes import LoggedOutcome, OutcomeLog
from models.topics import OUTCOMES, topic_name


def outcomes_of_file(path: Path, policy: Policy) -> BanditLog:
    """Read a file.

    Parameters
    ----------
    policy : section of the configuration, parameters of the policies that can be evaluated

    Raises
    ------
    UserError
        When it cannot be read, or a line is no record of `outcomes`; it names the line.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    return _log(str(path), lines, policy)


def outcomes_of_topic(kafka: Kafka, policy: Policy) -> BanditLog:
    """Read what is in the topic now, of ended transactions.

    Raises
    ------
    UserError
        When no broker answers, the topic does not exist, or a record cannot be read.
    """
    from cli.clients import read_topic

    values = [value or b"" for _, value in read_topic(kafka, OUTCOMES, committed=True)]
    return _log(topic_name(kafka.topic_prefix, OUTCOMES), values, policy)


def _log(title: str, records: Iterable[bytes], policy: Policy) -> BanditLog:
    try:
        log = OutcomeLog.of(_decoded(records))
    except ValueError as error:
        raise UserError(f"{title}: {error}") from None
    return BanditLog(
        title,
        log.rounds,
        log.actions,
        targets={f"constant:{action}": partial(log.constant, action) for action in log.actions},
        fitted={name: partial(log.learned, msgspec.structs.replace(policy, name=name)) for name in get_args(PolicyName)},
        left_out={"not activated": log.not_activated, "superseded": log.superseded, "repeated": log.repeated},
    )


def _decoded(records: Iterable[bytes]) -> Iterator[LoggedOutcome]:
    decode = msgspec.json.Decoder(LoggedOutcome).decode
    for number, record in enumerate(records, 1):
        if not record:
            continue
        try:
            yield decode(record)
        except msgspec.DecodeError as error:
            raise ValueError(f"record {number}: {error}") from None

