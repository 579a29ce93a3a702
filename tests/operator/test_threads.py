"""Who answers goes first: the niceness of the thread that asks for it, and of no other."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from operators import threads

OWN = (os.PRIO_PROCESS, 0)


def in_a_thread(ask):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(ask).result()


def niceness_of_the_preferred():
    threads.prefer_this_thread()
    return os.getpriority(*OWN)


def may_be_preferred():
    """Whether this process may do what the operator tries."""
    try:
        os.setpriority(*OWN, os.getpriority(*OWN) - 1)
    except PermissionError:
        return False
    return True


def test_only_the_calling_thread_is_preferred():
    before = os.getpriority(*OWN)
    if not in_a_thread(may_be_preferred):
        pytest.skip("without CAP_SYS_NICE; what happens then is the next test")
    assert in_a_thread(niceness_of_the_preferred) == -10
    assert os.getpriority(*OWN) == before


def test_without_the_right_to_it_nothing_happens(monkeypatch):
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(threads.os, "setpriority", refuse)
    assert in_a_thread(niceness_of_the_preferred) == os.getpriority(*OWN)
