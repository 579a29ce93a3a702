"""What `open` does for the first record of a process, and for its pauses, is left out: these tests open hundreds of operators in one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def as_they_are() -> Iterator[None]:
    """Kernels are compiled when they are first called, which changes no result."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("recommend", "learn"):
            patch.setattr(f"operators.{module}.be_warm", lambda configuration: None)
        yield
