"""The configuration of a command: a YAML file, what the command line says instead, and where the local stack listens."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import yaml

from cli.errors import UserError
from cli.stack import Home, Stack
from models.config import BUILT_IN_SCORERS, Configuration, ConfigurationError
from models.validation import parse_configuration


def load_configuration(path: Path | None, overrides: dict[str, dict[str, Any]] | None = None) -> Configuration:
    """Read and validate a configuration.

    Parameters
    ----------
    path : YAML file, None for the defaults
    overrides : values of the command line by section and key; None values are left out

    Where neither names a Kafka or a Flink, a local stack that is running is used.

    Raises
    ------
    UserError
        When the file cannot be read, is not YAML, or does not validate.
    """
    name = "the defaults" if path is None else str(path)
    mapping = {} if path is None else _read(path)
    if not isinstance(mapping, dict):
        raise UserError(f"{name}: expected a mapping of sections, got {type(mapping).__name__}")
    for section, values in (overrides or {}).items():
        given = {key: value for key, value in values.items() if value is not None}
        in_file = mapping.get(section) or {}
        if given and isinstance(in_file, dict):
            mapping[section] = {**in_file, **given}
    _default_to_local_stack(mapping)
    try:
        configuration = parse_configuration(mapping, name)
        _require_scorer(configuration, name)
    except ConfigurationError as error:
        raise UserError(str(error)) from None
    return configuration


def _require_scorer(configuration: Configuration, file: str) -> None:
    """Find out before anything starts whether the scorer can be made and trained on this machine."""
    if configuration.scorer.name not in BUILT_IN_SCORERS:
        from models.scorers import make_scorer

        # a class of one's own stands where the command is called
        sys.path.insert(0, str(Path.cwd()))
        try:
            make_scorer(configuration.scorer)
        except ConfigurationError as error:
            raise ConfigurationError(file=file, key=error.key, expected=error.expected, got=error.got) from None
        finally:
            sys.path.remove(str(Path.cwd()))
    if configuration.learner.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            expected = "cpu on this machine, where PyTorch finds no CUDA"
            raise ConfigurationError(file=file, key="learner.device", expected=expected, got="'cuda'")


def target_configuration(path: Path | None, overrides: dict[str, dict[str, Any]] | None = None) -> Configuration:
    """`load_configuration` for a command that needs a Kafka which is there already.

    Raises
    ------
    UserError
        Also when nothing names a Kafka and no local stack is up: the default address may be somebody else's.
    """
    kafka = (overrides or {}).get("kafka", {})
    named = kafka.get("bootstrap_servers") or (path is not None and _names_a_kafka(_read(path)))
    if not named and Stack.find(Home.from_environment()) is None:
        raise UserError("no local stack is up: start one with `flinkrec up`, or name a Kafka with --bootstrap-servers")
    return load_configuration(path, overrides)


def running_configuration(
    path: Path | None,
    *,
    bootstrap_servers: str | None = None,
    topic_prefix: str | None = None,
    jobmanager: str | None = None,
) -> Configuration:
    """The configuration of a command that looks at a job: by default of the one that was submitted last from this machine.

    Parameters
    ----------
    path : YAML file of another
    bootstrap_servers, topic_prefix, jobmanager : what the command line says instead

    Raises
    ------
    UserError
        As of `target_configuration`.
    """
    return target_configuration(
        path or submitted_configuration(),
        {
            "kafka": {"bootstrap_servers": bootstrap_servers, "topic_prefix": topic_prefix},
            "flink": {"jobmanager": jobmanager},
        },
    )


def _names_a_kafka(mapping: Any) -> bool:
    kafka = mapping.get("kafka") if isinstance(mapping, dict) else None
    return isinstance(kafka, dict) and "bootstrap_servers" in kafka


def on_own_topics(configuration: Configuration, stack: Stack, *, prefix: str) -> Configuration:
    """The same configuration on a local stack, and on topics under a prefix that nobody else uses."""
    kafka = msgspec.structs.replace(
        configuration.kafka, bootstrap_servers=stack.bootstrap_servers, topic_prefix=prefix
    )
    flink = msgspec.structs.replace(configuration.flink, jobmanager=stack.jobmanager)
    return msgspec.structs.replace(configuration, kafka=kafka, flink=flink)


def submitted_configuration() -> Path | None:
    """The configuration of the job that was submitted last from this machine, None where there was none."""
    path = Home.from_environment().deployment / "config.yaml"
    return path if path.is_file() else None


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None


def _default_to_local_stack(mapping: dict[str, Any]) -> None:
    stack = Stack.find(Home.from_environment())
    if stack is None:
        return
    for section, key, value in (
        ("kafka", "bootstrap_servers", stack.bootstrap_servers),
        ("flink", "jobmanager", stack.jobmanager),
    ):
        values = mapping.get(section) or {}
        if isinstance(values, dict):
            mapping[section] = {key: value, **values}
