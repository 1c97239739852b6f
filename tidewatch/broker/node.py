"""One broker process: formatted, started, stopped, killed, started again."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path

from tidewatch.broker.errors import StartError
from tidewatch.broker.properties import HOST, Ports, render


@dataclass(frozen=True, slots=True)
class Java:
    """How to run Kafka's classes: the executable, the class path and the heap in MB."""

    executable: Path
    class_path: str
    heap_mb: int = 384

    def command(self, directory: Path, *arguments: str) -> list[str]:
        """Return the command line of one Kafka class whose logs and temporary files go to ``directory``."""
        with as_file(files("tidewatch.broker").joinpath("log4j2.properties")) as log_settings:
            return [
                str(self.executable),
                f"-Xmx{self.heap_mb}m",
                "-XX:+UseSerialGC",
                "-XX:+ExitOnOutOfMemoryError",
                "-XX:-UsePerfData",
                "-Djava.awt.headless=true",
                "-Djava.net.preferIPv4Stack=true",
                "--enable-native-access=ALL-UNNAMED",
                "--sun-misc-unsafe-memory-access=allow",
                f"-Djava.io.tmpdir={directory / 'tmp'}",
                f"-Dtidewatch.node.dir={directory}",
                f"-Dlog4j2.configurationFile={log_settings}",
                "-cp",
                self.class_path,
                *arguments,
            ]


@dataclass(slots=True)
class Node:
    """A broker of the local cluster; ``bootstrap`` is its own address, ``directory`` holds its data and ``server.log``."""

    number: int
    ports: Ports
    directory: Path
    java: Java
    properties: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def bootstrap(self) -> str:
        """Address for clients, ``host:port``."""
        return f"{HOST}:{self.ports.client}"

    @property
    def pid(self) -> int:
        """Process id of the running broker; raises StartError when it was never started."""
        if self.process is None:
            raise StartError(f"broker {self.number} was not started")
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive (a stopped one, as by SIGSTOP, is)."""
        return self.process is not None and self.process.poll() is None

    def format(self, cluster_id: str, group: int | None = None) -> None:
        """Write the settings, and prepare an empty data directory for the cluster."""
        (self.directory / "tmp").mkdir(parents=True, exist_ok=True)
        self._settings.write_text(render(self.properties), encoding="utf-8")
        if (self.directory / "data" / "meta.properties").exists():
            return
        tool = ("kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "-c", str(self._settings))
        done = subprocess.run(
            self.java.command(self.directory, *tool),
            capture_output=True,
            text=True,
            check=False,
            process_group=group,
        )
        if done.returncode:
            raise StartError(
                f"Kafka's storage tool failed for broker {self.number}: {done.stdout}{done.stderr}"
            )

    def start(self, group: int | None) -> None:
        """Start the process in the given process group, or in a session of its own that outlives the starter."""
        command: Sequence[str] = self.java.command(self.directory, "kafka.Kafka", str(self._settings))
        with (self.directory / "output.log").open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                process_group=group,
                start_new_session=group is None,
            )

    def send(self, sign: signal.Signals) -> None:
        """Send a signal if the process is alive."""
        if self.process is not None and self.running:
            self.process.send_signal(sign)

    def wait(self, seconds: float) -> bool:
        """Wait for the process to end; return whether it did."""
        if self.process is None:
            return True
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def last_words(self) -> str:
        """Return the end of what the broker printed and logged, for an error message."""
        texts = []
        for name in ("output.log", "server.log"):
            path = self.directory / name
            if path.exists():
                texts += path.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
        return "\n".join(texts)

    @property
    def _settings(self) -> Path:
        return self.directory / "server.properties"
