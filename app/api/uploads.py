"""A file as it is sent: as the body, with its content type, or as the only file of a form."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.api.bodies import WrongMediaType, media_type_of
from app.api.http import read_bytes
from app.errors import BadInput, FieldError

MAX_UPLOAD_BYTES = 64 * 1024 * 1024

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ANY = ("application/octet-stream", "")
TABLE_TYPES = ("text/csv", "application/csv", "text/plain", "application/vnd.ms-excel", XLSX)
TOML_TYPES = ("application/toml", "text/toml", "application/x-toml", "text/x-toml", "text/plain")
ZIP_TYPES = ("application/zip", "application/x-zip-compressed", "application/x-zip")
FORM = "multipart/form-data"

MAX_FORM_FIELDS = 20


async def read_upload(request: Request, accepted: tuple[str, ...]) -> bytes:
    """The file. What it is, is told by its content later; a content type that cannot be right is refused.

    Raises:
        WrongMediaType, BodyTooLarge: as they say.
        BadInput: the form is broken or does not hold exactly one file, or the file is empty.
    """
    media_type = media_type_of(request.headers.get("content-type"))
    if media_type != FORM and media_type not in (*accepted, *ANY):
        raise WrongMediaType(*accepted, ANY[0], FORM)
    body = await read_bytes(request, MAX_UPLOAD_BYTES)
    data = await _only_file(request, body, accepted) if media_type == FORM else body
    if not data:
        raise BadInput([FieldError("", "empty", "没有文件内容 / the file is empty")])
    return data


async def _only_file(request: Request, body: bytes, accepted: tuple[str, ...]) -> bytes:
    async def chunks() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await MultiPartParser(request.headers, chunks(), max_files=2, max_fields=MAX_FORM_FIELDS).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise BadInput([FieldError("", "malformed_form", f"表单无效 / not a valid form: {error}")], malformed=True) from None
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        others = [name for name, value in form.multi_items() if not isinstance(value, UploadFile)]
        if len(files) != 1 or others:
            raise BadInput([FieldError("file", "one_file", "表单须只含一个文件，其他参数写在地址中 / one file, and parameters in the URL")])
        if media_type_of(files[0].content_type) not in (*accepted, *ANY):
            raise WrongMediaType(*accepted)
        return await files[0].read()
    finally:
        await form.close()
