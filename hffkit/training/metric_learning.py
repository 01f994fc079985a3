"""Metric learning against compression: the losses of Cao et al. (MM 2021) on pairs of images.

A pair is one image in two qualities. Each goes through its own head and the shared tail. The
embeddings of real faces are drawn to the origin, those of fakes away from it, and both of a pair
to the same place. The attention maps of a pair should agree, and show where a face was forged.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hffkit.arrays import Bools, Floats32
from hffkit.errors import CorpusError
from hffkit.manifest.classes import BINARY_FAKE
from hffkit.networks.mml import Mml, lengths
from hffkit.networks.spec import InputSpec
from hffkit.training.loader import Batch, prepare
from hffkit.training.losses import autocast
from hffkit.training.masks import MASK_LEVEL
from hffkit.training.pairs import pair_shape, parts_of
from hffkit.training.recipe import MetricSettings, TrainRecipe


@dataclass(frozen=True, slots=True)
class PairOutputs:
    """Outputs of a network for a batch of pairs, in float32."""

    hq: Tensor  # (B, E) embeddings of the images of high quality
    lq: Tensor  # (B, E) of the same in low quality
    hq_map: Tensor  # (B, m, m) attention in 0..1
    lq_map: Tensor


class PairLoss:
    """Loss of a network with a head for each quality, on pairs of images and their masks."""

    def __init__(
        self, net: nn.Module, recipe: TrainRecipe, settings: MetricSettings, spec: InputSpec
    ) -> None:
        """Take the network to train; a threshold that the recipe names is set here.

        Raises
        ------
        TypeError
            If the network is not Mml.
        """
        if not isinstance(net, Mml):
            raise TypeError(f"metric learning trains Mml, got {type(net).__name__}")
        self._net, self._recipe, self._settings, self._spec = net, recipe, settings, spec
        self.shape = pair_shape(recipe.size)
        if settings.threshold != "val":
            net.threshold.fill_(settings.threshold)

    def __call__(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Return the loss () of a batch of pairs: see `pair_loss`."""
        with autocast(pixels.device, self._recipe):
            outputs, levels = self._outputs(pixels)
        return pair_loss(outputs, labels == BINARY_FAKE, levels, self._settings)

    @torch.inference_mode()
    def validate(self, batches: Iterator[Batch]) -> dict[str, float]:
        """Return the loss of the split as one batch, and accuracy and threshold of low quality.

        All are in float32. The threshold is chosen first if the recipe's is "val".
        """
        self._net.eval()
        found, truth = [], []
        for pixels, labels in batches:
            outputs, levels = self._outputs(pixels)
            parts = (outputs.hq, outputs.lq, outputs.hq_map, outputs.lq_map, levels)
            found.append([part.cpu() for part in parts])
            truth.append((labels == BINARY_FAKE).cpu())
        hq, lq, hq_map, lq_map, levels = map(torch.cat, zip(*found, strict=True))
        is_fake = torch.cat(truth)
        outputs, n_batch = PairOutputs(hq, lq, hq_map, lq_map), self._recipe.batch_size
        loss = float(pair_loss(outputs, is_fake, levels, self._settings, n_batch=n_batch))
        distances, fakes = lengths(lq).numpy(), is_fake.numpy()
        if self._settings.threshold == "val" and np.isfinite(loss):
            self._net.threshold.fill_(best_threshold(distances, fakes))
        threshold = float(self._net.threshold)
        accuracy = float(np.mean((distances >= threshold) == fakes))
        return {"val_loss": loss, "val_accuracy": accuracy, "threshold": threshold}

    def _outputs(self, pixels: Tensor) -> tuple[PairOutputs, Tensor]:
        """Return the outputs for pairs, and the grey levels (B, m, m) of the masks."""
        high, low, levels = parts_of(pixels, self._recipe.size)
        hq, hq_map = self._net.embed(prepare(high.contiguous(), self._spec), "hq")
        lq, lq_map = self._net.embed(prepare(low.contiguous(), self._spec), "lq")
        maps = hq_map[:, 0].float(), lq_map[:, 0].float()
        return PairOutputs(hq.float(), lq.float(), *maps), levels


