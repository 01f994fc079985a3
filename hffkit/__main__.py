"""Entry point of `hffkit` and of `python -m hffkit`."""

import sys


def start() -> None:
    """Run the command; an interrupt during the imports also ends it with one line."""
    try:
        from hffkit.cli.main import main
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Run the same command again.\n")
        sys.exit(130)
    main(prog_name="hffkit")


if __name__ == "__main__":
    # -m puts the current folder first on the path, where Python files may have come with the data.
    if not sys.flags.safe_path:
        del sys.path[0]
    start()
