"""The guard before the server: who may ask it anything, and what every answer says.

Conventions
-----------
All of the server lies under a random token, ``/<token>/``; whoever does not know it gets "not found" for every path. ``Host``
must name this machine, or another site could have its own name lead here (DNS rebinding). What changes something must have the
header ``X-SRGaze360: 1`` and a body of JSON, which no form and no other site can send without being allowed to, and nobody is:
there are no CORS headers. Bodies are read here, up to a limit. Every answer, errors too, carries :data:`HEADERS`.

This is an ASGI application (https://asgi.readthedocs.io/en/latest/specs/www.html) around another one, which finds the path
without the token, and the body in ``scope["state"]["body"]``.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
from collections.abc import Iterable, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 256 * 1024
LOOPBACK = ("127.0.0.1", "localhost", "::1")
READING = ("GET", "HEAD")
MUTATION_HEADER = "x-srgaze360"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "worker-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
_LOG = logging.getLogger("srgaze360.review")


class Refusal(Exception):
    """A request that is refused: status and a reason for people."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Guard:
    """The application, guarded; see the module.

    Parameters
    ----------
    app
        What is guarded.
    token
        The first part of every path.
    hosts
        Names that ``Host`` may have, besides those of loopback.
    any_address
        ``Host`` may be any address in numbers: nobody can have such a name lead elsewhere.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Iterable[str] = (), *, any_address: bool = False) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = {name.lower() for name in (*LOOPBACK, *hosts)}
        self._any_address = any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # there are no web sockets here
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message = {**message, "headers": _with_headers(message.get("headers", ()))}
            await send(message)

        try:
            await self._app(await self._checked(scope, receive), receive, answer)
        except Refusal as refusal:
            await _answer(answer, refusal.status, str(refusal))
        except Exception:  # noqa: BLE001 - whatever it was, the browser is told no more than that, and the server goes on
            _LOG.exception("A request failed.")
            if not begun:
                await _answer(answer, HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed. Its terminal says how.")

    async def _checked(self, scope: Scope, receive: Receive) -> MutableMapping[str, Any]:
        """What the application is to see of a request that may pass.

        Raises
        ------
        Refusal
            It may not.
        """
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if not self._is_here(headers.get("host", "")):
            raise Refusal(
                HTTPStatus.FORBIDDEN, "Expected a host name of this machine. Use the address that the server printed."
            )
        first, slash, rest = scope["path"].removeprefix("/").partition("/")
        if not hmac.compare_digest(first.encode("utf-8", "surrogatepass"), self._token) or not slash:
            raise Refusal(HTTPStatus.NOT_FOUND, "Not found.")
        body = b""
        if scope["method"] not in READING:
            _check_mutation(headers)
            body = await _body(headers, receive)
        path = f"/{rest}"
        return {
            **scope,
            "path": path,
            "raw_path": path.encode("utf-8", "surrogatepass"),
            "root_path": "",
            "state": {**scope.get("state", {}), "body": body},
        }

    def _is_here(self, host: str) -> bool:
        name = _host_name(host)
        if name in self._hosts:
            return True
        if not self._any_address:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _host_name(host: str) -> str:
    """The name in a ``Host`` header, without port and brackets."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _check_mutation(headers: MutableMapping[str, str]) -> None:
    if headers.get(MUTATION_HEADER) != "1":
        raise Refusal(HTTPStatus.FORBIDDEN, "Expected the header X-SRGaze360: 1 on what changes something.")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Expected a body of JSON (Content-Type: application/json).")
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    ours = origin is None or origin.partition("://")[2].lower() == headers.get("host", "").lower()
    if origin == "null":  # what browsers say of a page without a referrer, for some kinds of request, and of others' sandboxes
        ours = site == "same-origin"
    if not ours or site not in (None, "same-origin", "none"):
        raise Refusal(HTTPStatus.FORBIDDEN, "Expected a request of this page, found one of another site.")


async def _body(headers: MutableMapping[str, str], receive: Receive) -> bytes:
    too_large = Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Expected a body of at most {MAX_BODY_BYTES} bytes. Is the comment very long?"
    )
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length) > MAX_BODY_BYTES:
        raise too_large
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(HTTPStatus.BAD_REQUEST, "Expected a whole body.")
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise too_large
        more = message.get("more_body", False)
    return body


def _with_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    ours = {name.lower().encode(): value.encode() for name, value in HEADERS.items()}
    return [pair for pair in headers if pair[0].lower() not in ours] + list(ours.items())


async def _answer(send: Send, status: HTTPStatus, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
