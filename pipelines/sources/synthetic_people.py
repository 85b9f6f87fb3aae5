"""Who is shown and how: random identities, and random shots of them.

An `Identity` is a pure function of (seed, identity), a `Shot` of (seed, identity, shot): neither
depends on how many others are drawn or in which order. Lengths are in head units: half the width
of an average head is 1, x points right, y down, the origin lies between the eyes.
"""

from dataclasses import dataclass

import numpy as np

IDENTITY_STREAM, SHOT_STREAM, CAMERA_STREAM, FAKE_STREAM, FILE_STREAM = range(5)

HAIR_STYLES = ("short", "crop", "fringe", "bob", "long", "bald")
_STYLE_WEIGHTS = (0.3, 0.15, 0.15, 0.15, 0.2, 0.05)
_SKIN_TONES = np.array(
    [[244, 216, 200], [234, 195, 172], [214, 172, 145], [188, 143, 114], [150, 110, 87],
     [112, 82, 66]],
    np.float32,
) / 255.0  # fmt: skip
_HAIR_COLOURS = np.array(
    [[30, 24, 22], [60, 40, 28], [98, 66, 42], [150, 108, 66], [196, 160, 108], [130, 62, 34],
     [140, 138, 136]],
    np.float32,
) / 255.0  # fmt: skip
_IRIS_COLOURS = np.array(
    [[70, 44, 26], [96, 66, 36], [84, 100, 62], [88, 118, 148], [110, 122, 130]], np.float32
) / 255.0  # fmt: skip

Colour = tuple[float, float, float]


def stream(*key: int) -> np.random.Generator:
    """Returns the random generator that belongs to a key of non-negative integers."""
    return np.random.default_rng(key)


@dataclass(frozen=True, slots=True)
class Identity:
    """What stays the same in all images of one person; lengths in head units, colours sRGB.

    Args:
        cheek_width, jaw_width: Half widths of the head at the cheekbones and at the jaw.
        chin: y of the chin.
        chin_shape: Exponent of the lower outline: 3 is pointed, 6 is square.
        crown: Height of the skull above the eyes.
        eye_spacing: Half distance of the pupils.
        eye_width, eye_height: Half width and full opening of an eye.
        eye_tilt: Slope of the eyes, outer corner up is positive.
        brow_height, brow_thickness, brow_arch: Distance to the eye, thickness, rise in the middle.
        nose_length, nose_width, nose_height: y of the tip, half width, how far it stands out.
        mouth_height, mouth_width: y of the mouth, its half width.
        upper_lip, lower_lip: Thickness of the lips.
        skin, hair, iris: Base colours.
        lip_tint: How much redder than skin the lips are, 0-1.
        beard, freckles, blush: Strength of each, 0-1.
        wrinkles: Strength of the skin's relief, 0-1.
        hair_style: One of `HAIR_STYLES`.
        hairline, hair_volume, parting: y of the hairline, thickness of the hair, x of the parting.
        glasses: 0 none, else the exponent of the rims' outline (2 round, 5 square).
        glasses_size, glasses_thickness: Scale of the rims and thickness of the frame.
        glasses_colour: Colour of the frame.
        texture: Seed of the skin's and hair's fine texture.
    """

    cheek_width: float
    jaw_width: float
    chin: float
    chin_shape: float
    crown: float
    eye_spacing: float
    eye_width: float
    eye_height: float
    eye_tilt: float
    brow_height: float
    brow_thickness: float
    brow_arch: float
    nose_length: float
    nose_width: float
    nose_height: float
    mouth_height: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    skin: Colour
    hair: Colour
    iris: Colour
    lip_tint: float
    beard: float
    freckles: float
    blush: float
    wrinkles: float
    hair_style: str
    hairline: float
    hair_volume: float
    parting: float
    glasses: float
    glasses_size: float
    glasses_thickness: float
    glasses_colour: Colour
    texture: int


@dataclass(frozen=True, slots=True)
class Shot:
    """What changes between two images of one person.

    Args:
        yaw, pitch, roll: Head rotation in radians; positive looks to the image's right, down, and
            tilts clockwise.
        scale: Pixels per head unit, as a fraction of the image side.
        centre: Where the point between the eyes lies, as fractions of the image side.
        smile, mouth_open, brow_raise, eye_open: Expression; -0.3..1, 0..1, -1..1, 0.75..1.1.
        gaze: Shift of the irises, fractions of the eye's half width.
        azimuth, elevation: Direction of the key light in radians, from the viewer's axis.
        key, fill: Colours times strengths of the key light and the light from all around, linear.
        exposure: Linear luminance the skin is exposed to.
        shirt: Colour of the clothes, sRGB.
        background: Seed of the background.
    """

    yaw: float
    pitch: float
    roll: float
    scale: float
    centre: tuple[float, float]
    smile: float
    mouth_open: float
    brow_raise: float
    eye_open: float
    gaze: tuple[float, float]
    azimuth: float
    elevation: float
    key: Colour
    fill: Colour
    exposure: float
    shirt: Colour
    background: int


