"""The local stack without Docker: a Kafka broker and a Flink cluster of real processes, kept alive by a supervisor.

>>> stack = Stack.attached()                 # doctest: +SKIP
>>> stack.bootstrap_servers, stack.jobmanager  # doctest: +SKIP
('localhost:19092', 'localhost:18081')
"""

from cli.stack.flink import Memory
from cli.stack.local import Stack
from cli.stack.paths import Home
from cli.stack.ports import Ports, free_ports

__all__ = ["Home", "Memory", "Ports", "Stack", "free_ports"]
