"""Self-contained HTML pages: one base template, embedded images, no external link."""

import base64
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import cv2
import numpy as np

from hffkit.media.image import Image, encode_png
from hffkit.wording import displayable

THUMBNAIL = 160  # px


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot with its texts."""

    title: str
    caption: str
    alt: str  # description for readers who cannot see it
    svg: bytes

    @property
    def source(self) -> str:
        """Data URI of the plot."""
        return data_uri("svg+xml", self.svg)


def html_of(template: str, **values: Any) -> str:
    """Render a template of this folder with escaped text; see `displayable` for odd characters."""
    # Late: the import takes 0.1 s, and few commands need it.
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = files("hffkit.reports")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: (folder / name).read_text("utf-8")),
    )
    return displayable(environment.get_template(template).render(**values))


def data_uri(kind: str, encoded: bytes) -> str:
    """Return an encoded image as a data URI; `kind` is png or svg+xml."""
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode('ascii')}"


def thumbnail(image: Image, side: int = THUMBNAIL) -> str:
    """Return an image as a PNG data URI, reduced to at most `side` px."""
    return data_uri("png", encode_png(reduced(image, side)))


def reduced(image: Image, side: int) -> Image:
    """Return an image as it is, or reduced to at most `side` px."""
    height, width = image.shape[:2]
    scale = min(side / max(height, width), 1.0)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
