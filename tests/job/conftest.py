"""What the JVM is started with in which the jobs of these tests run, MiniCluster and Python included."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.stack.flink import search_path
from cli.stack.jvm import SMALL_JVM


@pytest.fixture(scope="package", autouse=True)
def like_the_stack() -> Iterator[None]:
    """As a TaskManager of the local stack (`cli.stack.flink.environment`)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JVM_ARGS", " ".join(SMALL_JVM))
        patch.setenv("PATH", search_path())
        yield
