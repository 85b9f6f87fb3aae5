"""Do explanation maps point at what was changed? Pseudo-fakes of real faces, their region known.

    python -m benchmarks.pointing_game RUN... --data RECORDS [--split val] [--images 300]

Every real face of a split gets one pseudo-fake in which eyes, nose or mouth were replaced: by those
of the same face after a change of colours, sharpness, resolution or JPEG quality (`self_blend`), or
by another person's (`splice`). All runs see the same pictures. A map hits when its highest place
lies in the changed region; `chance` is the region's mean share of the area, what a map that points
anywhere would get. The two maps at the top know nothing of fakes: one is highest at the centre of
the picture, one is an edge detector. Faces are centred, so a map has to beat these, too. `empty`
maps, of faces in which the network finds nothing suspicious, miss; `if any` leaves them out.
`energy` is the share of a map's sum inside the region. `random` is the mean rank correlation with
the maps of the same network with random weights (Adebayo et al. 2018): near 1 the map shows the
picture, not what was learnt.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from dfd_tf.cli.console import progress_bar
from dfd_tf.detectors.registry import build_detector
from dfd_tf.evaluation.pointing_game import PointingGame, play, rank_correlations
from dfd_tf.inference.predictor import Predictor, load_predictor
from pipelines.changes import changed_pixels
from pipelines.dataset import evaluation_batches
from pipelines.pseudo_fakes import make_pairs
from pipelines.records.manifest import load_manifest
from pipelines.settings import PseudoFakeSettings

SIDE = 160
"""Side of the pseudo-fakes, pixels: at most that of the records, at least that of most networks."""
SETTINGS = PseudoFakeSettings(self_blend=1.0, splice=1.0, parts=1.0)
_BATCH_SIZE = 32
_LARGEST_REGION = 0.5
_SMALLEST_REGION = 0.01

Explain = Callable[[np.ndarray], np.ndarray]
"""From images (n, SIDE, SIDE, 3) uint8 to maps (n, SIDE, SIDE)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--data", type=Path, required=True, help="records with real faces")
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--pictures", type=Path, help="PNG: some pseudo-fakes with all their maps")
    options = parser.parse_args()
    images, regions = pseudo_fakes(options.data, options.split, options.images)
    table = Table(title=f"{len(images)} pseudo-fakes of {options.data.name}/{options.split}")
    for column in (
        "run",
        "n",
        "empty",
        "hits",
        "accuracy [95 %]",
        "if any",
        "chance",
        "energy",
        "random",
    ):
        table.add_column(column, justify="left" if column == "run" else "right")
    shown: dict[str, np.ndarray] = {}
    for name, explain in (("(centre)", centre), ("(edges)", edges)):
        shown[name] = explain(images)
        table.add_row(name, *cells(play(shown[name], regions)), "")
    table.add_section()
    with progress_bar("explaining") as progress:
        for number, run in enumerate(options.runs, 1):
            predictor = load_predictor(run, calibrated=False)
            maps, name = explained(predictor, images), Path(run).name
            shown[name] = maps
            random = rank_correlations(maps, explained(randomised(predictor), images))
            correlation = f"{random.mean():.2f}" if len(random) else "undefined"
            table.add_row(name, *cells(play(maps, regions)), correlation)
            progress(number, len(options.runs))
    Console(width=120).print(table)
    if options.pictures is not None:
        write_pictures(options.pictures, images, regions, shown)


def pseudo_fakes(folder: Path, split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns pseudo-fakes (n, SIDE, SIDE, 3) uint8 and where they were changed, bool.

    A change too faint to say where it is, or over more than half of the picture, is left out.
    """
    batches = evaluation_batches(
        folder, load_manifest(folder), split, SIDE, _BATCH_SIZE, labels="real"
    )
    images, regions = [], []
    made = 0
    for number, (pool, _) in enumerate(batches.dataset):
        faces = tf.image.convert_image_dtype(pool, tf.float32)
        places = tf.range(tf.shape(faces)[0])
        seeds = tf.stack([tf.fill(tf.shape(places), number), places], axis=1)
        reals, fakes, _ = make_pairs(faces, places, tf.cast(seeds, tf.int64), SETTINGS)
        changed = changed_pixels(reals, fakes).numpy()[..., 0] > 0
        share = changed.mean(axis=(1, 2))
        kept = (share >= _SMALLEST_REGION) & (share <= _LARGEST_REGION)
        pixels = tf.image.convert_image_dtype(fakes, tf.uint8, saturate=True).numpy()
        images.append(pixels[kept])
        regions.append(changed[kept])
        made += int(kept.sum())
        if made >= count:
            break
    return np.concatenate(images)[:count], np.concatenate(regions)[:count]


def explained(predictor: Predictor, images: np.ndarray) -> np.ndarray:
    """Maps of a run, on pictures that its own decoder brings to its size."""
    maps = []
    for start in range(0, len(images), _BATCH_SIZE):
        encoded = [tf.io.encode_png(one).numpy() for one in images[start : start + _BATCH_SIZE]]
        maps += list(predictor.explain(predictor.decode(encoded)))
    return np.stack([cv2.resize(one, (SIDE, SIDE)) for one in maps])


def randomised(predictor: Predictor) -> Predictor:
    """The same network with fresh random weights everywhere, its backbone's included."""
    keras.utils.set_random_seed(1)
    detector = build_detector(
        predictor.experiment.detector, predictor.model.num_domains, initial_weights=False
    )
    return replace(predictor, detector=detector)


def centre(images: np.ndarray) -> np.ndarray:
    """The same hill in the middle of every picture."""
    across = np.linspace(-1.0, 1.0, SIDE)
    hill = np.exp(-4.0 * (across[:, None] ** 2 + across**2))
    return np.repeat(hill[None], len(images), axis=0)


def edges(images: np.ndarray) -> np.ndarray:
    """How much a picture changes from pixel to pixel, in windows of a tenth of its side."""
    maps = []
    for image in images:
        grey = image.mean(axis=-1).astype(np.float32)
        slopes = np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))
        maps.append(cv2.blur(slopes, (SIDE // 10, SIDE // 10)))
    return np.stack(maps) / np.max(maps, axis=(1, 2), keepdims=True)


def cells(game: PointingGame) -> list[str]:
    assert game.interval is not None
    interval = f"[{game.interval.low:.2f}, {game.interval.high:.2f}]"
    return [
        str(game.num_maps),
        str(game.num_empty),
        str(game.hits),
        f"{game.accuracy:.2f} {interval}",
        "undefined" if game.num_empty == game.num_maps else f"{game.accuracy_if_any:.2f}",
        f"{game.chance:.2f}",
        "undefined" if game.energy is None else f"{game.energy:.2f}",
    ]


def write_pictures(
    path: Path, images: np.ndarray, regions: np.ndarray, shown: dict[str, np.ndarray]
) -> None:
    """Draws eight pseudo-fakes, what was changed in them, and all maps over them."""
    from dfd_tf.evaluation.plots import picture_grid, png_bytes
    from dfd_tf.inference.explanations import heat_overlay

    some = images[:8] / 255.0
    rows = [("pseudo-fake", some), ("changed", regions[:8].astype(float))]
    rows += [(name, heat_overlay(some, maps[:8])) for name, maps in shown.items()]
    figure = picture_grid(rows, [f"{share:.0%}" for share in regions[:8].mean((1, 2))], "")
    path.write_bytes(png_bytes(figure))


if __name__ == "__main__":
    main()
