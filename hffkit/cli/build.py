"""`hffkit build SOURCE`: one subcommand for each kind of dataset."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hffkit.cli import options
from hffkit.cli.corpora import show_corpus
from hffkit.manifest.failures import n_fatal
from hffkit.reports.durations import duration_text
from hffkit.sources.table import SOURCES, Source
from hffkit.wording import counted

if TYPE_CHECKING:
    from hffkit.corpus.estimate import BuildEstimate


@click.group(epilog=options.example("build ff++ --src /data/ff++ --out data.lmdb"))
def build() -> None:
    """Build a face corpus from the videos and images of a dataset.

    Each source reads one kind of dataset below --src. A corpus is a folder that Caffe reads as an
    LMDB, with a manifest that records the origin of every pixel. Run the same command again to
    resume an interrupted build.
    """


def _command(name: str, source: Source) -> click.Command:
    """Return `build NAME`, with the options that the source declares."""

    @click.option(
        "--out", type=options.PATH, default="data.lmdb", show_default=True, help=options.OUT_HELP
    )
    @options.workers
    @options.scheduler
    @options.shard
    @options.max_failures
    @options.accept_duplicates
    @click.option(
        "--retry-failed",
        is_flag=True,
        help="Read the unreadable inputs of the finished OUT again; keep its other samples.",
    )
    @click.option(
        "--dry-run", is_flag=True, help="Estimate samples, disk space and time; build nothing."
    )
    @options.as_json
    def run(
        out: Path,
        workers: int,
        scheduler: str | None,
        shard: tuple[int, int] | None,
        max_failures: int,
        accept_duplicates: bool,
        retry_failed: bool,
        dry_run: bool,
        as_json: bool,
        **declared: Any,
    ) -> None:
        from hffkit.corpus.build import build as build_corpus
        from hffkit.corpus.build import prepare
        from hffkit.corpus.estimate import estimate

        job = prepare(source.options(name, **declared))
        options.show_notes(job.listing.notes)
        if dry_run:
            found = estimate(job, n_workers=workers, shard=shard, on_trial=_print_trial)
            options.show(asdict(found), _estimate_text(found), as_json=as_json)
            return
        info = build_corpus(
            job, out, n_workers=workers, scheduler=scheduler, shard=shard, retry_failed=retry_failed
        )
        show_corpus(out, info, as_json=as_json)
        has_duplicates = info.failures.get("duplicate", 0) and not accept_duplicates
        if has_duplicates or n_fatal(info.failures) > max_failures:
            sys.exit(options.UNREADABLE)

    return click.command(
        name,
        params=options.declared(source.options),
        help=source.help,
        epilog=options.example(f"build {name} {source.example}"),
    )(run)


def _print_trial(paths: tuple[str, ...]) -> None:
    options.tell(f"building {_named(paths)} to measure ...")


def _named(paths: tuple[str, ...]) -> str:
    more = len(paths) - 1
    return f"{paths[0]} and {more} more" if more else paths[0]


def _estimate_text(found: "BuildEstimate") -> str:
    """Return an estimate for people."""
    size = (
        f"{found.n_bytes / 1e9:.1f} GB" if found.n_bytes >= 1e9 else f"{found.n_bytes / 1e6:.1f} MB"
    )
    return (
        f"{counted(found.n_files, 'file')}, "
        f"{counted(found.n_units, 'family or block', 'families or blocks')} of images\n"
        f"about {counted(found.n_samples, 'sample')}, {size} (as much again while building), "
        f"{duration_text(3600 * found.hours)}\n"
        f"scaled by input bytes from {_named(found.measured_on)}, built in {found.seconds:.1f} s"
    )


for _name, _source in SOURCES.items():
    build.add_command(_command(_name, _source))
