"""Checks of arguments before the imports of a command: PyTorch alone takes seconds."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hffkit.errors import ArgumentError

if TYPE_CHECKING:
    from hffkit.storage.outputs import FileForm


def check_inputs(
    *,
    runs: Sequence[Path] = (),
    reference: Path | None = None,
    corpora: Iterable[str] = (),
    files: Iterable[Path] = (),
    outputs: Mapping[str, "tuple[Path | None, FileForm]"] | None = None,
) -> None:
    """Raise HffkitError if a run, corpus or file is not there, or an output cannot be written.

    No run may be named twice among `runs`; `reference` is one more run, or one of them. `outputs`
    are paths and forms, by the names of their parameters. No two may be one file.
    """
    from hffkit.runs.run import check_different, check_runs
    from hffkit.storage.outputs import check_output

    check_runs(runs if reference is None else [*runs, reference])
    check_different(runs)
    if corpora:
        from hffkit.storage.corpora import check_corpora  # loads OpenCV

        for name in corpora:
            check_corpora([name])
    if files:
        from hffkit.faces.search import files_of  # loads dlib

        for path in files:
            files_of(path)
    names: dict[Path, str] = {}
    for name, (output, form) in (outputs or {}).items():
        if output is not None:
            check_output(output, name, form)
            if output in names:
                raise ArgumentError(f"{output}: `{names[output]}` and `{name}` must be two files.")
            names[output] = name
