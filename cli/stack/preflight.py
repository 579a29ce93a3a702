# ruff: noqa: UP006, UP030, UP032, UP035
"""What the machine must have before anything starts, said in one sentence each with the mend.

`python3 cli/stack/preflight.py CHECKOUT HOME` runs before the virtual environment exists, perhaps under an old Python:
this file uses the standard library only, imports nothing of ours at its top, and keeps to old syntax.
"""

import os
import re
import shutil
import subprocess
import sys
from typing import List

SETUP_GIB = 12
RUN_GIB = 2
JAVA = 17

_LIBPYTHON = "import sysconfig; print(sysconfig.get_config_var('Py_ENABLE_SHARED') or 0)"


def missing_for_setup(checkout: str, home: str) -> List[str]:
    """Sentences about what `make setup` lacks; it writes packages into the checkout and the jars into the home."""
    packages = _disk(checkout, SETUP_GIB, "set-up (PyTorch brings its CUDA libraries)")
    return _python() + missing_tools() + packages + _disk(home, RUN_GIB, "the local stack")


def missing_for_run(home: str) -> List[str]:
    """Sentences about what `flinkrec up` lacks."""
    return _java() + _disk(home, RUN_GIB, "the local stack")


def missing_tools() -> List[str]:
    """Sentences about missing Java and Maven."""
    return _java() + _maven()


def require_for_run(home: str) -> None:
    """Raise a UserError that names what `flinkrec up` lacks."""
    _require(missing_for_run(home))


def require_tools() -> None:
    """Raise a UserError that names what fetching the jars lacks."""
    _require(missing_tools())


def _require(problems: List[str]) -> None:
    if problems:
        from cli.errors import UserError

        raise UserError("; ".join(problems))


def _python() -> List[str]:
    python = shutil.which("python3.11")
    if python is None:
        return ["Python 3.11 is missing: install it (Debian: apt install python3.11-venv libpython3.11; or pyenv)"]
    if _output([python, "-c", _LIBPYTHON]).strip() != "1":
        return [
            "{0} has no shared libpython, which Flink needs to run Python inside its JVM: "
            "build it with --enable-shared (pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared)".format(python)
        ]
    if "venv" not in _output([python, "-c", "import venv, ensurepip; print('venv')"]):
        return ["Python 3.11 cannot make virtual environments: apt install python3.11-venv"]
    return []


def _java() -> List[str]:
    found = re.search(r'version "(\d+)', _output(["java", "-version"]))
    if found is None:
        return ["Java {0} is missing: install it (Debian: apt install openjdk-{0}-jre-headless)".format(JAVA)]
    if int(found.group(1)) < JAVA:
        return ["Java {0} is too old: Kafka needs {1} or newer, put it first on the PATH".format(found.group(1), JAVA)]
    return []


def _maven() -> List[str]:
    if shutil.which("mvn") is None:
        return ["Maven is missing, which fetches Kafka and the Flink connector: install it (Debian: apt install maven)"]
    return []


def _disk(target: str, needed_gib: int, purpose: str) -> List[str]:
    free_gib = shutil.disk_usage(_existing(target)).free / 2.0**30
    if free_gib < needed_gib:
        return [
            "only {0:.1f} GiB are free where {1} lies, {2} needs {3}: free some, or choose another place".format(
                free_gib, target, purpose, needed_gib
            )
        ]
    return []


def _existing(path: str) -> str:
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def _output(command: List[str]) -> str:
    try:
        return subprocess.check_output(command, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL).decode()
    except (OSError, subprocess.CalledProcessError):
        return ""


def main() -> int:
    """`preflight.py CHECKOUT HOME`: print what is missing, and exit with 1 when anything is."""
    problems = missing_for_setup(*sys.argv[1:3])
    for problem in problems:
        sys.stderr.write("flinkrec: {0}.\n".format(problem))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
