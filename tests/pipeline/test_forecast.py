"""Forecasts: the state of each step, and its time by measured speeds and by finished steps."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from makers.recipes import changed
from makers.trees import build_corpus, write_image

from hffkit.networks.table import NETWORKS
from hffkit.pipeline.forecast import Forecast, forecast, forecast_text
from hffkit.pipeline.plan import Plan, plan_of
from hffkit.pipeline.recipe import recipe_of
from hffkit.reports.durations import duration_text
from hffkit.storage.staging import partial_path
from hffkit.training.request import TrainRequest, chosen_recipe

ROOT = Path(__file__).parents[2]
N_TEST = 4


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 8x8 in two classes."""
    folder, number = tmp_path_factory.mktemp("faces"), 0
    for split, n in (("train", 16), ("val", 2), ("test", N_TEST)):
        for name in ("a", "b"):
            for _ in range(n):
                number += 1
                write_image(folder / f"in/{split}/{name}/{number}.png", number, size=(8, 8))
    return build_corpus("folder", folder / "in", folder / "x.lmdb", real=("a",), fake=("b",))


def ahead(plan: Plan, out: Path) -> dict[str, Forecast]:
    return {each.planned.step.name: each for each in forecast(plan.steps, out)}


def planned(rows: Mapping[str, Any], corpus: Path, out: Path) -> Plan:
    return plan_of(recipe_of(rows, "x.toml"), {"faces": corpus}, out)


def write_times(out: Path, *rows: Mapping[str, object]) -> None:
    table = {str(number): {"step": "s", **row} for number, row in enumerate(rows)}
    (out / "times.json").write_text(json.dumps(table))


def speeds() -> dict[str, dict[str, float]]:
    """Return the measured images/s on one core of each network."""
    with (ROOT / "manifests/speed.csv").open(newline="") as file:
        return {
            row.pop("network"): {name: float(value) for name, value in row.items()}
            for row in csv.DictReader(file)
        }


def test_the_state_of_each_step_is_told_and_the_sum_of_what_is_to_do(
    corpus: Path, tmp_path: Path
) -> None:
    rows = changed("steps.net.set", {"size": 32, "max_iterations": 30, "batch_size": 10})
    plan = planned(rows, corpus, tmp_path)
    plan.step("Raw").out.mkdir(parents=True)
    partial_path(plan.step("JP60").out).mkdir()
    found = ahead(plan, tmp_path)
    assert {name: each.state for name, each in found.items()} == {
        name: {"Raw": "done", "JP60": "begun"}.get(name, "to do") for name in found
    }
    assert found["Raw"].seconds == 0
    text = forecast_text(list(found.values())).splitlines()
    assert len(text) == len(found) + 1
    total = duration_text(sum(each.seconds or 0 for each in found.values()))
    assert text[-1] == f"{len(found) - 1} of {len(found)} steps to do, about {total}; a guess."
    assert next(line for line in text if " Raw " in line).split()[:2] == ["done", "Raw"]


@pytest.mark.parametrize("network", ["meso4", "xception", "amtennet"])
def test_each_network_is_timed_by_its_own_speed(corpus: Path, tmp_path: Path, network: str) -> None:
    values = {"size": 64, "max_iterations": 30, "batch_size": 10}
    rows = changed("steps.net.network", network, changed("steps.net.set", values))
    found = ahead(planned(rows, corpus, tmp_path), tmp_path)
    row = speeds()[network]
    n_pixels = (64 / row["px"]) ** 2
    wanted = 300 * n_pixels / row["train"] / 2  # on two cores
    assert found["net Raw, 0"].seconds == pytest.approx(wanted)
    scored = 2 * N_TEST * n_pixels / row["eval"] / 2
    assert found["Raw on Raw, 0"].seconds == pytest.approx(scored)


def test_finished_steps_time_those_of_their_network_and_scale_those_of_others(
    corpus: Path, tmp_path: Path
) -> None:
    def seconds(network: str) -> float | None:
        values = {"size": 128, "max_iterations": 30, "batch_size": 10}
        rows = changed("steps.net.network", network, changed("steps.net.set", values))
        return ahead(planned(rows, corpus, tmp_path), tmp_path)["net Raw, 0"].seconds

    done = {"verb": "train", "network": "amtennet", "px": 128}
    times = [{"seconds": s, "images": n} for s, n in ((60.0, 100), (8.0, 2), (1.0, 10))]
    write_times(tmp_path, *({**done, **row} for row in times))
    assert seconds("amtennet") == pytest.approx(300 * 0.6)  # the median of 0.6, 4 and 0.1
    table = speeds()
    faster = table["meso4"]["train"] / table["amtennet"]["train"]
    assert table["meso4"]["px"] == table["amtennet"]["px"] == 128
    assert seconds("meso4") == pytest.approx(300 * 0.6 / faster)
    unknown = {"verb": "train", "network": None, "px": 0, "images": 10}
    write_times(tmp_path, {**unknown, "seconds": 6.0})
    twice = seconds("meso4")
    write_times(tmp_path, {**unknown, "seconds": 3.0})
    assert twice == pytest.approx(2 * (seconds("meso4") or 0))


def test_a_step_after_a_build_has_no_forecast(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / f"in/train/{name}/1.png", 1, size=(8, 8))
    build = {"do": "build", "source": "folder", "src": "faces", "real": ["a"], "fake": ["b"]}
    rows = changed("steps.Raw.src", "built", changed("steps.built", build))
    rows = changed("steps.JP60.src", "built", rows)
    plan = plan_of(recipe_of(rows, "x.toml"), {"faces": tmp_path / "in"}, tmp_path / "out")
    found = ahead(plan, tmp_path / "out")
    nets = {name for name in found if name.startswith("net ")}  # 500 iterations, whatever is there
    assert {name for name, each in found.items() if each.seconds is None} == set(found) - nets
    assert found["Raw"].to_json()["seconds"] is None
    assert forecast_text(list(found.values())).endswith(
        f" and {len(found) - len(nets)} steps of unknown length; a guess."
    )
    by_epochs = changed("steps.net.set", {"epochs": 10}, rows)
    plan = plan_of(recipe_of(by_epochs, "x.toml"), {"faces": tmp_path / "in"}, tmp_path / "out")
    assert all(each.seconds is None for each in ahead(plan, tmp_path / "out").values())


def test_the_speed_of_every_network_is_measured_at_the_size_of_its_recipe() -> None:
    table = speeds()
    assert table.keys() == NETWORKS.keys()
    for name, row in table.items():
        assert row["px"] == chosen_recipe(TrainRequest((), network=name)).size
        assert row["eval"] > row["train"] > 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.26, "0.3 s"), (9.96, "10 s"), (89.4, "89 s"), (90, "1.5 minutes"),
     (1800, "30 minutes"), (5399, "90 minutes"), (5400, "1.5 hours"), (86_400, "24 hours"),
     (225 * 3600, "9.4 days"), (1e9, "11,574 days")],
)  # fmt: skip
def test_a_duration_is_in_a_unit_of_its_size(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
