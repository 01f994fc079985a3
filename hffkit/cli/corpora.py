"""`hffkit pack`, `unpack`, `inspect`, `verify`, `subset`, `merge`; summaries of corpora."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hffkit.cli import options
from hffkit.cli.checks import check_inputs
from hffkit.manifest.samples import SPLITS
from hffkit.reports.text_table import Table
from hffkit.storage.outputs import INSPECT_SHEET
from hffkit.wording import counted

if TYPE_CHECKING:
    from hffkit.corpus.inspect import Inspection
    from hffkit.manifest.failures import Failure
    from hffkit.storage.corpus import Corpus, CorpusInfo

_N_SHOWN = 5  # duplicates


def corpus_text(path: Path, info: "CorpusInfo") -> str:
    """Summarise a corpus that was just written."""
    from hffkit.storage.corpus import masks_path  # late: it loads OpenCV

    made = info.provenance
    rows = [
        (
            row.name,
            row.kind,
            *(str(info.counts.get(row.name, {}).get(split, 0)) for split in SPLITS),
        )
        for row in made.classes
    ]
    size = "native pixels" if made.size is None else f"{made.size}x{made.size} pixels"
    lines = [
        Table(("class", "is", *SPLITS), tuple(rows)).to_text(),
        "",
        f"{path}: {counted(info.n_samples, 'sample')}, {size}",
    ]
    if info.masks is not None:
        lines.append(f"{masks_path(path)}: masks of {info.masks.n_samples} of them")
    if made.verb == "degrade" and {"stage", "ops"} <= made.options.keys():
        lines.append(
            f"operations on {made.options['stage']} pixels: {', '.join(made.options['ops'])}"
        )
    if made.verb == "equalize":
        size, quality = made.options["size"], made.options["quality"]
        lines.append(f"every image: {size}x{size} pixels, JPEG of quality {quality}")
    if info.n_left_out:
        lines.append(f"left out to meet the paper's totals: {info.n_left_out}")
    lines += failure_lines(info.failures, f"{path}/failures.jsonl")
    lines.append(f"content_sha256 {info.content_sha256}")
    return "\n".join(lines)


def show_corpus(path: Path, info: "CorpusInfo", *, as_json: bool) -> None:
    """Print the contents of a corpus that was just written."""
    if info.provenance.verb == "build":
        note_shortfall(path)
    note_duplicates(path)
    options.show(corpus_json(path, info), corpus_text(path, info), as_json=as_json)


def note_shortfall(path: Path) -> None:
    """Print what a build with `frames` paper lacks of the paper's totals, if anything."""
    from hffkit.corpus.build import shortfall_text
    from hffkit.storage.corpus import Corpus

    text = shortfall_text(Corpus(path))
    if text:
        options.tell(f"note: {path}: {text}")


def note_duplicates(path: Path) -> int:
    """Print which files or images of a corpus are in two classes or splits; return their number."""
    from hffkit.manifest.failures import read_failures
    from hffkit.storage.corpus import FAILURES_FILE

    rows = [row for row in read_failures(path / FAILURES_FILE) if row.kind == "duplicate"]
    if rows:
        warn_of_duplicates(str(path), rows)
    return len(rows)


def warn_of_duplicates(where: str, rows: "Sequence[Failure]") -> None:
    """Print the first duplicates of some corpora on stderr."""
    first, *rest = duplicate_lines(rows[:_N_SHOWN], len(rows))
    options.tell("\n".join([f"warning: {where}: {first}", *rest]))


def duplicate_lines(rows: "Sequence[Failure]", n: int) -> list[str]:
    """Return a line with the number of duplicates, and one for each of the first, if any are."""
    if not n:
        return []
    told = counted(n, "file or image is", "files or images are")
    lines = [f"{told} in two classes or splits, which makes labels wrong or results too good:"]
    lines += [f"  {row.path}{_frame(row)}: {row.reason}" for row in rows]
    return lines + ([f"  and {n - len(rows)} more"] if n > len(rows) else [])


def _frame(row: "Failure") -> str:
    return "" if row.frame is None else f" frame {row.frame}"


def corpus_json(path: Path, info: "CorpusInfo") -> dict[str, object]:
    """Return the contents of a corpus in the order of corpus.json, then those of its masks."""
    from hffkit.storage.corpus import masks_path

    row: dict[str, object] = json.loads(json.dumps(info.to_json(), sort_keys=True))
    if info.masks is not None:
        row["masks"] = {
            "path": str(masks_path(path)),
            "n_samples": info.masks.n_samples,
            "content_sha256": info.masks.content_sha256,
        }
    return row


