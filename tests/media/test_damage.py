"""Damaged images are told from good ones, and nothing of their decoders reaches stderr."""

import io
import json
import os
import struct
import threading
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import Run
from makers.mutations import encodings, mutations, saved, scan_damaged
from makers.runs import THREE, write_run
from makers.trees import face, write_image
from PIL import Image as PillowImage

from hffkit.errors import ImageError
from hffkit.media.image import decode
from hffkit.media.image_files import decode_file
from hffkit.media.messages import caught_messages

RGB = PillowImage.fromarray(face(0)[:80, :96])
ENCODINGS = encodings()


def refused_by_pillow(encoded: bytes) -> bool:
    """Test whether Pillow, another program, raises an error, as it does if pixels are missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PillowImage.open(io.BytesIO(encoded)) as opened:
                opened.load()
    except Exception:  # noqa: BLE001
        return True
    return False


def verdict(encoded: bytes) -> str:
    try:
        return "damaged" if decode_file(encoded).damage else "good"
    except ImageError:
        return "refused"


@pytest.mark.parametrize("name", ENCODINGS)
def test_damage_that_pillow_refuses_is_never_taken_for_good(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    n_refused = 0
    found = [(verdict(bad), bad) for bad in mutations(ENCODINGS[name], 100, seed=len(name))]
    assert capfd.readouterr().err == ""
    for told, bad in found:
        if refused_by_pillow(bad):
            n_refused += 1
            assert told != "good"
    assert n_refused >= 10


@pytest.mark.parametrize("name", [name for name in ENCODINGS if name.startswith("png")])
def test_every_flipped_bit_of_a_png_is_noticed(name: str) -> None:
    encoded = ENCODINGS[name]
    for at in range(8, len(encoded) - 4, 97):
        bad = bytearray(encoded)
        bad[at] ^= 16
        assert verdict(bytes(bad)) != "good", at


@pytest.mark.parametrize("name", ["jpeg", "jpeg-progressive", "jpeg-grey", "jpeg-cmyk"])
def test_jpeg_whose_pixels_end_early_is_damaged(name: str) -> None:
    bad = scan_damaged(ENCODINGS[name])
    found = decode_file(bad)
    assert found.image.shape == (80, 96, 3)
    assert found.damage == "damaged JPEG image: Corrupt JPEG data: premature end of data segment"
    assert not found.keeps_file
    assert np.array_equal(found.image, decode_file(bad).image)


def with_chunk(png: bytes, name: bytes, data: bytes, *, flip: int = 0) -> bytes:
    chunk = struct.pack(">I", len(data)) + name + data
    return png[:33] + chunk + struct.pack(">I", zlib.crc32(name + data) ^ flip) + png[33:]


def multi_picture() -> bytes:
    file = io.BytesIO()
    RGB.save(file, "MPO", save_all=True, append_images=[RGB.rotate(180)])
    return file.getvalue()


def odd_tiff() -> bytes:
    return saved(RGB, "TIFF", tiffinfo={65000: "a program's own tag", 270: "a face"})


JPEG = ENCODINGS["jpeg"]
SRGB = zlib.compress(bytes(2600))
GOOD = {
    "trailing-zeros": JPEG + bytes(5000),
    "trailing-marker": JPEG + b"\xff\xda\xff\xd8 a phone's video",
    "zeros-before-the-end": JPEG[:-2] + bytes(7) + JPEG[-2:],
    "fill-bytes": JPEG[:-2] + b"\xff" * 9 + JPEG[-2:],
    "fill-bytes-in-the-header": JPEG[:2] + b"\xff" * 3 + JPEG[2:],
    "jfif-2.1": JPEG.replace(b"JFIF\0\1\1", b"JFIF\0\2\1"),
    "two-pictures": multi_picture(),
    "exif-of-no-sense": saved(RGB, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"),
    "strange-profile": with_chunk(ENCODINGS["png"], b"iCCP", b"sRGB\0\0" + SRGB),
    "own-chunk": with_chunk(ENCODINGS["png"], b"teST", b"anything"),
    "behind-a-png": ENCODINGS["png"] + b"\0" * 99,
    "own-tag": odd_tiff(),
    "behind-a-tiff": ENCODINGS["tiff-lzw"] + b"\0" * 99,
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # of Pillow, here in the test
def test_what_harms_no_pixel_is_no_damage(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    found = decode_file(GOOD[name])
    assert found.damage is None
    assert found.keeps_file
    with PillowImage.open(io.BytesIO(GOOD[name])) as opened:
        assert np.abs(found.image - np.asarray(opened.convert("RGB"), np.int16)).max() <= 1
    assert capfd.readouterr().err == ""


def test_good_files_of_all_formats_are_no_damage() -> None:
    for name, encoded in ENCODINGS.items():
        assert decode_file(encoded).damage is None, name
        assert decode_file(encoded).keeps_file == (name not in ("gif", "avif"))


def test_real_images_are_not_damaged(data: Path) -> None:
    files = [path for path in sorted((data / "data/images").rglob("*.*")) if path.suffix != ".csv"]
    for path in files[::20]:
        encoded = path.read_bytes()
        found = decode_file(encoded)
        assert found.damage is None, path
        assert np.array_equal(found.image, decode(encoded))


@pytest.mark.parametrize(
    ("encoded", "damage"),
    [
        (with_chunk(ENCODINGS["png"], b"tEXt", b"a\0b", flip=1), "checksum of its tEXt chunk"),
        (JPEG[:-2] + b"\1\2\3" + JPEG[-2:], "extraneous bytes before marker 0xd9"),
        (JPEG[:20] + b"\1\2\3" + JPEG[20:], "3 extraneous bytes before marker"),
    ],
)
def test_damage_is_named(encoded: bytes, damage: str) -> None:
    assert damage in (decode_file(encoded).damage or "")


def test_reason_of_a_refusal_is_the_decoders() -> None:
    encoded = bytearray(ENCODINGS["png"])
    encoded[encoded.index(b"IDAT") + 40] ^= 255
    with pytest.raises(
        ImageError, match=r"^PNG image that cannot be decoded \(.*\): libpng error: "
    ):
        decode_file(bytes(encoded))


def test_text_of_other_threads_reaches_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with caught_messages() as messages:
        os.write(2, b"\rbuild: 50%|##\nCorrupt JPEG data: bad Huffman code\nworker 3 is slow\n")
    assert messages.serious == ["Corrupt JPEG data: bad Huffman code"]
    assert capfd.readouterr().err == "\rbuild: 50%|##\nworker 3 is slow\n"


def test_threads_hear_of_their_own_images_alone(capfd: pytest.CaptureFixture[str]) -> None:
    bad = scan_damaged(JPEG)
    wrong: list[str] = []

    def work(encoded: bytes, expected: str) -> None:
        wrong.extend(told for _ in range(100) if (told := verdict(encoded)) != expected)

    threads = [
        threading.Thread(target=work, args=task)
        for task in ((bad, "damaged"), (JPEG, "good"), (ENCODINGS["png"], "good"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert capfd.readouterr().err == ""


def test_catching_messages_takes_little_time(data: Path) -> None:
    path = max((data / "data/images/fake-pggan1024").iterdir(), key=lambda p: p.stat().st_size)
    encoded = path.read_bytes()
    seconds: dict[object, list[float]] = {decode: [], decode_file: []}
    for _ in range(9):
        for call in (decode, decode_file):
            begin = time.thread_time()  # the processor's: other programs may be running
            call(encoded)
            seconds[call].append(time.thread_time() - begin)
    assert min(seconds[decode_file]) < 1.3 * min(seconds[decode])  # 1.02 on an idle machine


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two classes of images, a damaged JPEG in one and a PNG with a wrong checksum in the other."""
    root = tmp_path / "tree"
    for number in range(6):
        cls = ("real", "fake")[number % 2]
        write_image(root / cls / f"{number // 2}.png", 40 * number, size=(48, 48))
    (root / "real/bad.jpg").write_bytes(scan_damaged(JPEG))
    bad = write_image(root / "fake/bad.png", 300, size=(48, 48))
    bad.write_bytes(with_chunk(bad.read_bytes(), b"tEXt", b"a\0b", flip=1))
    return root