def make_identity(seed: int, identity: int) -> Identity:
    """Draws the person with this number."""
    rng = stream(seed, IDENTITY_STREAM, identity)
    tone = rng.uniform(0, len(_SKIN_TONES) - 1)
    skin = _palette(_SKIN_TONES, tone) * (1 + rng.normal(0, 0.02, 3))
    dark = tone > 3
    hair_index = rng.integers(0, 2 if dark else len(_HAIR_COLOURS))
    iris_index = 0 if dark else rng.integers(0, len(_IRIS_COLOURS))
    style = str(rng.choice(HAIR_STYLES, p=_STYLE_WEIGHTS))
    bearded = style in ("short", "crop", "bald") and rng.random() < 0.5
    cheek_width = rng.uniform(0.92, 1.04)
    return Identity(
        cheek_width=cheek_width,
        jaw_width=cheek_width * rng.uniform(0.76, 0.92),
        chin=rng.uniform(1.24, 1.42),
        chin_shape=rng.uniform(3.2, 5.5),
        crown=rng.uniform(1.28, 1.42),
        eye_spacing=rng.uniform(0.385, 0.45),
        eye_width=rng.uniform(0.165, 0.205),
        eye_height=rng.uniform(0.12, 0.17),
        eye_tilt=rng.uniform(-0.08, 0.16),
        brow_height=rng.uniform(0.2, 0.27),
        brow_thickness=rng.uniform(0.035, 0.075),
        brow_arch=rng.uniform(0.02, 0.07),
        nose_length=rng.uniform(0.46, 0.58),
        nose_width=rng.uniform(0.125, 0.19),
        nose_height=rng.uniform(0.8, 1.2),
        mouth_height=rng.uniform(0.82, 0.92),
        mouth_width=rng.uniform(0.26, 0.36),
        upper_lip=rng.uniform(0.04, 0.085),
        lower_lip=rng.uniform(0.065, 0.12),
        skin=_colour(skin),
        hair=_colour(_HAIR_COLOURS[hair_index] * rng.uniform(0.8, 1.2)),
        iris=_colour(_IRIS_COLOURS[iris_index] * rng.uniform(0.8, 1.2)),
        lip_tint=rng.uniform(0.25, 1.0),
        beard=rng.uniform(0.25, 0.95) if bearded else 0.0,
        freckles=max(0.0, rng.uniform(-1.0, 1.0)) * (0.0 if dark else 1.0),
        blush=rng.uniform(0.2, 1.0),
        wrinkles=rng.uniform(0.2, 1.0),
        hair_style=style,
        hairline=rng.uniform(-0.95, -0.72),
        hair_volume=rng.uniform(0.1, 0.24),
        parting=rng.uniform(-0.5, 0.5),
        glasses=rng.uniform(2.0, 5.0) if rng.random() < 0.25 else 0.0,
        glasses_size=rng.uniform(0.9, 1.12),
        glasses_thickness=rng.uniform(0.01, 0.02),
        glasses_colour=_colour(rng.uniform(0.15, 0.55) * rng.uniform(0.7, 1.3, 3)),
        texture=int(rng.integers(0, 2**31)),
    )


def make_shot(seed: int, identity: int, shot: int) -> Shot:
    """Draws the circumstances of this identity's image with this number."""
    rng = stream(seed, SHOT_STREAM, identity, shot)
    warmth = rng.normal(0, 0.06)
    key_strength = rng.uniform(0.8, 1.5)
    fill_strength = rng.uniform(0.35, 0.8)
    hue = rng.normal(0, 0.05, 3)
    return Shot(
        yaw=float(np.clip(rng.normal(0, 0.13), -0.28, 0.28)),
        pitch=float(np.clip(rng.normal(0, 0.07), -0.14, 0.14)),
        roll=float(np.clip(rng.normal(0, 0.05), -0.1, 0.1)),
        scale=rng.uniform(0.238, 0.288),
        centre=(rng.uniform(0.43, 0.57), rng.uniform(0.42, 0.5)),
        smile=float(np.clip(rng.normal(0.3, 0.35), -0.3, 1.0)),
        mouth_open=max(0.0, rng.uniform(-1.2, 1.0)),
        brow_raise=rng.uniform(-0.7, 1.0),
        eye_open=rng.uniform(0.78, 1.1),
        gaze=(rng.uniform(-0.28, 0.28), rng.uniform(-0.1, 0.1)),
        azimuth=rng.uniform(-1.1, 1.1),
        elevation=rng.uniform(0.15, 0.85),
        key=_colour(key_strength * np.array([1 + warmth, 1.0, 1 - warmth]), limit=4.0),
        fill=_colour(fill_strength * (np.array([1 - warmth, 1.0, 1 + warmth]) + hue), limit=4.0),
        exposure=rng.uniform(0.75, 1.25),
        shirt=_colour(rng.uniform(0.1, 0.8) * rng.uniform(0.5, 1.3, 3)),
        background=int(rng.integers(0, 2**31)),
    )


def _palette(colours: np.ndarray, position: float) -> np.ndarray:
    low = min(int(position), len(colours) - 2)
    return colours[low] + (colours[low + 1] - colours[low]) * (position - low)


def _colour(values: np.ndarray, limit: float = 1.0) -> Colour:
    red, green, blue = np.clip(values, 0.0, limit)
    return float(red), float(green), float(blue)