def _inspection_text(found: "Inspection") -> str:
    """Format the result of `inspect`."""
    rows = [
        (
            f"{row.id} {row.name}",
            "fake" if row.is_fake else "real",
            *(f"{row.samples[split]}/{row.groups[split]}" for split in SPLITS),
            str(row.n_sources),
            row.sizes,
        )
        for row in found.classes
    ]
    lines = [
        Table(("class", "is", *SPLITS, "sources", "pixels"), tuple(rows)).to_text(),
        "(samples/groups in each split)",
        "",
        f"{counted(found.n_samples, 'sample')} in {counted(found.n_groups, 'group')}, "
        f"{found.layout}, {found.labels} labels",
        *failure_lines(found.failures, "failures.jsonl"),
        *(f"  {row.path}{_frame(row)}: {row.reason}" for row in found.first_failures),
        *duplicate_lines(found.first_duplicates, found.failures.get("duplicate", 0)),
        *(f"content_sha256 {digest}" for digest in found.content_sha256),
        *(audit for audit in found.audits if audit is not None),
    ]
    return "\n".join(lines)


def failure_lines(failures: Mapping[str, int], where: str) -> list[str]:
    """Return a line that counts failures by kind, if there are any; `where` is their file."""
    counted = ", ".join(f"{n} {kind}" for kind, n in failures.items() if kind != "duplicate")
    if not counted:
        return []
    return [f"inputs without a complete result: {counted} (see {where})"]


@click.command(epilog=options.example("pack data.lmdb --size 128 --out packed.lmdb"))
@options.corpora
@options.out
@click.option(
    "--size",
    type=click.IntRange(1, 4096),
    default=128,
    show_default=True,
    help="Width and height of the packed images in pixels.",
)
@click.option(
    "--labels",
    type=click.Choice(["multi", "binary"]),
    default="multi",
    show_default=True,
    help="Labels of the Datums: class ids, or 0 for fake and 1 for real.",
)
@click.option(
    "--per-split", is_flag=True, help="Write train_lmdb, val_lmdb and test_lmdb into OUT."
)
@click.option("--shard-size", type=click.IntRange(min=1), help="Write LMDBs of N records into OUT.")
@click.option("--shuffle", is_flag=True, help="Shuffle records: Caffe trains in key order.")
@options.seed
@options.workers
@options.scheduler
@options.as_json
def pack(
    corpora: tuple[str, ...],
    out: Path,
    workers: int,
    scheduler: str | None,
    as_json: bool,
    **arguments: Any,
) -> None:
    """Pack corpora into raw Datums of one size, as Caffe's convert_imageset writes them."""
    from hffkit.corpus.pack import PackRequest
    from hffkit.corpus.pack import pack as pack_corpora

    done = pack_corpora(
        corpora, out, PackRequest(**arguments), n_workers=workers, scheduler=scheduler
    )
    options.show(
        {str(path): corpus_json(path, info) for path, info in done},
        "\n\n".join(corpus_text(path, info) for path, info in done),
        as_json=as_json,
    )
    for path, _ in done:
        note_duplicates(path)
    if any(info.failures.get("unreadable") for _, info in done):
        sys.exit(options.UNREADABLE)


@click.command(epilog=options.example("inspect data.lmdb --out sheet.png"))
@options.corpora
@click.option(
    "--out",
    type=options.PATH,
    help="Path of the contact sheet.  [default: NAME-sheet.png in the current folder]",
)
@click.option("--no-sheet", is_flag=True, help="Draw no contact sheet.")
@click.option(
    "--columns",
    type=click.IntRange(1, 40),
    default=12,
    show_default=True,
    help="Faces of each class on the contact sheet.",
)
@options.as_json
def inspect(
    corpora: tuple[str, ...], out: Path | None, no_sheet: bool, columns: int, as_json: bool
) -> None:
    """Count classes, splits, groups and failures, and draw a contact sheet of the crops."""
    from hffkit.corpus.inspect import inspect as inspect_corpora

    name = Path(corpora[0]).resolve().stem if Path(corpora[0]).exists() else "corpora"
    sheet = None if no_sheet else out or Path(f"{name}-sheet.png")
    check_inputs(corpora=corpora, outputs={"out": (sheet, INSPECT_SHEET)})
    found = inspect_corpora(corpora, sheet, columns=columns)
    options.show(asdict(found), _inspection_text(found), as_json=as_json)
    if sheet is not None:
        click.echo(f"contact sheet: {sheet}", err=as_json)


