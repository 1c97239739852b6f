"""The peers' environments: one venv each in the user's cache, made once from a file that pins every package by its hash."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

LOCKS = Path(__file__).with_name("peers") / "environments"
Say = Callable[[str], None]
Version = tuple[int, int]


class EnvironmentFailedError(Exception):
    """An environment could not be made; the message says why in the installer's last words."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The packages of a peer, pinned in ``peers/environments/<name>.txt``; ``below`` is the first Python it does not run on."""

    name: str
    below: Version = (4, 0)

    @property
    def lock(self) -> Path:
        """The file that pins the packages."""
        return LOCKS / f"{self.name}.txt"

    def version(self, package: str) -> str:
        """Return the pinned version of a package.

        Raises KeyError.
        """
        for line in self.lock.read_text().splitlines():
            name, _, rest = line.partition("==")
            if name == package:
                return rest.split()[0]
        raise KeyError(package)

    def folder(self) -> Path:
        """Return where it is kept: another place for other pins or another Python."""
        from tidewatch.paths import cache_directory

        pins = hashlib.sha256(self.lock.read_bytes() + sys.version.encode()).hexdigest()[:12]
        return cache_directory() / "bench" / "environments" / f"{self.name}-{pins}"

    def python(self, say: Say) -> Path:
        """Return the environment's interpreter, making the environment first where it is not there yet.

        Several processes may ask at once. Raises EnvironmentFailedError.
        """
        if sys.version_info[:2] >= self.below:
            raise EnvironmentFailedError(f"needs a Python below {'.'.join(map(str, self.below))}")
        folder = self.folder()
        interpreter, ready = folder / "bin" / "python", folder / "ready"
        with _locked(folder.with_suffix(".lock")):
            if not ready.exists():
                shutil.rmtree(folder, ignore_errors=True)
                say(f"making the environment of {self.name} in {folder}, once")
                _told([sys.executable, "-m", "venv", str(folder)], say)
                _told([*_installer(interpreter), "--require-hashes", "-r", str(self.lock)], say)
                ready.touch()
        return interpreter


def _installer(interpreter: Path) -> list[str]:
    """Return uv where it is at hand, which is faster, else pip."""
    if find_spec("uv") is not None:
        return [sys.executable, "-m", "uv", "pip", "install", "--python", str(interpreter)]
    return [str(interpreter), "-m", "pip", "install", "--progress-bar", "off"]


def _told(command: Sequence[str], say: Say) -> None:
    """Run a command, passing on what it says."""
    last: deque[str] = deque(maxlen=5)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            last.append(line.rstrip())
            say(f"  {line.rstrip()}")
    if process.returncode:
        raise EnvironmentFailedError("its packages could not be installed: " + " | ".join(last))


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
