"""`hffkit degrade --preview`: the effect of every operation on one image, side by side."""

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from hffkit.degrade.chain import Chain, every_value
from hffkit.degrade.operation import VideoSetting
from hffkit.degrade.own import OwnOperations, known_operations
from hffkit.degrade.suites import read_part
from hffkit.errors import ArgumentError, ImageError, located
from hffkit.media.image import Image, read_bytes
from hffkit.media.image_files import decode_file
from hffkit.reports.sheet import Tile, check_sheet, contact_sheet, write_sheet
from hffkit.storage.outputs import PREVIEW_SHEET, check_output

_COLUMNS = 8
_TILE = 168  # px: images are cropped to it, not reduced, so that changes of pixels are visible


def preview(path: Path, sheet: Path, own: OwnOperations | None, suite: str | None = None) -> int:
    """Draw every operation at every listed value on one image; return the number of tiles.

    With a suite, draw its operations at their severities instead.

    A tile shows the middle of the result at its own scale, with the value, the PSNR against the
    image and, for codecs, the ratio of raw to compressed bytes. The PSNR of a scaled image is
    computed after scaling it back.
    """
    with located(path, ImageError):
        image = decode_file(read_bytes(path)).image
    if sheet.exists() and sheet.samefile(path):
        raise ArgumentError(f"`out` {sheet} is the image itself. Choose another file.")
    check_output(sheet, "out", PREVIEW_SHEET)
    check_sheet(sheet)
    rows: list[tuple[str, Sequence[Tile]]] = [
        (f"{path.name}, {image.shape[1]}x{image.shape[0]}", [Tile("as it is", _middle(image))])
    ]
    chains = _every_operation(own) if suite is None else _every_severity(suite, own)
    for title, several in chains.items():
        tiles = [_tile(image, words, chain) for words, chain in several]
        for start in range(0, len(tiles), _COLUMNS):
            more = " (continued)" if start else ""
            rows.append((title + more, tiles[start : start + _COLUMNS]))
    drawn = contact_sheet(rows, columns=_COLUMNS, tile=_TILE, enlarges=False)
    write_sheet(sheet, drawn, PREVIEW_SHEET)
    return sum(len(tiles) for _, tiles in rows) - 1


def _every_operation(own: OwnOperations | None) -> dict[str, list[tuple[str, Chain]]]:
    """Return each operation at its listed values, by title, with the words for each."""
    return {
        f"{operation.code}: {operation.title}, {operation.parameter.name}": [
            (chain.name.partition(":")[2], chain) for chain in every_value(operation)
        ]
        for operation in known_operations(own).values()
        if not isinstance(operation, VideoSetting)
    }


def _every_severity(name: str, own: OwnOperations | None) -> dict[str, list[tuple[str, Chain]]]:
    """Return each operation of a suite at its severities, by title, with the words for each."""
    found: dict[str, list[tuple[str, Chain]]] = {}
    suite = read_part(name, own)
    for operation in suite.operations:
        chains = [
            (str(entry.severity), entry.chain)
            for entry in suite.entries
            if entry.operation == operation
        ]
        title = f"{operation}: {'  '.join(chain.name for _, chain in chains)}"
        found[title] = chains
    return found


def _tile(image: Image, title: str, chain: Chain) -> Tile:
    done = chain(image, seed=0, key="preview")
    row = done.operations[-1]
    psnr = psnr_db(image, done.image)
    words = [title, "same" if math.isinf(psnr) else f"{psnr:.1f} dB"]
    if "achieved_ratio" in row:
        words.append(f"{row['achieved_ratio']:.1f}:1")
    return Tile("  ".join(words), _middle(done.image))


def psnr_db(image: Image, other: Image) -> float:
    """Compute the peak signal-to-noise ratio in dB, after resizing `other` to `image`."""
    if other.shape != image.shape:
        size = (image.shape[1], image.shape[0])
        other = np.asarray(cv2.resize(other, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    error = float(np.mean((image.astype(np.float64) - other) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def _middle(image: Image) -> Image:
    height, width = image.shape[:2]
    top, left = max(0, (height - _TILE) // 2), max(0, (width - _TILE) // 2)
    return image[top : top + _TILE, left : left + _TILE]
