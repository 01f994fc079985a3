"""`hffkit demo`, interrupted and resumed. CI runs it whole."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# One pair of short videos suffices for what is interrupted.
DEMO = """
from hffkit.cli.main import main
from hffkit.sources import demo_tree
demo_tree.fabricate.__defaults__ = (demo_tree.PAIRS[:1],)
demo_tree.N_FRAMES = 16
main()
"""


def interrupted_at(line: str, out: Path) -> tuple[int, str]:
    """Run the demo up to a line of its output, press Ctrl-C; return exit code and output."""
    command = [sys.executable, "-c", DEMO, "demo", "--out", str(out), "--workers", "1"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as demo:
        assert demo.stdout
        told = ""
        for text in demo.stdout:
            told += text
            if text.startswith(line):
                demo.send_signal(signal.SIGINT)
                break
        told += demo.stdout.read()
    return demo.returncode, told


@pytest.mark.slow
def test_an_interrupted_demo_ends_and_the_same_command_resumes_it(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    code, told = interrupted_at("$ hffkit inspect", out)
    assert code == 130, told
    assert "run the same command again to resume" in told
    clips = {path: path.stat().st_mtime_ns for path in out.rglob("*.mp4")}
    code, told = interrupted_at("$ hffkit degrade", out)
    assert code == 130, told
    assert f"{out}/data.lmdb is finished" in told
    assert "$ hffkit train" not in told
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.mp4")} == clips
    (out / "hffkit-demo-unfinished").unlink()
    code, told = interrupted_at("$ hffkit", out)
    assert (code, told) == (1, f"Error: {out} already exists. Delete it or choose another --out.\n")
