"""Small images in many encodings, and random damage to them."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from makers.trees import face


def saved(picture: PillowImage.Image, kind: str, **options: Any) -> bytes:
    """Encode an image by Pillow."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def encodings() -> dict[str, bytes]:
    """Return a face of 96x80 px in every format that is read, and in its variants."""
    rgb = PillowImage.fromarray(face(0)[:80, :96])
    palette = rgb.quantize(40)
    return {
        "jpeg": saved(rgb, "JPEG"),
        "jpeg-progressive": saved(rgb, "JPEG", progressive=True),
        "jpeg-restarts": saved(rgb, "JPEG", subsampling=0, restart_marker_rows=1),
        "jpeg-grey": saved(rgb.convert("L"), "JPEG"),
        "jpeg-cmyk": saved(rgb.convert("CMYK"), "JPEG"),
        "png": saved(rgb, "PNG"),
        "png-palette": saved(palette, "PNG"),
        "webp": saved(rgb, "WEBP"),
        "webp-lossless": saved(rgb, "WEBP", lossless=True),
        "tiff": saved(rgb, "TIFF"),
        "tiff-lzw": saved(rgb, "TIFF", compression="tiff_lzw"),
        "tiff-deflate": saved(rgb, "TIFF", compression="tiff_deflate"),
        "tiff-jpeg": saved(rgb, "TIFF", compression="jpeg"),
        "tiff-packbits": saved(rgb, "TIFF", compression="packbits"),
        "tiff-fax": saved(rgb.convert("1"), "TIFF", compression="group4"),
        "bmp": saved(rgb, "BMP"),
        "bmp-palette": saved(palette, "BMP"),
        "jpeg2000": saved(rgb, "JPEG2000"),
        "ppm": saved(rgb, "PPM"),
        "gif": saved(rgb, "GIF"),
        "avif": saved(rgb, "AVIF"),
    }


def mutations(encoded: bytes, n: int, seed: int) -> Iterator[bytes]:
    """Yield `n` damaged copies: flipped bits, truncation, zeros, noise, or bytes left out."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        damaged = bytearray(encoded)
        at, length = int(rng.integers(len(encoded))), int(rng.choice([1, 4, 16, 64, 256]))
        run = slice(at, min(at + length, len(encoded)))
        match rng.integers(5):
            case 0:
                for place in rng.integers(len(encoded), size=rng.choice([1, 2, 8])):
                    damaged[place] ^= 1 << int(rng.integers(8))
            case 1:
                del damaged[max(1, at) :]
            case 2:
                damaged[run] = bytes(run.stop - run.start)
            case 3:
                damaged[run] = rng.bytes(run.stop - run.start)
            case 4:
                del damaged[run]
        yield bytes(damaged)


def scan_damaged(jpeg: bytes) -> bytes:
    """Return a JPEG whose pixels end too early: an end marker amid the entropy-coded data."""
    start = jpeg.index(b"\xff\xda") + 14
    middle = start + (len(jpeg) - start) // 2
    return jpeg[:middle] + b"\xff\xd9" + jpeg[middle + 2 :]
