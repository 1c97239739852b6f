"""The console over HTTP: the page, JSON at the same routes, the stream, and who is let in."""

from __future__ import annotations

import itertools
import re
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlsplit
from urllib.request import urlopen

import msgspec
import pytest

from tests.tidewatch.console.samples import snapshot
from tidewatch.console import app
from tidewatch.console.app import STATIC
from tidewatch.console.guard import is_loopback
from tidewatch.console.payload import SECTIONS
from tidewatch.console.serve import ConsoleError, console, token_for

JSON = {"Accept": "application/json"}


@pytest.fixture
def address() -> Iterator[str]:
    steps = itertools.count()
    with console(lambda: snapshot(next(steps))) as url:
        yield url


def test_news_is_sent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_EVERY", 600.0)
    news = 0
    with console(snapshot, lambda: news) as url, urlopen(f"{url}events", timeout=60) as stream:
        assert stream.readline() == b"event: state\n"
        news = 1
        while stream.readline() != b"event: state\n":
            pass


def ask(url: str, path: str, headers: dict[str, str] | None = None) -> tuple[HTTPResponse, bytes]:
    place = urlsplit(url)
    link = HTTPConnection(place.hostname or "", place.port, timeout=30)
    try:
        link.request("GET", path, headers=headers or {})
        answer = link.getresponse()
        return answer, answer.read()
    finally:
        link.close()


def test_each_route_is_the_page_or_json(address: str) -> None:
    for name in ("", *SECTIONS):
        answer, page = ask(address, f"/{name}", {"Accept": "text/html,application/xhtml+xml,*/*"})
        assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert b"<title>Tidewatch console</title>" in page
        answer, body = ask(address, f"/{name}", JSON)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        assert "time" in msgspec.json.decode(body)
        assert (
            msgspec.json.decode(ask(address, f"/{name}?format=json")[1]).keys()
            == msgspec.json.decode(body).keys()
        )
    assert ask(address, "/secrets")[0].status == 404


def test_json_says_what_the_snapshot_says(address: str) -> None:
    rows = msgspec.json.decode(ask(address, "/partitions", JSON)[1])["partitions"]
    assert [(row["partition"], row["lag"], row["owner"]) for row in rows] == [
        (0, 25, "worker-1"),
        (1, 25, "worker-1"),
    ]
    dead = msgspec.json.decode(ask(address, "/dead", JSON)[1])
    assert (dead["dead"], dead["samples"][0]["outline"]) == ({"malformed": 2, "unknown_unit": 1}, "not JSON")


def test_the_stream_goes_on(address: str) -> None:
    place = urlsplit(address)
    link = HTTPConnection(place.hostname or "", place.port, timeout=60)
    link.request("GET", "/events")
    answer = link.getresponse()
    assert answer.headers["content-type"].startswith("text/event-stream")
    times = []
    while len(times) < 3:
        line = answer.readline()
        if line.startswith(b"data: "):
            times.append(msgspec.json.decode(line[6:])["time"])
    link.close()
    assert times == sorted(set(times)), "each event is newer than the one before"


def test_only_local_names_are_answered(address: str) -> None:
    port = urlsplit(address).port
    assert ask(address, "/alerts", {**JSON, "Host": f"localhost:{port}"})[0].status == 200
    assert ask(address, "/alerts", {**JSON, "Host": f"evil.example:{port}"})[0].status == 421
    assert ask(address, "/alerts", {**JSON, "Host": "evil.example"})[0].status == 421


def test_nothing_may_be_loaded_from_elsewhere(address: str) -> None:
    policy = ask(address, "/")[0].headers["content-security-policy"]
    assert policy.startswith("default-src 'self'")
    assert "unsafe" not in policy


def test_a_token_is_asked_for_where_there_is_one() -> None:
    with console(snapshot, token="tide") as url:
        place = urlsplit(url)
        assert place.query == "token=tide"
        refused, words = ask(url, "/alerts", JSON)
        assert (refused.status, b"token is needed" in words) == (401, True)
        assert ask(url, "/events")[0].status == 401
        assert ask(url, "/static/console.js")[0].status == 401
        assert ask(url, "/alerts", {**JSON, "Authorization": "Bearer wrong"})[0].status == 401
        assert ask(url, "/alerts", {**JSON, "Authorization": "Bearer tide"})[0].status == 200
        welcomed, _ = ask(url, "/alerts?token=tide")
        assert (welcomed.status, welcomed.headers["location"]) == (303, "/alerts")
        cookie = welcomed.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert ask(url, "/alerts", {**JSON, "Cookie": cookie.partition(";")[0]})[0].status == 200


def test_a_token_is_made_up_for_every_address_but_this_machines() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "10.0.0.5", "example.org")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
    assert token_for("127.0.0.1", None) is None
    assert len(token_for("0.0.0.0", None) or "") >= 32
    assert token_for("0.0.0.0", None) != token_for("0.0.0.0", None)
    assert token_for("0.0.0.0", "mine") == "mine"


def test_a_taken_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConsoleError, match="another --port"), console(snapshot, port=port):
            pass


def test_the_assets_are_small_and_their_own() -> None:
    files = [path for path in STATIC.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 500_000
    for path in files:
        links = re.findall(r"""https?://[^\s"'()<>]+""", path.read_text())
        assert set(links) <= {"http://www.w3.org/2000/svg"}, path
