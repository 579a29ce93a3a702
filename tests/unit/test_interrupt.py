"""Ctrl-C ends a command wherever it comes, also while a record is reported as written or lost."""

from __future__ import annotations

import subprocess
import sys

# No broker is there: the record is given up, and the signal comes within the report of it.
INTERRUPTED_IN_A_CALLBACK = """
import signal
from confluent_kafka import Producer
from cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background process ignores it

def write():
    producer = Producer({"bootstrap.servers": "127.0.0.1:1", "message.timeout.ms": 50, "log_level": 0})
    producer.produce("topic", b"record", on_delivery=lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        producer.flush(10)
    except KeyboardInterrupt:
        print("interrupted")

main.app = write
main.main()
"""


def test_within_a_callback_of_the_kafka_client() -> None:
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED_IN_A_CALLBACK], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "interrupted\n"), ended.stderr
