"""A command whose file is cut short while it reads it ends with a message."""

import subprocess
import sys
from pathlib import Path

import pytest

READ = """
import mmap, os, sys
from hffkit.cli.bus_error import say_bus_errors
say_bus_errors()
with open(sys.argv[1], "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
os.truncate(sys.argv[1], 1)
print(mapped[2 * mmap.PAGESIZE])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="others end by the signal")
def test_a_mapped_file_that_is_cut_short_ends_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "data.mdb"
    path.write_bytes(bytes(1 << 16))
    done = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: A file was cut short")
    assert done.stderr.count("\n") == 1
