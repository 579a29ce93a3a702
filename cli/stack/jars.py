"""The jars of Kafka and of the Flink connector, fetched once by Maven as `pom.xml` lists them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import cli
from cli.errors import UserError
from cli.stack.paths import Home
from cli.stack.preflight import require_tools

POM = Path(next(iter(cli.__path__))).parent / "pom.xml"


def are_current(home: Home) -> bool:
    """Whether the jars that today's `pom.xml` lists have been fetched completely."""
    stamp = home.jars / "stamp"
    return stamp.is_file() and stamp.read_text() == _fingerprint()


def fetch(home: Home) -> None:
    """Fetch the jars into the home; the stamp is written last, so that a broken download is repeated."""
    require_tools()
    shutil.rmtree(home.jars, ignore_errors=True)
    home.jars.mkdir(parents=True)
    log = home.jars / "maven.log"
    with log.open("wb") as output:
        # -C: a file whose checksum is wrong is an error, not a warning.
        done = subprocess.run(
            ["mvn", "-B", "-ntp", "-C", "-f", str(POM), f"-Djars={home.jars}", "generate-resources"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise UserError(
            f"Maven could not fetch the jars ({_first_error(log)}): mend that and repeat; all of it is in {log}"
        )
    (home.jars / "stamp").write_text(_fingerprint())


def _fingerprint() -> str:
    if not POM.is_file():
        raise UserError(f"{POM} is missing, which lists the jars: run flinkrec from a checkout of its repository")
    return hashlib.sha256(POM.read_bytes()).hexdigest()


def _first_error(log: Path) -> str:
    errors = (line for line in log.read_text(errors="replace").splitlines() if line.startswith("[ERROR]"))
    return next(errors, "no message").removeprefix("[ERROR]").strip()[:200]
