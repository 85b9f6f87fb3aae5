"""Taking the one file out of a request. Its name is never looked at."""

import os
from io import BytesIO
from typing import IO

from flask import Request
from werkzeug.exceptions import HTTPException

from dfd_tf.serving.errors import ApiError
from dfd_tf.serving.spool import Spool
from pipelines.media.kinds import HEAD_BYTES, identify

FIELD = "file"
MAX_FORM_PARTS = 8
"""One file is wanted; a browser adds a few fields at most."""
_FORM = "multipart/form-data"
_COPY_BYTES = 2**20


class UploadRequest(Request):
    """A request whose files are kept where its limit allows: in memory, or in the spool."""

    max_form_parts = MAX_FORM_PARTS
    max_form_memory_size = 2**18  # werkzeug also holds its 64 KiB reads of a file to this
    spool: Spool | None = None
    max_in_memory = 0

    def _get_file_stream(
        self,
        total_content_length: int | None,  # noqa: ARG002 - werkzeug's signature
        content_type: str | None,  # noqa: ARG002
        filename: str | None = None,  # noqa: ARG002
        content_length: int | None = None,  # noqa: ARG002
    ) -> IO[bytes]:
        return BytesIO() if self.spool is None else self.upload_file(self.spool)

    def upload_file(self, spool: Spool) -> IO[bytes]:
        """Opens a file without a name for this request's upload; only large ones go to a disk."""
        if (self.content_length or 0) <= self.max_in_memory:
            return os.fdopen(os.memfd_create("upload"), "w+b")
        return spool.file()


def image_bytes(request: UploadRequest, limit: int) -> bytes:
    """Returns the file of a request that may hold an image.

    Raises:
        ApiError: There is not one file, it is empty, a video, or over the limit.
    """
    _check_body(request)
    if request.mimetype == _FORM:
        stream = _form_file(request)
        assert isinstance(stream, BytesIO)
        data = stream.getvalue()
    else:
        data = request.get_data(cache=False)
    if len(data) > limit:
        raise _too_large(limit, "an image")
    if not data:
        raise ApiError(422, "empty file")
    content = identify(data[:HEAD_BYTES])
    if content.kind == "video":
        raise ApiError(415, f"a video ({content.name}): send it to /api/v1/jobs")
    return data


def spooled_file(request: UploadRequest, spool: Spool, limit: int, max_in_memory: int) -> IO[bytes]:
    """Returns the file of a request that may hold a video; the caller closes it.

    Args:
        request: The request.
        spool: Where it is kept when it is large.
        limit: Its largest size, bytes.
        max_in_memory: Largest body that is kept in memory: no image ever reaches a disk.

    Raises:
        ApiError: There is not one file, it is empty, or over the limit.
    """
    _check_body(request)
    request.spool, request.max_in_memory = spool, max_in_memory
    if request.mimetype == _FORM:
        in_form = _form_file(request)
        in_form.flush()
        # The request closes its own at its end.
        file: IO[bytes] = os.fdopen(os.dup(in_form.fileno()), "rb")
    else:
        file = request.upload_file(spool)
        while data := request.stream.read(_COPY_BYTES):
            file.write(data)
        file.flush()
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if not 0 < size <= limit:
        file.close()
        raise _too_large(limit, "a video") if size else ApiError(422, "empty file")
    return file


def _check_body(request: UploadRequest) -> None:
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() not in ("", "identity"):
        raise ApiError(415, "Content-Encoding: send the file as it is")


def _form_file(request: UploadRequest) -> IO[bytes]:
    if "boundary" not in request.mimetype_params:
        raise ApiError(400, "multipart/form-data without a boundary")
    try:
        files = [(name, file) for name, found in request.files.lists() for file in found]
    except HTTPException as error:
        if error.code == 413:
            raise ApiError(413, f"more than {MAX_FORM_PARTS} form parts, or too large") from None
        raise ApiError(400, "the form cannot be read") from None
    wanted = [file.stream for name, file in files if name == FIELD]
    if len(files) != 1 or not wanted:
        for _, file in files:
            file.close()
        raise ApiError(400, f"expected one file, in the form field `{FIELD}`")
    return wanted[0]


def _too_large(limit: int, what: str) -> ApiError:
    return ApiError(413, f"over the limit of {limit:,} bytes for {what}")
