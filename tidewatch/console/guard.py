"""Who may look: anybody on this machine, elsewhere only who has the token."""

from __future__ import annotations

import hmac
import ipaddress
from http.cookies import SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

COOKIE = "tidewatch_token"
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_POLICY = "default-src 'self'; style-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuse strangers, and tell browsers to load nothing from elsewhere.

    Without a token only requests to a local name are answered, so that a foreign page cannot reach the console through a name
    of its own that resolves to this machine. With a token it must come as ``Authorization: Bearer``, as ``?token=`` (then kept
    in a cookie), or as that cookie.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self._token is None:
            if _name_of(headers.get("host", "")) not in _LOCAL_NAMES:
                await PlainTextResponse("this console answers to local names only", 421)(scope, receive, send)
                return
        elif not self._known(headers):
            await self._challenge(scope, receive, send)
            return

        async def send_with_policy(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],  # type: ignore[misc]
                    (b"content-security-policy", _POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        await self._app(scope, receive, send_with_policy)  # type: ignore[arg-type]

    async def _challenge(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        if self._token is not None and _same(given, self._token):
            answer = RedirectResponse(scope["path"], 303)
            answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
            await answer(scope, receive, send)
            return
        text = "a token is needed: open the address that the console printed, or send it as a bearer token"
        await PlainTextResponse(text, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)

    def _known(self, headers: Headers) -> bool:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        cookies: SimpleCookie = SimpleCookie(headers.get("cookie", ""))
        kept = cookies[COOKIE].value if COOKIE in cookies else ""
        given = bearer if scheme.lower() == "bearer" else kept
        return self._token is not None and _same(given, self._token)


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _name_of(host: str) -> str:
    return (
        host[1 : host.index("]")] if host.startswith("[") and "]" in host else host.rpartition(":")[0] or host
    )
