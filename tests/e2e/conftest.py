"""Real stacks for the end-to-end tests: Kafka and Flink processes in a temporary home, on ports of their own.

The jars are those of the ordinary home (or of FLINKREC_JARS), fetched by `make setup`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.stack import Home, Stack, client, free_ports
from tests.e2e.answered import run, stream
from tests.e2e.kept_client import KeptClient

__all__ = ["run", "stream"]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One running stack for all tests, with a spare TaskManager; a running stack of the developer is left alone."""
    jars = Home.from_environment().jars
    home = Home(tmp_path_factory.mktemp("home"), jars)
    with pytest.MonkeyPatch.context() as patch:
        # So that commands run as processes of their own find the same stack.
        patch.setenv("FLINKREC_HOME", str(home.root))
        patch.setenv("FLINKREC_JARS", str(jars))
        running = Stack.start(home, ports=free_ports(), taskmanagers=3)
        kept = KeptClient(home)
        patch.setattr(client, "run", kept.run)
        try:
            yield running
        finally:
            kept.close()
            running.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of the stack itself come first: they want one that nothing was submitted to and of which nothing was killed."""
    items.sort(key=lambda item: item.path.parent.name == "e2e" and item.path.stem != "test_stack")
