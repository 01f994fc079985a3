"""CelebA: its partition in the spellings of other programs."""

from pathlib import Path

import pytest
from makers.trees import items, listing, touch

from hffkit.errors import CorpusError

NAMES = [f"{n:06}.jpg" for n in range(1, 7)]


def celeba(root: Path, text: str, name: str = "list_eval_partition.csv") -> Path:
    """Lay out six images with a partition."""
    touch(root, *(f"img_align_celeba/{each}" for each in NAMES))
    (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    "line",
    [
        "{name},{n}.0",
        "{name};{n}",
        '"{name}";"{n}"',
        "'{name}', {n}",
        "img_align_celeba/{name} {n}",
        "img_align_celeba\\{name},{n}.0",
        '"{name}";"{n},0"',
    ],
)
@pytest.mark.parametrize("header", ["", "image_id,partition\n", '"image_id";"partition"\r\n'])
def test_the_partition_is_read_as_other_programs_write_it(
    tmp_path: Path, line: str, header: str
) -> None:
    lines = [line.format(name=name, n=k // 2) for k, name in enumerate(NAMES)]
    found = listing("celeba", celeba(tmp_path, header + "\n".join(lines) + "\n"))
    splits = [item.split for item in items(found)]
    assert splits == ["train", "train", "val", "val", "test", "test"]
    assert not any("the partition" in note for note in found.notes)


@pytest.mark.parametrize(
    "line", ["000002.jpg,3", "000002.jpg,train", "000002.jpg,0.5", "000002.jpg", "1,000002.jpg,0"]
)
@pytest.mark.parametrize("number", [1, 2])
def test_another_value_in_the_partition_is_refused_by_line(
    tmp_path: Path, line: str, number: int
) -> None:
    lines = ["000001.jpg,0"] * (number - 1) + [line, "000003.jpg,1"]
    wanted = rf"list_eval_partition\.csv:{number}: .*0 \(train\) or 1 \(val\) or 2 \(test\)"
    with pytest.raises(CorpusError, match=wanted):
        listing("celeba", celeba(tmp_path, "\n".join(lines)))


def test_lines_of_the_partition_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    text = "000001.jpg,0\n000001.jpg,0.0\na/000001.jpg,2\n"
    with pytest.raises(CorpusError, match=r"csv:3: 000001\.jpg has 2 here and 0 in a line before"):
        listing("celeba", celeba(tmp_path, text))


def test_files_of_the_partition_that_are_absent_are_counted(tmp_path: Path) -> None:
    text = "".join(f"{name} 0\n" for name in [*NAMES, "000008.jpg", "000009.jpg"])
    found = listing("celeba", celeba(tmp_path, text, "list_eval_partition.txt"))
    assert "2 files of the partition not there: 000008.jpg, 000009.jpg." in found.notes


def test_a_partition_of_other_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"none of its files is in .*: 9\.jpg"):
        listing("celeba", celeba(tmp_path, "9.jpg,0\n"))


def test_images_published_as_png_are_those_of_the_partition(tmp_path: Path) -> None:
    names = [name.replace(".jpg", ".png") for name in NAMES]
    touch(tmp_path, *(f"img_align_celeba_png/{name}" for name in names))
    lines = [f"{name} {k // 2}\n" for k, name in enumerate(NAMES)]
    (tmp_path / "list_eval_partition.txt").write_text("".join(lines))
    (tmp_path / "identity_CelebA.txt").write_text("".join(f"{name} 7\n" for name in NAMES[:2]))
    found = items(listing("celeba", tmp_path))
    assert [item.split for item in found] == ["train", "train", "val", "val", "test", "test"]
    assert {item.group for item in found[:2]} == {"identity-7"}
