"""Time slices of the local stack, as Linux shows them of a process started after."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.stack.timeslice import SLICE_MS

SHOWN_OF_A_CHILD = """
import os, subprocess, sys
from cli.stack.timeslice import lengthen_time_slices

os.nice(1)
lengthen_time_slices()
subprocess.run([sys.executable, "-c", "import os; print(os.sched_getscheduler(0), os.nice(0)); print(open('/proc/self/sched').read())"])
"""


@pytest.mark.skipif(not Path("/proc/self/sched").exists(), reason="needs the scheduler's own figures of Linux")
def test_what_starts_afterwards_has_them_and_its_niceness() -> None:
    policy, niceness, figures = subprocess.run(
        [sys.executable, "-c", SHOWN_OF_A_CHILD], check=True, capture_output=True, text=True
    ).stdout.split(maxsplit=2)
    assert (int(policy), int(niceness)) == (os.SCHED_BATCH, min(os.nice(0) + 1, 19))
    shown = re.search(r"se\.slice\s*:\s*(\d+)", figures)
    if shown and tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (6, 12):
        assert int(shown[1]) == SLICE_MS * 1_000_000
