from pathlib import Path

import pytest
from makers.command_lines import command_lines

OUTCOMES = {
    "carried out",
    "refused, with a message",
    "interrupted, because it took long",
}


def test_no_command_line_ends_in_a_traceback(tmp_path: Path) -> None:
    outcomes = command_lines(tmp_path, 20, seed=0)
    assert outcomes.total() == 20
    assert set(outcomes) <= OUTCOMES
    assert outcomes["refused, with a message"] > 10


@pytest.mark.slow
def test_no_command_line_of_many_ends_in_a_traceback(tmp_path: Path) -> None:
    assert command_lines(tmp_path, 50, seed=1).total() == 50
