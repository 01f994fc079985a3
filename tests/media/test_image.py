import hashlib
import io
import re
import struct
import subprocess
import sys
import time
import warnings
import zlib
from pathlib import Path
from typing import Any, get_args

import cv2
import lmdb
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from makers.trees import portrait
from PIL import Image as PillowImage
from PIL import ImageOps

from hffkit.errors import ImageError
from hffkit.media.headers import MAX_PIXELS, Header, read_header
from hffkit.media.image import (
    CONVERT_IMAGESET,
    Image,
    ResizeFilter,
    bgr_planes,
    decode,
    decode_grey,
    digests,
    encode_png,
    from_bgr,
    grey,
    pixels_sha256,
    read_bytes,
    resize,
    thumbnail,
)
from hffkit.media.image_files import decode_file

IMAGES = arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)))


def smooth(channels: int = 3, height: int = 48, width: int = 64) -> npt.NDArray[np.uint8]:
    """An image that JPEG can follow: waves of another length in each channel."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (5 + c)) * np.cos(y / (7 - c)) for c in range(channels)]
    return (127.5 + 127 * np.stack(waves, axis=-1)).astype(np.uint8)


def saved(picture: PillowImage.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def by_pillow(encoded: bytes) -> npt.NDArray[np.uint8]:
    with PillowImage.open(io.BytesIO(encoded)) as picture:
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


def chunk(kind: bytes, data: bytes, *, length: int | None = None) -> bytes:
    head = struct.pack(">I", len(data) if length is None else length)
    return head + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, *, idat_length: int | None = None) -> bytes:
    """A PNG of 8-bit RGB that says it is this large, and holds next to nothing."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(100)), length=idat_length)
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


