"""The local Kafka as a service of the user's: started by one command, stopped by another, known by its state file."""

from __future__ import annotations

import fcntl
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import psutil

from tidewatch.broker.cluster import is_free, start_brokers
from tidewatch.broker.errors import BrokerError
from tidewatch.broker.jars import Progress
from tidewatch.broker.properties import Ports

_STOP_SECONDS = 15.0


class BrokerProcess(msgspec.Struct, frozen=True):
    """A broker as the state file knows it; the start time tells it from a later process with the same id."""

    pid: int
    started: float
    bootstrap: str
    ports: Ports

    def process(self) -> psutil.Process | None:
        """Return the living process, if it is still the one that was started."""
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


class Running(msgspec.Struct, frozen=True):
    """A local Kafka that was started to stay."""

    bootstrap: str
    directory: str
    brokers: tuple[BrokerProcess, ...]

    @property
    def alive(self) -> int:
        """How many of its brokers live."""
        return sum(broker.process() is not None for broker in self.brokers)


def status(state_dir: Path) -> Running | None:
    """Return the local Kafka of this state directory, or None where none of its brokers lives."""
    known = _read(state_dir)
    return known if known is not None and known.alive else None


def start(
    state_dir: Path, count: int, *, repository: str | None = None, progress: Progress | None = None
) -> Running:
    """Start a local Kafka that outlives this process, on the data and, if free, the ports of the last one.

    Returns the running one if it has ``count`` brokers already. Raises BrokerError, also when it has another number.
    """
    with _locked(state_dir):
        found = status(state_dir)
        if found is not None:
            if len(found.brokers) == count == found.alive:
                return found
            raise BrokerError(
                f"A local Kafka runs with {found.alive} of {len(found.brokers)} brokers; stop it first:"
                " tidewatch broker stop"
            )
        directory = _data(state_dir, count)
        directory.mkdir(parents=True, exist_ok=True)
        kafka = start_brokers(
            count,
            directory,
            detached=True,
            ports=_last_ports(state_dir, count),
            repository=repository,
            progress=progress,
        )
        running = Running(
            kafka.bootstrap,
            str(directory),
            tuple(
                BrokerProcess(node.pid, psutil.Process(node.pid).create_time(), node.bootstrap, node.ports)
                for node in kafka.nodes
            ),
        )
        _write(state_dir, running)
        return running


def stop(state_dir: Path, *, delete: bool = False) -> int:
    """Stop the local Kafka of this state directory; return how many brokers were ended.

    Brokers get 15 s to end cleanly. ``delete`` removes the data of all local clusters kept here.
    """
    with _locked(state_dir):
        known = _read(state_dir)
        found = [broker.process() for broker in known.brokers] if known is not None else []
        processes = [process for process in found if process is not None]
        _signal(processes, signal.SIGCONT, signal.SIGTERM)
        _, left = psutil.wait_procs(processes, timeout=_STOP_SECONDS)
        _signal(left, signal.SIGKILL)
        psutil.wait_procs(left, timeout=_STOP_SECONDS)
        if delete:
            _state_file(state_dir).unlink(missing_ok=True)
            for count in (1, 3):
                shutil.rmtree(_data(state_dir, count), ignore_errors=True)
        return len(processes)


def _signal(processes: list[psutil.Process], *signs: signal.Signals) -> None:
    for process in processes:
        for sign in signs:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(sign)


def _last_ports(state_dir: Path, count: int) -> list[Ports] | None:
    known = _read(state_dir)
    if known is None or len(known.brokers) != count:
        return None
    ports = [broker.ports for broker in known.brokers]
    return ports if all(is_free(p.client) and is_free(p.controller) for p in ports) else None


def _data(state_dir: Path, count: int) -> Path:
    return state_dir / f"kafka-{count}"


def _state_file(state_dir: Path) -> Path:
    return state_dir / "broker.json"


def _read(state_dir: Path) -> Running | None:
    try:
        return msgspec.json.decode(_state_file(state_dir).read_bytes(), type=Running)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def _write(state_dir: Path, running: Running) -> None:
    scratch = _state_file(state_dir).with_suffix(".new")
    scratch.write_bytes(msgspec.json.encode(running))
    scratch.replace(_state_file(state_dir))


@contextmanager
def _locked(state_dir: Path) -> Iterator[None]:
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        handle = (state_dir / "broker.lock").open("w")
    except OSError as error:
        raise BrokerError(
            f"The state directory {state_dir} cannot be written: {error}. Set TIDEWATCH_STATE_DIR."
        ) from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
