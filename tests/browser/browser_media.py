"""Files to drop on the page: rendered people, alone, together and moving."""

import av
import numpy as np
from PIL import Image

from pipelines.sources.synthetic_portraits import render_face, render_portrait_pair

SIDE = 200


def write_media(folder):
    """Writes the files and returns their paths by name."""
    portrait = render_face(31, 0, 0, SIDE).pixels
    pair = render_portrait_pair(31, 5, 6, 0, SIDE)[0]
    Image.fromarray(portrait).save(folder / "portrait.jpg", quality=90)
    Image.fromarray(pair).save(folder / "pair.png")
    Image.fromarray(np.full_like(portrait, 120)).save(folder / "wall.png")
    Image.fromarray(portrait).save(folder / "<img src=x onerror=document.title=1>.jpg")
    (folder / "letter.jpg").write_text("Dear reader, this is no picture.\n")
    write_webm(folder / "clip.webm", clip_frames(pair))
    (folder / "clip.bin").write_bytes((folder / "clip.webm").read_bytes())
    return folder


def clip_frames(pair):
    """Twelve frames: two people, then nobody for three frames, then the left one alone."""
    nobody = np.full_like(pair, 120)
    left = pair.copy()
    left[:, SIDE:] = 120
    return [pair] * 6 + [nobody] * 3 + [left] * 3


def write_webm(path, frames, rate=5):
    """Writes RGB frames as VP8, which any build of Chromium plays."""
    with av.open(str(path), "w", format="webm") as output:
        stream = output.add_stream("libvpx", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 2_000_000
        pictures = [av.VideoFrame.from_ndarray(pixels, format="rgb24") for pixels in frames]
        for picture in (*pictures, None):
            output.mux(stream.encode(picture))
