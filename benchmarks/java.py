"""Peers on the Java virtual machine: what must be there to run them, and their jars."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache

from benchmarks.system import PEERS

KAFKA_STREAMS = "4.3.1"
FLINK_CONNECTOR = "5.0.0-2.2"
_STREAMS_JARS = (
    (
        "org.apache.kafka",
        "kafka-streams",
        KAFKA_STREAMS,
        "bd73f3805e116f711e8456ee89a8a5b43ff5dcf5a5bb865afae29deae89e7c4b",
    ),
    (
        "org.rocksdb",
        "rocksdbjni",
        "10.1.3",
        "e7f925287d9fe2574fb7c7a86f7facaa9b8ab602a2eed0e598bf633528121498",
    ),
)
_FLINK_JAR = (
    "org.apache.flink",
    "flink-sql-connector-kafka",
    FLINK_CONNECTOR,
    "5605c691d11a501382c383fecba37a7a552467da5ab7ba904ef5d6f3d62c5616",
)


def no_compiler() -> str | None:
    """Say that no Java compiler is there, if so."""
    if shutil.which("javac") is None or shutil.which("java") is None:
        return "no JDK (java and javac) on this machine"
    return None


def no_java(oldest: int, newest: int) -> str | None:
    """Say that no Java of these major versions is there, if so."""
    if shutil.which("java") is None:
        return f"no Java {oldest} to {newest} on this machine"
    told = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', told)
    if found is None or not oldest <= int(found[1]) <= newest:
        return f"it runs on Java {oldest} to {newest}, and java here is {found[1] if found else 'unknown'}"
    return None


@cache
def streams_class_path() -> str:
    """Compile the Kafka Streams program and return the class path to run it with; its jars are fetched once."""
    from tidewatch.broker.jars import Jar, class_path
    from tidewatch.paths import cache_directory

    jars = f"{class_path(jars=[Jar(*jar) for jar in _STREAMS_JARS])}:{class_path()}"
    classes = cache_directory() / "bench" / "kafka-streams"
    classes.mkdir(parents=True, exist_ok=True)
    source = PEERS / "KafkaStreamsPeer.java"
    subprocess.run(["javac", "-cp", jars, "-d", str(classes), str(source)], check=True, capture_output=True)
    return f"{classes}:{jars}"


@cache
def flink_connector() -> str:
    """Return the path of Flink's Kafka connector, which is fetched once."""
    from tidewatch.broker.jars import Jar, class_path

    return class_path(jars=[Jar(*_FLINK_JAR)])
