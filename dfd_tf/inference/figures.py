"""What all pictures of results share: colours that colour-blind eyes tell apart, and PNG bytes."""

import functools
import io

from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

REAL_COLOR, FAKE_COLOR, LINE_COLOR = "#2a78b5", "#d1495b", "#333333"
PERSON_COLORS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00")
"""Of Okabe & Ito, "Color Universal Design" (2008); persons beyond start again."""
UNCOUNTED_COLOR = "#9a9a9a"


def person_color(person: int, *, counted: bool) -> str:
    """Colour of a person of a clip, numbered from 1; grey where the person does not count."""
    return PERSON_COLORS[(person - 1) % len(PERSON_COLORS)] if counted else UNCOUNTED_COLOR


def drawable(text: str) -> str:
    """Returns text with `?` for what the figures' font cannot draw: names may be anything."""
    glyphs = _glyphs()
    return "".join(letter if ord(letter) in glyphs else "?" for letter in text)


@functools.cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def png_bytes(figure: Figure) -> bytes:
    """Returns a PNG without a time stamp: equal figures give equal bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110, metadata={"Software": None})
    return file.getvalue()