def pair_loss(
    outputs: PairOutputs,
    is_fake: Tensor,
    levels: Tensor,
    settings: MetricSettings,
    *,
    n_batch: int | None = None,
) -> Tensor:
    """Compute M(hq) + M(lq) + w D(hq, lq) + w' D'(maps) + w'' (BCE(hq map) + BCE(lq map)), ().

    M is `margin_loss`; D the mean distance of a pair's embeddings; D' that of its maps, each
    divided by its length; BCE the mean binary cross-entropy of a map's cells against the mask,
    left out where its weight is 0.

    Parameters
    ----------
    is_fake : (B,) bool
    levels : (B, m, m) uint8
        Grey levels of the masks: see `mask_of`.
    n_batch
        Batch size of the training, if these are more pairs: see `margin_loss`.
    """
    n_batch = n_batch or len(is_fake)
    loss: Tensor = margin_loss(lengths(outputs.hq), is_fake, settings, n_batch)
    loss = loss + margin_loss(lengths(outputs.lq), is_fake, settings, n_batch)
    loss = loss + settings.pair_weight * (outputs.hq - outputs.lq).norm(dim=1).mean()
    maps = [functional.normalize(each.flatten(1)) for each in (outputs.hq_map, outputs.lq_map)]
    loss = loss + settings.map_weight * (maps[0] - maps[1]).norm(dim=1).mean()
    if not settings.mask_weight:
        return loss
    mask = mask_of(levels, as_published=settings.as_published)
    for each in (outputs.hq_map, outputs.lq_map):
        loss = loss + settings.mask_weight * functional.binary_cross_entropy(each, mask)
    return loss


def margin_loss(
    distances: Tensor, is_fake: Tensor, settings: MetricSettings, n_batch: int
) -> Tensor:
    """Compute the excess of real faces over r_real, and the shortfall of fakes below r_fake, ().

    It is the mean over the real faces of a batch plus the mean over its fakes; an absent class
    adds nothing. The published code (`as_published`) divides both sums by the size of the batch
    instead of the number of the class's members, and the result by it again. For a whole split
    the second divisor is the batch size of the training, else M would vanish.

    Parameters
    ----------
    distances : (B,) float32
        Lengths of the embeddings.
    is_fake : (B,) bool
    """
    fake = is_fake.to(distances.dtype)
    outside = ((1 - fake) * (distances - settings.r_real).clamp(min=0)).sum()
    inside = (fake * (settings.r_fake - distances).clamp(min=0)).sum()
    n = len(distances)
    if settings.as_published:
        return (outside / n + inside / n) / n_batch
    n_fake = fake.sum()
    return outside / (n - n_fake).clamp(min=1) + inside / n_fake.clamp(min=1)


def mask_of(levels: Tensor, *, as_published: bool) -> Tensor:
    """Return the mask (B, m, m) float32 of grey levels uint8: 1 above 51 of 255, else 0.

    The published code (`as_published`) leaves levels of exactly 51 at 0.2.
    """
    mask = (levels > MASK_LEVEL).float()
    return mask.masked_fill(levels == MASK_LEVEL, MASK_LEVEL / 255) if as_published else mask


def best_threshold(distances: Floats32, is_fake: Bools) -> float:
    """Return the distance above which faces count as fake with the best balanced accuracy.

    It lies midway between two neighbouring distances: of equally good gaps in the widest, of
    equally wide ones in the lowest. Both arguments are (N,).

    Raises
    ------
    CorpusError
        If fake or real does not occur.
    """
    n_fake = int(is_fake.sum())
    n_real = len(is_fake) - n_fake
    if not n_fake or not n_real:
        raise CorpusError(
            f"The validation pairs are {n_fake} fake and {n_real} real, but choosing a threshold "
            "needs both. Give a number instead, such as metric.threshold = 9."
        )
    order = np.argsort(distances, kind="stable")
    ranked = distances[order].astype(np.float64)
    fakes_below = np.cumsum(is_fake[order])[:-1]  # (N - 1,) up to each gap
    reals_below = np.arange(1, len(ranked)) - fakes_below
    balanced = reals_below / n_real + (n_fake - fakes_below) / n_fake
    gaps = np.diff(ranked)
    if not gaps.any():
        return float(ranked[0])
    balanced[gaps == 0] = -1  # equal distances are on one side
    best = np.flatnonzero(balanced == balanced.max())
    place = best[np.argmax(gaps[best])]
    low, high = ranked[place], ranked[place + 1]
    middle = float(np.float32((low + high) / 2))  # the buffer is float32
    return middle if middle > low else float(high)
