"""Who answers goes first: the niceness of the thread that asks for it, and of no other."""

from __future__ import annotations

import os
from threading import Thread

import pytest

from operators import threads

OWN = (os.PRIO_PROCESS, 0)


def niceness_in_a_thread() -> int:
    found = []

    def ask() -> None:
        threads.prefer_this_thread()
        found.append(os.getpriority(*OWN))

    thread = Thread(target=ask)
    thread.start()
    thread.join()
    return found[0]


def may_be_preferred() -> bool:
    """Whether this process may do what the operator tries, by a thread of its own."""
    allowed = []

    def ask() -> None:
        try:
            os.setpriority(*OWN, os.getpriority(*OWN) - 1)
        except PermissionError:
            return
        allowed.append(True)

    thread = Thread(target=ask)
    thread.start()
    thread.join()
    return bool(allowed)


def test_only_the_calling_thread_is_preferred():
    before = os.getpriority(*OWN)
    if not may_be_preferred():
        pytest.skip("without CAP_SYS_NICE; what happens then is the next test")
    assert niceness_in_a_thread() == -10
    assert os.getpriority(*OWN) == before


def test_without_the_right_to_it_nothing_happens(monkeypatch):
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(threads.os, "setpriority", refuse)
    assert niceness_in_a_thread() == os.getpriority(*OWN)
