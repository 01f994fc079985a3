"""Entry point of `hffkit` and of `python -m hffkit`."""

import sys


def start() -> None:
    """Run the command; an interrupt before it begins also ends it with one line."""
    try:
        from hffkit.cli.main import main

        main(prog_name="hffkit")
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Run the same command again.\n")
        sys.exit(130)


if __name__ == "__main__":
    # -m puts the current folder first on the path, where Python files may have come with the data.
    if not sys.flags.safe_path:
        del sys.path[0]
    start()
