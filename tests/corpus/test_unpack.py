"""Crops written as files in the layout of Cao et al."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from makers.trees import all_files, build_corpus, change_manifest, portrait, rows
from PIL import Image as Pillow

from hffkit.corpus.pack import PackRequest, pack
from hffkit.corpus.unpack import unpack
from hffkit.errors import CorpusError
from hffkit.storage.corpus import MANIFEST_FILE, masks_path
from hffkit.storage.staging import write_bytes_durably

Run = Callable[..., Result]
FRAMES = (0, 7, 105)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of a real video and two forgeries, in two qualities, with masks of the forgeries."""
    root = tmp_path_factory.mktemp("tree")
    for number, (cls, video) in enumerate(
        (("real", "000"), ("Deepfakes", "000_003"), ("NeuralTextures", "003_000"))
    ):
        for quality in ("c23", "c40", *(("masks",) if cls != "real" else ())):
            for frame in FRAMES:
                y = 20 * number + frame + (0 if quality == "c23" else 7)
                path = root / f"face/{cls}/{quality}/{video}/{frame}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Pillow.fromarray(portrait()[y : y + 40, 100:140]).save(path)
    return root


@pytest.fixture(scope="module")
def corpus(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus") / "pairs.lmdb"
    methods = ("Deepfakes", "NeuralTextures", "Real")
    return build_corpus("ff++", tree, out, pair=("c23", "c40"), masks=True, methods=methods)


def manifest_of(corpus: Path) -> list[dict[str, object]]:
    return rows(corpus / MANIFEST_FILE)


def pixels_of(root: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(root.rglob("*.png")):
        with Pillow.open(path) as image:
            assert (image.format, image.mode) == ("PNG", "RGB")
            found[path.relative_to(root).as_posix()] = np.asarray(image).tobytes()
    return found


def test_a_built_tree_is_written_again(run: Run, tree: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "crops"
    done = run("unpack", corpus, "--masks", masks_path(corpus), "--out", out)
    assert done.exit_code == 0, done.output
    assert pixels_of(out) == pixels_of(tree)
    assert len(pixels_of(out)) == 8 * len(FRAMES) == len(all_files(out))
    for line in ("face/Deepfakes/masks", "face/NeuralTextures/c40", "face/real/c23"):
        assert f"{line} " in done.stdout
    assert "24 files" in done.stdout
    again = build_corpus(
        "ff++", out, tmp_path / "again.lmdb", pair=("c23", "c40"), masks=True,
        methods=("Deepfakes", "NeuralTextures", "Real"),
    )  # fmt: skip
    same = ("key", "split", "group", "pixels_sha256")
    first, second = ([[r[n] for n in same] for r in manifest_of(p)] for p in (corpus, again))
    assert first == second


def test_packed_pixels_are_encoded_without_loss(corpus: Path, tmp_path: Path) -> None:
    pack([str(corpus)], tmp_path / "packed", PackRequest(size=40), n_workers=1)
    unpack([str(tmp_path / "packed")], (), tmp_path / "crops")
    unpack([str(corpus)], (), tmp_path / "native")
    assert pixels_of(tmp_path / "crops") == pixels_of(tmp_path / "native")
    assert not list(tmp_path.rglob("masks"))


def test_an_interrupted_tree_is_resumed(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack([str(corpus)], (), tmp_path / "whole")
    n_written = 0

    def stop_at_five(path: Path, data: bytes) -> None:
        nonlocal n_written
        n_written += 1
        if n_written == 5:
            raise KeyboardInterrupt
        write_bytes_durably(path, data)

    monkeypatch.setattr("hffkit.corpus.unpack.write_bytes_durably", stop_at_five)
    with pytest.raises(KeyboardInterrupt):
        unpack([str(corpus)], (), tmp_path / "crops")
    assert not (tmp_path / "crops").exists()
    first, *_ = sorted((tmp_path / "crops.partial/tree").rglob("*.png"))
    first.write_bytes(first.read_bytes()[:-1] + b"!")  # damaged meanwhile
    unpack([str(corpus)], (), tmp_path / "crops")
    assert n_written == 2 + len(all_files(tmp_path / "whole"))
    assert all_files(tmp_path / "crops") == all_files(tmp_path / "whole")


def test_what_has_no_place_in_the_layout_is_refused(
    run: Run, tree: Path, corpus: Path, tmp_path: Path
) -> None:
    plain = build_corpus(
        "folder", tree / "face/real", tmp_path / "plain.lmdb", real=("c23",), fake=("c40",)
    )
    with pytest.raises(CorpusError, match=r"has no place in face/CLASS/QUALITY/VIDEO/N\.png"):
        unpack([str(plain)], (), tmp_path / "crops")
    outside = shutil.copytree(corpus, tmp_path / "outside.lmdb")

    def climb(manifest: list[dict[str, object]]) -> None:
        for row in manifest:
            row["key"] = str(row["key"]).replace("/000_003/", "/../")

    change_manifest(outside, climb)
    with pytest.raises(CorpusError, match=r"/Deepfakes/\.\./0000 has no place"):
        unpack([str(outside)], (), tmp_path / "crops")
    done = run("unpack", masks_path(corpus), "--out", tmp_path / "crops")
    assert (done.exit_code, "holds masks, where faces are wanted" in done.stderr) == (1, True)
    twice = run("unpack", corpus, corpus, "--out", tmp_path / "crops")
    assert (twice.exit_code, "is named twice" in twice.stderr) == (1, True)
    assert not (tmp_path / "crops").exists()
