"""Commands that run out of memory: no image is called damaged, and the message says what to do."""

import errno
import os
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import Run
from makers.programs import HFFKIT
from makers.runs import write_run

from hffkit.corpus import inspect

_DECODE = """
import resource, sys
from pathlib import Path
from hffkit.media.image_files import decode_file
encoded = Path(sys.argv[1]).read_bytes()
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (16 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    print(decode_file(encoded).damage)
except MemoryError:
    print("out of memory")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the size of a process is in /proc")
@pytest.mark.parametrize("ending", [".jpg", ".png", ".bmp"])
def test_an_image_that_is_too_large_for_memory_is_not_called_damaged(
    tmp_path: Path, ending: str
) -> None:
    pixels = np.tile(np.arange(4000, dtype=np.uint8)[None, :, None], (3000, 1, 3))
    path = tmp_path / f"x{ending}"
    assert cv2.imwrite(str(path), pixels)
    done = subprocess.run(
        [sys.executable, "-c", _DECODE, path], capture_output=True, text=True, check=False
    )
    assert done.stdout == "out of memory\n", done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_predict_reads_an_image_of_12_megapixels_in_1500_megabytes(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "x.jpg"), np.zeros((3000, 4000, 3), np.uint8))
    run = write_run(tmp_path / "run")
    limited = f"ulimit -v 1500000; exec {shlex.join(HFFKIT)} predict {run} {tmp_path}/x.jpg"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("0 fake, 0 real, 1 not scored\n"), done.stderr


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Failed to allocate 36000000 bytes"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ],
)
def test_a_command_that_runs_out_of_memory_says_so_in_a_line(
    packed: Path, run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(inspect, "open_corpora", fail)
    done = run("inspect", packed)
    assert done.exit_code == 1
    assert "Error: Out of memory (" in done.stderr
    assert "fewer workers" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC, errno.EAGAIN, errno.EROFS])
def test_a_command_that_gets_no_more_of_the_system_says_so_in_a_line(
    packed: Path, run: Run, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))  # of a pipe or semaphore, which has no name

    monkeypatch.setattr(inspect, "open_corpora", fail)
    done = run("inspect", packed)
    assert done.exit_code == 1
    assert f"Error: The system refused a resource: {os.strerror(number)}. Free" in done.stderr
    assert len(done.stderr.splitlines()) == 1