def jpeg_of(width: int, height: int, **options: Any) -> bytes:
    """A JPEG of 64x48 that says it is this large."""
    encoded = saved(RGB, "JPEG", **options)
    at = encoded.index(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
    return encoded[: at + 5] + struct.pack(">HH", height, width) + encoded[at + 9 :]


def with_segment(jpeg: bytes, content: bytes) -> bytes:
    """The same JPEG with an Exif segment of this content before all others."""
    segment = b"Exif\0\0" + content
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


RGB = PillowImage.fromarray(smooth())
RGBA = PillowImage.fromarray(smooth(4))
CMYK = PillowImage.frombytes("CMYK", (64, 48), smooth(4).tobytes())


@pytest.mark.parametrize(
    ("encoded", "tolerance"),
    [
        pytest.param(saved(RGB, "JPEG", quality=90), 1, id="jpeg"),
        pytest.param(saved(RGB, "JPEG", progressive=True), 1, id="progressive-jpeg"),
        pytest.param(saved(RGB, "JPEG", subsampling=0), 1, id="jpeg-444"),
        pytest.param(saved(RGB.convert("L"), "JPEG"), 0, id="grey-jpeg"),
        # Two integer formulas for ink to light.
        pytest.param(saved(CMYK, "JPEG", quality=95), 2, id="cmyk-jpeg"),
        pytest.param(saved(RGB, "PNG"), 0, id="png"),
        pytest.param(saved(RGB.convert("L"), "PNG"), 0, id="grey-png"),
        pytest.param(saved(RGB.convert("1"), "PNG"), 0, id="one-bit-png"),
        pytest.param(saved(RGB.quantize(100), "PNG"), 0, id="palette-png"),
        pytest.param(saved(RGB, "BMP"), 0, id="bmp"),
        pytest.param(saved(RGB, "PPM"), 0, id="ppm"),
        pytest.param(saved(RGB, "TIFF", compression="tiff_lzw"), 0, id="tiff"),
        pytest.param(saved(RGB, "WEBP", lossless=True), 0, id="webp"),
    ],
)
def test_decoding_agrees_with_pillow(encoded: bytes, tolerance: int) -> None:
    expected = by_pillow(encoded).astype(int)
    image = decode(encoded)
    assert image.dtype == np.uint8
    assert image.shape == (48, 64, 3)
    assert np.abs(image - expected).max() <= tolerance


def test_alpha_is_dropped_not_blended() -> None:
    pixels = smooth(4)
    assert np.array_equal(decode(saved(RGBA, "PNG")), pixels[:, :, :3])
    see_through = saved(RGB.quantize(100), "PNG", transparency=3)
    assert np.array_equal(decode(see_through), by_pillow(saved(RGB.quantize(100), "PNG")))


def test_16_bit_grey_keeps_the_high_byte() -> None:
    values = np.random.default_rng(0).integers(0, 1 << 16, (20, 30), np.uint16)
    image = decode(saved(PillowImage.fromarray(values), "PNG"))
    assert np.array_equal(image, np.repeat((values >> 8)[:, :, None], 3, axis=2))


def test_16_bit_colour_keeps_the_high_byte() -> None:
    values = np.random.default_rng(0).integers(0, 1 << 16, (20, 30, 3), np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    encoded = b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            chunk(b"IHDR", struct.pack(">IIBBBBB", 30, 20, 16, 2, 0, 0, 0)),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        )
    )
    assert np.array_equal(decode(encoded), values >> 8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_rotation_is_applied(kind: str, orientation: int) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    encoded = saved(RGB, kind, exif=exif)
    image = decode(encoded)
    assert image.shape == ((48, 64, 3) if orientation < 5 else (64, 48, 3))
    assert np.abs(image - by_pillow(encoded).astype(int)).max() <= 1


def test_damaged_exif_is_no_matter(recwarn: pytest.WarningsRecorder) -> None:
    warnings.simplefilter("always")
    exif = PillowImage.Exif()
    exif[0x010E] = "an image of a face, described at length"
    encoded = saved(RGB, "JPEG", exif=exif)
    at = encoded.index(b"Exif\0\0") + 14
    damaged = encoded[:at] + b"\xff\x7f" + encoded[at + 2 :]  # 32767 entries
    assert np.array_equal(decode(damaged), decode(saved(RGB, "JPEG")))
    assert [str(warning.message) for warning in recwarn] == []


def test_bytes_behind_the_end_of_a_jpeg_are_no_matter() -> None:
    encoded = saved(RGB, "JPEG")
    for trailer in (b"\0" * 100, b"a phone's own \xff\xda data"):
        assert np.array_equal(decode(encoded + trailer), decode(encoded))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_jpeg_that_was_cut_short_is_refused_wherever_it_was_cut(options: dict[str, Any]) -> None:
    encoded = saved(RGB, "JPEG", **options)
    for end in range(1, len(encoded), 7):
        with pytest.raises(ImageError, match=r"cut short|no image|damaged"):
            decode(encoded[:end])
    with pytest.raises(ImageError, match="cut short: the JPEG's end is missing"):
        decode(encoded[:-1])


def test_jpeg_with_a_thumbnail_that_was_cut_short_is_refused() -> None:
    thumb = saved(RGB.resize((16, 12)), "JPEG")
    whole = saved(RGB, "JPEG")
    encoded = with_segment(whole, thumb)  # whose end marker stands before the image's start
    assert np.array_equal(decode(encoded), decode(whole))
    with pytest.raises(ImageError, match="cut short"):
        decode(encoded[:-100])


def test_png_that_was_cut_short_is_refused_wherever_it_was_cut() -> None:
    encoded = encode_png(smooth())
    for end in [*range(1, len(encoded), 97), *range(len(encoded) - 20, len(encoded))]:
        with pytest.raises(ImageError, match=r"no image|damaged|cut short"):
            decode(encoded[:end])


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (b"", "^empty file$"),
        (b"This is no image.", "^no image: starts with 'This is'$"),
        (b"<!DOCTYPE html>", "no image"),
        (bytes(1000), "no image"),
        (b"\xff\xd8\xff\xe0", "^cut short: the JPEG's end is missing$"),
    ],
)
def test_bytes_that_are_no_image_are_refused(encoded: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        decode(encoded)


@given(st.binary(max_size=200), st.integers(0, 600), st.sampled_from(["JPEG", "BMP", "PPM"]))
def test_damage_gives_pixels_or_our_error(damage: bytes, at: int, kind: str) -> None:
    encoded = bytearray(saved(RGB.resize((16, 12)), kind))
    encoded[at : at + len(damage)] = damage
    try:
        assert decode(bytes(encoded)).dtype == np.uint8
    except ImageError:
        return


def peak_memory_of_decoding(path: Path) -> int:
    """Return by how many MiB a fresh process grows that must refuse the image `path`."""
    program = (
        "import re, sys, pathlib\n"
        "from hffkit.media.image import ImageError, decode\n"
        "def peak():\n"
        "    text = pathlib.Path('/proc/self/status').read_text()\n"
        "    return int(re.search(r'VmHWM:\\s+(\\d+)', text).group(1))\n"
        "before = peak()\n"
        "try:\n"
        "    decode(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "except ImageError:\n"
        "    print((peak() - before) >> 10)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(png_of(60_000, 60_000), id="60000x60000"),
        pytest.param(png_of(64, 48, idat_length=0x7FFFFFFF), id="chunk-of-2-GiB"),
        pytest.param(jpeg_of(20_000, 20_000), id="jpeg"),
        pytest.param(jpeg_of(20_000, 20_000, progressive=True), id="progressive-jpeg"),
        pytest.param(
            with_segment(jpeg_of(20_000, 20_000), saved(RGB.resize((16, 12)), "JPEG")),
            id="jpeg-with-a-small-thumbnail",
        ),
    ],
)
def test_few_bytes_that_claim_to_be_many_are_refused_in_little_memory(
    tmp_path: Path, encoded: bytes
) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(encoded)
    assert peak_memory_of_decoding(path) < 64


