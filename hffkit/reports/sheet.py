"""Contact sheets: rows of images under titles."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from hffkit.errors import StorageError
from hffkit.media.image import Image, encode_png
from hffkit.storage.outputs import FileForm, write_output

_GAP = 4  # px
_TITLE = 26
_CAPTION = 17
_INK, _FRAME = (20, 20, 20), 225


@dataclass(frozen=True, slots=True)
class Tile:
    """An image with a caption below it."""

    caption: str
    image: Image


def contact_sheet(
    rows: Sequence[tuple[str, Sequence[Tile]]],
    *,
    columns: int,
    tile: int = 112,
    enlarges: bool = True,
) -> Image:
    """Draw an (H, W, 3) RGB sheet: for each row a title and up to `columns` tiles of `tile` px.

    Images keep their aspect. With `enlarges` smaller ones fill their tile without smoothing, so
    pixels stay visible. Captions take room only if there are any.
    """
    foot = _CAPTION if any(item.caption for _, items in rows for item in items) else 0
    pitch = _TITLE + tile + foot + _GAP
    most = math.inf if enlarges else 1.0
    canvas = np.full((_GAP + len(rows) * pitch, _GAP + columns * (tile + _GAP), 3), 255, np.uint8)
    for number, (_, items) in enumerate(rows):
        top = _GAP + number * pitch + _TITLE
        for column, item in enumerate(items[:columns]):
            left = _GAP + column * (tile + _GAP)
            canvas[top : top + tile, left : left + tile] = _square(item.image, tile, most)
    page = PillowImage.fromarray(canvas)
    draw = ImageDraw.Draw(page)
    large, small = ImageFont.load_default(15), ImageFont.load_default(12)
    for number, (title, items) in enumerate(rows):
        top = _GAP + number * pitch
        draw.text((_GAP + 2, top + 4), title, fill=_INK, font=large)
        for column, item in enumerate(items[:columns]):
            at = (_GAP + column * (tile + _GAP) + 2, top + _TITLE + tile + 1)
            draw.text(at, item.caption, fill=_INK, font=small)
    return np.asarray(page)


def check_sheet(path: Path) -> None:
    """Refuse a path that is no PNG file's, before the sheet is drawn."""
    if path.is_dir() or path.suffix.lower() != ".png":
        raise StorageError(f"{path}: a contact sheet is a PNG file. Name one ending in .png.")


def write_sheet(path: Path, sheet: Image, form: FileForm) -> None:
    """Write a contact sheet as PNG."""
    write_output(path, encode_png(sheet), form)


def _square(image: Image, side: int, most: float) -> Image:
    height, width = image.shape[:2]
    scale = min(side / max(height, width), most)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    small = cv2.resize(image, size, interpolation=way)
    tile = np.full((side, side, 3), _FRAME, np.uint8)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = small
    return tile
