"""The folder beside a corpus for what was computed of a detector's scores of some samples."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from tempfile import TemporaryFile

from hffkit.execution.versions import LIBRARIES, versions
from hffkit.inference.detector import Detector
from hffkit.storage.corpora import identities
from hffkit.storage.corpus import Corpus
from hffkit.storage.labels import Items

SUFFIX = ".robustness"  # data.lmdb.robustness/, beside data.lmdb
_DIGITS = 32


class Shelf:
    """The folder beside the first corpus, for samples selected of several."""

    def __init__(self, corpora: Sequence[Corpus], items: Items) -> None:
        """Take the samples; nothing is created yet."""
        corpus = corpora[0].path.resolve()
        self.folder = corpus.parent / f"{corpus.name}{SUFFIX}"
        self.n_samples = len(items)
        keys = hashlib.sha256()
        for _, sample in items:
            keys.update(sample.key.encode("utf-8", "surrogateescape") + b"\0")
        self._data = {
            **identities(corpora),
            "keys": keys.hexdigest(),
            "versions": versions(*LIBRARIES),
        }

    @cached_property
    def is_writable(self) -> bool:
        """Create the folder; False without write access to it, and then nothing is kept.

        A link in its place is not followed: it may lead to a folder of others.
        """
        if self.folder.is_symlink():
            return False
        try:
            self.folder.mkdir(exist_ok=True)
            TemporaryFile(dir=self.folder).close()
        except OSError:
            return False
        return True

    def digest(self, detector: Detector, **about: object) -> str:
        """Return a name for what follows from a detector's scores of the samples and `about`.

        It is a digest of all that decides them, so a file of this name is never out of date.
        """
        everything = {
            **self._data,
            "weights": detector.weights_sha256,
            "intake": repr(detector.intake),
            "classes": detector.run.classes.to_json(),
            "network": detector.run.network,
            **about,
        }
        text = json.dumps(everything, sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:_DIGITS]