def test_huge_image_is_refused_at_once() -> None:
    begin = time.perf_counter()
    with pytest.raises(ImageError, match="too large"):
        decode(png_of(60_000, 60_000))
    assert time.perf_counter() - begin < 0.5


def test_limit_is_the_number_of_pixels_that_it_says() -> None:
    assert read_header(png_of(MAX_PIXELS, 1)) == Header("PNG", MAX_PIXELS, 1)
    for width, height in ((MAX_PIXELS + 1, 1), (1 << 14, (MAX_PIXELS >> 14) + 1)):
        for read in (read_header, decode):
            with pytest.raises(ImageError, match="too large"):
                read(png_of(width, height))
    with pytest.raises(ImageError, match=r"too large: 13378x13378; at most 178956970 pixels"):
        decode(jpeg_of(13_378, 13_378))  # 13377 squared is still allowed


def test_header_says_format_and_size() -> None:
    assert read_header(saved(RGB, "JPEG")) == Header("JPEG", 64, 48)
    assert read_header(saved(RGB, "WEBP")) == Header("WEBP", 64, 48)
    assert read_header(saved(RGB, "JPEG")[:-20]) == Header("JPEG", 64, 48)


@given(IMAGES)
@example(np.zeros((1, 1, 3), np.uint8))
@example(smooth(3, 1, 300))
def test_png_keeps_every_pixel(image: Image) -> None:
    encoded = encode_png(image)
    assert np.array_equal(decode(encoded), image)
    assert np.array_equal(by_pillow(encoded), image)


@given(IMAGES)
def test_png_depends_on_pixels_alone(image: Image) -> None:
    mirrored = np.asfortranarray(image)[:, ::-1]
    assert encode_png(mirrored) == encode_png(mirrored.copy())


def test_png_of_noise_larger_than_what_libpng_takes_for_other_chunks_is_read() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1700, 1700, 3), np.uint8)
    encoded = encode_png(noise)
    assert len(encoded) > 8_000_000
    assert np.array_equal(decode(encoded), noise)
    assert np.array_equal(by_pillow(encoded), noise)


def test_png_is_these_bytes_and_no_others() -> None:
    ramp = np.add.outer(np.arange(90), np.arange(70))[:, :, None] * [1, 2, 3] // 2
    image = ramp + np.random.default_rng(0).integers(0, 9, (90, 70, 3))
    encoded = encode_png(image.astype(np.uint8))
    # Of libdeflate 1.25: another version may give others, another processor may not.
    assert (len(encoded), hashlib.sha256(encoded).hexdigest()) == (
        10376,
        "77caddf5c72ba643bea566f4e13543aab25a638fab10812f9f2986ba00e11185",
    )


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 0, 3), (4, 4, 1), (4, 4)])
def test_what_is_no_image_makes_no_png(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ImageError, match=rf"shape {re.escape(str(shape))} cannot be encoded as PNG"
    ):
        encode_png(np.zeros(shape, np.uint8))


def test_from_bgr_reverses_the_channels() -> None:
    assert np.array_equal(from_bgr(smooth()), smooth()[:, :, ::-1])


@pytest.mark.golden
def test_resizing_to_128_gives_caffes_pixels(data: Path) -> None:
    golden = data / "golden" / "caffe-convert_imageset"
    path = golden / "raw128_lmdb"
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as transaction:
        rows = {bytes(key)[9:].decode(): bytes(value) for key, value in transaction.cursor()}
    assert len(rows) == 35
    for name, value in rows.items():
        blue_green_red = np.frombuffer(value[12 : 12 + 3 * 128 * 128], np.uint8)
        expected = blue_green_red.reshape(3, 128, 128)[::-1].transpose(1, 2, 0)
        image = resize(decode(read_bytes(golden / "images" / name)), 128, CONVERT_IMAGESET)
        assert np.array_equal(image, expected), name


