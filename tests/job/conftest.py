"""What the JVM is started with in which the jobs of these tests run, MiniCluster and Python included."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack.jvm import SMALL_JVM


@pytest.fixture(scope="package", autouse=True)
def like_the_stack() -> Iterator[None]:
    """As a TaskManager of the local stack (`cli.stack.flink.environment`)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JVM_ARGS", " ".join(SMALL_JVM))
        patch.setenv("PATH", str(Path(sys.base_prefix) / "bin"), prepend=os.pathsep)
        yield