def _note_older(corpus: "Corpus") -> None:
    options.tell(
        f"note: {corpus.path}: its corpus.json has no digests of the other files, because an older "
        "version of hffkit made it. Changed classes, splits, groups, frames, boxes, detectors, "
        "operations and failures cannot be found."
    )


@click.command(epilog=options.example("verify data.lmdb"))
@options.corpora
@options.workers
@options.as_json
@click.pass_context
def verify(context: click.Context, corpora: tuple[str, ...], workers: int, as_json: bool) -> None:
    """Compare every file and record with the digests; report altered ones and exit with 1."""
    from hffkit.corpus.verify import verify as verify_corpora

    problems = list(
        verify_corpora(
            corpora,
            n_workers=workers,
            on_duplicates=lambda rows: warn_of_duplicates(", ".join(corpora), rows),
            on_older=_note_older,
        )
    )
    lines = [f"{problem.corpus}: {problem.key}: {problem.reason}" for problem in problems]
    lines.append(
        counted(len(problems), "problem") if problems else "all records match the manifest"
    )
    options.show([asdict(problem) for problem in problems], "\n".join(lines), as_json=as_json)
    context.exit(1 if problems else 0)


@click.command(epilog=options.example("subset data.lmdb --share 0.1 --out small.lmdb"))
@options.corpora
@options.out
@click.option(
    "--share",
    type=float,
    help="Share of each class in each split to keep, above 0 and at most 1; rounded up.  "
    "[default: all, with --drop]",
)
@click.option(
    "--drop",
    type=options.PATH,
    metavar="LIST",
    help="Leave out the samples that a file lists: the JSON of `audit`, a CSV with the column key, "
    "or a text with one key a line.",
)
@options.seed
@options.as_json
def subset(
    corpora: tuple[str, ...],
    out: Path,
    share: float | None,
    drop: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Leave samples out of a corpus, or draw a small one with the same classes and splits."""
    if share is None and drop is None:
        raise click.UsageError("Missing option '--share' or '--drop'.")
    from hffkit.corpus.subset import SubsetRequest
    from hffkit.corpus.subset import subset as keep_share

    request = SubsetRequest(1.0 if share is None else share, seed, drop)
    info = keep_share(corpora, out, request)
    show_corpus(out, info, as_json=as_json)


@click.command(epilog=options.example("merge part-0.lmdb part-1.lmdb --out data.lmdb"))
@options.corpora
@options.out
@options.accept_duplicates
@options.as_json
def merge(corpora: tuple[str, ...], out: Path, accept_duplicates: bool, as_json: bool) -> None:
    """Merge the shards of one command, or several corpora, into one corpus."""
    from hffkit.corpus.merge import merge as merge_corpora

    info = merge_corpora(corpora, out, lambda note: options.tell(f"note: {note}"))
    show_corpus(out, info, as_json=as_json)
    if info.failures.get("duplicate") and not accept_duplicates:
        sys.exit(options.UNREADABLE)


@click.command(epilog=options.example("unpack pairs.lmdb --masks pairs-masks.lmdb --out crops"))
@options.corpora
@click.option(
    "--masks",
    multiple=True,
    type=options.PATH_TEXT,
    metavar="CORPUS",
    help="Corpus of the forgeries' masks; repeatable.",
)
@click.option(
    "--out",
    type=options.PATH,
    required=True,
    help="The folder to write, which must not exist. OUT.partial holds unfinished work.",
)
@options.as_json
def unpack(corpora: tuple[str, ...], masks: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Write the crops of FaceForensics++ as PNG files, in the layout of Cao et al.

    The files are OUT/face/CLASS/QUALITY/VIDEO/N.png, where CLASS is a manipulation or real, masks
    are one more quality, and N is the number of the frame. `hffkit build ff++` reads them.
    """
    from hffkit.corpus.unpack import unpack as unpack_corpora

    done = unpack_corpora(corpora, masks, out)
    rows = tuple((folder, str(n)) for folder, n in sorted(done.counts.items()))
    table = Table(("folder", "files"), rows).to_text()
    text = f"{table}\n\n{out}: {sum(done.counts.values())} files"
    options.show(done.to_json(), text, as_json=as_json)
