"""What the machine must have before anything starts, said in one sentence each with the mend.

`python3 cli/stack/preflight.py` runs before the virtual environment exists, perhaps under an old Python: this file uses
the standard library only, imports nothing of ours at its top, and keeps to the syntax of Python 3.6.
"""

import os
import re
import shutil
import subprocess
import sys

SETUP_GIB = 12
RUN_GIB = 2
JAVA = 17

_LIBPYTHON = "import sysconfig; print(sysconfig.get_config_var('Py_ENABLE_SHARED') or 0)"


def missing_for_setup(target):
    """Sentences about what `make setup` lacks; `target` is where it will write."""
    return _python() + missing_tools() + _disk(target, SETUP_GIB, "set-up (PyTorch brings its CUDA libraries)")


def missing_for_run(target):
    """Sentences about what `flinkrec up` lacks."""
    return _java() + _disk(target, RUN_GIB, "the local stack")


def missing_tools():
    """Sentences about missing Java and Maven."""
    return _java() + _maven()


def require_for_run(target):
    """Raise a UserError that names what `flinkrec up` lacks."""
    _require(missing_for_run(target))


def require_tools():
    """Raise a UserError that names what fetching the jars lacks."""
    _require(missing_tools())


def _require(problems):
    if problems:
        from cli.errors import UserError

        raise UserError("; ".join(problems))


def _python():
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


def _java():
    found = re.search(r'version "(\d+)', _output(["java", "-version"]))
    if found is None:
        return ["Java {0} is missing: install it (Debian: apt install openjdk-{0}-jre-headless)".format(JAVA)]
    if int(found.group(1)) < JAVA:
        return ["Java {0} is too old: Kafka needs {1} or newer, put it first on the PATH".format(found.group(1), JAVA)]
    return []


def _maven():
    if shutil.which("mvn") is None:
        return ["Maven is missing, which fetches Kafka and the Flink connector: install it (Debian: apt install maven)"]
    return []


def _disk(target, needed_gib, purpose):
    free_gib = shutil.disk_usage(_existing(str(target))).free / 2.0**30
    if free_gib < needed_gib:
        return [
            "only {0:.1f} GiB are free where {1} lies, {2} needs {3}: free some, or choose another place".format(
                free_gib, target, purpose, needed_gib
            )
        ]
    return []


def _existing(path):
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def _output(command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    except OSError:
        return ""
    return done.stdout.decode("utf-8", "replace")


def main():
    problems = missing_for_setup(sys.argv[1] if len(sys.argv) > 1 else ".")
    for problem in problems:
        sys.stderr.write("flinkrec: {0}.\n".format(problem))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
