"""HEIC images: read, put together from tiles, and turned once."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers.heic import box, file_of, heic, hevc, with_property
from makers.mutations import saved
from makers.trees import face
from PIL import Image as PillowImage
from PIL import ImageOps

from hffkit.errors import ImageError
from hffkit.media.heif import HeifFile, turned
from hffkit.media.image import Image
from hffkit.media.image_files import decode_file

FACE = face(0)[:112, :96]
ONE = heic(FACE)


def difference(image: Image, expected: Image) -> float:
    assert image.shape == expected.shape
    return float(np.abs(image.astype(np.int16) - expected).mean())


def test_one_item_is_read() -> None:
    found = decode_file(ONE)
    assert difference(found.image, FACE) < 2
    assert (found.damage, found.keeps_file) == (None, False)


@pytest.mark.parametrize("grid", [(1, 2), (2, 2), (3, 2)])
def test_tiles_of_a_grid_are_put_together(grid: tuple[int, int]) -> None:
    image = face(3)[:150, :101]  # the last tiles reach over the edges
    assert difference(decode_file(heic(image, grid=grid)).image, image) < 2


@pytest.mark.parametrize("grid", [(1, 1), (2, 1)])
@pytest.mark.parametrize("angle", range(4))
def test_irot_turns_anticlockwise(angle: int, grid: tuple[int, int]) -> None:
    encoded = heic(FACE, [box(b"irot", bytes([angle]))], grid=grid)
    assert difference(decode_file(encoded).image, np.rot90(FACE, angle)) < 2


def test_turn_and_mirror_apply_in_their_order() -> None:
    irot, imir = box(b"irot", b"\1"), box(b"imir", b"\1")
    first = decode_file(heic(FACE, [irot, imir])).image
    assert difference(first, np.rot90(FACE)[:, ::-1]) < 2
    second = decode_file(heic(FACE, [imir, irot])).image
    assert difference(second, np.rot90(FACE[:, ::-1])) < 2


def aperture(width: int, height: int, right: int, down: int) -> bytes:
    """Return `clap` of a size, and twice the offsets of its centre from that of the image."""
    return box(b"clap", struct.pack(">4IiIiI", width, 1, height, 1, right, 2, down, 2))


@pytest.mark.parametrize("grid", [(1, 1), (2, 2)])
def test_clean_aperture_is_cut_before_the_turn(grid: tuple[int, int]) -> None:
    clap = aperture(48, 40, -28, -32)  # of 96x112: columns 10 to 57, rows 20 to 59
    image = decode_file(heic(FACE, [clap, box(b"irot", b"\3")], grid=grid)).image
    assert difference(image, np.rot90(FACE[20:60, 10:58], -1)) < 2


def test_clean_aperture_of_an_avif_is_cut() -> None:
    whole = saved(PillowImage.fromarray(FACE), "AVIF", quality=95)
    clap = aperture(48, 40, -28, -32)
    assert difference(decode_file(with_property(whole, clap)).image, FACE[20:60, 10:58]) < 3


@pytest.mark.parametrize("numbers", [(98, 40, 0, 0), (48, 40, 60, 0), (0, 40, 0, 0)])
def test_senseless_aperture_is_refused(numbers: tuple[int, int, int, int]) -> None:
    with pytest.raises(ImageError, match="its clean aperture lies outside of the image"):
        decode_file(heic(FACE, [aperture(*numbers)]))
    nothing = box(b"clap", bytes(32))
    with pytest.raises(ImageError, match="its clean aperture makes no sense"):
        decode_file(heic(FACE, [nothing]))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_mean_what_they_mean_to_libavif(orientation: int) -> None:
    """Pillow writes an EXIF orientation as these boxes, and reads them back."""
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    PillowImage.fromarray(FACE).save(file, "AVIF", exif=exif, quality=95)
    primary = HeifFile(file.getvalue()).primary
    assert primary is not None
    names = {name for name, _ in primary.properties}
    assert bool(names & {b"irot", b"imir"}) == (orientation > 1)
    expected = np.asarray(ImageOps.exif_transpose(PillowImage.open(file)), np.uint8)
    assert difference(turned(FACE, primary.properties), expected) < 3
    assert difference(decode_file(file.getvalue()).image, expected) == 0


def test_stated_matrix_and_range_are_used() -> None:
    def nclx(matrix: int, *, is_full: bool) -> bytes:
        return box(b"colr", b"nclx", struct.pack(">HHHB", 1, 13, matrix, is_full << 7))

    stated = decode_file(heic(FACE, [nclx(5, is_full=True)])).image
    assert difference(stated, FACE) < 2
    assert difference(decode_file(heic(FACE, [nclx(1, is_full=True)])).image, FACE) > 1.5
    narrow = decode_file(heic(FACE, [nclx(5, is_full=False)])).image
    assert difference(narrow, np.clip((FACE - 16.0) * 255 / 219, 0, 255).astype(np.uint8)) < 3


@pytest.mark.parametrize("end", range(40, len(ONE) - 1, 211))
def test_file_that_was_cut_short_is_refused(end: int) -> None:
    with pytest.raises(ImageError, match=r"cut short|damaged|names no image"):
        decode_file(ONE[:end])


@given(st.integers(24, len(ONE) - 1), st.integers(0, 7))
def test_a_flipped_bit_gives_pixels_or_our_error(at: int, bit: int) -> None:
    damaged = bytearray(ONE)
    damaged[at] ^= 1 << bit
    try:
        assert decode_file(bytes(damaged)).image.dtype == np.uint8
    except ImageError:
        return


@pytest.mark.parametrize("at", range(6))
def test_what_ffmpeg_reports_is_the_reason(at: int, capfd: pytest.CaptureFixture[str]) -> None:
    damaged = bytearray(ONE)
    damaged[ONE.index(b"mdat") + 4 + at] ^= 255
    with pytest.raises(ImageError, match=r"^damaged HEIF: it cannot be decoded"):
        decode_file(bytes(damaged))
    assert capfd.readouterr().err == ""


def test_few_bytes_that_claim_to_be_many_pixels_are_refused() -> None:
    coded = hevc(FACE)
    for grid, size in (((1, 2), (20_000, 20_000)), ((1, 1), (20_000, 20_000))):
        huge = file_of([coded] * (grid[0] * grid[1]), size, (), grid)
        huge = huge.replace(struct.pack(">II", 96, 112), struct.pack(">II", *size))
        with pytest.raises(ImageError, match=r"too large|do not fit|damaged"):
            decode_file(huge)


def test_real_photo_is_read(data: Path) -> None:
    for path in (data / "cases").rglob("*.heic"):
        found = decode_file(path.read_bytes())
        assert found.damage is None
        assert found.image.std() > 20


def readings(encoded: bytes) -> set[object]:
    """Decode a file again and again, while other things come and go in memory."""
    rng, found = np.random.default_rng(0), set[object]()
    for _ in range(5):
        others = [rng.bytes(int(n)) for n in rng.integers(20, 5000, size=300)]
        del others
        try:
            found.add(decode_file(encoded).image.tobytes())
        except ImageError as error:
            found.add(str(error))
    return found


def test_no_pixel_and_no_reason_comes_from_memory_behind_the_file() -> None:
    encoded = heic(face(0)[40:104, 40:120], grid=(2, 2))
    settings, tile = encoded.index(b"hvcC"), encoded.index(b"mdat") + 12
    rng = np.random.default_rng(5)
    for _ in range(12):
        bad = bytearray(encoded)
        at = tile + int(rng.integers(1200, 2100))  # near the end of the first tile
        bad[at : at + 16] = rng.bytes(16)
        assert len(readings(bytes(bad))) == 1
        bad = bytearray(encoded)
        at = settings + int(rng.integers(27, 90))
        bad[at : at + 4] = rng.bytes(4)
        assert len(readings(bytes(bad))) == 1
