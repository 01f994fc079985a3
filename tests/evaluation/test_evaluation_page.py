import base64
import functools
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from html.parser import HTMLParser
from subprocess import run as run_process

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from hffkit.evaluation.levels import measure
from hffkit.evaluation.page import N_MISTAKES, Page, Section, render
from hffkit.evaluation.tables import CrossTable
from hffkit.manifest.classes import numbered
from hffkit.media.image import Image, decode
from hffkit.reports.plots import confusion_plot, roc_plot, score_plot
from hffkit.reports.text_table import Table
from hffkit.runs.scores import Scored

EVIL = '<script>alert("x")</script>'
VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Collects what a test asks for, and checks that elements are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in {"td", "th", "figcaption", "li", "h2", "dd"}:
            self.cells.append(data)


def scored_of(names: tuple[str, ...] = ("GAN", EVIL), *, reals: int = 40) -> Scored:
    rng = np.random.default_rng(0)
    classes = numbered(names, ["camera"])
    n_classes = len(names) + 1
    labels = np.array([*rng.integers(n_classes - 1, size=60), *[n_classes - 1] * reals])
    softmax = rng.dirichlet(np.ones(n_classes), len(labels)) + 0.5 * np.eye(n_classes)[labels]
    probabilities = (softmax / 1.5).astype(np.float32)
    keys = tuple(f"{EVIL}/{i}" for i in range(len(labels)))
    groups = tuple(f"g{i // 5}" for i in range(len(labels)))
    return Scored(classes, labels, probabilities, keys, groups, (None,) * len(labels))


def faces(places: Sequence[int]) -> list[tuple[Image, ...]]:
    return [(np.full((300, 200, 3), place, np.uint8),) for place in places]


def page_of(scored: Scored, *, n_corpora: int = 1) -> Page:
    evaluation = measure(scored, n_resamples=20)
    crossed = CrossTable({("train", "test"): evaluation, ("train", EVIL): evaluation})
    sections = tuple(
        Section(f"corpus {i} {EVIL}", scored, evaluation, faces) for i in range(n_corpora)
    )
    facts = (("weights sha256", "ab" * 32), ("recipe", EVIL))
    return Page(f"A run {EVIL}", facts, sections, crossed.to_table() if n_corpora > 1 else None)


@functools.cache
def html_of(n_corpora: int) -> str:
    """The page of `scored_of` on some corpora, whose plots take a second to draw."""
    return render(page_of(scored_of(), n_corpora=n_corpora))


def inlined(source: str | None) -> bytes:
    assert source is not None
    return base64.b64decode(source.partition(";base64,")[2], validate=True)


def test_the_page_is_one_file_and_runs_nothing() -> None:
    html = html_of(2)
    reader = Reader(html)
    assert reader.tags & {"script", "link", "iframe", "object", "base"} == set()
    assert "http:" not in html
    assert "https:" not in html
    assert "url(" not in html
    assert all((image["src"] or "").startswith("data:image/") for image in reader.images)
    assert all(target.startswith("#corpus-") for target in re.findall(r'href="([^"]*)"', html))
    assert EVIL not in html
    assert "&lt;script&gt;" in html


def test_the_page_shows_every_corpus_and_the_cross_table() -> None:
    scored = scored_of()
    reader = Reader(html_of(2))
    for i in range(2):
        assert f"corpus {i} {EVIL}" in reader.cells
    assert "Trained and tested across corpora" in reader.cells
    assert "ab" * 32 in reader.cells
    evaluation = measure(scored, n_resamples=20)
    accuracy = evaluation.frame.estimates["accuracy"]
    assert accuracy.value is not None
    assert accuracy.interval is not None
    low, high = accuracy.interval.low, accuracy.interval.high
    assert f"{100 * accuracy.value:.2f} % [{100 * low:.2f}, {100 * high:.2f}]" in reader.cells
    alone = Reader(html_of(1))
    assert "Trained and tested across corpora" not in alone.cells
    assert "nav" not in alone.tags


