"""Relations between the files of a dataset that their names reveal."""

import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from hffkit.manifest.classes import ClassTable
from hffkit.media.files import VIDEO_SUFFIXES, suffix_of
from hffkit.sources.entries import Entry

_MAX_TOKENS = 8  # of a name: 256 shorter names are looked up
Tokens = tuple[str, ...]


def parted(entries: Iterable[Entry], classes: ClassTable) -> list[str]:
    """Return a note if forgeries are in another split than a real file they are named after.

    The names of forgeries hold the name of their target, then that of the source of the face:
    519_515 of 519 in FaceForensics++, id0_id1_0002 of id0_0002 in Celeb-DF. A folder of frames has
    the name of its video.
    """
    real: dict[Tokens, Entry] = {}
    fakes: dict[Tokens, Entry] = {}
    for entry in entries:
        names = fakes if classes[entry.cls].is_fake else real
        names.setdefault(_tokens(entry), entry)
    first = {tokens[0] for tokens in real}
    related = 0
    apart: list[tuple[Entry, Entry]] = []
    for tokens, fake in fakes.items():
        origins = [real[part] for part in _shorter(tokens, first) if part in real]
        related += bool(origins)
        apart += [(fake, origin) for origin in origins if origin.split != fake.split][:1]
    if not apart:
        return []
    fake, origin = apart[0]
    return [
        f"{len(apart)} of {related} forgeries named after a real one are in another split, such as "
        f"{fake.place} and {origin.place}. Keep them together by `group_by`, or build "
        "FaceForensics++ by ff++, which knows its pairs."
    ]


def _tokens(entry: Entry) -> Tokens:
    """Return the parts of the name of an entry's video, or of its image if it is alone."""
    is_alone = entry.is_video or entry.group in (None, entry.path)
    path = PurePosixPath(entry.path if is_alone else entry.group or "")
    is_file = is_alone or suffix_of(path.name) in VIDEO_SUFFIXES
    return tuple(re.split("_+", path.stem if is_file else path.name))


def _shorter(tokens: Tokens, first: set[str]) -> Iterator[Tokens]:
    """Yield names that lack some parts of a name, if there is one with the same beginning."""
    if tokens[0] in first and len(tokens) <= _MAX_TOKENS:
        for n in range(1, len(tokens)):
            yield from itertools.combinations(tokens, n)
