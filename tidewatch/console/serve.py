"""Serves the console: on the calling thread, or beside other work on one of its own."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from tidewatch.console.app import create_console
from tidewatch.console.guard import is_loopback
from tidewatch.live.snapshot import Snapshot


class ConsoleError(Exception):
    """The console cannot listen where it was told to."""


def token_for(host: str, given: str | None) -> str | None:
    """Return the token that is needed: none on this machine alone, else the one given or a new one."""
    return given or (None if is_loopback(host) else secrets.token_urlsafe(24))


@contextmanager
def console(
    snapshot: Callable[[], Snapshot],
    news: Callable[[], int] = lambda: 0,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
) -> Iterator[str]:
    """Serve the console from a thread of its own and give its address (with the token, if one is needed).

    Viewers get the state once a second, and within a fifth of one where ``news()`` gives another number.
    Port 0 takes a free one. Raises ConsoleError when the address cannot be listened on.
    """
    needed = token_for(host, token)
    config = uvicorn.Config(
        create_console(snapshot, news, needed),
        log_level="error",
        access_log=False,
        # Streams never end by themselves.
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    listener = _listener(host, port)
    thread = threading.Thread(target=server.run, args=([listener],), name="tidewatch-console", daemon=True)
    thread.start()
    shown = f"[{host}]" if ":" in host else host
    try:
        yield f"http://{shown}:{listener.getsockname()[1]}/" + (f"?token={needed}" if needed else "")
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def _listener(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=64)
    except OSError as error:
        raise ConsoleError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --port or --host"
        ) from error