def test_figures_are_svg_with_a_text_for_those_who_cannot_see_them() -> None:
    reader = Reader(html_of(1))
    assert all(image["alt"] for image in reader.images)
    figures = [image for image in reader.images if "svg" in (image["src"] or "")]
    assert len(figures) == 4
    for image in figures:
        root = ET.fromstring(inlined(image["src"]))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 10


def test_worst_mistakes_are_shown_small_in_their_own_shape() -> None:
    scored = scored_of()
    wrong = np.flatnonzero(scored.predicted != scored.labels)
    assert 0 < len(wrong) <= N_MISTAKES
    reader = Reader(html_of(1))
    pictures = [image for image in reader.images if "png" in (image["src"] or "")]
    assert len(pictures) == len(wrong)
    worst = max(wrong, key=lambda place: scored.probabilities[place].max())
    shown = decode(inlined(pictures[0]["src"]))
    assert shown.shape == (160, 107, 3)
    assert np.all(shown == worst)
    assert (pictures[0]["alt"] or "").startswith(f"{EVIL}/{worst}: ")
    assert "taken for" in (pictures[0]["alt"] or "")


def test_the_same_page_is_the_same_text_whatever_matplotlib_was_told() -> None:
    first = html_of(1)
    with mpl.rc_context({"font.size": 20, "svg.hashsalt": None, "axes.facecolor": "red"}):
        before = dict(mpl.rcParams)
        assert render(page_of(scored_of())) == first
        assert dict(mpl.rcParams) == before


def test_a_corpus_of_fakes_alone_has_a_page_without_roc() -> None:
    html = render(page_of(scored_of(reals=0)))
    reader = Reader(html)
    assert "ROC curve" not in html
    assert any("got 60 fake and 0 real. AUC is not defined" in cell for cell in reader.cells)
    assert "–" in reader.cells  # noqa: RUF001


def test_names_of_classes_are_no_mathematics() -> None:
    names = ("$^{$", "一二三", "long " * 20, "\udcff", "\\frac{", "")
    html = render(page_of(scored_of(names)))
    assert len([i for i in Reader(html).images if "svg" in (i["src"] or "")]) == 4
    html.encode("utf-8")


def test_the_confusion_matrix_colours_shares_of_rows() -> None:
    def colours(counts: list[list[int]]) -> bytes:
        svg = confusion_plot(["a", "b"], np.array(counts))
        picture = re.search(rb'data:image/png;base64,([^"]*)"', svg)
        assert picture is not None
        return base64.b64decode(re.sub(rb"\s", b"", picture[1]))

    assert colours([[90, 10], [1, 3]]) == colours([[900, 100], [25, 75]])
    assert colours([[90, 10], [1, 3]]) != colours([[90, 10], [3, 1]])


def test_the_axis_of_scores_says_what_a_score_is() -> None:
    scores = np.linspace(0, 1, 9)
    plots = {score_plot(scores, scores, name) for name in ("probability of fake", "decision")}
    assert len(plots) == 2


def test_the_roc_of_many_images_stays_small() -> None:
    rng = np.random.default_rng(0)
    steps: npt.NDArray[np.bool_] = rng.random(30_000) < 0.5
    fpr, tpr = (np.concatenate(([0], np.cumsum(s) / s.sum())) for s in (~steps, steps))
    assert len(roc_plot(fpr, tpr)) < 300_000


def test_tables_are_markdown_whatever_is_in_them() -> None:
    table = Table(("name", "n"), (("a|b\nc", "1"), ("<b>", "2")))
    assert table.to_markdown().splitlines() == [
        "| name | n |",
        "|---|---:|",
        r"| a\|b c | 1 |",
        "| &lt;b> | 2 |",
    ]


def test_importing_evaluations_does_not_import_matplotlib_or_torch() -> None:
    code = (
        "import sys, hffkit.evaluation.page, hffkit.evaluation.tables;"
        "print({'matplotlib', 'jinja2', 'torch', 'click'} & set(sys.modules))"
    )
    done = run_process([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
