"""Commands that are killed at random moments; `benchmarks/soak.py` tries as many as you like."""

import sys
from pathlib import Path

import pytest
from makers.kills import killed_processes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]


def test_a_killed_command_gives_the_undisturbed_result_when_it_is_run_again(
    tmp_path: Path,
) -> None:
    outcomes = killed_processes(tmp_path, 22, 0)
    assert outcomes.total() == 22
    assert all(text.endswith(": the same result") for text in outcomes)
    assert any("killed" in text for text in outcomes)
