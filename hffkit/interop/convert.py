"""`hffkit convert`: convert weights of other programs to a run."""

from collections.abc import Sequence
from pathlib import Path

from hffkit.errors import ArgumentError
from hffkit.interop.cao_checkpoint import NETWORK, SUFFIX, read_parts
from hffkit.interop.weights import ForeignWeights, foreign_weights
from hffkit.manifest.classes import BINARY, FFPP, HFF_8, ClassTable, numbered
from hffkit.networks.names import canonical_name
from hffkit.networks.table import network_named
from hffkit.runs.run import Run, TrainingResult
from hffkit.runs.weights import write_weights
from hffkit.storage.staging import Partial


def convert(
    sources: Sequence[Path],
    out: Path,
    *,
    network: str | None = None,
    fake: tuple[str, ...] = (),
    real: tuple[str, ...] = (),
    threshold: float | None = None,
) -> Run:
    """Write the weights of a file, or of the parts of a network, to the run folder `out`.

    Parameters
    ----------
    sources
        A .caffemodel, a MesoNet .h5, or a state dict of PyTorch; or the published head and tail of
        metric learning, or its two heads and tail.
    network
        Network of the weights; by default it is recognised.
    fake, real
        Names of the outputs: the fake classes, then the real ones, in this order. By default two
        outputs are fake and real, five are those of FaceForensics++, eight of Hybrid Fake Face.
    threshold
        Of a head and tail: see `read_parts`.
    """
    found = _read(sources, network, threshold)
    classes = _classes(found.n_classes, fake, real)
    command = {"verb": "convert", **found.facts, "network": found.network}
    with Partial(out, {**command, "classes": classes.to_json()}, product="run") as partial:
        partial.product.mkdir(exist_ok=True)
        spec = network_named(found.network)
        run = Run(found.network, spec.size, spec.input, classes, command, TrainingResult())
        write_weights(partial.product, found.state, {})
        run.write(partial.product)
        partial.publish()
    return run


def _read(sources: Sequence[Path], network: str | None, threshold: float | None) -> ForeignWeights:
    if len(sources) > 1 or (network is None and sources[0].suffix == SUFFIX):
        if network is not None and canonical_name(network) != NETWORK:
            raise ArgumentError(
                f"`network` must be {NETWORK} for a head and a tail, got {network}. Any other "
                "network is in one file."
            )
        return read_parts(sources, threshold)
    if threshold is not None:
        raise ArgumentError(
            f"`threshold` is for the head and tail of {NETWORK}, got {threshold:g} for "
            f"{sources[0]}."
        )
    return foreign_weights(sources[0], network)


def _classes(n_classes: int, fake: tuple[str, ...], real: tuple[str, ...]) -> ClassTable:
    if bool(fake) != bool(real):
        raise ArgumentError("`fake` and `real` must be given together, got one of them.")
    if fake:
        table = numbered(fake=fake, real=real)
        if len(table.names) != n_classes:
            raise ArgumentError(
                f"`fake` and `real` must name the {n_classes} outputs of the file, got "
                f"{len(table.names)} names."
            )
        return table
    known = {2: BINARY, 5: FFPP.only(FFPP.names[:5]), 8: HFF_8}
    if n_classes not in known:
        raise ArgumentError(
            f"`fake` and `real` must name the {n_classes} outputs of the file, in their order, the "
            "fake ones first."
        )
    return known[n_classes].renumbered()
