"""What a network saw in a face: its heat map and, from an autoencoder, its reconstruction."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from PIL import Image

from dfd_tf.inference.network import Network
from dfd_tf.inference.prediction import FilePrediction

HEAT_COLOURS = "inferno"
"""Dark to bright through hues that colour-blind eyes tell apart; bright is much evidence."""
OVERLAY_STRENGTH = 0.75
"""Opacity of an overlay where a map is 1: the face stays visible below."""
MOST_FACES = 8
"""Faces of an image worth showing at most."""


@dataclass(frozen=True)
class FaceExplanation:
    """What is shown of one face.

    Args:
        crop: (side, side, 3) uint8 RGB, as the network saw it.
        heat: (side, side) float32 in [0, 1], where the score comes from; of its own scale: 1 is the
            most telling place of this face, all zeros say that nothing speaks for a fake.
        reconstruction: Like `crop`; None where the network has none.
    """

    crop: np.ndarray
    heat: np.ndarray
    reconstruction: np.ndarray | None

    @property
    def difference(self) -> np.ndarray | None:
        """Absolute error of the reconstruction, mean over the colours: float32 in [0, 1]."""
        if self.reconstruction is None:
            return None
        errors = np.abs(self.crop.astype(np.float32) - self.reconstruction)
        return errors.mean(axis=-1) / 255.0


def explain_faces(network: Network, encoded: Sequence[bytes]) -> list[FaceExplanation]:
    """Explains face crops encoded as records hold them, one explanation each."""
    if not encoded:
        return []
    crops = network.decode(encoded)
    heats = network.explain(crops)
    reconstructions = network.reconstruct(crops)
    if reconstructions is None:
        pairs = zip(crops, heats, strict=True)
        return [FaceExplanation(crop, heat, None) for crop, heat in pairs]
    pictures = np.round(reconstructions * 255.0).astype(np.uint8)
    return [FaceExplanation(*parts) for parts in zip(crops, heats, pictures, strict=True)]


def telling_faces(prediction: FilePrediction) -> list[int]:
    """Chooses faces of a result worth showing, as places in `prediction.faces`.

    Of an image all, at most `MOST_FACES`, highest scores first; of a video the one of the highest
    score of each person that counts, in the order of the persons.
    """
    scores = [face["score"] for face in prediction.faces]
    if prediction.video is None:
        return _highest_first(range(len(scores)), scores)[:MOST_FACES]
    places = []
    for person in prediction.persons:
        own = [n for n, face in enumerate(prediction.faces) if face["person"] == person["person"]]
        if person["counted"]:
            places += _highest_first(own, scores)[:1]
    return places


def _highest_first(places: Iterable[int], scores: Sequence[float]) -> list[int]:
    return sorted(places, key=lambda place: -scores[place])


def heat_overlay(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Lays heat maps (n, h, w) in [0, 1] over greyed faces (n, h, w, 3) in [0, 1].

    The stronger the map, the more of its colour: where there is no evidence the face is seen. Grey,
    because skin has the colours of fire.
    """
    grey = images.mean(axis=-1, keepdims=True)
    return blended(grey, maps)


def blended(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Lays heat maps (...) in [0, 1] over the pixels (..., 1 or 3), in [0, 1], of images."""
    colour = matplotlib.colormaps[HEAT_COLOURS](maps)[..., :3]
    share = OVERLAY_STRENGTH * maps[..., None]
    return (1 - share) * images + share * colour


def heat_png(heat: np.ndarray) -> bytes:
    """A heat map (h, w) in [0, 1] as a PNG with colours and, as opacity, the map itself."""
    picture = np.asarray(matplotlib.colormaps[HEAT_COLOURS](heat, alpha=heat, bytes=True))
    file = io.BytesIO()
    Image.fromarray(picture, "RGBA").save(file, "PNG")
    return file.getvalue()
