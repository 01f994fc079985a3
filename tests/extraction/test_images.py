import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from makers.landmarks import frontal_detector
from makers.trees import (
    Pixels,
    encoded_data,
    listing,
    png_that_claims,
    portrait,
    raw_pixels,
    records,
    rows,
    write_image,
)
from PIL import Image

from hffkit.extraction.frames import FramePlan
from hffkit.extraction.images import build_images
from hffkit.extraction.settings import Settings
from hffkit.extraction.units import ImageBlock
from hffkit.faces.detection import FaceRule
from hffkit.manifest.failures import Failure
from hffkit.storage.parts import PartWriter, Record, read_part


def _built(root: Path, **settings: Any) -> tuple[dict[str, Record], dict[str, Failure]]:
    """Return what becomes of the images in root/real: records and failures by path."""
    found = listing("folder", root, real=("real",))
    how = Settings(
        root=root,
        classes=found.classes,
        plan=FramePlan.parse("all"),
        rule=FaceRule(),
        **settings,
    )
    events = []
    for unit in found.units:
        assert isinstance(unit, ImageBlock)
        with PartWriter(root / "unit.part") as part:
            build_images(unit, how, part)
        events += list(read_part(root / "unit.part"))
    return (
        {event.sample.source: event for event in events if isinstance(event, Record)},
        {event.path: event for event in events if isinstance(event, Failure)},
    )


def _digest(pixels: Pixels) -> str:
    """Return a sample's pixels_sha256, computed by its definition."""
    height, width, _ = pixels.shape
    planes = b"".join(pixels[:, :, channel].tobytes() for channel in (2, 1, 0))
    return hashlib.sha256(planes + f"{height} {width}".encode()).hexdigest()


def _value(record: Record) -> bytes:
    """Return a record's value as bytes; it may be a view of a file."""
    assert record.value is not None
    return bytes(record.value)


def _write(root: Path, name: str, image: Image.Image, **how: Any) -> Path:
    path = root / "real" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **how)
    return path


def _cut(width: int = 60, height: int = 44) -> Image.Image:
    return Image.fromarray(portrait()[100 : 100 + height, 200 : 200 + width])


def _rgba() -> Image.Image:
    image = _cut().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def _sixteen_bit() -> Image.Image:
    grey = np.asarray(_cut().convert("L"), np.uint16)
    return Image.fromarray(grey * 256 + 255 - grey)  # the low byte would round some values up


KINDS: dict[str, tuple[Callable[[], Image.Image], Callable[[Image.Image], Image.Image]]] = {
    "colour.png": (_cut, lambda image: image),
    "grey.png": (lambda: _cut().convert("L"), lambda image: image.convert("RGB")),
    "grey.jpg": (lambda: _cut().convert("L"), lambda image: image.convert("RGB")),
    "colour.jpg": (_cut, lambda image: image),
    "alpha.png": (_rgba, lambda image: image.convert("RGB")),
    "palette.png": (lambda: _cut().quantize(32), lambda image: image.convert("RGB")),
    "one-bit.png": (lambda: _cut().convert("1"), lambda image: image.convert("RGB")),
    "sixteen-bit.png": (
        _sixteen_bit,
        lambda image: Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB"),
    ),
    "lossless.bmp": (_cut, lambda image: image),
    "lossless.tiff": (_cut, lambda image: image),
    "lossless.ppm": (_cut, lambda image: image),
}


@pytest.mark.parametrize("name", KINDS)
def test_odd_images_keep_their_bytes_and_give_the_pixels_that_pillow_sees(
    tmp_path: Path, name: str
) -> None:
    make, as_rgb = KINDS[name]
    path = _write(tmp_path, name, make())
    found, failures = _built(tmp_path)
    assert failures == {}
    record = found[f"real/{name}"]
    assert encoded_data(_value(record)) == (path.read_bytes(), 0)
    with Image.open(path) as opened:
        pixels = np.asarray(as_rgb(opened), np.uint8)
    assert record.sample.pixels_sha256 == _digest(pixels)
    assert record.sample.sha256 == record.sample.source_sha256
    assert record.sample.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_cmyk_is_read_as_colour(tmp_path: Path) -> None:
    path = _write(tmp_path, "press.jpg", _cut().convert("CMYK"), quality=95)
    found, failures = _built(tmp_path, size=32)
    assert failures == {}
    pixels, _ = raw_pixels(_value(found["real/press.jpg"]), 32)
    with Image.open(path) as opened:
        assert opened.mode == "CMYK"
    expected = cv2.resize(np.asarray(_cut()), (32, 32), interpolation=cv2.INTER_LINEAR)
    # Both ways of leaving CMYK are naive; they may differ by the JPEG and some rounding.
    assert float(np.abs(pixels.astype(int) - expected).mean()) < 12


def test_a_packed_image_is_resized_between_its_four_neighbours(tmp_path: Path) -> None:
    _write(tmp_path, "a.png", _cut(64, 48))
    found, _ = _built(tmp_path, size=32)
    pixels, label = raw_pixels(_value(found["real/a.png"]), 32)
    source = np.asarray(_cut(64, 48), np.float64)
    y, x = ((np.arange(32) + 0.5) * n / 32 - 0.5 for n in (48, 64))  # centres of pixels
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    down, right = (y - top)[:, None, None], (x - left)[None, :, None]
    rows_ = [
        source[t][:, left] * (1 - right) + source[t][:, np.minimum(left + 1, 63)] * right
        for t in (top, np.minimum(top + 1, 47))
    ]
    expected = rows_[0] * (1 - down) + rows_[1] * down
    assert np.abs(pixels - expected).max() <= 1
    assert label == 0
    sample = found["real/a.png"].sample
    assert sample.pixels_sha256 == _digest(pixels)
    bgr = np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1))
    assert sample.sha256 == hashlib.sha256(bgr.tobytes()).hexdigest()


