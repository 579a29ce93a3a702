"""How the suite is spread over the cores: the tests of the one stack in a row, the others beside them in what they leave of the cores."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

# Examples are judged by what they show, not by the wall clock of a machine that does other things too.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_OF_THE_STACK = "tests/e2e/"
# What takes long comes first, so that no core is left without work at the end.
_FIRST = (_OF_THE_STACK, "tests/lifecycle/", "tests/job/")
_NICENESS = 10


class StackFirst(LoadScopeScheduling):  # type: ignore[misc]
    """All tests of the stack, which is one, to the first worker; the others file by file to whichever is free."""

    def _split_scope(self, nodeid: str) -> str:
        return _OF_THE_STACK if nodeid.startswith(_OF_THE_STACK) else nodeid.partition("::")[0]

    def _assign_work_unit(self, node: object) -> None:
        first = next((scope for prefix in _FIRST for scope in self.workqueue if scope.startswith(prefix)), None)
        if first is not None:
            self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> StackFirst:
    """The scheduler of `make test`."""
    return StackFirst(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Where they run side by side the others give way to the tests of the stack, of which many wait for something, or time it."""
    if "PYTEST_XDIST_WORKER" in os.environ and not item.nodeid.startswith(_OF_THE_STACK):
        _give_way()


@functools.cache
def _give_way() -> None:
    os.nice(_NICENESS)
    group = Path("/proc/self/autogroup")
    if group.exists():
        # Linux weighs sessions against each other, and processes within their session only
        os.setsid()
        group.write_text(str(_NICENESS))
