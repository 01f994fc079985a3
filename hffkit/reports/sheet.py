"""Contact sheets: rows of pictures under titles."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from hffkit.imaging import Image

_TILE = 112  # px
_GAP = 4
_TITLE = 26
_INK, _FRAME = (20, 20, 20), 225


def contact_sheet(rows: Sequence[tuple[str, Sequence[Image]]], *, columns: int) -> Image:
    """Return an (H, W, 3) RGB sheet: for each row a title and up to `columns` pictures.

    Pictures keep their aspect; smaller ones are enlarged without smoothing, so pixels stay visible.
    """
    width = _GAP + columns * (_TILE + _GAP)
    height = _GAP + len(rows) * (_TITLE + _TILE + _GAP)
    canvas = np.full((height, width, 3), 255, np.uint8)
    for number, (_, images) in enumerate(rows):
        top = _GAP + number * (_TITLE + _TILE + _GAP) + _TITLE
        for column, image in enumerate(images[:columns]):
            left = _GAP + column * (_TILE + _GAP)
            canvas[top : top + _TILE, left : left + _TILE] = _tile(image)
    page = PillowImage.fromarray(canvas)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(15)
    for number, (title, _) in enumerate(rows):
        at = (_GAP + 2, _GAP + number * (_TITLE + _TILE + _GAP) + 4)
        draw.text(at, title, fill=_INK, font=font)
    return np.asarray(page)


def _tile(image: Image) -> Image:
    height, width = image.shape[:2]
    scale = _TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    small = cv2.resize(image, size, interpolation=way)
    tile = np.full((_TILE, _TILE, 3), _FRAME, np.uint8)
    top, left = (_TILE - size[1]) // 2, (_TILE - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = small
    return tile