def _jpeg() -> bytes:
    ok, encoded = cv2.imencode(".jpg", portrait()[:200, :200])
    assert ok
    return encoded.tobytes()


def _cut_short(ending: str) -> bytes:
    ok, encoded = cv2.imencode(ending, portrait()[:200, :200])
    assert ok
    return encoded.tobytes()[: len(encoded) // 2]


BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.jpg": (lambda: b"", "empty file"),
    "text.png": (lambda: b"not found\n", "no image: starts with 'not foun'"),
    "huge.png": (lambda: png_that_claims(60000, 60000), "too large"),
    "wide.png": (lambda: png_that_claims(1 << 30, 1), "too large"),
    "head.jpg": (lambda: _jpeg()[:40], ""),
    "short.jpg": (lambda: _cut_short(".jpg"), "cut short"),
    "short.png": (lambda: _cut_short(".png"), ""),
    "short.bmp": (lambda: _cut_short(".bmp"), ""),
    "short.tiff": (lambda: _cut_short(".tiff"), ""),
    "short.webp": (lambda: _cut_short(".webp"), ""),
    "short.jp2": (lambda: _cut_short(".jp2"), ""),
    "nothing.png": (lambda: png_that_claims(8, 8)[:33], ""),
    "crossed.jpg": (lambda: b"\xff\xd8\xff\xe0" + bytes(range(256)), ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_image_is_recorded_with_its_reason_and_the_others_go_on(
    tmp_path: Path, name: str
) -> None:
    encoded, reason = BROKEN[name]
    write_image(tmp_path / "real/good.png")
    (tmp_path / "real" / name).write_bytes(encoded())
    found, failures = _built(tmp_path)
    assert list(found) == ["real/good.png"]
    failure = failures[f"real/{name}"]
    assert failure.kind == "unreadable"
    assert failure.frame is None
    assert failure.reason.startswith(reason)
    assert failure.reason


def test_a_image_that_went_away_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/gone.png").symlink_to("nowhere.png")
    _, failures = _built(tmp_path)
    assert failures["real/gone.png"].reason == "cannot be read: No such file or directory"


def test_a_wrong_suffix_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.png").write_bytes(_jpeg())
    found, failures = _built(tmp_path)
    assert list(found) == ["real/a.png"]
    (failure,) = failures.values()
    assert (failure.kind, failure.reason) == (
        "misnamed",
        ".png by its name, JPEG image by its content",
    )


def test_crop_face_stores_the_square_around_the_face_as_png(tmp_path: Path) -> None:
    path = _write(tmp_path, "me.png", Image.fromarray(portrait()))
    _write(tmp_path, "wall.png", Image.new("RGB", (200, 200), (90, 120, 60)))
    found, failures = _built(tmp_path, crop="face")
    assert [(f.kind, f.path) for f in failures.values()] == [("no-face", "real/wall.png")]
    record = found["real/me.png"]
    grey = cv2.cvtColor(portrait(), cv2.COLOR_RGB2GRAY)
    (face,), (score,), _ = frontal_detector().run(grey, 1)
    size = int(max(face.right() - face.left(), face.bottom() - face.top()) * 1.3)
    x = (face.left() + face.right()) // 2 - size // 2
    y = (face.top() + face.bottom()) // 2 - size // 2
    assert record.sample.box == (x, y, size)
    facts = {"codec": "png", "width": 512, "height": 512, "bits": 8, "face_score": round(score, 4)}
    assert record.sample.facts == facts
    data, _ = encoded_data(_value(record))
    (tmp_path / "crop.png").write_bytes(data)
    with Image.open(tmp_path / "crop.png") as stored, Image.open(path) as whole:
        assert stored.format == "PNG"
        expected = whole.crop((x, y, x + size, y + size))
        np.testing.assert_array_equal(np.asarray(stored), np.asarray(expected))
    assert record.sample.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record.sample.sha256 == hashlib.sha256(data).hexdigest()
    assert "upsample=1" in (record.sample.detector or "")


def test_images_of_no_face_give_no_crop(data: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    for path in sorted((data / "data/images/noface-photo").iterdir())[:10]:
        (tmp_path / "real" / path.name).write_bytes(path.read_bytes())
    found, failures = _built(tmp_path, crop="face")
    assert found == {}
    assert {failure.kind for failure in failures.values()} == {"no-face"}
    assert len(failures) == 10


def test_more_images_than_a_block_keep_their_order(tmp_path: Path, run: Any) -> None:
    for number in range(260):
        write_image(tmp_path / f"in/real/{number:03d}.png", number, size=(6, 5))
    (tmp_path / "in/real/100.png").write_bytes(b"x")
    out = tmp_path / "x.lmdb"
    result = run(
        "build", "folder", "--src", tmp_path / "in", "--real", "real", "--out", out, "--workers", 1
    )
    assert result.exit_code == 3, result.output
    names = [f"real/{number:03d}.png" for number in range(260) if number != 100]
    assert [row["key"] for row in rows(out / "manifest.jsonl")] == names
    assert [row["index"] for row in rows(out / "manifest.jsonl")] == list(range(259))
    assert [key for key, _ in records(out)] == [
        f"{index:08d}_{name}".encode() for index, name in enumerate(names)
    ]
