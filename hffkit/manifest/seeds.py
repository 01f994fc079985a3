"""Random generators and shuffles that depend on a seed and names alone."""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def rng_for(seed: int, *names: str) -> "np.random.Generator":
    """Return a generator that depends on (seed, names), not on worker, order or batch."""
    import numpy as np  # late: `hffkit build --help` needs no numpy

    return np.random.default_rng([seed, int.from_bytes(_digest(*names), "big")])


def rank(seed: int, *names: str) -> bytes:
    """Return a sort key that shuffles names in a way that does not depend on their order."""
    return _digest(str(seed), *names)


def _digest(*names: str) -> bytes:
    text = "\0".join(names).encode("utf-8", "surrogateescape")  # names of files may be any bytes
    return hashlib.blake2b(text, digest_size=16).digest()
