# ruff: noqa: UP006, UP030, UP032, UP035
"""What the machine must have before anything starts, said in one sentence each with the mend.

`python3 cli/stack/preflight.py CHECKOUT HOME` runs before the virtual environment exists, perhaps under an old Python:
this file uses the standard library only, imports nothing of ours at its top, and keeps to old syntax. It prints the
Python 3.11 that the environment is best made of.
"""

import os
import re
import shutil
import subprocess
import sys
from typing import List, Tuple

SETUP_GIB = 12
RUN_GIB = 2
JAVA = 17

# Debian's Python says that it has a shared library, which is a package of its own.
_LIBPYTHON = (
    "import os, sysconfig; v = sysconfig.get_config_var; "
    "print('shared' if v('Py_ENABLE_SHARED') and os.path.exists(os.path.join(v('LIBDIR'), v('INSTSONAME'))) else '')"
)


def missing_for_setup(checkout: str, home: str) -> List[str]:
    """Sentences about what `make setup` lacks; it writes packages into the checkout and the jars into the home."""
    packages = _disk(checkout, SETUP_GIB, "set-up (PyTorch brings its CUDA libraries)")
    return python()[1] + missing_tools() + packages + _disk(home, RUN_GIB, "the local stack")


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


def python() -> Tuple[str, List[str]]:
    """The Python 3.11 to use, and what keeps it from being used.

    Of several on the PATH that will do, the distribution's: it was built with profile-guided optimisation. One that pyenv
    built by its defaults was not, and runs the same code in half as much time again.
    """
    found = [os.path.join(folder, "python3.11") for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    found = [path for path in found if os.access(path, os.X_OK) and not os.path.isdir(path)]
    if not found:
        return "", ["Python 3.11 is missing: install it (Debian: apt install python3.11-venv libpython3.11; or pyenv)"]
    problems = [(path, _problems_of(path)) for path in sorted(found, key=lambda path: os.path.dirname(path) != "/usr/bin")]
    return next((choice for choice in problems if not choice[1]), problems[0])


def _problems_of(path: str) -> List[str]:
    if _output([path, "-c", _LIBPYTHON]).strip() != "shared":
        return [
            "{0} has no shared libpython, which Flink needs to run Python inside its JVM: install it (Debian: apt install "
            "libpython3.11), or build Python with --enable-shared (pyenv: PYTHON_CONFIGURE_OPTS="
            '"--enable-shared --enable-optimizations")'.format(path)
        ]
    if "venv" not in _output([path, "-c", "import venv, ensurepip; print('venv')"]):
        return ["{0} cannot make virtual environments: apt install python3.11-venv".format(path)]
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
    """`preflight.py CHECKOUT HOME`: print the Python to use, or what is missing, and exit with 1 when anything is."""
    problems = missing_for_setup(*sys.argv[1:3])
    for problem in problems:
        sys.stderr.write("flinkrec: {0}.\n".format(problem))
    if not problems:
        sys.stdout.write(python()[0] + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
