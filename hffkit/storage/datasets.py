"""Tell apart datasets that have files of the same names, such as real/0001.png.

Keys and groups are paths, or parts of paths, below the root of a dataset. So corpora of different
datasets that are taken as one need a prefix before both. Corpora that hold files of the same path
are of one dataset if any of these files is the same in both, and of different ones if none is:
a dataset that was built twice, with other options or from another place, stays one. Names of
FaceForensics++ mean the same in all its copies, and never get a prefix.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from hffkit.manifest.pairs import quality_of
from hffkit.storage.corpus import Corpus

_DIGITS = 8  # the last ones of the smallest digest of a dataset's files: the first are mostly 0


def told_apart(corpora: Sequence[Corpus]) -> list[Corpus]:
    """Return the corpora, with a prefix where different datasets have files of the same path.

    The prefix depends on the files of the dataset, not on the order of the corpora.
    """
    if _are_of_one_command(corpora):
        return list(corpora)
    roots, smallest = list(range(len(corpora))), ["g"] * len(corpora)
    first_with: dict[int, int] = {}  # number of a corpus by file, that is path and digest
    holders: dict[int, int] = {}  # set of corpora, as bits, by path

    def root(number: int) -> int:
        while roots[number] != number:
            number = roots[number]
        return number

    for number, corpus in enumerate(corpora):
        for path, digest in _files(corpus):
            holder = first_with.setdefault(hash((path, digest)), number)
            roots[root(number)] = root(holder)
            holders[hash(path)] = holders.get(hash(path), 0) | 1 << number
            smallest[number] = min(smallest[number], digest)
    numbers = range(len(corpora))
    sharing = [{root(n) for n in numbers if bits >> n & 1} for bits in set(holders.values())]
    alike = {each for some in sharing if len(some) > 1 for each in some}
    members = {each: [n for n in numbers if root(n) == each] for each in alike}
    first = {each: min(smallest[n] for n in some) for each, some in members.items()}
    if len({*first.values()}) < len(first):  # datasets that hold one file at two paths
        first = {each: _smallest(corpora[n] for n in some) for each, some in members.items()}
    return [
        Corpus(corpus.path, f"{first[root(n)][-_DIGITS:]}/") if root(n) in alike else corpus
        for n, corpus in enumerate(corpora)
    ]


def datasets_note(corpora: Sequence[Corpus]) -> str | None:
    """Return which corpora were told apart, and by which prefix; None if there are none."""
    told = [f"{corpus.path} ({corpus.prefix})" for corpus in corpora if corpus.prefix]
    if not told:
        return None
    return (
        f"{', '.join(told)}: files of the same path are different files, so these are taken as "
        "different datasets, and the prefix stands before their keys and groups"
    )


def _are_of_one_command(corpora: Sequence[Corpus]) -> bool:
    """Return True for shards and for the databases of one `pack`, whose samples are disjoint."""
    made = [replace(corpus.provenance, shard=None) for corpus in corpora]
    is_divided = all(c.provenance.shard or c.provenance.verb == "pack" for c in corpora)
    return len(corpora) == 1 or (is_divided and all(each == made[0] for each in made))


def _smallest(corpora: Iterable[Corpus]) -> str:
    """Return the smallest digest of path and content of the files of a dataset."""
    files = (file for corpus in corpora for file in _files(corpus))
    texts = ("\0".join(file).encode("utf-8", "surrogateescape") for file in files)
    return min(hashlib.sha256(text).hexdigest() for text in texts)


def _files(corpus: Corpus) -> Iterator[tuple[str, str]]:
    """Yield path and digest of the files of a corpus, each once if its samples are together."""
    last = None
    for sample in corpus.samples():
        file = sample.source, sample.source_sha256
        if file != last and quality_of(sample.key) is None:
            yield file
        last = file
