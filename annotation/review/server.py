"""The server of a review: the routes of its page, and how it is run.

Conventions
-----------
Routes are thin: :mod:`annotation.review.desk` says what is told and saved, :mod:`annotation.review.guard` who may ask at all.
Reviewers name themselves in the header ``X-Annotator``, percent-encoded UTF-8. Errors are JSON, ``{"error": paragraph}``: 400
for what cannot be, 404 for what there is not, 409 where somebody was faster, 500 where the system refused.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from annotation.review.desk import MOST_ITEMS, Desk, UnknownPerson
from annotation.review.guard import Guard
from annotation.review.labels import read_decision, reviewer_name
from annotation.review.pictures import LEAST_WIDTH, MOST_WIDTH, USUAL_WIDTH, Cache, heatmap_png, panorama_jpeg
from annotation.review.result import beside, read_bump, write_result
from srgaze360.errors import EnvironmentProblem, InputError, SRGaze360Error

if TYPE_CHECKING:
    from starlette.requests import Request

PAGE = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
}
GRACE_S = 5  # for answers under way when the server stops


def page_files(folder: Path = PAGE) -> dict[str, tuple[Path, str]]:
    """The files of the page and their types, by name: all that is ever served from the disk but panoramas."""
    return {
        path.relative_to(folder).as_posix(): (path, TYPES[path.suffix])
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in TYPES
    }


@dataclass
class Server:
    """The routes over a desk."""

    desk: Desk
    files: dict[str, tuple[Path, str]] = field(default_factory=page_files)
    pictures: Cache = field(default_factory=Cache)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def app(self) -> Starlette:
        """The application, not guarded yet."""
        routes: list[tuple[str, str, Callable[[Request], Response]]] = [
            ("/", "GET", lambda _: self._file("index.html")),
            ("/static/{name:path}", "GET", lambda request: self._file(request.path_params["name"])),
            ("/api/session", "GET", lambda request: _json(self.desk.session(_reviewer(request)))),
            ("/api/queue", "GET", self._queue),
            ("/api/progress", "GET", lambda request: _json(self.desk.progress(_reviewer(request)))),
            ("/api/person/{id:path}", "GET", lambda r: _json(self.desk.person(r.path_params["id"], _reviewer(r)))),
            ("/api/person/{id:path}", "PUT", self._save),
            ("/api/history/{id:path}", "GET", lambda r: _json(self.desk.history(r.path_params["id"], _reviewer(r)))),
            ("/api/panorama/{id:path}", "GET", self._panorama),
            ("/api/heatmap/{id:path}", "GET", self._heatmap),
            ("/api/result", "POST", self._result),
        ]
        return Starlette(
            routes=[Route(path, endpoint, methods=[method]) for path, method, endpoint in routes],
            exception_handlers={SRGaze360Error: _problem, HTTPException: _http_problem},
        )

    def _file(self, name: str) -> Response:
        if name not in self.files:
            raise HTTPException(404, "Not found.")
        path, kind = self.files[name]
        return Response(path.read_bytes(), media_type=kind)

    def _queue(self, request: Request) -> Response:
        asked = request.query_params
        offset, limit = _number(asked.get("offset"), 0), _number(asked.get("limit"), MOST_ITEMS)
        kind, value = asked.get("kind", "all"), asked.get("value", "")
        return _json(self.desk.queue(kind, value, _reviewer(request), offset, min(limit, MOST_ITEMS)))

    def _save(self, request: Request) -> Response:
        decision = read_decision(request.state.body)
        saved, told = self.desk.save(request.path_params["id"], _reviewer(request), decision)
        return _json(told, 200 if saved else 409)

    def _panorama(self, request: Request) -> Response:
        panorama_id = request.path_params["id"]
        width = min(max(_number(request.query_params.get("width"), USUAL_WIDTH), LEAST_WIDTH), MOST_WIDTH)
        path = self.desk.panorama(panorama_id)
        return Response(self.pictures.get((panorama_id, width), lambda: panorama_jpeg(path, width)), media_type="image/jpeg")

    def _heatmap(self, request: Request) -> Response:
        which = request.path_params["id"]
        heatmap = self.desk.heatmap(which)
        return Response(self.pictures.get(("heatmap", which), lambda: heatmap_png(heatmap)), media_type="image/png")

    def _result(self, request: Request) -> Response:
        bump = read_bump(request.state.body)
        reviewer_name(_reviewer(request))
        if not self._writing.acquire(blocking=False):
            raise InputError("Expected one result at a time, found one being written. Wait for it.")
        try:
            done = write_result(self.desk.data.root, self.desk.store, beside(self.desk.data, bump), bump=bump)
        finally:
            self._writing.release()
        return _json({"path": str(done.path), "version": done.version, "changes": done.changes, "left": done.left})


def _reviewer(request: Request) -> str:
    """Who asks; empty where nobody says."""
    name = unquote(request.headers.get("x-annotator", ""))
    return reviewer_name(name) if name else ""


def _number(text: str | None, usual: int) -> int:
    if text is None:
        return usual
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise InputError(f"Expected a whole number in the address, found {text[:40]!r}.")
    return int(text)


def _json(value: Any, status: int = 200) -> Response:  # noqa: ANN401 - any JSON value
    return JSONResponse(value, status)


def _problem(_: Request, error: Exception) -> Response:
    status = 404 if isinstance(error, UnknownPerson) else 400 if isinstance(error, InputError) else 500
    return _json({"error": str(error)}, status)


def _http_problem(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    told = {404: "Not found.", 405: "Expected another method."}
    headers = error.headers if isinstance(error, HTTPException) else None
    return JSONResponse({"error": told.get(status, "The request cannot be answered.")}, status, headers)


# --- running ----------------------------------------------------------------------------------------------------------


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes any that is free.

    Raises
    ------
    InputError
        The host is none of this machine.
    EnvironmentProblem
        The port is in use, or may not be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise InputError(f"Expected --host to be an address of this machine, found {host!r}: {error}.") from None
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise EnvironmentProblem(
            f"Expected port {port} of {host} to be free, but the system refused it: {error.strerror}. Is another review "
            "running? Give another --port, or --port 0 for any that is free."
        ) from None
    return listening


def serve(desk: Desk, listening: socket.socket, token: str, hosts: Iterable[str] = (), *, any_address: bool = False) -> None:
    """Answer requests until the program is told to stop (SIGINT, SIGTERM); answers under way are finished."""
    import uvicorn

    app = Guard(Server(desk).app(), token, hosts, any_address=any_address)
    config = uvicorn.Config(
        app,
        access_log=False,  # lines of it would hold the token
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=GRACE_S,
    )
    uvicorn.Server(config).run(sockets=[listening])
