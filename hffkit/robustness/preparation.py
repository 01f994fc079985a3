"""The work on one sample in any process, without PyTorch: decode, treat, take in."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

from hffkit.degrade.rework import Prepared, Treatment
from hffkit.errors import ArgumentError, CorpusError, HffkitError
from hffkit.inference.intake import Fed, Intake
from hffkit.manifest.samples import Sample
from hffkit.robustness.conditions import CLEAN
from hffkit.storage.corpus import Corpus

Wanted = tuple[str, Intake]
"""The name of a treatment, and the intake of the treated image."""


@dataclass(frozen=True, slots=True)
class Order:
    """A sample, and what to make of it."""

    corpus: int  # number of its corpus
    sample: Sample
    wanted: tuple[Wanted, ...]  # all of one treatment together


@dataclass(frozen=True, slots=True)
class Preparation:
    """Decode a sample once, apply treatments to it, and make what detectors are fed with."""

    corpora: tuple[Corpus, ...]
    treatments: Mapping[str, Treatment]

    def __call__(self, order: Order) -> dict[Wanted, Fed]:
        """Return what each intake makes of the sample under each treatment."""
        corpus, sample = self.corpora[order.corpus], order.sample
        found: dict[Wanted, Fed] = {}
        name = CLEAN
        try:
            datum = corpus.datum(sample)
            image = datum.image()
            for name, intakes in groupby(order.wanted, itemgetter(0)):
                process = _prepared(self.treatments[name])
                done = process(image, sample.key, len(sample.operations))
                for _, intake in intakes:
                    found[name, intake] = (
                        intake.of_record(datum, done.image)
                        if name == CLEAN
                        else intake.of_image(done.image)
                    )
        except ArgumentError:  # the operation is wrong for every image
            raise
        except HffkitError as error:
            under = f" under {name}" if name else ""
            raise CorpusError(
                f"{corpus.path}: {sample.key}{under}: {error}. Leave the operation or the sample "
                "out; scores so far are kept."
            ) from None
        return found


@lru_cache(maxsize=1024)
def _prepared(treatment: Treatment) -> Prepared:
    return treatment.prepared()
