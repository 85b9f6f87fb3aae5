"""Whether the bytes in `image/encoded` are the picture that a record says they are."""

import io
import warnings

from PIL import Image

from pipelines.records.schema import FaceRecord

_ENDS = {"jpeg": b"\xff\xd9", "png": b"IEND\xaeB`\x82"}


def picture_fault(record: FaceRecord, *, decode: bool) -> str | None:
    """Returns why the picture cannot be used; None for a good one.

    Args:
        record: The record.
        decode: Read every byte, as somebody must who did not encode it a moment ago. A JPEG is
            decoded at an eighth of its size, which reads every byte all the same. Without it,
            header and end are looked at.
    """
    try:
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
            image = Image.open(io.BytesIO(record.encoded), formats=("JPEG", "PNG"))
        with image:
            found = ((image.format or "").lower(), image.height, image.width, image.mode)
            expected = (record.format, record.height, record.width, "RGB")
            if found != expected:
                return f"image/encoded is {_words(found)}, expected {_words(expected)}"
            if not record.encoded.endswith(_ENDS[record.format]):
                return f"image/encoded does not end as a {record.format} does"
            if decode:
                image.draft("RGB", (1, 1))
                image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        return f"image/encoded cannot be decoded ({reason})"
    return None


def _words(facts: tuple[str, int, int, str]) -> str:
    picture_format, height, width, mode = facts
    return f"{picture_format} {height}x{width} {mode}"
