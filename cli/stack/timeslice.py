"""How long a thread of the local stack keeps a core before another one gets it.

A broker, the JVMs of Flink and the console have some hundred threads for the few cores of a laptop. Linux lets a thread run for
3 ms, or less where another wakes: RECOMMEND is interrupted after every event. By itself, on one core with a loop that does nothing,
it needs nearly twice the processor time: most likely its data are gone from the caches each time it comes back.
Measured in turns of 5 s within replays as fast as they go, on two cores: slices of 20 ms under SCHED_BATCH make 1.16 to 1.28 times
as many events a second, SCHED_BATCH alone 1.09, the slices alone nothing. At half of that load the latencies stay the same.
"""

from __future__ import annotations

import ctypes
import os
import platform

SLICE_MS = 20
# sched_setattr(2), which neither Python nor the C library of older systems has a function for.
_SYSTEM_CALLS = {"x86_64": 314, "aarch64": 274}


class _Attributes(ctypes.Structure):
    """`struct sched_attr` of sched_setattr(2), in its first version."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def lengthen_time_slices() -> None:
    """Give this thread, and all threads and processes that it starts from now on, time slices of `SLICE_MS`.

    They do not interrupt others when they wake (SCHED_BATCH). Linux before 6.12 knows one length for all, of which nothing
    changes then; nothing at all changes where the system call is not known or not allowed.
    """
    call = _SYSTEM_CALLS.get(platform.machine()) if platform.system() == "Linux" else None
    if call is None:
        return
    attributes = _Attributes(
        size=ctypes.sizeof(_Attributes), policy=os.SCHED_BATCH, nice=os.nice(0), runtime=SLICE_MS * 1_000_000
    )
    this_thread, no_flags = ctypes.c_long(0), ctypes.c_long(0)
    ctypes.CDLL(None).syscall(ctypes.c_long(call), this_thread, ctypes.byref(attributes), no_flags)