def test_image_of_the_right_size_is_left_alone() -> None:
    image = smooth(3, 128, 128)
    for how in get_args(ResizeFilter):
        assert resize(image, 128, how) is image
        assert resize(smooth(3, 128, 64), 128, how).shape == (128, 128, 3)


def weights_of(n: int, size: int, support: float) -> npt.NDArray[np.float64]:
    """Return the weights (size, n) of a triangle of `support` source pixels to either side."""
    centres = (np.arange(size) + 0.5) * n / size
    distances = np.abs(centres[:, None] - (np.arange(n) + 0.5))
    weights = np.clip(1 - distances / support, 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float64)


def interpolated(image: Image, size: int, supports: tuple[float, float]) -> Any:
    """Resize by a triangle filter in float64; edges repeat where the triangle reaches outside."""
    rows, columns = (
        weights_of(n, size, support) for n, support in zip(image.shape[:2], supports, strict=True)
    )
    narrow = np.einsum("hwc,xw->hxc", image.astype(np.float64), columns, optimize=True)
    return np.einsum("yh,hxc->yxc", rows, narrow, optimize=True)


@pytest.mark.parametrize("size", [128, 224, 299])
def test_each_filter_resizes_1024_px_as_its_original(size: int) -> None:
    image = np.tile(portrait(), (2, 2, 1))[:900]
    found = {how: resize(image, size, how) for how in get_args(ResizeFilter)}
    picture = PillowImage.fromarray(image)
    for name in ("bilinear", "nearest"):
        theirs = picture.resize((size, size), getattr(PillowImage.Resampling, name.upper()))
        assert np.array_equal(found[f"pillow-{name}"], np.asarray(theirs))
    assert np.array_equal(found["opencv-linear"], cv2.resize(image, (size, size)))
    # By hand: a triangle of one source pixel, and one as wide as the reduction.
    plain = interpolated(image, size, (1, 1))
    wide = interpolated(image, size, (900 / size, 1024 / size))
    assert np.abs(found["opencv-linear"] - plain).max() <= 1
    assert np.abs(found["pillow-bilinear"] - wide).max() <= 1.5  # rounded after each direction
    rows, columns = ((np.arange(size) + 0.5) * n / size for n in (900, 1024))
    clear = [np.abs(at - at.round()) > 1e-6 for at in (rows, columns)]  # else either side is near
    nearest = image[np.floor(rows).astype(int)][:, np.floor(columns).astype(int)]
    assert np.array_equal(found["pillow-nearest"][np.ix_(*clear)], nearest[np.ix_(*clear)])
    assert np.abs(plain - wide).max() > 10


