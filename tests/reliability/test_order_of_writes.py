"""What has its final name survives a loss of power: the order of the system calls."""

import re
import sys
from pathlib import Path

import pytest
from makers.traces import Order, traced
from makers.trainings import CLASSES, SIZE, lay_faces

# One process, for most of the time is its start.
_COMMANDS = """
import sys
from pathlib import Path
from hffkit.cli.main import main
for line in Path(sys.argv[1]).read_text().splitlines():
    main(line.split("|"), standalone_mode=False)
"""
_SPARE = re.compile(r"\.spare$|pack\.lmdb\.partial/parts/")  # parts of streams are made again


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="strace is of Linux")
def test_what_gets_its_name_was_synced_before_and_its_folder_after(tmp_path: Path) -> None:
    root = tmp_path / "work"
    faces = lay_faces(root / "faces", {"train": 2, "val": 1, "test": 1})
    run, one = ["--device", "cpu"], ["--workers", "1"]
    commands: list[list[object]] = [
        ["build", "folder", "--src", faces, "--fake", ",".join(CLASSES[:2]), "--real", CLASSES[2],
         "--out", root / "raw.lmdb", *one],
        ["pack", root / "raw.lmdb", "--size", SIZE, "--out", root / "pack.lmdb", *one],
        ["train", "--data", root / "pack.lmdb", "--network", "meso4", "--set", f"size={SIZE}",
         "--set", "val_interval=1", "--max-iterations", 3, "--batch-size", 4, "--snapshot", 2,
         "--threads", 1, "--out", root / "run", *run],
        ["eval", root / "run", "--data", root / "pack.lmdb", "--resamples", 0, *run,
         "--html", root / "page.html", "--csv", root / "scores.csv"],
    ]  # fmt: skip
    lines = tmp_path / "commands"
    lines.write_text("\n".join("|".join(map(str, words)) for words in commands))
    log = tmp_path / "log"
    reason = traced([sys.executable, "-c", _COMMANDS, lines], log)
    if reason is not None:
        pytest.skip(reason)
    order = Order(str(root), _SPARE).read(log)
    assert not order.faults, "\n".join(order.faults)
    named = {Path(path).name for path in order.given}
    assert named >= {"raw.lmdb", "pack.lmdb", "run", "page.html", "scores.csv"}
    assert any(path.endswith("/data.mdb") for path in order.written)
