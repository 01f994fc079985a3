"""Turning and mirroring of images that are stored in another position than they are shown."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hffkit.media.image import Image


@dataclass(frozen=True, slots=True)
class Turn:
    """Exchange of rows and columns, followed by steps (1 or -1) down and across an image."""

    is_transposed: bool = False
    down: int = 1
    across: int = 1

    @classmethod
    def of_matrix(cls, matrix: bytes) -> "Turn":
        """Return the turn of a display matrix: 9 integers, row by row."""
        a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
        is_transposed = abs(b) > abs(a)
        across, down = (c, b) if is_transposed else (a, d)
        return cls(is_transposed, -1 if down < 0 else 1, -1 if across < 0 else 1)

    def upright(self, image: Image) -> Image:
        """Turn an image of two or three axes."""
        image = image.swapaxes(0, 1) if self.is_transposed else image
        return np.ascontiguousarray(image[:: self.down, :: self.across])


UPRIGHT = Turn()
ORIENTATIONS: Mapping[int, Turn] = {  # of EXIF and TIFF; other numbers mean nothing
    2: Turn(across=-1),
    3: Turn(down=-1, across=-1),
    4: Turn(down=-1),
    5: Turn(is_transposed=True),
    6: Turn(is_transposed=True, across=-1),
    7: Turn(is_transposed=True, down=-1, across=-1),
    8: Turn(is_transposed=True, down=-1),
}