def test_file_that_cannot_be_read_is_named_by_its_reason(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read: No such file or directory"):
        read_bytes(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="cannot be read: it is a folder"):
        read_bytes(tmp_path)


def blue_green_red(image: Image) -> bytes:
    """The planes of an image, pixel by pixel."""
    rows = image.tolist()
    return bytes(pixel[channel] for channel in (2, 1, 0) for row in rows for pixel in row)


@given(IMAGES)
def test_planes_are_blue_green_red(image: Image) -> None:
    assert bgr_planes(image) == blue_green_red(image)
    assert bgr_planes(np.asfortranarray(image)) == blue_green_red(image)
    assert bgr_planes(image[::-1, ::2]) == blue_green_red(image[::-1, ::2])


@given(IMAGES)
def test_pixels_sha256_is_that_of_planes_and_size(image: Image) -> None:
    text = f"{image.shape[0]} {image.shape[1]}".encode()
    expected = hashlib.sha256(blue_green_red(image) + text).hexdigest()
    assert pixels_sha256(image) == expected
    assert pixels_sha256(np.asfortranarray(image)) == expected


@given(IMAGES)
def test_digests_are_of_the_planes_without_and_with_their_size(image: Image) -> None:
    planes = blue_green_red(image)
    alone = hashlib.sha256(planes).hexdigest()
    for given_as in (planes, memoryview(planes)):
        assert digests(given_as, *image.shape[:2]) == (alone, pixels_sha256(image))


def test_pixels_sha256_of_a_128_pixel_image_ends_with_its_size() -> None:
    red = np.zeros((128, 128, 3), np.uint8)
    red[..., 0] = 255
    expected = hashlib.sha256(bytes(32768) + b"\xff" * 16384 + b"128 128").hexdigest()
    assert pixels_sha256(red) == expected


def test_pixels_sha256_tells_shapes_apart() -> None:
    flat = np.full((4, 6, 3), 7, np.uint8)
    digests_ = {pixels_sha256(flat.reshape(shape)) for shape in ((4, 6, 3), (6, 4, 3), (24, 1, 3))}
    assert len(digests_) == 3


def test_grey_is_the_weighted_sum_of_the_channels() -> None:
    expected = np.rint(smooth() @ np.array([0.299, 0.587, 0.114]))
    assert np.abs(grey(smooth()) - expected).max() <= 1  # fixed-point weights


def imread_grey(path: Path) -> npt.NDArray[np.uint8]:
    """The grey of a file as the notebooks of Durall et al. read it."""
    found = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert found is not None
    return found.astype(np.uint8)


@pytest.mark.parametrize("how", [
    {"quality": 75}, {"quality": 95, "subsampling": 0}, {"quality": 60, "progressive": True},
    {"quality": 80, "exif": 6},
])  # fmt: skip
def test_grey_of_a_jpeg_is_the_luma_that_pillow_decodes(
    how: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "face.jpg"
    if "exif" in how:
        exif = PillowImage.Exif()
        exif[0x0112] = how["exif"]
        how = {**how, "exif": exif}
    PillowImage.fromarray(smooth()[:, :61]).save(path, **how)
    with PillowImage.open(path) as opened:
        opened.draft("YCbCr", opened.size)
        luma = np.asarray(ImageOps.exif_transpose(opened).getchannel("Y"))
    found = decode_grey(path.read_bytes())
    assert np.array_equal(found, luma)
    assert np.array_equal(found, imread_grey(path))
    assert not np.array_equal(found, grey(decode(path.read_bytes())))


def test_grey_of_real_jpegs_is_their_luma(data: Path) -> None:
    n_alike = 0
    for name in ("real-celeba-stargan128", "fake-pggan1024", "real-lfw250-gray", "real-photo"):
        for path in sorted((data / "data/images" / name).iterdir())[:6]:
            found = decode_grey(path.read_bytes())
            with PillowImage.open(path) as opened:
                opened.draft("L" if opened.mode == "L" else "YCbCr", opened.size)
                assert np.array_equal(found, np.asarray(opened.getchannel(0)))
            assert np.array_equal(found, imread_grey(path))
            n_alike += np.array_equal(found, grey(decode(path.read_bytes())))
    assert 6 <= n_alike <= 9  # the grey files, and colour ones of little colour


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "JPEG2000"])
def test_grey_of_other_formats_is_that_of_their_colours(kind: str) -> None:
    encoded = saved(PillowImage.fromarray(smooth()), kind, lossless=True)
    weighted = smooth() @ np.array([0.299, 0.587, 0.114])
    assert np.abs(decode_grey(encoded) - weighted).max() <= 1
    assert np.array_equal(decode_grey(encoded), grey(smooth()))


@pytest.mark.parametrize("mode", ["L", "LA"])
@pytest.mark.parametrize("is_bare", [True, False])
def test_grey_jpeg_2000_is_read_with_and_without_a_file_around_it(
    mode: str,
    is_bare: bool,  # noqa: FBT001
) -> None:
    plain = grey(smooth())
    picture = PillowImage.fromarray(plain).convert(mode)
    encoded = saved(picture, "JPEG2000", no_jp2=is_bare)
    found = decode_file(encoded)
    assert np.array_equal(found.image, np.dstack([plain] * 3))
    assert np.array_equal(decode_file(encoded, as_grey=True).image, plain)
    assert found.damage is None
    assert found.keeps_file is not is_bare  # OpenCV, and so Caffe, cannot read it bare
    deep = PillowImage.fromarray(plain.astype(np.uint16) << 8)
    found = decode_file(saved(deep, "JPEG2000", no_jp2=is_bare))
    assert np.array_equal(found.image, np.dstack([plain] * 3))
    with pytest.raises(ImageError):
        decode_file(encoded[:60])


def test_grey_refuses_what_colour_refuses() -> None:
    encoded = saved(PillowImage.fromarray(smooth()), "JPEG")
    for bad in (encoded[:-100], b"text", b""):
        with pytest.raises(ImageError) as colour:
            decode(bad)
        with pytest.raises(ImageError, match=re.escape(str(colour.value))):
            decode_grey(bad)


def test_thumbnail_is_the_mean_of_each_area() -> None:
    image = grey(smooth(3, 60, 80))
    expected = image.reshape(15, 4, 20, 4).mean(axis=(1, 3))
    assert np.abs(thumbnail(image, 20) - expected).max() <= 0.5
    assert thumbnail(image[:1], 20).shape == (1, 20)
