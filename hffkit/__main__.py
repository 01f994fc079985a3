"""`python -m hffkit`: the `hffkit` command."""

import sys

if __name__ == "__main__":
    # -m puts the current folder first on the path, where Python files may have come with the data.
    if not sys.flags.safe_path:
        del sys.path[0]
    from hffkit.cli.main import main

    main(prog_name="hffkit")
