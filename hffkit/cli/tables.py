"""Results as text for people."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hffkit.reports.table import Table

if TYPE_CHECKING:
    from hffkit.corpus.inspect import Inspection
    from hffkit.storage.corpus import CorpusInfo

_SPLITS = ("train", "val", "test")


def corpus_text(path: Path, info: "CorpusInfo") -> str:
    """Return the summary of a corpus that was just written."""
    from hffkit.storage.corpus import masks_path  # late: it loads OpenCV

    made = info.provenance
    rows = [
        (
            row.name,
            "fake" if row.is_fake else "real",
            *(str(info.counts.get(row.name, {}).get(split, 0)) for split in _SPLITS),
        )
        for row in made.classes
    ]
    size = "native pixels" if made.size is None else f"{made.size}x{made.size} pixels"
    lines = [
        Table(("class", "is", *_SPLITS), tuple(rows)).to_text(),
        "",
        f"{path}: {info.n_samples} samples, {size}",
    ]
    if info.masks is not None:
        lines.append(f"{masks_path(path)}: masks of {info.masks.n_samples} of them")
    if made.verb == "degrade":
        lines.append(
            f"operations on {made.options['stage']} pixels: {', '.join(made.options['ops'])}"
        )
    if info.n_left_out:
        lines.append(f"left out to meet the paper's totals: {info.n_left_out}")
    lines += failure_lines(info.failures, f"{path}/failures.jsonl")
    lines.append(f"content_sha256 {info.content_sha256}")
    return "\n".join(lines)


def corpus_json(path: Path, info: "CorpusInfo") -> dict[str, Any]:
    """Return the contents of a corpus in the order of its corpus.json, the masks' behind them."""
    from hffkit.storage.corpus import masks_path

    row: dict[str, Any] = json.loads(json.dumps(info.to_json(), sort_keys=True))
    if info.masks is not None:
        row["masks"] = {
            "path": str(masks_path(path)),
            "n_samples": info.masks.n_samples,
            "content_sha256": info.masks.content_sha256,
        }
    return row


def inspection_text(found: "Inspection") -> str:
    """Return what `inspect` found."""
    rows = [
        (
            f"{row.id} {row.name}",
            "fake" if row.is_fake else "real",
            *(f"{row.samples[split]}/{row.groups[split]}" for split in _SPLITS),
            str(row.n_sources),
            row.sizes,
        )
        for row in found.classes
    ]
    lines = [
        Table(("class", "is", *_SPLITS, "sources", "pixels"), tuple(rows)).to_text(),
        "(samples/groups in each split)",
        "",
        f"{found.n_samples} samples in {found.n_groups} groups, {found.layout}, "
        f"{found.labels} labels",
        *failure_lines(found.failures, "failures.jsonl"),
        *(
            f"  {row.path}{'' if row.frame is None else f' frame {row.frame}'}: {row.reason}"
            for row in found.first_failures
        ),
        *(f"content_sha256 {digest}" for digest in found.content_sha256),
    ]
    return "\n".join(lines)


def failure_lines(failures: Mapping[str, int], where: str) -> list[str]:
    """Return a line that counts failures by kind, or none; `where` names the file of them."""
    if not failures:
        return []
    counted = ", ".join(f"{n} {kind}" for kind, n in failures.items())
    return [f"inputs without a complete result: {counted} (see {where})"]
