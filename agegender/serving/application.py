"""The routes: photos to rows, photos to explanations, the page for people, and what machines ask of a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from jinja2 import Environment
from starlette.exceptions import HTTPException

from agegender.errors import AgeGenderError
from agegender.heads import Head, Regression
from agegender.model.face_rows import Looking
from agegender.serving.card_facts import model_facts
from agegender.serving.counters import Counters
from agegender.serving.guard import Guard
from agegender.serving.limits import Limits, RefusedError
from agegender.serving.sent_photos import FIELD, SentPhoto, read_photos
from agegender.serving.service import Asked, Row, Service
from agegender.serving.waiting_line import WaitingLine
from agegender.settings import VERSION
from agegender.writing import plain

TOGETHER = 64  # photos of a lot, as many as the network gets at once
_ASSETS = {
    "page.css": ("agegender.pages", "text/css"),
    "serving.css": ("agegender.serving", "text/css"),
    "serving.js": ("agegender.serving", "text/javascript"),
}
_PATHS = (
    "/", "/docs", "/openapi.json", "/predict", "/explain", "/model", "/health", "/ready", "/metrics",
    *(f"/assets/{name}" for name in _ASSETS),
)  # fmt: skip
FacesInPhoto = Annotated[
    Literal["largest", "all"] | None,
    Query(
        description="Find faces and cut them out as training did; by default photos are taken as training took them."
    ),
]
Cropped = Annotated[bool, Query(description="The photos are faces already cut out.")]
_REFUSALS = {
    400: "The form is damaged.",
    401: "The token is missing or wrong.",
    403: "A page of another server asked.",
    408: "The photos came too slowly.",
    413: "Too many bytes, or too many photos.",
    415: "The body is no multipart form, or packed.",
    421: "The server does not answer under that name.",
    422: "A parameter or a field makes no sense, or no photo could be read.",
    429: "Too much is waiting; Retry-After says for how long.",
    503: "No answer in time.",
}
T = TypeVar("T")


class _Rooms:
    """The two waiting lines: predictions, many together, and explanations, one by one."""

    def __init__(self, service: Service, limits: Limits, counters: Counters) -> None:
        self.predicting = WaitingLine[Asked, list[Row]](
            service.predict, longest=limits.queued_photos, together=TOGETHER, seconds=limits.answer_seconds,
            noted=counters.worked,
        )  # fmt: skip
        self.explaining = WaitingLine[Asked, dict[str, Any]](
            service.explain, longest=limits.queued_explanations, together=1, seconds=limits.explanation_seconds
        )
        counters.watch("waiting_photos", "Photos that wait to be predicted", lambda: self.predicting.size)
        counters.watch("waiting_explanations", "Faces that wait to be explained", lambda: self.explaining.size)
        counters.watch(
            "model_is_current", "0 where the model's files have changed", lambda: float(service.is_current())
        )

    @asynccontextmanager
    async def open(self, _: FastAPI) -> AsyncIterator[None]:
        """Work while the server runs."""
        both = (self.predicting, self.explaining)
        for line in both:
            line.start()
        try:
            yield
        finally:
            for line in both:
                await line.stop()

    @property
    def are_working(self) -> bool:
        """Whether both workers live."""
        return self.predicting.is_working and self.explaining.is_working


def make_application(
    service: Service, limits: Limits | None = None, *, token: str | None = None, hosts: Sequence[str] = ()
) -> Guard:
    """Return the whole server as an ASGI application."""
    limits = limits or Limits()
    counters = Counters(_PATHS)
    rooms = _Rooms(service, limits, counters)
    app = FastAPI(
        title="agegender",
        version=VERSION,
        description=_description(service),
        docs_url=None,
        redoc_url=None,
        lifespan=rooms.open,
        responses={status: {"description": words, "content": _ERROR} for status, words in _REFUSALS.items()},
    )
    _add_errors(app)
    _add_questions(app, service, rooms, limits, counters)
    _add_state(app, service, rooms, limits, counters)
    _add_pages(app)
    return Guard(app, limits, counters, token=token, hosts=hosts)


def _add_questions(app: FastAPI, service: Service, rooms: _Rooms, limits: Limits, counters: Counters) -> None:
    heads = service.model.heads

    @app.post(
        "/predict",
        summary="What each head says of every face",
        response_class=_Json,
        openapi_extra=_form(limits.photos),
        responses={200: {"description": "A row for each face, in the photos' order.", "content": _rows_schema(heads)}},
    )
    async def predict(request: Request, faces_in_photo: FacesInPhoto = None, cropped: Cropped = False) -> Response:
        asked = await _asked(request, faces_in_photo, cropped, limits.photos)
        rows = await _unless_gone(request, rooms.predicting.ask(asked, len(asked.photos)))
        counters.predicted(rows)
        if all("error" in row for row in rows):
            return _Json({"error": f"no photo could be read. {rows[0]['error']}", "rows": rows}, status_code=422)
        return _Json(rows)

    @app.post(
        "/explain",
        summary="Which parts of a face each answer rests on, and whether that can be believed",
        response_class=_Json,
        openapi_extra=_form(1),
        responses={200: {"description": "As `agegender explain --json`, with pictures.", "content": _OBJECT}},
    )
    async def explain(
        request: Request,
        faces_in_photo: FacesInPhoto = None,
        cropped: Cropped = False,
        face: Annotated[int, Query(ge=0, lt=1000, description="The number of the face, as `predict` counts.")] = 0,
    ) -> Response:
        asked = await _asked(request, faces_in_photo, cropped, 1, face)
        return _Json(await _unless_gone(request, rooms.explaining.ask(asked)))


def _add_state(app: FastAPI, service: Service, rooms: _Rooms, limits: Limits, counters: Counters) -> None:
    described = {"content": _OBJECT}

    @app.get("/model", summary="The model's card in words, its heads and its known weaknesses", response_class=_Json,
             responses={200: {"description": "What is known of the model.", **described}})  # fmt: skip
    async def model() -> Response:
        return _Json(model_facts(service, limits))

    @app.get("/health", summary="Whether the server lives", response_class=_Json,
             responses={200: {"description": "It does.", **described}})  # fmt: skip
    async def health() -> Response:
        return _Json({"status": "ok"})

    @app.get("/ready", summary="Whether questions are answered, and by which model", response_class=_Json,
             responses={200: {"description": "They are.", **described}})  # fmt: skip
    async def ready() -> Response:
        current = service.is_current()
        words = "" if current else "The model's files have changed since; this server goes on with what it has loaded."
        document = {
            "ready": rooms.are_working, "model": service.model.name, "run_id": service.model.card.get("run_id"),
            "loaded": service.loaded, "is_current": current, "notice": words,
        }  # fmt: skip
        return _Json(document, status_code=200 if rooms.are_working else 503)

    @app.get("/metrics", summary="Counters for Prometheus", response_class=_Plain)
    async def metrics() -> Response:
        return _Plain(counters.text())


def _add_pages(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return _asset("agegender.serving", "serving.html", "text/html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(_docs_page(json.dumps(app.openapi())), media_type="text/html")

    @app.get("/assets/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        if name not in _ASSETS:
            raise HTTPException(404)
        return _asset(_ASSETS[name][0], name, _ASSETS[name][1])


def _add_errors(app: FastAPI) -> None:
    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, RefusedError)
        return _Json(error.document, status_code=error.status, headers=error.headers)

    async def bad_input(_: Request, error: Exception) -> Response:
        return _Json({"error": str(error)}, status_code=422)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        places = ", ".join(sorted({str(one["loc"][-1]) for one in error.errors()}))
        return _Json({"error": f"{places}: the value makes no sense; /docs says what is expected."}, status_code=422)

    async def by_status(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _Json({"error": f"{error.detail}."}, status_code=error.status_code, headers=error.headers)

    async def failed(_: Request, __: Exception) -> Response:
        return _Json({"error": "the server failed; its log says more."}, status_code=500)

    app.add_exception_handler(RefusedError, refused)
    app.add_exception_handler(AgeGenderError, bad_input)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, by_status)
    app.add_exception_handler(Exception, failed)


async def _asked(request: Request, faces: str | None, cropped: bool, most: int, face: int = 0) -> Asked:
    looking = Looking(faces, is_cropped=cropped)
    photos: list[SentPhoto] = await read_photos(request.headers.get("content-type", ""), _chunks(request), most)
    return Asked(tuple(photos), looking, face)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise RefusedError(400, "the sender has gone.")
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


async def _unless_gone(request: Request, asking: Awaitable[T]) -> T:
    """Return an answer; nothing is worked out for a client that has closed its connection."""
    answer, gone = asyncio.ensure_future(asking), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise RefusedError(400, "the sender has gone.")
        return answer.result()
    finally:
        for task in (answer, gone):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await gone


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Json(Response):
    """JSON that any reader understands: what is not known is null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(plain(content), ensure_ascii=False, allow_nan=False).encode()


