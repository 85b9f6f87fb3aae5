"""What a server may be told, and what it never does more of."""

from dataclasses import dataclass, field

from pipelines.settings import MediaLimits

FORM_BYTES = 64 * 2**10
"""What a multipart form may add around its file; also the largest body of any other request."""
UPLOAD_SLOTS = 4
"""Uploads for jobs that are taken in at the same time: each holds a thread while it is copied."""
SPARE_THREADS = 8
"""Threads beside those that wait for predictions: health checks always find one."""


def _limits() -> MediaLimits:
    return MediaLimits(max_video_bytes=512 * 2**20, max_video_seconds=600.0)


@dataclass(frozen=True)
class ServeSettings:
    """Settings of one server.

    Args:
        host: Address to listen on.
        port: Port; 0 takes a free one.
        allow_hosts: Names it may be asked for by, besides those that `host` implies.
        operating_point: The default of requests that name none.
        workers: Processes that decode images and find faces; videos have one of their own.
        batch_size: Images in one network call. The same for every request, whoever its neighbours
            are; 8 gives 16 clients two halves that take turns at decoding and scoring.
        max_pending: Predictions under way; one more is refused with 503.
        max_jobs: Jobs that may wait; one more is refused with 503.
        kept_jobs: Finished jobs whose results are kept, in memory only.
        kept_seconds: How long they are kept.
        limits: What may be decoded.
        max_frames: Most frames of a video looked at.
        image_seconds: Longest time reading an image may take.
        video_seconds: Longest time reading a video may take.
        worker_bytes: Address space of a decoding process.
        drain_seconds: Longest wait for what runs when the server is stopped.
        lazy: Listen first and load the models then.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    allow_hosts: tuple[str, ...] = ()
    operating_point: str = "balanced"
    workers: int = 2
    batch_size: int = 8
    max_pending: int = 32
    max_jobs: int = 8
    kept_jobs: int = 64
    kept_seconds: float = 900.0
    limits: MediaLimits = field(default_factory=_limits)
    max_frames: int = 3000
    image_seconds: float = 20.0
    video_seconds: float = 900.0
    worker_bytes: int = 4 * 2**30
    drain_seconds: float = 15.0
    lazy: bool = False

    @property
    def max_image_body(self) -> int:
        """Largest body of a request with an image."""
        return self.limits.max_image_bytes + FORM_BYTES

    @property
    def max_video_body(self) -> int:
        """Largest body of a request with a video."""
        return max(self.limits.max_video_bytes, self.limits.max_image_bytes) + FORM_BYTES
