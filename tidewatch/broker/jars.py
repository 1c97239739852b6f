"""Apache Kafka's jars: fetched once by jgo, checked against the lock file, kept in the user's cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from tidewatch.broker.errors import FetchError
from tidewatch.paths import cache_directory

Progress = Callable[[int, int], None]
LOCK_FILE = "jgo.lock.toml"
_REMEDY = (
    "Behind a proxy set HTTPS_PROXY (and REQUESTS_CA_BUNDLE for its certificate); with a Maven mirror set"
    " TIDEWATCH_MAVEN_REPOSITORY to its URL; or point TIDEWATCH_BOOTSTRAP at a Kafka that already runs."
)


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned Maven artifact."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def name(self) -> str:
        """File name of the jar, the same in every Maven repository."""
        return f"{self.artifact}-{self.version}.jar"


def locked_jars() -> list[Jar]:
    """Read the jars that the committed lock file pins, in class path order."""
    text = files("tidewatch.broker").joinpath(LOCK_FILE).read_text(encoding="utf-8")
    return [
        Jar(entry["groupId"], entry["artifactId"], entry["version"], entry["sha256"])
        for entry in tomllib.loads(text)["dependencies"]
    ]


def class_path(
    cache: Path | None = None,
    *,
    repository: str | None = None,
    progress: Progress | None = None,
    jars: Sequence[Jar] | None = None,
) -> str:
    """Return Kafka's class path, fetching what the cache lacks.

    Safe to call from several processes at once: they wait for one another, and a jar appears under its name only
    complete and with its pinned checksum. ``progress`` is told (jars done, jars to fetch). Raises FetchError.
    """
    wanted = locked_jars() if jars is None else jars
    directory = (cache or cache_directory()) / "kafka"
    with _locked(directory):
        missing = [jar for jar in wanted if not (directory / jar.name).exists()]
        if missing:
            _fetch_all(missing, directory, repository, progress or (lambda _done, _total: None))
    return os.pathsep.join(str(directory / jar.name) for jar in wanted)


def _fetch_all(missing: Sequence[Jar], directory: Path, repository: str | None, progress: Progress) -> None:
    with (
        tempfile.TemporaryDirectory(dir=directory, prefix="fetch-") as scratch,
        ThreadPoolExecutor(6) as pool,
    ):
        progress(0, len(missing))
        done = pool.map(lambda jar: _fetch(jar, Path(scratch), directory, repository), missing)
        try:
            for count, _ in enumerate(done, start=1):
                progress(count, len(missing))
        except FetchError:
            pool.shutdown(cancel_futures=True)
            raise


def _fetch(jar: Jar, scratch: Path, directory: Path, repository: str | None) -> None:
    from jgo.maven import (
        MavenContext,
        PythonResolver,
    )  # takes 0.2 s to import: only where something is missing

    remote = {"mirror": repository} if repository else None
    context = MavenContext(resolver=PythonResolver(), repo_cache=scratch, remote_repos=remote, timeout=30)
    try:
        fetched = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
        digest = hashlib.sha256(fetched.read_bytes()).hexdigest()
    # RuntimeError is jgo's word for "not in any repository"; requests' errors are OSErrors.
    except (OSError, RuntimeError) as error:
        raise FetchError(f"Could not fetch {jar.name} of Apache Kafka: {error}\n{_REMEDY}") from error
    if digest != jar.sha256:
        raise FetchError(
            f"{jar.name} has sha256 {digest}, the lock file pins {jar.sha256}: something between here and the"
            f" repository replaced it, so it is not used.\n{_REMEDY}"
        )
    fetched.replace(directory / jar.name)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = (directory / ".lock").open("w")
    except OSError as error:
        raise FetchError(f"The cache {directory} cannot be written: {error}. Set XDG_CACHE_HOME.") from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
