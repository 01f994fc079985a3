"""Networks with fewer maps, for tests that are not about their published widths."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hffkit.networks import mml, xception

MAPS, EXIT = 24, (512, 512, 1024)


@contextmanager
def thin() -> Iterator[None]:
    """Build Xception, and mml of its parts, with all of their layers but a 20th of the weights."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (xception, mml):
            patch.setattr(module, "MAPS", MAPS)
        patch.setattr(xception, "EXIT", EXIT)
        yield
