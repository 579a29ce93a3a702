"""What a process does once for the operators in it, before their first record."""

from __future__ import annotations

from threading import Lock

import msgspec

from models.config import Configuration, Flink, Kafka
from models.heap import settle

_warm: set[bytes] = set()
_warming = Lock()


def be_warm(configuration: Configuration) -> None:
    """Have kernels compiled and PyTorch started, where no operator of this process has done so, and the garbage collector settled.

    An operator that opens beside another, or again after a failure, does not wait for what is done.
    """
    from models.pipeline import warm_up

    computes = msgspec.json.encode(msgspec.structs.replace(configuration, kafka=Kafka(), flink=Flink()))
    with _warming:
        if computes not in _warm:
            warm_up(configuration)
            _warm.add(computes)
    settle()
