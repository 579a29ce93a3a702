"""What Flink's client runs to have the graph of a job made, and sent to the cluster.

    submit.py recommend --config FILE [--model FILE]
    submit.py monitor --config FILE
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from threading import Thread
from types import ModuleType


def main(job: str, *arguments: str) -> None:
    """Run the job's own `main`, in a process that imports much and lives for seconds.

    To look for dead objects among what is imported, meanwhile and a last time at the end, would take half of its time. PyTorch is not
    imported at all: operators import what computes when they open, on the cluster. PyFlink tries to import Beam, with pandas and more
    behind it, for Python functions in processes of their own, which no job of ours has. And while it imports, the JVM would do nothing.
    """
    gc.disable()
    sys.modules["apache_beam"] = None  # type: ignore[assignment]
    # here, not in the thread: two that import parts of one package at once may meet halves of it
    from pyflink import table

    Thread(target=_plan_something, args=(table,), daemon=True).start()
    import_module(f"jobs.{job}").main(list(arguments))
    gc.freeze()


def _plan_something(table: ModuleType) -> None:
    """Have the JVM load the planner, which takes it longer than a plan: by a query with what the jobs' queries have."""
    t_env = table.TableEnvironment.create(table.EnvironmentSettings.in_streaming_mode())
    t_env.execute_sql(
        """
        CREATE TEMPORARY TABLE facts (n BIGINT, items STRING, event_time TIMESTAMP(3), WATERMARK FOR event_time AS event_time)
        WITH ('connector' = 'datagen')
        """
    )
    t_env.explain_sql(
        """
        SELECT window_start, COUNT(DISTINCT item), SUM(CASE WHEN n > 1 THEN 1 ELSE 0 END)
        FROM TABLE(TUMBLE(TABLE facts, DESCRIPTOR(event_time), INTERVAL '1' MINUTE)) CROSS JOIN UNNEST(SPLIT(items, ',')) AS T(item)
        WHERE items <> ''
        GROUP BY window_start, window_end
        """
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
