"""Operations of suites, at every severity, against the published formulas in numpy and scipy."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers.formulas import FORMULAS, jpeg, resized
from PIL import Image as PillowImage
from PIL import JpegPresets
from scipy import ndimage

from hffkit.degrade.chain import chain
from hffkit.degrade.operation import Codec
from hffkit.degrade.suites import read_suite
from hffkit.degrade.table import OPERATIONS
from hffkit.errors import ImageError
from hffkit.media.image import Image, decode
from hffkit.recipe_files import shipped_names


@pytest.fixture(scope="module")
def faces(data: Path) -> list[Image]:
    """Real faces of 128, 256 and 300 x 270 px, for which each suite was or was not made."""
    found = []
    for folder, rows, columns in (
        ("real-celeba-stargan128", 128, 128),
        ("real-ffhq256", 256, 256),
        ("fake-stylegan2-web512", 300, 270),
    ):
        path = sorted((data / "data/images" / folder).iterdir())[0]
        found.append(np.ascontiguousarray(decode(path.read_bytes())[:rows, :columns]))
    return found


def suite_steps(*codes: str) -> list[str]:
    """Name each step with one value of every entry of every suite; of some operations."""
    entries = [entry for name in shipped_names("suites") for entry in read_suite(name).entries]
    steps = {step for entry in entries for step in entry.chain.steps if step.value is not None}
    return sorted(step.name for step in steps if not codes or step.operation.code in codes)


# Tested by their results below, at every value of every suite; gop and fps, which are of videos,
# in test_folder.py.
RESIZED = ("fit", "fit-width", "square", "screen")
CODECS = ("jp", "jp2", "h264", "webp-lossless")
OTHERS = {*RESIZED, *CODECS, "impulse", "blocks", "crop", "crop-square", "grid", "rs-nearest"}
OF_VIDEOS = {"gop", "fps"}


@pytest.mark.parametrize("name", suite_steps(*FORMULAS.keys() - OTHERS))
def test_every_severity_is_the_published_formula(faces: list[Image], name: str) -> None:
    (step,) = chain(name).steps
    formula, furthest = FORMULAS[step.operation.code]
    assert step.value is not None
    small = [faces[0], faces[2][100:191, 90:190]]
    for image in faces if step.operation.code.startswith("rs-") else small:
        made = step.operation.apply(image, step.value).image
        distance = np.abs(made - np.clip(formula(image, step.value), 0, 255))
        assert distance.max() <= furthest
        assert distance.mean() < 0.6


def test_each_operation_of_suites_has_a_formula_or_a_test_of_its_own() -> None:
    known = {*FORMULAS, *OTHERS, *OF_VIDEOS}
    drawn = {"avif", "webp"}  # tested below, at one of the values drawn
    for name in shipped_names("suites"):
        for entry in read_suite(name).entries:
            for step in entry.chain.steps:
                assert step.operation.code in (known | drawn if step.value is None else known)


def test_noise_is_white_of_its_sigma_and_differs_between_images() -> None:
    grey = np.full((256, 256, 3), 128, np.uint8)
    other = grey.copy()
    other[0, 0, 0] = 129
    residuals = [chain("noise:10")(image, seed=0, key="a").image - 128.0 for image in (grey, other)]
    assert residuals[0].std() == pytest.approx(10, rel=0.01)
    assert abs(residuals[0].mean()) < 0.1
    flat = [residual.ravel() for residual in residuals]
    assert abs(np.corrcoef(flat[0], flat[1])[0, 1]) < 0.01
    assert abs(np.corrcoef(flat[0][:-1], flat[0][1:])[0, 1]) < 0.01
    by_variance = chain("noise-var:0.01")(grey, seed=0, key="a").image - 128.0
    assert by_variance.std() == pytest.approx(25.5, rel=0.01)


@pytest.mark.parametrize("share", [0.001, 0.005, 0.01, 0.02, 0.03])
def test_impulses_are_a_share_of_all_values_half_of_them_white(share: float) -> None:
    grey = np.full((256, 300, 3), 128, np.uint8)
    made = chain(f"impulse:{share}")(grey, seed=0, key="a").image
    assert set(np.unique(made)) == {0, 128, 255}
    # Of n draws with replacement from N places, N (1 - e^(-n/N)) differ.
    expected = grey.size * (1 - np.exp(-share))
    assert np.sum(made != 128) == pytest.approx(expected, rel=0.01)
    assert np.sum(made == 255) == pytest.approx(expected / 2, rel=0.03)
    per_channel = np.sum(made != 128, axis=(0, 1))
    assert per_channel.min() > 0.25 * per_channel.sum()


@pytest.mark.parametrize("blocks", [16, 32, 48, 64, 80])
@pytest.mark.parametrize(
    ("height", "width", "times"), [(128, 128, 1), (256, 300, 1), (700, 512, 2)]
)
def test_blocks_are_squares_of_8_px_as_many_as_published(
    height: int, width: int, times: int, blocks: int
) -> None:
    black = np.zeros((height, width, 3), np.uint8)
    made = chain(f"blocks:{blocks}")(black, seed=0, key="a").image
    covered = (made == 128).all(axis=2)
    assert np.array_equal(covered, (made != 0).any(axis=2))
    assert np.array_equal(ndimage.binary_opening(covered, np.ones((8, 8))), covered)
    n = blocks * times
    free = (1 - 64 / (height * width)) ** n  # the chance of a pixel in the middle
    assert covered.sum() <= 64 * n
    assert covered.sum() == pytest.approx(height * width * (1 - free), rel=0.12)


def test_one_block_is_8_by_8_px_wherever_it_falls() -> None:
    corners = set()
    for grey in range(100):
        image = np.full((11, 12, 3), grey, np.uint8)
        rows, columns = np.nonzero(
            (chain("blocks:1")(image, seed=0, key="a").image != grey)[..., 0]
        )
        assert (len(rows), int(np.ptp(rows)), int(np.ptp(columns))) == (64, 7, 7)
        corners.add((int(rows.min()), int(columns.min())))
    assert corners == {(top, left) for top in range(3) for left in range(4)}


def test_crops_keep_pixels_where_they_lie(faces: list[Image]) -> None:
    image = faces[2]
    assert np.array_equal(after("crop:0.9", image), image[15:285, 13:256])
    assert np.array_equal(after("crop:0.8", image), image[30:270, 27:243])
    assert np.array_equal(after("crop:0.7", image), image[45:255, 40:229])
    assert suite_steps("crop") == ["crop:0.7", "crop:0.8", "crop:0.9"]
    assert np.array_equal(after("grid:4", image), image[4:, 4:])
    assert suite_steps("grid", "crop-square") == ["crop-square:0.8125", "grid:4"]
    for share, side in ((0.625, 169), (0.8125, 219), (1.0, 270)):
        made = after(f"crop-square:{share}", image)
        assert made.shape == (side, side, 3)
        windows = np.lib.stride_tricks.sliding_window_view(image, made.shape)[:, :, 0]
        found = [(windows[y, x] == made).all() for y, x in np.ndindex(*windows.shape[:2])]
        assert sum(found) == 1


@pytest.mark.parametrize(
    ("name", "size", "kernel"),
    [
        ("fit:150", (150, 135), "bicubic"),
        ("fit:101", (101, 90), "bicubic"),
        ("fit-width:101", (112, 101), "bicubic"),
        ("square:200", (200, 200), "lanczos"),
        ("square:400", (400, 400), "bicubic"),
        ("screen:80", (240, 216), "bilinear"),
        ("screen:125", (375, 338), "bilinear"),
    ],
)
def test_sizes_are_changed_by_the_kernel_of_each_operation(
    faces: list[Image], name: str, size: tuple[int, int], kernel: str
) -> None:
    made = after(name, faces[2])
    assert made.shape[:2] == size
    distance = np.abs(made - resized(faces[2].astype(float), size, kernel))
    assert distance.max() <= 1.5
    assert distance.mean() < 0.5


@pytest.mark.parametrize("name", suite_steps(*RESIZED))
def test_every_size_of_suites_is_reached_by_the_kernel_of_its_operation(
    data: Path, name: str
) -> None:
    path = sorted((data / "data/images/real-ffhq1024-png").iterdir())[0]
    image = np.tile(decode(path.read_bytes())[400:440], (1, 3, 1))  # 3072 px wide
    code, _, text = name.partition(":")
    scale = int(text) / (100 if code == "screen" else image.shape[1])
    if code == "square":
        size = (int(text), int(text))
    else:  # only screenshots round up
        size = tuple((np.array(image.shape[:2]) * scale + (code == "screen") / 2).astype(int))
    made = after(name, image)
    assert made.shape[:2] == size
    kernel = "bilinear" if code == "screen" else "bicubic"  # a square of 200 px is higher
    distance = np.abs(made - resized(image.astype(float), size, kernel))
    assert distance.max() <= 1.5
    assert distance.mean() < 0.5


@pytest.mark.parametrize(
    ("shape", "kernel"), [((31, 40), "lanczos"), ((30, 40), "bicubic"), ((40, 30), "bicubic")]
)
def test_a_square_is_reduced_by_lanczos_where_both_sides_are_longer(
    shape: tuple[int, int], kernel: str
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    distance = np.abs(after("square:30", image) - resized(image.astype(float), (30, 30), kernel))
    assert distance.max() <= 1.5


@pytest.mark.parametrize("side", [64, 112, 224])
def test_nearest_pixel_is_taken_there_and_back(faces: list[Image], side: int) -> None:
    for image in faces:
        height, width = image.shape[:2]
        short = min(height, width)
        places = []
        for axis, n in enumerate((height, width)):
            numbered = np.zeros_like(image)
            numbers = np.arange(n, dtype=np.uint16).reshape((-1, 1) if axis == 0 else (1, -1))
            numbered[..., 0], numbered[..., 1] = numbers // 256, numbers % 256
            made = after(f"rs-nearest:{side}", numbered).astype(int)
            found = made[..., 0] * 256 + made[..., 1]
            places.append(found[:, 0] if axis == 0 else found[0])
            n_small = side * n // short
            # Where a place lies on the border of two pixels, either of them is the nearest.
            least, most = (
                np.floor(
                    (np.floor((np.arange(n) + 0.5) * n_small / n + off) + 0.5) * n / n_small + off
                )
                for off in (-1e-9, 1e-9)
            )
            assert ((places[-1] == least) | (places[-1] == most)).all()
        rows, columns = places
        assert np.array_equal(after(f"rs-nearest:{side}", image), image[rows][:, columns])


def test_fitting_never_enlarges(faces: list[Image]) -> None:
    for name in ("fit:300", "fit:1600", "fit-width:270", "fit-width:1080"):
        assert np.array_equal(after(name, faces[2]), faces[2])


def after(name: str, image: Image) -> Image:
    return chain(name)(image, seed=0, key="a").image


def encoded(name: str, image: Image) -> bytes:
    (step,) = chain(name).steps
    assert isinstance(step.operation, Codec)
    assert step.value is not None
    return bytes(step.operation.encode(image, step.value))


@pytest.mark.parametrize("name", suite_steps("jp"))
def test_jpeg_of_every_quality_is_the_quantised_cosine_transform(
    faces: list[Image], name: str
) -> None:
    image = faces[0][3:99, 5:90]  # off the 8x8 grid of its own JPEG file, whose levels would tie
    expected = jpeg(image, int(name.partition(":")[2]))
    # A coefficient halfway between two steps may be rounded to the other one.
    assert np.abs(after(name, image) - expected).mean() < 0.6


@pytest.mark.parametrize("name", suite_steps("jp2"))
def test_jpeg2000_of_every_ratio_has_the_bytes_or_is_lossless(
    faces: list[Image], name: str
) -> None:
    ratio = float(name.partition(":")[2])
    for image in faces:
        achieved = image.nbytes / len(encoded(name, image))
        assert achieved >= 0.99 * ratio
        worst = int(np.abs(after(name, image) - image.astype(int)).max())
        assert worst <= 1 or achieved <= 1.05 * ratio


def test_h264_has_the_rate_factor_and_loses_more_with_each(faces: list[Image]) -> None:
    names = suite_steps("h264")
    for image in faces:
        errors = []
        for name in names:
            written = encoded(name, image)
            assert b"rc=crf" in written  # in x264's own remark
            assert f" crf={name[5:]}.0 ".encode() in written
            errors.append(float(np.mean((after(name, image) - image.astype(float)) ** 2)))
        assert errors == sorted(set(errors))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("jp-422:75", {"quality": 75, "subsampling": "4:2:2"}),
        ("jp-444:75", {"quality": 75, "subsampling": "4:4:4"}),
        ("webp:65", {"format": "WEBP", "quality": 65, "method": 0}),
        ("avif:40", {"format": "AVIF", "quality": 40, "speed": 9}),
    ],
)
def test_codecs_give_the_pixels_of_pillows_file(
    faces: list[Image], name: str, settings: dict[str, Any]
) -> None:
    for image in faces:
        file = io.BytesIO()
        PillowImage.fromarray(image).save(file, **{"format": "JPEG", **settings})
        with PillowImage.open(file) as picture:
            assert np.array_equal(after(name, image), np.asarray(picture))


@pytest.mark.parametrize(
    ("code", "presets"),
    [
        ("jp-web", ["web_low", "web_medium", "web_high", "web_very_high", "web_maximum"]),
        ("jp-photo", ["low", "medium", "high", "maximum"]),
    ],
)
def test_jpeg_of_a_preset_has_its_tables_and_subsampling(
    faces: list[Image], code: str, presets: list[str]
) -> None:
    assert OPERATIONS[code].parameter.shown == tuple(range(1, len(presets) + 1))
    for level, name in enumerate(presets, 1):
        preset: dict[str, Any] = JpegPresets.presets[name]
        file = encoded(f"{code}:{level}", faces[0])
        with PillowImage.open(io.BytesIO(file)) as picture:
            assert list(picture.quantization.values()) == list(preset["quantization"])  # type: ignore[attr-defined]
        frame = file[file.index(b"\xff\xc0") :]
        assert frame[11] == {0: 0x11, 1: 0x21, 2: 0x22}[preset["subsampling"]]  # SOF0: of luma


def test_jpeg_of_mozjpeg_has_its_tables(faces: list[Image]) -> None:
    first, last = [16, 16, 16, 18, 25, 37, 56, 85], [85, 75, 135, 156, 189, 238, 255, 255]
    for quality, head, tail in (
        (50, first, last),
        (75, [8, 8, 8, 9, 13, 19, 28, 43], [43, 38, 68, 78, 95, 119, 156, 209]),
        (30, [27, 27, 27, 30, 42, 61, 93, 141], [141, 125, 224, 255, 255, 255, 255, 255]),
        (100, [1] * 8, [1] * 8),
    ):
        file = encoded(f"jp-moz:{quality}", faces[0])
        with PillowImage.open(io.BytesIO(file)) as picture:
            tables = list(picture.quantization.values())  # type: ignore[attr-defined]
        assert tables[0] == tables[1]
        assert (tables[0][:8], tables[0][-8:]) == (head, tail)
        table = np.reshape(tables[0], (8, 8))
        assert np.array_equal(table, table.T)
        assert file[file.index(b"\xff\xc0") :][11] == 0x22  # SOF0: 4:2:0


def test_lossless_webp_changes_nothing_and_is_smaller_by_a_slower_method(
    faces: list[Image],
) -> None:
    for image in faces:
        sizes = [len(encoded(f"webp-lossless:{method}", image)) for method in (0, 4)]
        assert sizes[1] < sizes[0] < image.nbytes
        for method in (0, 4):
            assert np.array_equal(after(f"webp-lossless:{method}", image), image)


@pytest.mark.parametrize("code", ["webp", "avif", "jp-444", "jp-moz"])
def test_codec_loses_less_and_writes_more_as_quality_rises(faces: list[Image], code: str) -> None:
    for image in faces:
        names = [f"{code}:{quality}" for quality in (20, 40, 60, 80, 95)]
        errors = [float(np.mean((after(name, image) - image.astype(float)) ** 2)) for name in names]
        sizes = [len(encoded(name, image)) for name in names]
        assert errors == sorted(errors, reverse=True)
        assert sizes == sorted(sizes)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("pixel:6", (5, 40, 3), "^40x5 pixels reduced to 1/6 leave no pixel$"),
        ("blocks:16", (8, 40, 3), "^40x8 pixels are too few for blocks of 8 px$"),
        ("grid:4", (4, 40, 3), "^40x4 pixels less 4 rows and columns leave no pixel$"),
        ("square:16384", (4, 4, 3), "^16384x16384 pixels are more than 178956970$"),
        ("webp:80", (1, 16_384, 3), r"^shape \(1, 16384, 3\): no WEBP file: "),
    ],
)
def test_image_that_an_operation_cannot_work_on_is_refused(
    name: str, shape: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(ImageError, match=message):
        after(name, np.zeros(shape, np.uint8))