class _Plain(Response):
    media_type = "text/plain; version=0.0.4"


def _asset(package: str, name: str, kind: str) -> Response:
    return Response(_text(package, name), media_type=kind, headers={"cache-control": "no-cache"})


@cache
def _text(package: str, name: str) -> str:
    return files(package).joinpath("assets", name).read_text(encoding="utf-8")


@cache
def _docs_page(description: str) -> str:
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_text("agegender.serving", "docs.html")).render(api=json.loads(description))


_OBJECT: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
_ERROR: dict[str, Any] = {
    "application/json": {
        "schema": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
    }
}


def _form(most: int) -> dict[str, Any]:
    photos = {
        "type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1, "maxItems": most,
        "description": "Photos as files: JPEG, PNG, WebP, GIF, BMP, TIFF or PPM.",
    }  # fmt: skip
    schema = {"type": "object", "required": [FIELD], "properties": {FIELD: photos}, "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _rows_schema(heads: Sequence[Head]) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "path": {"type": "string", "description": "What the sender calls the file, without folders."},
        "error": {"type": "string", "description": "Why the photo could not be read; nothing else is said of it then."},
        "problems": {"type": "array", "items": {"type": "string"}},
        "face": {"type": "integer", "description": "The number of the face in its photo; the largest is 0."},
        "face_count": {"type": "integer"},
    }
    for head in heads:
        for name in head.prediction_columns:
            kind = "string" if name == head.predicted and not isinstance(head, Regression) else "number"
            properties[name] = {"type": [kind, "null"]}
    row = {"type": "object", "required": ["path"], "properties": properties}
    return {"application/json": {"schema": {"type": "array", "items": row}}}


def _description(service: Service) -> str:
    cautions = " ".join(dict.fromkeys(getattr(head, "caution", "") for head in service.model.heads))
    return (
        f"Asks the model {service.model.name} about photos. Nothing of a photo is kept. An answer is an estimate with "
        f"an interval, and nothing about a person may be decided by it. {cautions}".strip()
    )
