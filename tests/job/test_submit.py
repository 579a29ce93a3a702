"""What is planned while a submission imports."""

from __future__ import annotations

from pyflink import table

from jobs.submit import _plan_something


def test_the_query_that_loads_the_planner_is_one_that_it_plans():
    _plan_something(table)
