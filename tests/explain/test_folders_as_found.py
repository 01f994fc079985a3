"""Folders with files of all sorts, as predict, explain, degrade and spectrum take them."""

import json
from pathlib import Path

import pytest
from conftest import Run
from makers.runs import THREE, write_run
from makers.trees import touch, write_clip, write_image


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Images with every sort of name, and what is neither image nor video."""
    root = tmp_path / "tree"
    for number, name in enumerate(("a.jfif", "b.JPE", "c.gif", "d.webp", "e.png")):
        path = root / name
        kind = {".jfif": "JPEG", ".jpe": "JPEG"}.get(path.suffix.lower(), path.suffix[1:].upper())
        write_image(path, number, size=(64, 64), format=kind)
    write_image(root / "f.jpg", 7, size=(64, 64)).rename(root / "photo")
    write_image(root / "g.jpg", 8, size=(64, 64)).rename(root / "g.txt")
    touch(root, "notes.txt", "._e.png", "Thumbs.db", ".git/x.png")
    (root / "up").symlink_to("..")
    return root


IMAGES = {"a.jfif", "b.JPE", "c.gif", "d.webp", "e.png", "photo", "g.txt"}
NOTES = (
    "note: not read: 1 file neither image nor video (1 .txt): notes.txt.",
    "note: not read: 3 files hidden or made by an operating system: ._e.png, .git/x.png, "
    "Thumbs.db.",
    "note: not followed: 1 link to a folder that holds it: up.",
)


def test_predict_reads_all_images_and_notes_the_rest(tree: Path, tmp_path: Path, run: Run) -> None:
    three = write_run(tmp_path / "run", THREE, size=64)
    write_clip(tree / "x.mp4", n_frames=2).rename(tree / "clip")
    result = run("predict", three, tree, "--whole", "--frames", 2, "--json", "--device", "cpu")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    files = {Path(file["path"]).name: file["n_frames"] for file in found["files"]}
    assert files == dict.fromkeys(IMAGES, 1) | {"clip": 2}
    assert [f"note: {note}" for note in found["notes"]] == list(NOTES)
    assert result.stderr.splitlines()[-3:] == list(NOTES)


def test_explain_notes_what_it_does_not_read(tree: Path, tmp_path: Path, run: Run) -> None:
    three = write_run(tmp_path / "run", THREE, size=64)
    arguments = ("--whole", "--device", "cpu", "--method", "vanilla", "--out", tmp_path / "maps")
    result = run("explain", three, tree, *arguments)
    assert result.exit_code == 0, result.output
    assert all(note.removeprefix("note: ") in result.stdout for note in NOTES)
    (misnamed,) = (line for line in result.stdout.splitlines() if ": misnamed: " in line)
    assert misnamed.startswith(f"{tree / 'g.txt'}: ")
    about = json.loads((tmp_path / "maps/explain.json").read_text())
    assert {Path(face["name"]).name for face in about["faces"]} == IMAGES


def test_degrade_reads_all_images_and_notes_the_rest(tree: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    result = run("degrade", tree, "--op", "jp:60", "--out", out, "--workers", 1)
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[-3:] == list(NOTES)
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert {row["source"] for row in rows} == IMAGES
    failures = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert [(row["kind"], row["path"]) for row in failures] == [("misnamed", "g.txt")]
    assert json.loads((out / "degrade.json").read_text())["notes"] == [
        note.removeprefix("note: ") for note in NOTES
    ]


def test_spectra_are_of_all_images_and_the_rest_is_noted(
    tree: Path, tmp_path: Path, run: Run
) -> None:
    touch(tree, "clip.mp4")
    out = tmp_path / "spectra.npz"
    result = run("spectrum", "features", tree, "--out", out, "--json", "--workers", 1)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["n_samples"] == len(IMAGES)
    assert (
        "not read: 1 file of another kind or folder than this command reads: clip.mp4."
        in found["notes"]
    )
    assert all(note in result.stderr for note in NOTES)
