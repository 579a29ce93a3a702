"""One PyTorch thread, as in the job: on a machine with other work a second one waits more than it computes."""

from __future__ import annotations

import pytest

from operators.threads import use_one_thread


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """As `operators` do in `open`."""
    use_one_thread()
