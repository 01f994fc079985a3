"""Pages made of hostile names run nothing and load nothing, with and without their policy."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Run as Invoke
from makers import hostile
from makers.browser import CHROMIUM, PageServer, opened, serving
from makers.runs import write_run
from makers.trees import build_corpus, portrait, write_image
from PIL import Image

from hffkit.manifest.classes import numbered
from hffkit.pipeline.results import Cell, ClaimOutcome, Results, page_of
from hffkit.reports.html import html_of
from hffkit.wording import displayable

POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
FAKE = '"><img src=x onerror=ran=1>'
REAL = "<svg onload=ran=1> {{ 7 * 7 }}"
N = 8


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with serving() as found:
        yield found


def hostile_names(port: int) -> tuple[str, ...]:
    """Return names of files: markup, attributes, addresses, templates, controls."""
    return (
        "<img src=x onerror=ran=1>",
        "' onmouseover='ran=1' x='",
        '" autofocus onfocus="ran=1',
        "javascript:ran=1",
        f"<img src=\\\\127.0.0.1:{port}\\leak>",
        "&lt;script&gt;ran=1&lt;&sol;script&gt;",
        "{{ 7 * 7 }}{% raw %}",
        "\x1b[2J\x1b]0;owned\x07\u202egnp",
    )


def test_what_controls_a_terminal_or_the_direction_of_text_is_escaped() -> None:
    text = "caf\xe9 \x1b[2J\x9b\r\x00\u202e\u2066\tend\n\udcff"
    assert displayable(text) == "café \\u001b[2J\\u009b\\u000d\\u0000\\u202e\\u2066\tend\n\\udcff"


def test_templates_take_data_as_text() -> None:
    facts = [("{{ 7 * 7 }}", "{% include 'base.html.j2' %}"), ("{{ facts }}", "<b>")]
    html = html_of("gallery.html.j2", title="{{ 1/0 }}", facts=facts, notes=[], sections=[])
    assert "{{ 7 * 7 }}" in html
    assert "{{ 1/0 }}" in html
    assert "{% include" in html
    assert "&lt;b&gt;" in html


@pytest.mark.parametrize("n", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_any_name_is_shown_as_text(n: int, tmp_path: Path) -> None:
    assert hostile.names_shown(tmp_path, n, 0) == {"shown as text": n}


def pages_of(folder: Path, port: int, run: Invoke) -> dict[str, str]:
    """Make every kind of page, of names that attack it."""
    names = hostile_names(port)
    for cls in (FAKE, REAL):
        for number, name in enumerate(names):
            path = folder / "in" / f"<u>{cls}" / f"{name}.png"
            write_image(path, 40 * (cls == FAKE) + 3 * number, size=(48, 48))
    data = build_corpus(
        "folder", folder / "in", folder / "<b>data.lmdb", fake=(f"<u>{FAKE}",),
        real=(f"<u>{REAL}",), split_ratio="0/50/50", group_by="[^/]+$",
    )  # fmt: skip
    classes = numbered((f"<u>{FAKE}",), (f"<u>{REAL}",))
    net = write_run(folder / '<i>run " onload=ran=1', classes)
    faces = sorted((folder / "in").rglob("*.png"))[:9]
    face = folder / "face <img src=x onerror=ran=1>.png"
    Image.fromarray(portrait()).save(face)
    out = {name: folder / f"{name}.html" for name in ("eval", "predict", "audit", "robustness")}
    quick = ("--resamples", 20)
    commands: tuple[tuple[Any, ...], ...] = (
        ("eval", net, "--data", data, *quick, "--html", out["eval"]),
        ("predict", net, *faces, face, "--html", out["predict"]),
        ("explain", net, *faces[:3], "--whole", "--out", folder / "explained"),
        ("audit", data, "--run", net, "--html", out["audit"], "--workers", 1),
        ("robustness", net, "--data", data, "--op", "jp:60", *quick, "--workers", 1, "--html",
         out["robustness"]),
    )  # fmt: skip
    for words in commands:
        done = run(*words)
        assert done.exit_code == 0, done.output
        assert "\x1b" not in done.output
        assert "\u202e" not in done.output
    out["explain"] = folder / "explained" / "index.html"
    pages = {name: path.read_text("utf-8") for name, path in out.items()}
    rows = (FAKE, REAL, *names)
    places = [(row, column) for row in rows for column in rows]
    claim = ClaimOutcome(FAKE, 1.0, 0.5, 2.0, ((places[0], places[1], 1.0),))
    pages["results"] = page_of(
        Results(
            title=FAKE,
            about=f"{REAL}\n\n{FAKE}",
            corner=FAKE,
            rows=rows,
            columns=rows,
            cells=dict.fromkeys(places, Cell(50.0, 40.0, 60.0, (50.0,), 55.0)),
            notes={REAL: places[:1]},
            verdicts=(claim,),
            facts=tuple(zip(rows, rows, strict=True)),
        )
    )
    return pages


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to open pages in")
def test_nothing_on_a_page_runs_or_is_loaded(
    server: PageServer, tmp_path: Path, run: Invoke
) -> None:
    pages = pages_of(tmp_path, server.port, run)
    assert all(len(POLICY.findall(page)) == 1 for page in pages.values())
    bare = {f"{name}-bare": POLICY.sub("", page) for name, page in pages.items()}
    leak = f"http://127.0.0.1:{server.port}/leak"
    control = {"control": f"<title>a</title><img src={leak} onerror=ran=1>"}
    found = opened({**pages, **bare, **control}, server, tmp_path / "profile")
    assert found["control"]["ran"] == 1  # else this test could not fail
    assert server.requested.count("leak") == 1
    assert set(server.requested) <= {"frames", "favicon.ico", "leak", *found}
    assert {name: row["ran"] for name, row in found.items() if "ran" in row} == {"control": 1}
    for name, row in found.items():
        if name == "control":
            continue
        assert (row["active"], row["handlers"], row["broken"]) == (0, 0, 0), name
        assert all(link.startswith("#") for link in row["links"]), name
        assert row["title"].startswith(("hffkit", FAKE)), name
        assert row["width"] == "1088px", name  # the style is applied
        assert "ran=1" in row["text"], name
        assert not re.search("[\x1b\u202e]", row["text"]), name
    assert found["eval"]["images"] > 3
