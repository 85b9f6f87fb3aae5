"""Self-contained HTML pages: templates of this package, pictures inlined, nothing loaded.

A page opens from a mail or a USB stick years later: style and script are in it, pictures are data
URIs, and its Content-Security-Policy forbids any request. Values are escaped.
"""

import base64
import functools
from typing import Any

import jinja2


def render(template: str, **values: Any) -> str:
    """Renders a page.

    Args:
        template: Name of a file of `dfd_tf/evaluation/templates`; it extends `page.html`.
        values: What the template needs; strings in them are escaped.

    Raises:
        jinja2.UndefinedError: The template needs a value that is not given.
    """
    return _environment().get_template(template).render(**values)


def inline_png(content: bytes) -> str:
    """Returns a PNG file as a data URI, for `src` of an image."""
    return _data_uri("image/png", content)


def inline_jpeg(content: bytes) -> str:
    """Returns a JPEG file as a data URI, for `src` of an image."""
    return _data_uri("image/jpeg", content)


def _data_uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("dfd_tf.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
