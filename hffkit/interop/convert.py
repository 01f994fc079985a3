"""`hffkit convert`: convert weights of other programs to a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hffkit.errors import ArgumentError
from hffkit.interop.cao_checkpoint import read_parts
from hffkit.interop.formats import format_of
from hffkit.interop.weights import ForeignWeights, foreign_weights
from hffkit.manifest.classes import BINARY, FFPP, HFF_8, ClassTable, numbered
from hffkit.networks.table import build_blank, head_of, network_named
from hffkit.runs.run import Run, TrainingResult
from hffkit.runs.weights import write_weights
from hffkit.storage.staging import Partial


@dataclass(frozen=True, slots=True)
class OutputNames:
    """Names of the outputs of a file of weights.

    By default two outputs are fake and real, in this order, five are those of FaceForensics++, and
    eight those of Hybrid Fake Face.
    """

    fake: tuple[str, ...] = ()  # with `real`: the fake outputs come first in the file
    real: tuple[str, ...] = ()
    # All names in the file's own order. The names fake and real speak for themselves; each other
    # one is in `fake` or in `real`.
    order: tuple[str, ...] = ()


def convert(
    sources: Sequence[Path],
    out: Path,
    *,
    network: str | None = None,
    names: OutputNames = OutputNames(),
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
    names
        Names of the outputs. In the run, the fake ones come first. Two outputs of a state dict of
        PyTorch need `order`, because programs differ in it.
    threshold
        Of a head and tail: see `read_parts`.
    """
    found = _read(sources, network, threshold)
    command: dict[str, object] = {"verb": "convert", **found.facts, "network": found.network}
    state = found.state
    if names.order:
        classes = _ordered(found.n_classes, names)
        command["outputs"] = list(names.order)
        state = _reordered(found, [names.order.index(name) for name in classes.names])
    else:
        _refuse_unnamed(found, sources[0])
        classes = _classes(found.n_classes, names.fake, names.real)
    with Partial(out, {**command, "classes": classes.to_json()}, product="run") as partial:
        partial.make_product()
        spec = network_named(found.network)
        write_weights(partial.product, state, {})
        run = Run(found.network, spec.size, spec.input, classes, command)
        run = run.done(TrainingResult(), partial.product)
        run.write(partial.product)
        partial.publish()
    return run


def _read(sources: Sequence[Path], network: str | None, threshold: float | None) -> ForeignWeights:
    if format_of(sources, network, threshold) == "cao-tar":
        return read_parts(sources, threshold)
    return foreign_weights(sources[0], network)


def _refuse_unnamed(found: ForeignWeights, path: Path) -> None:
    if found.n_classes == 2 and found.facts.get("format") in ("pytorch", "safetensors"):
        raise ArgumentError(
            f"{path}: `outputs` must name the 2 outputs in the file's order, real,fake or "
            "fake,real: programs differ in this order, and the wrong one inverts every prediction."
        )


def _ordered(n_classes: int, names: OutputNames) -> ClassTable:
    """Return the table of outputs whose order is named, the fake ones first."""
    if len(names.order) != n_classes:
        raise ArgumentError(
            f"`outputs` must name the {n_classes} outputs of the file, got {len(names.order)} "
            "names."
        )
    fake, real = {"fake", *names.fake} - {*names.real}, {"real", *names.real} - {*names.fake}
    wrong = [name for name in names.order if name not in fake | real]
    wrong += [name for name in (*names.fake, *names.real) if name not in names.order]
    if wrong:
        raise ArgumentError(
            f"Each of `outputs` must be fake or real: name {wrong[0]!r} in `outputs` and in either "
            "`fake` or `real`."
        )
    fakes = [name for name in names.order if name in fake]
    reals = [name for name in names.order if name in real]
    if not fakes or not reals:
        raise ArgumentError("`outputs` must have a fake one and a real one.")
    return numbered(fake=fakes, real=reals)


def _reordered(found: ForeignWeights, order: list[int]) -> dict[str, Tensor]:
    """Return the weights with the outputs in another order: rows of the last layer."""
    if order == sorted(order):
        return found.state
    with torch.device("meta"):
        head = head_of(build_blank(found.network, found.n_classes))
    if not head:
        raise ArgumentError(
            f"`outputs` must be fake,real: {found.network} computes both from one distance, so "
            "that no file has them in another order."
        )
    return {
        name: value[order] if name.rpartition(".")[0] == head else value
        for name, value in found.state.items()
    }


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
