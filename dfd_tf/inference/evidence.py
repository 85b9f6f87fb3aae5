"""What a network says of the faces of one file, before anything is concluded from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dfd_tf.inference.media_faces import MediaFaces
from dfd_tf.inference.network import Network
from dfd_tf.inference.temporal import compared_frames
from dfd_tf.inference.tracks import appearance

_CHUNK = 32
"""Crops decoded at a time: however long a clip is, its pixels are never all in memory."""


@dataclass(frozen=True)
class FaceEvidence:
    """What is known of the faces of one file.

    Args:
        scores: (crops,) float64 of `MediaFaces.crops`: the faces, then their re-delivered copies.
        descriptors: (faces, d) float16, what the faces look like (`tracks.appearance`); None for
            images.
        latents: (faces, d) float32 of the network; zeros where a frame is not one of those compared
            over time (`Clip.compared_frames`); None for images.
    """

    scores: np.ndarray
    descriptors: np.ndarray | None = None
    latents: np.ndarray | None = None


def score_encoded(
    network: Network, encoded: Sequence[bytes], chunk_size: int = _CHUNK
) -> np.ndarray:
    """Scores encoded face crops, of which `chunk_size` are decoded at a time: (n,) float64."""
    starts = range(0, len(encoded), chunk_size)
    chunks = [encoded[start : start + chunk_size] for start in starts]
    scores = [network.score(network.decode(chunk)) for chunk in chunks]
    return np.concatenate(scores) if scores else np.empty(0)


def gather_evidence(network: Network, media: MediaFaces) -> FaceEvidence:
    """Scores all crops of a file; looks closer at the faces of a video."""
    if media.clip is None or not media.faces:
        return FaceEvidence(score_encoded(network, media.crops))
    compared = compared_frames(media.clip)
    scores, descriptors = [], []
    latents: dict[int, np.ndarray] = {}
    for start in range(0, len(media.faces), _CHUNK):
        faces = media.faces[start : start + _CHUNK]
        images = network.decode([face.encoded for face in faces])
        scores.append(network.score(images))
        descriptors.append(appearance(images))
        places = [place for place, face in enumerate(faces) if face.frame in compared]
        if places:
            found = network.embed(images[places])
            latents |= {start + place: row for place, row in zip(places, found, strict=True)}
    scores.append(score_encoded(network, media.crops[len(media.faces) :]))
    size = len(next(iter(latents.values()))) if latents else 0
    every_latent = np.zeros((len(media.faces), size), np.float32)
    for place, latent in latents.items():
        every_latent[place] = latent
    return FaceEvidence(np.concatenate(scores), np.concatenate(descriptors), every_latent)
