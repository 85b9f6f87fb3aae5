"""What the server counts, for Prometheus. Numbers only: no names, no scores."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The metrics of one application, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "dfd_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "dfd_request_seconds",
            "Time from the complete request to its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_images = Histogram(
            "dfd_batch_images",
            "Images in one network call.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )
        self.pending = Gauge(
            "dfd_pending_predictions", "Predictions under way.", registry=self.registry
        )
        self.images = Counter("dfd_images", "Images read.", registry=self.registry)
        self.faces = Counter("dfd_faces", "Faces found.", registry=self.registry)
        self.jobs = Gauge(
            "dfd_jobs", "Jobs that are kept, by state.", ("state",), registry=self.registry
        )
        self.model_info = Gauge(
            "dfd_model_info",
            "1 for each loaded model.",
            ("name", "detector", "model"),
            registry=self.registry,
        )
        self.reloads = Counter(
            "dfd_model_reloads",
            "Changed models on disk, by outcome.",
            ("outcome",),
            registry=self.registry,
        )

    def text(self) -> bytes:
        return generate_latest(self.registry)
