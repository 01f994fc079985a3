"""`hffkit demo`: the whole way on fabricated clips."""

from pathlib import Path

import click

from hffkit.cli import options
from hffkit.cli.tables import (
    corpus_text,
    explain_text,
    inspection_text,
    prediction_text,
    run_text,
    spectrum_text,
)

_ITERATIONS = 40


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="hffkit-demo",
    show_default=True,
    help="A new folder for the clips, the corpus and the contact sheet.",
)
@options.workers
def demo(out: Path, workers: int) -> None:
    """Fabricate a tiny FaceForensics++ tree; build, degrade, train, evaluate, explain, predict.

    The clips show one public-domain portrait and forgeries of it made by warping and blending.
    Nothing measured on them means anything; what runs is the real program.
    """
    from hffkit.corpus.build import BuildRequest, build, prepare
    from hffkit.corpus.inspect import inspect
    from hffkit.degrade.degrade import DegradeRequest, degrade
    from hffkit.errors import StorageError
    from hffkit.evaluation.evaluate import EvalRequest, measure
    from hffkit.explain.explain import ExplainRequest, explain
    from hffkit.explain.page import faithfulness_table
    from hffkit.inference.predict import PredictRequest, predict
    from hffkit.sources.demo_tree import fabricate
    from hffkit.spectrum.export import FeatureRequest, plot
    from hffkit.spectrum.train import SpectrumRequest, train_spectrum
    from hffkit.training.train import TrainRequest, train

    if out.exists():
        raise StorageError(f"{out} already exists. Delete it or choose another --out.")
    videos, corpus, sheet = out / "ff++", out / "data.lmdb", out / "data-sheet.png"
    degraded, degraded_sheet = out / "data-jp-mix.lmdb", out / "data-jp-mix-sheet.png"
    click.echo("fabricating clips of a moving portrait ...")
    click.echo(f"{fabricate(videos)} clips in {videos}")
    click.echo(f"\n$ hffkit build ff++ --src {videos} --quality c23,c40 --frames 8 --out {corpus}")
    request = BuildRequest("ff++", videos, qualities=("c23", "c40"), frames="8")
    click.echo(corpus_text(corpus, build(prepare(request), corpus, n_workers=workers)))
    click.echo(f"\n$ hffkit inspect {corpus} --out {sheet}")
    click.echo(inspection_text(inspect([str(corpus)], sheet)))
    click.echo(f"\n$ hffkit degrade {corpus} --op jp-mix --out {degraded}")
    jp_mix = DegradeRequest(("jp-mix",))
    _, about = degrade([str(corpus)], degraded, jp_mix, n_workers=workers)
    click.echo(corpus_text(degraded, about))
    click.echo(f"\n$ hffkit inspect {degraded} --out {degraded_sheet}")
    inspect([str(degraded)], degraded_sheet)
    run, page = out / "run", out / "report.html"
    options_of_training = f"--task binary --recipe small --max-iterations {_ITERATIONS}"
    click.echo(f"\n$ hffkit train --data {corpus} {options_of_training} --out {run}")
    values = (("max_iterations", _ITERATIONS),)
    request_of_training = TrainRequest(
        (str(corpus),), recipe="small", overrides=values, task="binary"
    )
    click.echo(run_text(run, train(request_of_training, run)[1].to_json()))
    click.echo(f"\n$ hffkit eval {run} --data {corpus} --data {degraded} --html {page}")
    result = measure(EvalRequest((run,), (str(corpus), str(degraded))))
    result.write_html(page)
    click.echo(result.to_markdown())
    explained, methods = out / "explained", ("gradcam", "guided", "traces")
    options_of_explaining = f"--method {','.join(methods)} --limit 6 --steps 16"
    click.echo(f"$ hffkit explain {run} {corpus} {options_of_explaining} --out {explained}")
    seen = explain(ExplainRequest(run, (corpus,), methods=methods, limit=6, steps=16), explained)
    click.echo(explain_text(explained, seen, faithfulness_table(seen)))
    click.echo()
    shallow, spectra = out / "spectrum", out / "spectra.png"
    click.echo(f"$ hffkit spectrum plot {corpus} --out {spectra}")
    plot([str(corpus)], spectra, FeatureRequest(), n_workers=workers)
    click.echo(f"\n$ hffkit spectrum train --data {corpus} --out {shallow}")
    spectrum_request = SpectrumRequest(data=(str(corpus),))
    _, fitted = train_spectrum(spectrum_request, shallow, n_workers=workers)
    click.echo(spectrum_text(shallow, fitted.to_json()))
    click.echo()
    clips = sorted(videos.rglob("c23/videos/953*.mp4"))
    click.echo(f"$ hffkit predict {run} {' '.join(map(str, clips))} --frames 4")
    click.echo(prediction_text(predict(PredictRequest(run, tuple(clips), frames=4)).to_json()))
    click.echo(
        f"\nThe contact sheets show the crops: {sheet}, {degraded_sheet}\n"
        f"The mean spectrum of each class: {spectra}\n"
        f"Where the network sees what it says: {explained}/index.html\n"
        f"The report of the evaluation: {page}\n"
        "Nothing measured here means anything: it is one portrait in six guises."
    )
