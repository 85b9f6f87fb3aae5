"""What a file holds, told from its first bytes; names and extensions are never asked."""

import struct
from dataclasses import dataclass
from pathlib import Path

from pipelines.media.files import open_regular

HEAD_BYTES = 1024
ACCEPTED_IMAGES = "JPEG/PNG/WEBP/BMP/GIF"
ACCEPTED_VIDEOS = "MP4/MOV/MKV/WEBM/AVI/MPEG/TS/FLV/WMV/OGG"


@dataclass(frozen=True, slots=True)
class Content:
    """What was recognised.

    Args:
        kind: `image` or `video` where it is accepted as such, else None.
        name: Format as results show it.
        demuxer: FFmpeg's name of the container, empty where it has none we use.
    """

    kind: str | None
    name: str
    demuxer: str = ""


UNKNOWN = Content(None, "unknown content")

# Offset, magic bytes, what they announce; the first match counts.
_MAGIC = (
    (0, b"\xff\xd8\xff", Content("image", "JPEG")),
    (0, b"\x89PNG\r\n\x1a\n", Content("image", "PNG", "apng")),
    (0, b"GIF87a", Content("image", "GIF", "gif")),
    (0, b"GIF89a", Content("image", "GIF", "gif")),
    (0, b"\x1aE\xdf\xa3", Content("video", "MKV", "matroska")),
    (0, b"FLV\x01", Content("video", "FLV", "flv")),
    (0, b"\x00\x00\x01\xba", Content("video", "MPEG", "mpeg")),
    (0, b"\x00\x00\x01\xb3", Content("video", "MPEG", "mpegvideo")),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Content("video", "WMV", "asf")),
    (0, b"OggS", Content("video", "OGG", "ogg")),
    (0, b"II*\x00", Content(None, "a TIFF image")),
    (0, b"MM\x00*", Content(None, "a TIFF image")),
    (0, b"II+\x00", Content(None, "a TIFF image")),
    (0, b"MM\x00+", Content(None, "a TIFF image")),
    (0, b"\x00\x00\x00\x0cjP  ", Content(None, "a JPEG 2000 image")),
    (0, b"\xff\x4f\xff\x51", Content(None, "a JPEG 2000 image")),
    (0, b"\x00\x00\x00\x0cJXL ", Content(None, "a JPEG XL image")),
    (0, b"\xff\x0a", Content(None, "a JPEG XL image")),
    (0, b"\x00\x00\x01\x00", Content(None, "an ICO image")),
    (0, b"8BPS", Content(None, "a PSD image")),
    (0, b"SIMPLE  =", Content(None, "a FITS image")),
    (0, b"%PDF", Content(None, "a PDF document")),
    (0, b"PK\x03\x04", Content(None, "a ZIP archive")),
    (0, b"\x1f\x8b", Content(None, "a gzip archive")),
    (0, b"#EXTM3U", Content(None, "a playlist")),
    (0, b"ffconcat", Content(None, "a playlist")),
    (0, b"version https://git-lfs", Content(None, "a git LFS pointer, not the file itself")),
)
_RIFF = {b"WEBP": Content("image", "WEBP"), b"AVI ": Content("video", "AVI", "avi")}
_BMP = Content("image", "BMP")
_BMP_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)
_MP4 = Content("video", "MP4", "mp4")
_TS = Content("video", "TS", "mpegts")
_TS_PACKET_BYTES, _TS_SYNC = 188, b"GGG"
# ISO base media files that hold still images.
_STILL_BRANDS = {
    b"avif": "an AVIF image",
    b"avis": "an AVIF image",
    b"crx ": "a raw image",
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "a HEIC image"
    ),
}
_QUICKTIME_ATOMS = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


def identify(head: bytes) -> Content:
    """Returns what a file with these first bytes (`HEAD_BYTES` are enough) holds."""
    for offset, magic, content in _MAGIC:
        if head.startswith(magic, offset):
            return content
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], UNKNOWN)
    if head[4:8] == b"ftyp":
        still = _STILL_BRANDS.get(head[8:12])
        return Content(None, still) if still else _MP4
    if head[4:8] in _QUICKTIME_ATOMS:
        return _MP4
    if head[:2] == b"BM" and len(head) >= 18:
        return _BMP if struct.unpack_from("<I", head, 14)[0] in _BMP_HEADER_SIZES else UNKNOWN
    if head[: 3 * _TS_PACKET_BYTES : _TS_PACKET_BYTES] == _TS_SYNC:
        return _TS
    return Content(None, "text") if _is_text(head) else UNKNOWN


def media_kind(path: str | Path) -> str | None:
    """Returns `image`, `video`, or None for anything that is neither.

    An animated picture is an `image` (and refused as one: it has to be named as a video). For
    None, `images.read_image` gives the one-line reason.

    Raises:
        MediaError: It is not a regular file that can be opened.
    """
    with open_regular(path) as file:
        return identify(file.read(HEAD_BYTES)).kind


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError:
        return False
    return bool(text) and all(c.isprintable() or c.isspace() for c in text)
