"""Metric learning against compression: the losses of Cao et al. (MM 2021) on pairs of images.

A pair is one image in two qualities. Each goes through its own head and the shared tail; the
embeddings of real faces are to lie at the origin, those of fake ones far from it, and both of a
pair at the same place. Attention maps are to agree, and to show where a face was forged.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from hffkit.errors import CorpusError
from hffkit.manifest.classes import BINARY_FAKE
from hffkit.networks.mml import Mml, lengths
from hffkit.networks.spec import InputSpec
from hffkit.training.loader import Batch, prepare
from hffkit.training.losses import autocast
from hffkit.training.pairs import pair_shape, parts_of
from hffkit.training.recipe import Metric, TrainRecipe

MASK_LEVEL = 51  # of 255, 0.2: a cell above it is forged


@dataclass(frozen=True, slots=True)
class Views:
    """What a network made of a batch of pairs, in float32."""

    hq: Tensor  # (B, E) embeddings of the images of high quality
    lq: Tensor  # (B, E) of the same in low quality
    hq_map: Tensor  # (B, m, m) attention in 0..1
    lq_map: Tensor


class MetricLearning:
    """Pairs of images and their masks, and a network with a head for each quality."""

    def __init__(
        self, net: nn.Module, recipe: TrainRecipe, metric: Metric, spec: InputSpec
    ) -> None:
        """Take the network to train; a threshold that the recipe names is set here.

        Raises
        ------
        TypeError
            If the network is not Mml.
        """
        if not isinstance(net, Mml):
            raise TypeError(f"metric learning trains Mml, got {type(net).__name__}")
        self._net, self._recipe, self._metric, self._spec = net, recipe, metric, spec
        self.shape = pair_shape(recipe.size)
        if metric.threshold != "val":
            net.threshold.fill_(metric.threshold)

    def loss(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Return the loss () of a batch of pairs: see `pair_loss`."""
        with autocast(pixels.device, self._recipe):
            *views, levels = self._views(pixels)
        return pair_loss(Views(*views), labels == BINARY_FAKE, levels, self._metric)

    @torch.inference_mode()
    def judged(self, batches: Iterator[Batch]) -> dict[str, float]:
        """Return the loss of the split as one batch, and choose the threshold where val has to.

        The accuracy is that of the low-quality head with the threshold, in float32.
        """
        self._net.eval()
        seen = [
            [part.cpu() for part in (*self._views(pixels), labels == BINARY_FAKE)]
            for pixels, labels in batches
        ]
        hq, lq, hq_map, lq_map, levels, is_fake = map(torch.cat, zip(*seen, strict=True))
        views = Views(hq, lq, hq_map, lq_map)
        n_batch = self._recipe.batch_size
        loss = float(pair_loss(views, is_fake, levels, self._metric, n_batch=n_batch))
        distances, fakes = lengths(views.lq).numpy(), is_fake.numpy()
        if self._metric.threshold == "val" and np.isfinite(loss):
            self._net.threshold.fill_(best_threshold(distances, fakes))
        threshold = float(self._net.threshold)
        accuracy = float(np.mean((distances >= threshold) == fakes))
        return {"val_loss": loss, "val_accuracy": accuracy, "threshold": threshold}

    def _views(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the parts of the views of pairs, and the grey levels (B, m, m) of the masks."""
        high, low, levels = parts_of(pixels, self._recipe.size)
        hq, hq_map = self._net.embed(prepare(high.contiguous(), self._spec), "hq")
        lq, lq_map = self._net.embed(prepare(low.contiguous(), self._spec), "lq")
        return hq.float(), lq.float(), hq_map[:, 0].float(), lq_map[:, 0].float(), levels


def pair_loss(
    views: Views, is_fake: Tensor, levels: Tensor, metric: Metric, *, n_batch: int | None = None
) -> Tensor:
    """Return M(hq) + M(lq) + w D(hq, lq) + w' D'(maps) + w'' (BCE(hq map) + BCE(lq map)), ().

    M is `margin_loss`; D the mean distance of a pair's embeddings; D' that of its maps, each
    divided by its length; BCE the mean binary cross-entropy of a map's cells against the mask,
    left out where its weight is 0.

    Parameters
    ----------
    is_fake : (B,) bool
    levels : (B, m, m) uint8
        Of the masks: see `mask_of`.
    n_batch
        Pairs of a batch in training, where these are more: see `margin_loss`.
    """
    n_batch = n_batch or len(is_fake)
    loss: Tensor = margin_loss(lengths(views.hq), is_fake, metric, n_batch)
    loss = loss + margin_loss(lengths(views.lq), is_fake, metric, n_batch)
    loss = loss + metric.pair_weight * (views.hq - views.lq).norm(dim=1).mean()
    maps = [functional.normalize(each.flatten(1)) for each in (views.hq_map, views.lq_map)]
    loss = loss + metric.map_weight * (maps[0] - maps[1]).norm(dim=1).mean()
    if not metric.mask_weight:
        return loss
    mask = mask_of(levels, as_published=metric.as_published)
    for each in (views.hq_map, views.lq_map):
        loss = loss + metric.mask_weight * functional.binary_cross_entropy(each, mask)
    return loss


def margin_loss(distances: Tensor, is_fake: Tensor, metric: Metric, n_batch: int) -> Tensor:
    """Return how far real faces lie outside of r_real, and fake ones inside of r_fake, ().

    The mean over the real faces of a batch plus the mean over its fake ones; a class that does
    not occur adds nothing. The published code divides both sums by the size of the batch, where
    it means the number of the class's members, and the result by it again: `as_published`. Of a
    whole split the second is the size of training's batches, or M would all but go.

    Parameters
    ----------
    distances : (B,) float32
        Of the embeddings from the origin.
    is_fake : (B,) bool
    """
    fake = is_fake.to(distances.dtype)
    outside = ((1 - fake) * (distances - metric.r_real).clamp(min=0)).sum()
    inside = (fake * (metric.r_fake - distances).clamp(min=0)).sum()
    n = len(distances)
    if metric.as_published:
        return (outside / n + inside / n) / n_batch
    n_fake = fake.sum()
    return outside / (n - n_fake).clamp(min=1) + inside / n_fake.clamp(min=1)


def mask_of(levels: Tensor, *, as_published: bool) -> Tensor:
    """Return which cells are forged, (B, m, m) float32 of grey levels uint8: 1 above 51 of 255.

    The published code leaves levels of exactly 51 at 0.2, `as_published`; otherwise they are 0.
    """
    mask = (levels > MASK_LEVEL).float()
    return mask.masked_fill(levels == MASK_LEVEL, MASK_LEVEL / 255) if as_published else mask


def best_threshold(distances: npt.NDArray[np.float32], is_fake: npt.NDArray[np.bool_]) -> float:
    """Return the distance from which on a face is called fake, with the best balanced accuracy.

    It lies in the middle between two neighbouring distances: of equally good gaps in the widest,
    of equally wide ones in the lowest. (N,) each.

    Raises
    ------
    CorpusError
        If fake or real does not occur.
    """
    n_fake = int(is_fake.sum())
    n_real = len(is_fake) - n_fake
    if not n_fake or not n_real:
        raise CorpusError(
            f"The validation pairs are {n_fake} fake and {n_real} real: a threshold is chosen "
            "between both. Name one with --set metric.threshold=9."
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
    middle = float(np.float32((low + high) / 2))  # as it is kept
    return middle if middle > low else float(high)
