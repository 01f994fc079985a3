"""Images of corpora, read at the size and in the colour order of a network."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from hffkit.errors import CorpusError, HffkitError
from hffkit.manifest.samples import Sample
from hffkit.media.image import Image, resize
from hffkit.networks.spec import Colour
from hffkit.storage.corpus import Corpus

Pixels = npt.NDArray[np.uint8]


Transform = Callable[[Image, Sample, int], Image]
"""What is done to native pixels before they are resized, given the sample and the epoch."""


class Faces:
    """Samples whose pixels are read by number: (S, S, 3) uint8, RGB or BGR."""

    def __init__(
        self,
        items: Sequence[tuple[Corpus, Sample]],
        size: int,
        colour: Colour,
        transform: Transform | None = None,
    ) -> None:
        """Take samples with their corpora.

        Raises
        ------
        CorpusError
            If a corpus is packed at another size.
        """
        for corpus in {id(corpus): corpus for corpus, _ in items}.values():
            packed = corpus.provenance.size
            if packed is not None and packed != size:
                raise CorpusError(
                    f"{corpus.path} is packed at {packed} px, and the network is fed with {size}. "
                    f"Pack a native corpus with --size {size}, or train with --set size={packed}."
                )
        self.items = items
        self.size, self.shape = size, (size, size, 3)
        self._colour = colour
        self.transform = transform

    def __len__(self) -> int:
        return len(self.items)

    def release(self) -> None:
        """Let go of the databases, whose mapped pages count as memory; reading opens them again."""
        for corpus in {id(corpus): corpus for corpus, _ in self.items}.values():
            corpus.records.close()

    def read(self, number: int, epoch: int, out: Pixels) -> None:
        """Write the pixels of one sample to `out`; `epoch` matters to a transform alone."""
        corpus, sample = self.items[number]
        if self.transform is None and corpus.provenance.size is not None:
            datum = corpus.datum(sample)
            if datum.encoded or len(datum.data) != out.size:
                raise CorpusError(
                    f"{corpus.path}: {sample.key}: no {self.size}x{self.size} pixels. `hffkit "
                    "verify` finds all such records."
                )
            planes = np.frombuffer(datum.data, np.uint8).reshape(3, self.size, self.size)
            cv2.merge(list(planes if self._colour == "BGR" else planes[::-1]), dst=out)
            return
        try:
            image = corpus.image(sample)
        except HffkitError as error:
            raise CorpusError(
                f"{corpus.path}: {sample.key}: {error}. `hffkit verify` finds all such records."
            ) from None
        if self.transform is not None:
            image = self.transform(image, sample, epoch)
        image = resize(image, self.size)
        out[...] = image if self._colour == "RGB" else image[..., ::-1]
