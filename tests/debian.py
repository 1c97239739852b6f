"""Programs from Debian packages that tests start for real: those installed, else unpacked from the package into the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tidewatch.paths import cache_directory

_UPDATE_ONCE: list[bool] = []


@cache
def program(name: str, package: str) -> Path:
    """Return the path of a program; skip the test where it is neither installed nor can be had from apt."""
    installed = shutil.which(name)
    if installed:
        return Path(installed)
    unpacked = cache_directory() / "debian" / package
    found = unpacked / "usr" / "bin" / name
    if not found.exists():
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            pytest.skip(f"{name} is not installed, and there is no apt to get {package} from")
        _unpack(package, unpacked)
    if not found.exists():
        pytest.skip(f"{name} is not installed, and apt could not fetch {package}")
    return found


@cache
def installed(name: str, package: str) -> Path:
    """Return the path of a program of an installed program; apt installs it where this user may, else the test is skipped."""
    if shutil.which(name) is None:
        if shutil.which("apt-get") is None or os.geteuid() != 0:
            pytest.skip(f"{name} is not installed; a user who may can: apt-get install {package}")
        command = ["apt-get", "install", "--yes", "--no-install-recommends", package]
        if subprocess.run(command, capture_output=True, timeout=900, check=False).returncode:
            subprocess.run(["apt-get", "update"], capture_output=True, timeout=300, check=False)
            subprocess.run(command, capture_output=True, timeout=900, check=False)
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed, and apt could not install {package}")
    return Path(found)


def _unpack(package: str, into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    if not _download(package, into) and not _UPDATE_ONCE:
        _UPDATE_ONCE.append(True)
        # Fresh machines have no package lists yet; without the right to fetch them this fails, and the test is skipped.
        subprocess.run(["apt-get", "update"], capture_output=True, timeout=300, check=False)
        _download(package, into)
    for archive in into.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", archive, into], check=True, timeout=300)
        archive.unlink()


def _download(package: str, into: Path) -> bool:
    done = subprocess.run(
        ["apt-get", "download", package], cwd=into, capture_output=True, timeout=300, check=False
    )
    return done.returncode == 0
