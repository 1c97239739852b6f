"""The console's routes: the page, its parts as JSON, and a stream of everything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tidewatch.console.guard import Guard
from tidewatch.console.payload import SECTIONS, Payload, Payloads
from tidewatch.live.snapshot import Snapshot

STATIC = Path(__file__).with_name("static")
_EVERY = 1.0
_NEWS_EVERY = 0.2

_encode = msgspec.json.Encoder().encode


class Hub:
    """Make one payload a second, whoever looks, and wake all who wait for it; sooner where there is news."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        news: Callable[[], int],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._snapshot, self._news = snapshot, news
        self._wall_clock = wall_clock
        self._payloads = Payloads()
        self._changed = asyncio.Condition()
        self._number = 0
        self.payload: Payload | None = None
        self.encoded = b""

    async def run(self) -> None:
        """Make payloads for ever."""
        while True:
            known = self._news()
            # Snapshots wait for the watcher's lock and pictures take some milliseconds: not on the event loop.
            await asyncio.to_thread(self._make)
            async with self._changed:
                self._number += 1
                self._changed.notify_all()
            for _ in range(round(_EVERY / _NEWS_EVERY)):
                await asyncio.sleep(_NEWS_EVERY)
                if self._news() != known:
                    break

    async def events(self) -> AsyncIterator[bytes]:
        """Give server-sent events: the present payload at once, then each new one; slow readers skip some."""
        seen = 0
        while True:
            async with self._changed:
                while self._number <= seen:
                    await self._changed.wait()
                seen = self._number
            yield b"event: state\ndata: " + self.encoded + b"\n\n"

    async def now(self) -> Payload:
        """Return the present payload, as soon as there is one."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.payload is not None)
        assert self.payload is not None
        return self.payload

    def _make(self) -> None:
        payload = self._payloads.make(self._snapshot(), int(self._wall_clock() * 1000))
        self.encoded, self.payload = _encode(payload), payload


def create_console(
    snapshot: Callable[[], Snapshot], news: Callable[[], int], token: str | None = None
) -> Starlette:
    """Return the console as an ASGI application; ``news()`` is another number when something should be seen at once.

    Every section has a route that gives the page to browsers and JSON to whoever asks for it (``Accept: application/json`` or
    ``?format=json``); ``/`` gives all sections, ``/events`` streams them. Nothing is written anywhere, and readings of
    single patients or sensors are not among what is shown, but for the groups of alerts.
    """
    hub = Hub(snapshot, news)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(hub.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def page(request: Request) -> Response:
        if not _wants_json(request):
            return FileResponse(
                STATIC / "index.html", headers={"Cache-Control": "no-cache", "Vary": "Accept"}
            )
        payload = await hub.now()
        name = request.url.path.strip("/")
        body = _encode(payload.section(name) if name else payload)
        return Response(
            body, media_type="application/json", headers={"Cache-Control": "no-store", "Vary": "Accept"}
        )

    async def events(_: Request) -> Response:
        return StreamingResponse(
            hub.events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    return Starlette(
        routes=[
            Route("/", page),
            *(Route(f"/{name}", page) for name in SECTIONS),
            Route("/events", events),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(Guard, token=token)],
        lifespan=lifespan,
    )


def _wants_json(request: Request) -> bool:
    accept = request.headers.get("accept", "")
    return request.query_params.get("format") == "json" or (
        "application/json" in accept and "text/html" not in accept
    )
