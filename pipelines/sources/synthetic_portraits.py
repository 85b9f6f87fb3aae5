"""Real photos of synthetic people: one head, lit, combed and put before a background."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.sources.synthetic_camera import develop, expose, make_camera
from pipelines.sources.synthetic_geometry import (
    PIXELS_PER_UNIT,
    Landmarks,
    Pose,
    edge,
    shape_head,
)
from pipelines.sources.synthetic_hair import draw_glasses, ear_mask, grow_hair, light_hair
from pipelines.sources.synthetic_people import Identity, Shot, make_identity, make_shot
from pipelines.sources.synthetic_scenery import paint_background, paint_body
from pipelines.sources.synthetic_shading import illuminate
from pipelines.sources.synthetic_skin import paint_face
from pipelines.sources.synthetic_textures import TILE


@dataclass(frozen=True)
class Portrait:
    """A photo and what the renderer knows about it.

    Args:
        pixels: uint8 (size, size, 3), RGB.
        landmarks: Where the face is.
    """

    pixels: np.ndarray
    landmarks: Landmarks


@dataclass(frozen=True)
class Scene:
    """A person before the camera, its image not yet taken.

    Args:
        picture: float32 (height, width, 3), [0, 1], display-referred; without glasses.
        cover: float32 (height, width), how much hair hides the face, [0, 1].
        glasses: float32 (height, width, 4), premultiplied display-referred RGB and coverage, or
            None.
        landmarks: Where the face is.
    """

    picture: np.ndarray
    cover: np.ndarray
    glasses: np.ndarray | None
    landmarks: Landmarks

    def with_glasses(self) -> np.ndarray:
        """The picture with the glasses on, float32 (height, width, 3), [0, 1]."""
        return wear(self.picture, self.glasses)


def wear(picture: np.ndarray, glasses: np.ndarray | None) -> np.ndarray:
    """Puts a layer of glasses over a picture."""
    if glasses is None:
        return picture
    return picture * (1.0 - glasses[..., 3:]) + glasses[..., :3]


def render_face(seed: int, identity: int, shot: int, size: int) -> Portrait:
    """Renders the photo with number `shot` of person `identity`.

    A pure function of its arguments.

    Args:
        seed: Which world of people.
        identity: Number of the person.
        shot: Number of the photo.
        size: Side of the square image, pixels; the face (brows to chin) takes half of it.
    """
    scene = stage(make_identity(seed, identity), make_shot(seed, identity, shot), size)
    pixels = expose(scene.with_glasses(), make_camera(seed, identity, shot))
    return Portrait(pixels, scene.landmarks)


def render_portrait_pair(
    seed: int, first: int, second: int, shot: int, size: int
) -> tuple[np.ndarray, tuple[Landmarks, Landmarks]]:
    """Renders two people side by side.

    Returns:
        uint8 (size, 2 * size, 3) RGB and the landmarks of the left and the right face.
    """
    left, right = (
        stage(make_identity(seed, person), make_shot(seed, person, shot), size)
        for person in (first, second)
    )
    picture = np.concatenate([left.with_glasses(), right.with_glasses()], axis=1)
    moved = Landmarks(right.landmarks.points + np.array([size, 0], np.float32))
    return expose(picture, make_camera(seed, first, second, shot)), (left.landmarks, moved)


def stage(identity: Identity, shot: Shot, size: int, face_only: bool = False) -> Scene:
    """Puts a person before a background, size x size pixels.

    Args:
        identity: Who.
        shot: How.
        size: Side of the square image, pixels.
        face_only: Leave out glasses, body and background, for the donor of a swap.
    """
    if not 64 <= size <= TILE:
        raise ValueError(f"size {size}, expected 64 to {TILE} pixels")
    head = shape_head(identity, shot)
    centre = shot.centre[0] * size, shot.centre[1] * size
    pose = Pose(shot, centre, shot.scale * size)
    layer, hair_cover, mean_light = _head_layer(identity, shot, head.relief, head.radius2)
    exposure = shot.exposure * _target_light(identity) / mean_light

    light = np.zeros((3, size, size), np.float32)
    if not face_only:
        light += paint_background(shot.background, size) / exposure
        paint_body(light, identity, shot, pose)
    maps = pose.grid_maps(head.parallax, size)
    *colour, coverage = _place(layer, maps)
    light *= 1.0 - coverage
    light += np.stack(colour)
    cover = cv2.remap(hair_cover, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    glasses = None
    if identity.glasses and not face_only:
        glasses = _place_glasses(identity, shot, maps, exposure)
    picture = develop(cv2.merge([*(light * exposure)]))
    return Scene(picture, cover, glasses, Landmarks(pose.project(head.landmarks)))


def _place(layer: np.ndarray, maps: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
    """Moves the four planes of a layer (4, h, w) from the head's grid into the image."""
    merged = cv2.merge([*layer])
    placed = cv2.remap(merged, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return [*cv2.split(placed)]


def _head_layer(
    identity: Identity, shot: Shot, relief: np.ndarray, radius2: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Premultiplied linear RGBA (4, h, w) of the head, its hair's coverage, the skin's light."""
    skin = paint_face(identity, shot)
    hair = grow_hair(identity)
    light = illuminate(relief, shot)
    shade = _hair_shadow(hair.front)
    lit = skin * light.diffuse
    lit += (0.035 + 0.04 * identity.wrinkles) * light.gloss
    lit *= shade
    inside = edge(0.5 * (1.0 - radius2), 1.5)
    hair_colour = light_hair(hair, identity, shot)
    face = inside * (1.0 - hair.front)
    mean_light = float((lit[1] * face).sum() / face.sum())

    ears, folds = ear_mask(identity)
    layer = np.empty((4, *relief.shape), np.float32)
    layer[:3] = hair_colour * (0.55 * hair.back)
    layer[3] = hair.back
    if identity.hair_style not in ("bob", "long"):
        _over(layer, ears, lit * folds)
    _over(layer, inside, lit)
    _over(layer, hair.front, hair_colour)
    return layer, hair.front, mean_light


def _over(layer: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> None:
    layer *= 1.0 - mask
    layer[:3] += mask * colour
    layer[3] += mask


def _hair_shadow(front: np.ndarray) -> np.ndarray:
    """Darkening of the skin next to hair, falling downwards."""
    soft = cv2.GaussianBlur(front, (0, 0), 0.07 * PIXELS_PER_UNIT)
    lowered = np.roll(soft, round(0.06 * PIXELS_PER_UNIT), axis=0)
    return 1.0 - 0.45 * np.clip(lowered, 0.0, 1.0)


def _target_light(identity: Identity) -> float:
    """Linear luminance a camera's automatic exposure gives this skin: darker skin stays darker."""
    return 0.17 + 0.25 * float(np.mean(identity.skin)) ** 2


def _place_glasses(
    identity: Identity, shot: Shot, maps: tuple[np.ndarray, np.ndarray], exposure: float
) -> np.ndarray:
    *colour, coverage = _place(draw_glasses(identity, shot), maps)
    straight = np.stack(colour) * (exposure / np.maximum(coverage, 1e-3))
    return cv2.merge([*(develop(straight) * coverage), coverage])
