"""Pages as self-contained HTML: one base, images inside, no link out."""

import base64
from importlib.resources import files
from typing import Any

import cv2
import numpy as np

from hffkit.media.image import Image, encode_png

_THUMBNAIL = 160  # px


def html_of(template: str, **values: Any) -> str:
    """Return a template of this folder filled in; text is escaped.

    What UTF-8 cannot hold, of undecodable file names, becomes escapes.
    """
    # Late: 0.1 s that few commands need.
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = files("hffkit.reports")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: (folder / name).read_text("utf-8")),
    )
    html = environment.get_template(template).render(**values)
    return html.encode("utf-8", "backslashreplace").decode("utf-8")


def data_uri(kind: str, encoded: bytes) -> str:
    """Return an image as the address of an <img>; `kind` is png or svg+xml."""
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode('ascii')}"


def thumbnail(image: Image) -> str:
    """Return an image as the address of an <img>, reduced to 160 px where it is larger."""
    height, width = image.shape[:2]
    scale = min(_THUMBNAIL / max(height, width), 1.0)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return data_uri("png", encode_png(np.asarray(small, np.uint8)))
