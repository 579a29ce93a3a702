"""What Flink's client runs to have the graph of a job made, and sent to the cluster.

    submit.py recommend --config FILE [--model FILE]
    submit.py monitor --config FILE
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module


def main(job: str, *arguments: str) -> None:
    """Run the job's own `main`, in a process that imports much and lives for seconds.

    To look for dead objects among the third of a million of PyTorch and the others, while they are imported and a last time at the
    end, would take a third of its time. PyFlink tries to import Beam, with pandas and more behind it, for Python functions in processes
    of their own, which no job of ours has.
    """
    gc.disable()
    sys.modules["apache_beam"] = None  # type: ignore[assignment]
    import_module(f"jobs.{job}").main(list(arguments))
    gc.freeze()


if __name__ == "__main__":
    main(*sys.argv[1:])
