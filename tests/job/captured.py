"""A table environment that keeps the statement of the sink of `metrics` for the test instead of running it."""

from __future__ import annotations

from typing import Any

from pyflink.table import StreamTableEnvironment


class Captured:
    """The environment with its sink left out.

    Attributes
    ----------
    insert : the statement of the sink, once it was added
    """

    def __init__(self, t_env: StreamTableEnvironment) -> None:
        self._t_env = t_env
        self.insert = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._t_env, name)

    def execute_sql(self, statement: str) -> None:
        assert statement.split()[:4] == ["CREATE", "TEMPORARY", "TABLE", "metrics_sink"]

    def create_statement_set(self) -> Captured:
        return self

    def add_insert_sql(self, statement: str) -> None:
        assert not self.insert, "two inserts into the sink would fight for its transactional ids"
        self.insert = statement

    def attach_as_datastream(self) -> None:
        pass

    @property
    def select(self) -> str:
        """The query whose rows the sink would write."""
        return self.insert.split("metrics_sink", 1)[1]
