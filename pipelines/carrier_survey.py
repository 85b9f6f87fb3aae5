"""The measuring pass of harmonisation: a look at every face before the carrier is chosen.

Faces are found here and found again when they are written: that doubles the time, and keeps memory
from growing with the pictures.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from pipelines.borders import without_border
from pipelines.errors import MediaError
from pipelines.faces.crop import crop_face, crop_side, resized
from pipelines.harmonization import (
    TAIL,
    MeasuredFace,
    bandwidth,
    carrier_sides,
    grey_levels,
)
from pipelines.media_item import LABEL_NAMES
from pipelines.settings import CarrierSettings, PrepareSettings
from pipelines.shard_plan import PlannedItem
from pipelines.shard_work import one_opencv_thread, open_frames, shared_detector

FRAMES_PER_VIDEO = 4
"""Frames of a video resemble each other; its carrier shows in a few."""


def measure_items(items: Sequence[PlannedItem], settings: PrepareSettings) -> list[MeasuredFace]:
    """Measures the faces of some media; what cannot be read is left to the writers to report."""
    few = replace(settings, frames=min(settings.frames, FRAMES_PER_VIDEO))
    faces: list[MeasuredFace] = []
    with one_opencv_thread():
        for planned in items:
            try:
                faces += _measure(planned, few)
            except MediaError:
                continue
    return faces


def _measure(planned: PlannedItem, settings: PrepareSettings) -> list[MeasuredFace]:
    facts, frames = open_frames(planned, settings)
    smallest = 0 if settings.faces.detector == "none" else settings.faces.min_size
    measured = []
    for frame in frames:
        image, _ = without_border(frame.pixels)
        for face in shared_detector(settings.faces).detect(image):
            if max(face.box[2], face.box[3]) < smallest:
                continue
            side = crop_side(face, settings.faces)
            square = crop_face(image, face, settings.faces, side)
            sides = carrier_sides(settings.crop.size)
            levels = [grey_levels(resized(square, size)) for size in sides]
            measured.append(
                MeasuredFace(
                    label=planned.item.label,
                    format=facts.format,
                    quality=facts.jpeg_quality,
                    side=side,
                    bandwidths=tuple(bandwidth(grey) for grey in levels),
                )
            )
    return measured


def survey_report(
    faces: Sequence[MeasuredFace], carrier: CarrierSettings, size: int
) -> dict[str, Any]:
    """What the manifest keeps of the originals: JSON values.

    Args:
        faces: All that were measured.
        carrier: The carrier chosen.
        size: Side of the stored crop, pixels.

    Returns:
        `carrier`, the `tail` it was chosen by, and per class: `faces`, their `formats`, quantiles
        of `jpeg_quality`, `side` and `bandwidth` (at the carrier's side), and how many lie `below`
        the carrier.
    """
    rung = carrier_sides(size).index(carrier.side)
    originals = {}
    for label in sorted({face.label for face in faces}):
        held = [face for face in faces if face.label == label]
        columns: dict[str, tuple[list[float], float]] = {
            "jpeg_quality": ([f.quality for f in held if f.quality > 0], carrier.quality),
            "side": ([f.side for f in held], carrier.side),
            "bandwidth": ([f.bandwidths[rung] for f in held], carrier.bandwidth),
        }
        originals[LABEL_NAMES[label]] = {
            "faces": len(held),
            "formats": dict(sorted(Counter(face.format for face in held).items())),
            **{name: _quantiles(values) for name, (values, _) in columns.items()},
            "below": {n: sum(v < least for v in values) for n, (values, least) in columns.items()},
        }
    return {"carrier": asdict(carrier), "tail": TAIL, "originals": originals}


def _quantiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    shares = {"lowest": 0.0, "tail": TAIL, "median": 0.5, "highest": 1.0}
    return {name: float(np.quantile(values, q, method="lower")) for name, q in shares.items()}
