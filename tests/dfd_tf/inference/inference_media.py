"""Video clips for the tests of inference."""

import av


def write_clip(path, frames, codec="mpeg4", container="mp4", rate=5):
    """Writes RGB frames, uint8 (height, width, 3), as a clip."""
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p" if codec != "mjpeg" else "yuvj420p"
        for pixels in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                output.mux(packet)
        for packet in stream.encode():
            output.mux(packet)
