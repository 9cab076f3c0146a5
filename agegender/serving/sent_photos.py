"""The photos of a form, read into memory as they come in: no temporary file, and no more than the limits allow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from agegender.serving.limits import RefusedError

FIELD = "photos"
_LONGEST_NAME = 120  # characters that are shown of a file's name


@dataclass(frozen=True)
class SentPhoto:
    """The bytes of a file, and what its sender calls it."""

    name: str
    data: bytes


async def read_photos(content_type: str, chunks: AsyncIterator[bytes], most: int) -> list[SentPhoto]:
    """Read the field `photos` of a multipart form, at least one and at most so many.

    Raises
    ------
    RefusedError
        It is no such form, or holds something else.
    """
    kind, parameters = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not parameters.get(b"boundary"):
        raise RefusedError(415, f"send the photos as multipart/form-data, each in a field {FIELD}.")
    form = _Form(parameters[b"boundary"], most)
    try:
        async for chunk in chunks:
            form.add(chunk)
        return form.finished()
    except FormParserError as error:
        raise RefusedError(400, "the multipart form is damaged.") from error


class _Form:
    def __init__(self, boundary: bytes, most: int) -> None:
        self._most, self._photos, self._is_whole = most, list[SentPhoto](), False
        self._headers: dict[bytes, bytes] = {}
        self._field, self._value, self._data = bytearray(), bytearray(), bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._check_part,
                "on_part_data": lambda data, start, end: self._data.extend(data[start:end]),
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def add(self, chunk: bytes) -> None:
        self._parser.write(chunk)

    def finished(self) -> list[SentPhoto]:
        self._parser.finalize()
        if not self._is_whole:
            raise RefusedError(400, "the multipart form is cut off before its end.")
        if not self._photos:
            raise RefusedError(422, f"the form has no photo. Send each in a field {FIELD}.")
        return self._photos

    def _begin(self) -> None:
        if len(self._photos) == self._most:
            raise RefusedError(
                413, f"one request may have {self._most} photo{'s' * (self._most > 1)}.", {"connection": "close"}
            )
        self._headers, self._data = {}, bytearray()

    def _end_header(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _check_part(self) -> None:
        kind, self._parameters = parse_options_header(self._headers.get(b"content-disposition"))
        if kind != b"form-data" or self._parameters.get(b"name") != FIELD.encode():
            raise RefusedError(422, f"the form has a field that is not known here. Photos go into {FIELD}.")

    def _end_part(self) -> None:
        name = shown_name(self._parameters.get(b"filename", b""))
        self._photos.append(SentPhoto(name or f"photo {len(self._photos)}", bytes(self._data)))
        self._data = bytearray()

    def _end(self) -> None:
        self._is_whole = True


def shown_name(sent: bytes) -> str:
    r"""Return the name of a file without folders and without what cannot be shown; it is for the answer alone.

    >>> shown_name(b"../../etc/passwd"), shown_name(b"C:\\photos\\me.jpg"), shown_name(b"a\x00\x1bb.png")
    ('passwd', 'me.jpg', 'ab.png')
    """
    last = sent.decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in last if letter.isprintable())[:_LONGEST_NAME].strip()
