"""A server of commands: it has imported what they need and forks for each, for a start is slow."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

# Of commands, which would take longer to import in each fork than to run.
MODULES = (
    "cv2", "hffkit.audit.audit", "hffkit.audit.findings_page", "hffkit.corpus.build",
    "hffkit.degrade.equalize", "hffkit.evaluation.evaluate", "hffkit.explain.explain",
    "hffkit.inference.predict_page", "hffkit.pipeline.runner", "hffkit.reports.plots",
    "hffkit.robustness.robustness", "hffkit.spectrum.export", "hffkit.training.train",
    "sklearn.ensemble", "torch._dynamo",
)  # fmt: skip

# Prints the number of the child's process, and then its exit code.
_PROGRAM = """
import json, os, sys, tempfile, traceback, warnings
from importlib import import_module
warnings.simplefilter("ignore")
from hffkit.cli.main import main
for name in sys.argv[1:]:
    import_module(name)
tempfile.gettempdir()  # which tries the folder once
{more}
for line in sys.stdin:
    words, said, before = json.loads(line)
    child = os.fork()
    if child == 0:
        os.setsid()
        sys.stdin.close()
        for number in (1, 2):
            os.dup2(os.open(said, os.O_WRONLY | os.O_APPEND), number)
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))
        sys.argv = ["hffkit", *words]
        code = 70
        try:
            exec(before)
            main()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class CommandServer:
    """Starts commands, one at a time, each in a process group of its own."""

    def __init__(self, process: "subprocess.Popen[str]", said: Path) -> None:
        """Take the server, and the file for what the commands print."""
        self._process, self._said = process, said

    def begin(self, words: Sequence[str], before: str = "") -> int:
        """Start a command, after `before`, and return the number of its process."""
        assert self._process.stdin is not None
        self._said.write_text("")
        line = json.dumps([list(words), str(self._said), before])
        print(line, file=self._process.stdin, flush=True)
        return self._number()

    def said(self) -> str:
        """Return what the command has printed so far."""
        return self._said.read_text("utf-8", "replace")

    def end(self) -> tuple[int, str]:
        """Wait for the end of the command; return its exit code and what it printed."""
        return self._number(), self.said()

    def run(self, words: Sequence[str], before: str = "") -> tuple[int, str]:
        """Run a command after `before`; return its exit code and what it printed."""
        self.begin(words, before)
        return self.end()

    def _number(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@contextmanager
def command_server(
    said: Path, modules: Sequence[str], environment: Mapping[str, str], more: str = ""
) -> Iterator[CommandServer]:
    """Run a server that has imported modules and run `more` code; it writes to the file `said`."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM.replace("{more}", more), *modules],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        yield CommandServer(process, said)
        assert process.stdin is not None
        process.stdin.close()