def kinds_of(out: Path) -> dict[str, str]:
    rows = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    return {row["path"]: row["kind"] for row in rows}


BOTH = {"real/bad.jpg", "fake/bad.png"}


def test_build_leaves_damaged_images_out_unless_they_are_accepted(
    tree: Path, tmp_path: Path, run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ("build", "folder", "--src", tree, "--real", "real", "--fake", "fake")
    result = run(*options, "--out", tmp_path / "x.lmdb")
    assert result.exit_code == 3, result.output
    assert "6 samples" in result.output
    assert kinds_of(tmp_path / "x.lmdb") == dict.fromkeys(BOTH, "damaged")
    assert run(*options, "--out", tmp_path / "m.lmdb", "--max-failures", 2).exit_code == 0

    result = run(*options, "--accept-damaged", "--out", tmp_path / "y.lmdb")
    assert result.exit_code == 0, result.output
    assert "8 samples" in result.output
    assert kinds_of(tmp_path / "y.lmdb") == dict.fromkeys(BOTH, "damage-kept")
    assert run("verify", tmp_path / "y.lmdb").exit_code == 0  # it decodes every record
    assert "Corrupt JPEG data" not in capfd.readouterr().err


def test_retry_reads_damaged_images_again(tree: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "x.lmdb"
    options = ("build", "folder", "--src", tree, "--real", "real", "--fake", "fake", "--out", out)
    assert run(*options).exit_code == 3
    (tree / "real/bad.jpg").write_bytes(JPEG)
    assert run(*options, "--retry-failed").exit_code == 3
    assert kinds_of(out) == {"fake/bad.png": "damaged"}


def test_frame_folders_leave_damaged_frames_out(tmp_path: Path, run: Run) -> None:
    root = tmp_path / "tree"
    frames = root / "original_sequences/youtube/c23/images/000"
    for number in range(4):
        write_image(frames / f"{number:04d}.png", 9 * number, size=(96, 80))
    (frames / "0002.png").unlink()
    (frames / "0002.jpg").write_bytes(scan_damaged(JPEG))
    options = ("build", "ff++", "--src", root, "--crop", "none", "--method", "Real")
    where = "original_sequences/youtube/c23/images/000/0002.jpg"
    result = run(*options, "--out", tmp_path / "x.lmdb")
    assert result.exit_code == 3, result.output
    assert "3 samples" in result.output
    assert kinds_of(tmp_path / "x.lmdb") == {where: "damaged"}
    result = run(*options, "--accept-damaged", "--out", tmp_path / "y.lmdb")
    assert result.exit_code == 0, result.output
    assert "4 samples" in result.output
    assert kinds_of(tmp_path / "y.lmdb") == {where: "damage-kept"}


def test_degrade_leaves_damaged_images_out_unless_they_are_accepted(
    tree: Path, tmp_path: Path, run: Run
) -> None:
    result = run("degrade", tree, "--op", "jp:60", "--out", tmp_path / "x")
    assert result.exit_code == 3
    assert kinds_of(tmp_path / "x") == dict.fromkeys(BOTH, "damaged")
    assert len(list((tmp_path / "x").rglob("*.png"))) == 6
    result = run("degrade", tree, "--op", "jp:60", "--accept-damaged", "--out", tmp_path / "y")
    assert result.exit_code == 0, result.output
    assert kinds_of(tmp_path / "y") == dict.fromkeys(BOTH, "damage-kept")
    assert len(list((tmp_path / "y").rglob("*.png"))) == 8


def test_predict_scores_damaged_images_only_if_they_are_accepted(
    tree: Path, tmp_path: Path, run: Run
) -> None:
    options = ("predict", write_run(tmp_path / "run", THREE, size=64), tree, "--whole", "--json")

    def scores(*more: str) -> tuple[int, dict[str, tuple[bool, str | None]]]:
        result = run(*options, *more)
        rows = json.loads(result.stdout)["files"]
        return result.exit_code, {
            str(Path(row["path"]).relative_to(tree)): (row["score"] is not None, row["problem"])
            for row in rows
            if row["problem"]
        }

    code, found = scores()
    assert code == 3
    assert set(found) == BOTH
    assert not any(is_scored for is_scored, _ in found.values())
    assert found["real/bad.jpg"][1] == (
        "unreadable: damaged JPEG image: Corrupt JPEG data: premature end of data segment"
    )
    code, found = scores("--accept-damaged")
    assert code == 0
    assert set(found) == BOTH
    assert all(is_scored for is_scored, _ in found.values())
    assert found["fake/bad.png"][1] == "damaged PNG image: checksum of its tEXt chunk is wrong"
