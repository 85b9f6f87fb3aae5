"""RELIABILITY.md 2a: A-60, and the memory and time bounds of every bad input."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import media_samples as samples
import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("media_fuzz.py")
MEGABYTE = 2**20


def run(*arguments):
    # Through a shell that stays the parent: ru_maxrss is inherited across exec, and the process
    # that runs the tests is large.
    command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, str(SCRIPT), *arguments]
    root = Path(__file__).resolve().parents[3]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a60_mutations_decode_or_are_refused():
    """DFD_MUTATIONS sets their number; the reliability contract is about 2,000."""
    count = int(os.environ.get("DFD_MUTATIONS", "300"))
    result = run("mutate", str(count), "20240")
    print(json.dumps(result))
    assert not result["num_failures"], "\n".join(result["failures"])
    assert sum(result["verdicts"].values()) == count
    assert result["verdicts"]["ok"] > count / 20
    assert result["verdicts"]["damaged"] > count / 20
    assert result["growth"] < 300 * MEGABYTE
    assert result["slowest"] < 5
    assert result["seconds"] < 0.03 * count + 5


def bombs(folder):
    """Yields the paths of files that make naive decoders take gigabytes or minutes."""
    pixels = samples.picture()
    jpeg = samples.encode(pixels)
    progressive = samples.encode(pixels, progressive=True)
    rows = [row.tobytes() for row in pixels]
    zeros = samples.deflated_zeros(200 * MEGABYTE)

    def png_with(kind, body, repeat=1):
        return samples.png(96, 80, 8, 2, rows, before=samples.chunk(kind, body) * repeat)

    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02D\x01\x00"
    one_bit = struct.pack(">IIBBBBB", 50000, 50000, 1, 0, 0, 0, 0)
    avi = bytearray(
        samples.film(
            folder / "bomb.avi", "avi", "mjpeg", num_frames=4, pixel_format="yuvj420p"
        ).read_bytes()
    )
    position = avi.find(b"\xff\xc0")
    while position > 0:
        struct.pack_into(">HH", avi, position + 5, 16000, 16000)
        position = avi.find(b"\xff\xc0", position + 1)
    webp = samples.encode(np.zeros((64, 64, 3), np.uint8), "WEBP", lossless=True)
    size = struct.pack("<I", 16382 | 16382 << 14)
    cases = {
        "a21": samples.forged_size(jpeg, 22000, 22000),
        "a22": samples.forged_size(jpeg, 65500, 65500),
        "a23": samples.forged_size(progressive, 22000, 22000),
        "a21_below_limit": samples.forged_size(jpeg, 6300, 6300),
        "a23_below_limit": samples.forged_size(progressive, 6300, 6300),
        "a33": samples.PNG_SIGNATURE
        + samples.chunk(b"IHDR", one_bit)
        + samples.chunk(b"IDAT", samples.deflated_zeros(298 * MEGABYTE)),
        "a34": samples.png(50000, 50000, 8, 2),
        "a35": samples.png(23000, 23000, 8, 2),
        "a36": samples.png(13000, 13000, 8, 0),
        "a37": samples.png(2**31 - 1, 2**31 - 1, 8, 2),
        "a38_ztxt": png_with(b"zTXt", b"note\0\0" + zeros),
        "a38_itxt": png_with(b"iTXt", b"note\0\1\0\0\0" + zeros),
        "a38_iccp": png_with(b"iCCP", b"note\0\0" + zeros),
        "a38_exif": png_with(b"zTXt", b"Raw profile type exif\0\0" + zeros),
        "a38_many": png_with(b"zTXt", b"note\0\0" + samples.deflated_zeros(MEGABYTE), 500),
        "a43": samples.gif_header(65535, 65535) + frame + b";",
        "a44": samples.gif_header(20000, 20000) + frame * 5 + b";",
        "gif_comments": samples.gif_header(64, 64) + b"!\xfe" + b"\1x" * MEGABYTE + b"\0" + frame,
        "webp": webp[:21] + size + webp[25:],
        "a48": samples.encode(pixels, "BMP")[:18] + struct.pack("<ii", 50000, 50000) + bytes(64),
        "segments": jpeg[:2] + b"\xff\xe1\x00\x02" * (7 * MEGABYTE) + jpeg[2:],
        "exif": jpeg[:2] + b"\xff\xe1\x00\x09Exif\0\0x" * MEGABYTE + jpeg[2:],
        "chunks": png_with(b"abCD", b"", 2 * MEGABYTE),
        "a57": bytes(avi),
    }
    for name, data in cases.items():
        (folder / name).write_bytes(data)
        yield str(folder / name)


@pytest.fixture(scope="module")
def bomb_paths(tmp_path_factory):
    return list(bombs(tmp_path_factory.mktemp("bombs")))


def test_bombs_cost_little_memory_and_time(bomb_paths):
    result = run("decode", *bomb_paths)
    print(json.dumps(result))
    assert not result["num_failures"], "\n".join(result["failures"])
    assert sum(result["verdicts"].values()) == len(bomb_paths)
    assert result["growth"] < 300 * MEGABYTE
    assert result["slowest"] < 5


def test_text_bombs_cost_less_than_50_megabytes(bomb_paths):
    paths = [path for path in bomb_paths if "a38" in path]
    assert len(paths) == 5
    result = run("decode", *paths)
    assert result["verdicts"] == {"ok": 5}
    assert result["growth"] < 50 * MEGABYTE
