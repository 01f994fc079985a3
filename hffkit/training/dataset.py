"""Images of corpora at the size and in the colour order of a network, read by number."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from hffkit.errors import CorpusError, HffkitError, StorageError
from hffkit.manifest.samples import Sample
from hffkit.media.image import Image, resize
from hffkit.networks.spec import InputSpec
from hffkit.storage.corpora import Item, corpora_of
from hffkit.storage.corpus import Corpus

Pixels = npt.NDArray[np.uint8]
Transform = Callable[[Image, Sample, int], Image]
"""Applied to native pixels before they are resized; takes the image, its sample and the epoch."""


class FaceDataset:
    """Images of samples, (S, S, 3) uint8, in the colour order of a network."""

    def __init__(
        self, items: Sequence[Item], size: int, spec: InputSpec, transform: Transform | None = None
    ) -> None:
        """Take samples with their corpora; images of native ones are resized by `spec.filter`.

        Raises
        ------
        CorpusError
            If a corpus is packed at another size.
        """
        check_packed(items, size)
        self.items, self.transform = items, transform
        self.size, self.shape = size, (size, size, 3)
        self._spec = spec

    def __len__(self) -> int:
        return len(self.items)

    @property
    def samples(self) -> list[Sample]:
        """The samples of all images."""
        return [sample for _, sample in self.items]

    def release(self) -> None:
        """Close the databases, whose mapped pages count as memory; reading reopens them."""
        for corpus in corpora_of(self.items):
            corpus.records.close()

    def read(self, number: int, epoch: int, out: Pixels) -> None:
        """Write one image to `out`; only a transform depends on `epoch`."""
        corpus, sample = self.items[number]
        if self.transform is None and corpus.provenance.size is not None:
            self._read_packed(corpus, sample, out)
            return
        image = read_image(corpus, sample)
        if self.transform is not None:
            image = self.transform(image, sample, epoch)
        out[...] = fed(image, self.size, self._spec)

    def _read_packed(self, corpus: Corpus, sample: Sample, out: Pixels) -> None:
        datum = corpus.datum(sample)
        if datum.encoded or len(datum.data) != out.size:
            raise _damaged(corpus, sample, f"no {self.size}x{self.size} pixels")
        planes = np.frombuffer(datum.data, np.uint8).reshape(3, self.size, self.size)
        cv2.merge(list(planes if self._spec.colour == "BGR" else planes[::-1]), dst=out)


def fed(image: Image, size: int, spec: InputSpec) -> Pixels:
    """Return an image at the size and in the colour order of a network."""
    small = resize(image, size, spec.filter)
    return small if spec.colour == "RGB" else small[..., ::-1]


def check_packed(items: Sequence[Item], size: int) -> None:
    """Raise CorpusError if a corpus of the samples is packed at another size."""
    for corpus in corpora_of(items):
        packed = corpus.provenance.size
        if packed is not None and packed != size:
            raise CorpusError(
                f"{corpus.path} is packed at {packed} px, and the network is fed with {size}. "
                f"Pack a native corpus at {size} px, or train with size = {packed}."
            )


def read_image(corpus: Corpus, sample: Sample) -> Image:
    """Return the image of a sample; CorpusError names the record if it is damaged."""
    try:
        return corpus.image(sample)
    except StorageError:  # it names the record
        raise
    except HffkitError as error:
        raise _damaged(corpus, sample, error) from None


def _damaged(corpus: Corpus, sample: Sample, reason: object) -> CorpusError:
    return CorpusError(
        f"{corpus.path}: {sample.key}: {reason}. `hffkit verify` finds all such records."
    )
