"""How the suite is spread over the cores: what starts nothing runs on all of them, then Kafka and Flink have them to themselves."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

# Examples are judged by what they show, not by the wall clock of a machine that does other things too.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_OF_PROCESSES = ("tests/job/", "tests/e2e/")


class ProcessesLast(LoadScopeScheduling):  # type: ignore[misc]
    """File by file to whichever worker is free; all tests of real processes together, to one of them, as the last."""

    def _split_scope(self, nodeid: str) -> str:
        return "processes" if nodeid.startswith(_OF_PROCESSES) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ProcessesLast:
    """The scheduler of `make test`."""
    return ProcessesLast(config, log)
