"""One PyTorch thread, as in the job: on a machine with other work a second one waits more than it computes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from operators.threads import use_one_thread


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """As `operators` do in `open`."""
    use_one_thread()


@pytest.fixture(scope="package", autouse=True)
def unsettled() -> Iterator[None]:
    """What an evaluation does for its pauses is left out: these tests evaluate dozens of times in one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cli.evaluation.local.settle", lambda: None)
        yield
