"""`hffkit explain`, on runs of random weights and real faces."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
import pytest
import torch
from conftest import Run as Invoke
from makers.networks import thin
from makers.pages import Reader
from makers.runs import THREE, write_run
from makers.trees import (
    SMALL_BOX,
    Pixels,
    all_files,
    build_corpus,
    face,
    small_portrait,
    write_clip,
    write_image,
)
from PIL import Image

from hffkit.errors import (
    ArgumentError,
    CorpusError,
    ExplainError,
    HffkitError,
    UnknownNameError,
    WeightsError,
)
from hffkit.evaluation.evaluate import evaluate
from hffkit.evaluation.request import EvalRequest
from hffkit.execution.progress import Progress
from hffkit.explain.attribution import Attributor
from hffkit.explain.cam import grad_cam
from hffkit.explain.explain import explain
from hffkit.explain.gradients import vanilla
from hffkit.explain.images import overlay
from hffkit.explain.regions import region_shares
from hffkit.explain.request import ExplainRequest
from hffkit.explain.result import ExplainResult
from hffkit.inference.network import NetworkDetector, load_network
from hffkit.inference.predict import PredictRequest, predict
from hffkit.manifest.classes import BINARY, ClassTable
from hffkit.networks.table import build, network_named
from hffkit.runs.run import Run, TrainingResult, read_run
from hffkit.runs.snapshots import write_snapshot
from hffkit.runs.weights import read_weights, write_weights
from hffkit.spectrum.request import SpectrumRequest
from hffkit.spectrum.train import train_spectrum
from hffkit.storage.corpus import Corpus

SIZE = 64


def sure_run(
    path: Path, network: str = "meso4", classes: ClassTable = THREE, size: int = SIZE
) -> Path:
    """A network of random weights with confident predictions."""
    return write_run(path, classes, network=network, seed=1, gain=10, size=size)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sure_run(tmp_path_factory.mktemp("runs") / "three")


@pytest.fixture(scope="module")
def amten(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sure_run(tmp_path_factory.mktemp("runs") / "amten", "amtennet", BINARY)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "portrait.png"
    Image.fromarray(small_portrait()).save(path)
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("source")
    for number, name in enumerate(THREE.names):
        (root / name).mkdir()
        for i in range(4):
            Image.fromarray(face(8 * number + i)).save(root / name / f"{i}.png")
    out = tmp_path_factory.mktemp("corpora") / "data.lmdb"
    fake, real = ("GAN", "Glow"), ("camera",)
    return build_corpus("folder", root, out, fake=fake, real=real, split_ratio="50/25/25")


def detector_of(run: Path) -> NetworkDetector:
    return load_network(run, torch.device("cpu"))


def small(image: Pixels) -> Pixels:
    """Resize as Keras does for Meso-4."""
    resized = Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.NEAREST)
    return np.asarray(resized, np.uint8)


def whole_crop() -> Pixels:
    x, y, size = SMALL_BOX
    return small_portrait()[y : y + size, x : x + size]


def crop() -> Pixels:
    return small(whole_crop())


def pixels(path: Path) -> Pixels:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def asked(run: Path, out: Path, *paths: Path, **how: Any) -> ExplainResult:
    return explain(ExplainRequest(run, paths, device="cpu", **{"steps": 0, **how}), out)


# What is written


def test_an_image_is_explained_by_its_face(three: Path, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = asked(three, out, photo, methods=("gradcam", "vanilla"), layers=("block3",))
    (row,) = result.faces
    detector = detector_of(three)
    inputs = detector.inputs([crop()])
    with torch.no_grad():
        softmax = detector.net(inputs).softmax(1)[0]
    best = int(softmax.argmax())
    assert row.explained == THREE.names[best]
    assert row.probability == pytest.approx(float(softmax[best]), abs=1e-5)
    answer = "Real" if best == 2 else "Fake"
    assert row.files == {
        "gradcam-block3": f"0-portrait-meso4-gradcam-block3-{answer}.png",
        "vanilla": f"0-portrait-meso4-vanilla-{answer}.png",
    }
    heat = grad_cam(detector.net, inputs, "block3")[0].numpy()
    assert heat.max() == 1
    assert np.array_equal(pixels(out / row.files["gradcam-block3"]), overlay(crop(), heat))
    gradient = vanilla(detector.net, inputs, torch.tensor([best]))[0].permute(1, 2, 0).numpy()
    levels = 255 * (gradient - gradient.min()) / np.ptp(gradient)
    assert np.abs(pixels(out / row.files["vanilla"]) - levels).max() <= 0.51
    names = {*row.files.values(), "index.html", "sheet.png", "explain.json"}
    assert {path.name for path in out.iterdir()} == names
    written = json.loads((out / "explain.json").read_text("ascii"))
    assert written == json.loads(json.dumps(result.to_json()))


def test_colours_are_not_swapped_where_the_network_takes_bgr(
    amten: Path, photo: Path, tmp_path: Path
) -> None:
    """The face itself is drawn as it is, and the red plane of a gradient is red."""
    result = asked(amten, tmp_path / "out", photo, methods=("vanilla",))
    (row,) = result.faces
    detector = detector_of(amten)
    assert detector.run.input.colour == "BGR"
    linear = cv2.resize(whole_crop(), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)  # as Caffe
    images = torch.from_numpy(linear[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    best = detector.net(images).argmax(1)
    gradient = vanilla(detector.net, images, best)[0].permute(1, 2, 0).numpy()[..., ::-1]
    levels = 255 * (gradient - gradient.min()) / np.ptp(gradient)
    found = pixels(tmp_path / "out" / row.files["vanilla"])
    assert np.abs(found - levels).max() <= 0.51
    assert np.abs(found[..., ::-1] - levels).max() > 1
    sheet = pixels(tmp_path / "out" / "sheet.png")
    shown = sheet[30 : 30 + 224, 4 : 4 + 224]  # the first tile, enlarged without smoothing
    assert np.array_equal(shown[1::7, 1::7][:10, :10], cv2.resize(
        linear, (224, 224), interpolation=cv2.INTER_NEAREST)[1::7, 1::7][:10, :10])  # fmt: skip


def test_all_methods_and_layers_make_a_sheet(amten: Path, photo: Path, tmp_path: Path) -> None:
    result = asked(amten, tmp_path / "out", photo, methods=("all",), layers=("all",))
    layers = ["F_mt", "F_reu", "relu4", "relu5", "relu6", "relu7"]
    assert result.layers == tuple(layers)
    assert list(result.faces[0].files) == [
        "vanilla", "deconvnet", "guided", "integrated", *(f"gradcam-{n}" for n in layers),
        *(f"guided_gradcam-{n}" for n in layers), "traces",
    ]  # fmt: skip
    assert all((tmp_path / "out" / name).is_file() for name in result.faces[0].files.values())


def test_traces_are_each_channel(amten: Path, photo: Path, tmp_path: Path, run: Invoke) -> None:
    found = run("explain", amten, photo, "--method", "traces", "--out", tmp_path / "out")
    assert found.exit_code == 0
    reader = Reader((tmp_path / "out" / "index.html").read_text("utf-8"))
    captions = [text for text in reader.text if text.startswith("F_")]
    assert captions == ["F_mt in colour", *(f"F_mt, map {i}" for i in (1, 2, 3)),
                        *(f"F_reu, map {i}" for i in range(1, 13))]  # fmt: skip
    assert "deletion" not in found.stdout


def test_traces_of_snapshots_are_side_by_side(amten: Path, photo: Path, tmp_path: Path) -> None:
    """As Fig. 3 of the AMTENnet paper: early in the training, later, and in the end."""
    run = Path(shutil.copytree(amten, tmp_path / "run"))
    described = read_run(run)
    stages = {}
    for n in (100, 10_000):
        torch.manual_seed(n)
        stages[n] = build("amtennet", 2, SIZE).state_dict()
        write_snapshot(run, described, stages[n], n)
    out = tmp_path / "out"
    result = asked(run, out, photo, methods=("traces",), snapshots=True)
    linear = cv2.resize(whole_crop(), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    face = torch.from_numpy(linear[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    sheet = pixels(out / result.faces[0].files["traces"])
    for column, state in enumerate([*stages.values(), read_weights(run)]):
        kernel, bias = state["conv1.weight"], state["conv1.bias"]
        trace = (torch.conv2d(face, kernel, bias, padding=1) - face)[0].numpy()
        for row, wanted in enumerate((trace[::-1].transpose(1, 2, 0), trace[0][..., None])):
            levels = 255 * (wanted - wanted.min()) / np.ptp(wanted)
            top, left = 30 + row * (26 + SIZE + 17 + 4), 4 + column * (SIZE + 4)
            shown = sheet[top : top + SIZE, left : left + SIZE]
            assert np.abs(shown - levels).max() <= 0.52
    reader = Reader((out / "index.html").read_text("utf-8"))
    captions = [text for text in reader.text if ": F_" in text]
    assert captions[:4] == [
        "100: F_mt in colour", "10,000: F_mt in colour", "kept: F_mt in colour",
        "100: F_mt, map 1",
    ]  # fmt: skip
    assert len(captions) == 3 * 16
    with pytest.raises(ArgumentError, match="`snapshots` show traces, got the methods gradcam"):
        asked(run, tmp_path / "no", photo, snapshots=True)
    with pytest.raises(WeightsError, match="no snapshots"):
        asked(amten, tmp_path / "no", photo, methods=("traces",), snapshots=True)


def test_a_snapshot_is_a_run(amten: Path, photo: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(amten, tmp_path / "run"))
    write_snapshot(run, read_run(run), read_weights(run), 100)
    found = [
        asked(path, tmp_path / f"out {path.name}", photo).faces[0]
        for path in (run, run / "snapshots" / "000100")
    ]
    assert found[0] == found[1]


def test_videos_and_folders_are_read_as_predict_reads_them(
    three: Path, photo: Path, tmp_path: Path
) -> None:
    write_clip(tmp_path / "in" / "clip.mp4", n_frames=6)
    result = asked(three, tmp_path / "out", tmp_path / "in", photo, frames=2, whole=True)
    names = [row.name for row in result.faces]
    clip = tmp_path / "in" / "clip.mp4"
    judged = predict(PredictRequest(three, (clip,), frames=2, whole=True, device="cpu")).faces
    first, second = (face.frame for face in judged)
    assert names == [f"{clip} frame {first}", f"{clip} frame {second}", str(photo)]
    file = result.faces[1].files["gradcam-block4"]
    assert file.startswith(f"1-clip-{second}-meso4-gradcam-block4-")
    assert judged[1].probabilities is not None
    assert result.faces[1].probability == pytest.approx(
        max(judged[1].probabilities.values()), abs=1e-6
    )


def test_samples_of_corpora_are_chosen_as_elsewhere(
    three: Path, corpus: Path, tmp_path: Path
) -> None:
    samples = list(Corpus(corpus).samples())
    result = asked(three, tmp_path / "a", corpus)
    assert [r.name for r in result.faces] == [s.key for s in samples if s.split == "test"]
    result = asked(three, tmp_path / "b", data=(str(corpus),), split=None, classes=("Glow",))
    assert [r.name for r in result.faces] == [s.key for s in samples if s.cls == "Glow"]
    assert {r.cls for r in result.faces} == {"Glow"}
    few = asked(three, tmp_path / "c", corpus, split=None, limit=5, seed=1)
    keys = [r.name for r in few.faces]
    assert len(set(keys)) == 5
    assert keys == sorted(keys, key=[s.key for s in samples].index)
    again = asked(three, tmp_path / "d", corpus, split=None, limit=5, seed=2)
    assert [r.name for r in again.faces] != keys
    image = Corpus(corpus).image(samples[0])
    row = asked(three, tmp_path / "e", corpus, split=None, layers=("block3",)).faces[0]
    heat = grad_cam(detector_of(three).net, detector_of(three).inputs([image]), "block3")[0].numpy()
    assert heat.max() == 1
    found = pixels(tmp_path / "e" / row.files["gradcam-block3"])
    assert np.array_equal(found, overlay(small(image), heat))


def test_a_class_of_ones_choice_is_explained(three: Path, photo: Path, tmp_path: Path) -> None:
    found = {
        name: asked(three, tmp_path / name, photo, target=name, methods=("vanilla",))
        for name in THREE.names
    }
    shares = [found[name].faces[0].probability for name in THREE.names]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    ends = [found[name].faces[0].files["vanilla"].split("-")[-1] for name in THREE.names]
    assert ends == ["Fake.png", "Fake.png", "Real.png"]
    files = [pixels(tmp_path / n / found[n].faces[0].files["vanilla"]) for n in THREE.names]
    assert not np.array_equal(files[0], files[1])


def test_names_of_files_are_cut_where_a_file_system_would_refuse_them(
    three: Path, photo: Path, tmp_path: Path
) -> None:
    name = 83 * "\u8138"  # face; 249 bytes
    (tmp_path / f"{name}.png").write_bytes(photo.read_bytes())
    result = asked(three, tmp_path / "out", tmp_path / f"{name}.png", layers=("block3",))
    (file,) = result.faces[0].files.values()
    assert file.startswith(f"0-{name[:26]}-meso4-gradcam-block3-")  # of 78 bytes
    assert (tmp_path / "out" / file).is_file()


def test_averages_leave_traces_out(amten: Path, corpus: Path, tmp_path: Path) -> None:
    methods = ("vanilla", "traces")
    result = asked(amten, tmp_path / "out", corpus, methods=methods, average=True, limit=2)
    assert result.methods == ("vanilla",)
    assert "Traces are left out: they are not heat and have no average." in result.notes


def test_fewer_faces_at_once_where_much_is_kept_for_gradients(three: Path, tmp_path: Path) -> None:
    detector = detector_of(three)
    large = detector_of(sure_run(tmp_path / "large", size=299))
    assert Attributor(detector, ("gradcam",)).batch_size == 64
    assert Attributor(large, ("gradcam",)).batch_size == 64
    assert Attributor(detector, ("gradcam",), ("block1",)).batch_size == 16
    assert Attributor(large, ("gradcam",), ("block1",)).batch_size == 11
    assert Attributor(large, ("gradcam", "vanilla")).batch_size == 11


def test_progress_counts_files_and_samples_not_faces(
    three: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(photo.read_bytes())
    write_clip(tmp_path / "in" / "b.mp4")
    Image.fromarray(np.zeros((80, 80, 3), np.uint8)).save(tmp_path / "in" / "c.png")
    steps: list[int] = []
    monkeypatch.setattr(Progress, "step", lambda _, n: steps.append(n))
    result = asked(three, tmp_path / "out", tmp_path / "in", layers=("block3",))
    assert result.n_faces > 3
    assert sum(steps) == 3


def test_the_explained_head_of_two_is_noted(photo: Path, tmp_path: Path) -> None:
    with thin():
        mml = sure_run(tmp_path / "mml", "mml", BINARY)
        result = asked(mml, tmp_path / "out", photo, methods=("attention",))
    assert result.notes[0].startswith("mml is explained by its low-quality head")


def test_an_average_is_the_mean_of_its_faces(three: Path, corpus: Path, tmp_path: Path) -> None:
    result = asked(three, tmp_path / "out", corpus, split=None, average=True, layers=("block3",))
    assert [(r.cls, r.n_faces) for r in result.averages] == [
        ("GAN", 4), ("Glow", 4), ("camera", 4),
    ]  # fmt: skip
    opened, detector = Corpus(corpus), detector_of(three)
    images = [opened.image(s) for s in opened.samples() if s.cls == "Glow"]
    heats = grad_cam(detector.net, detector.inputs(images), "block3").numpy()
    with np.load(tmp_path / "out" / "average.npz") as means:
        assert sorted(means) == [f"{name}/gradcam-block3" for name in THREE.names]
        mean = means["Glow/gradcam-block3"]
    assert mean.max() > 0
    assert mean == pytest.approx(heats.mean(axis=0), abs=1e-5)
    name = result.averages[1].files["gradcam-block3"]
    assert name == "average-1-Glow-meso4-gradcam-block3.png"
    faces = np.mean([small(image) for image in images], axis=0).round().astype(np.uint8)
    expected = overlay(faces, mean / mean.max())
    found = pixels(tmp_path / "out" / name).astype(int)
    assert np.abs(found - expected).max() <= 4  # one level of heat
    assert result.faces == ()


def test_shares_of_heat_are_reported_with_landmarks(
    predictor: Path, three: Path, photo: Path, tmp_path: Path, run: Invoke
) -> None:
    out = tmp_path / "out"
    found = run(
        "explain", three, photo, "--out", out, "--landmarks", predictor, "--layer", "block3"
    )
    assert found.exit_code == 0, found.output
    about = json.loads((out / "explain.json").read_text("ascii"))
    assert about["landmarks"].startswith("sp68.dat ")
    ((name, kinds),) = about["shares"].items()
    assert name == about["faces"][0]["explained"]
    grey = cv2.cvtColor(crop(), cv2.COLOR_RGB2GRAY)
    face_of_crop = dlib.rectangle(7, 7, 56, 56)  # the crop is 1.3 times the face
    shape = dlib.shape_predictor(str(predictor))(grey, face_of_crop)
    points = np.array([(point.x, point.y) for point in shape.parts()], np.int32)
    detector = detector_of(three)
    heat = grad_cam(detector.net, detector.inputs([crop()]), "block3")[0].numpy()
    assert kinds["gradcam-block3"] == pytest.approx(region_shares(heat, points))
    even = kinds["area"]
    assert even == pytest.approx(region_shares(np.ones_like(heat), points))
    assert all(even[part] > 0.01 for part in ("brows", "eyes", "nose", "mouth", "jaw"))
    page = Reader((out / "index.html").read_text("utf-8"))
    assert f"{100 * even['mouth']:.1f} %" in page.text
    assert f"{100 * even['mouth']:.1f} %" in found.stdout


def test_faithfulness_and_sanity_are_in_the_text_the_page_and_the_json(
    three: Path, photo: Path, tmp_path: Path, run: Invoke
) -> None:
    out = tmp_path / "out"
    found = run(
        "explain", three, photo, "--out", out, "--method", "gradcam,vanilla", "--steps", 8,
        "--sanity",
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    about = json.loads((out / "explain.json").read_text("ascii"))
    names = ["gradcam-block4", "vanilla"]
    assert list(about["faithfulness"]) == [*names, "random order"]
    assert about["faithfulness"] == about["faces"][0]["faithfulness"]
    page = Reader((out / "index.html").read_text("utf-8"))
    for row in about["faithfulness"].values():
        for value in row.values():
            assert 0 <= value <= 1
            assert f"{value:.3f}" in found.stdout
            assert f"{value:.3f}" in page.text
    stages = about["sanity"]
    assert [stage["n_layers"] for stage in stages] == [1, 3, 5, 6, 8, 10]
    assert stages[0]["layer"] == "head.fc2"
    assert stages[-1]["layer"] == "block1.conv"
    assert all(list(stage["correlations"]) == names for stage in stages)
    assert "10, to block1.conv" in page.text
    assert re.search(r"^#0: (Fake|Real) \(\d\.\d{5}\)  .*portrait.png$", found.stdout, re.M)


def test_the_page_is_one_file_that_runs_nothing(three: Path, tmp_path: Path, run: Invoke) -> None:
    evil = tmp_path / "<script>alert(1)<&b>.png"
    Image.fromarray(face()).save(evil)
    found = run("explain", three, evil, "--whole", "--out", tmp_path / "out", "--steps", 2)
    assert found.exit_code == 0
    html = (tmp_path / "out" / "index.html").read_text("utf-8")
    reader = Reader(html)
    assert not reader.tags & {"script", "link", "iframe", "object", "base", "form"}
    assert all(target.startswith("data:image/") for target in reader.targets)
    assert not re.findall(r"(?:https?|file):|url\(|@import", html)
    assert "<script>alert" not in html
    assert (
        tmp_path / "out" / "0-_script_alert_1___b_-meso4-gradcam-block4-Fake.png"
    ).is_file() or (
        tmp_path / "out" / "0-_script_alert_1___b_-meso4-gradcam-block4-Real.png"
    ).is_file()


def test_the_same_is_explained_by_the_same_bytes(three: Path, corpus: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {"methods": ("gradcam", "guided"), "steps": 4, "limit": 2}
    for name in ("a", "b"):
        asked(three, tmp_path / name / "out", corpus, sanity=True, **how)
        asked(three, tmp_path / name / "mean", corpus, average=True, **how)
    assert all_files(tmp_path / "a") == all_files(tmp_path / "b")


def test_networks_without_relu_are_noted(photo: Path, tmp_path: Path, run: Invoke) -> None:
    path = sure_run(tmp_path / "run", "mislnet", BINARY)
    found = run(
        "explain", path, photo, "--method", "guided,vanilla", "--steps", 0,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert "mislnet has no ReLU, so deconvnet and guided backpropagation equal" in found.stdout
    row = json.loads((tmp_path / "out" / "explain.json").read_text("ascii"))["faces"][0]
    guided, plain = (tmp_path / "out" / row["files"][name] for name in ("guided", "vanilla"))
    assert guided.read_bytes() == plain.read_bytes()


# What cannot be explained


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"layers": ("blok3",)}, UnknownNameError, "No layer named 'blok3'. Did you mean 'block3'"),
        ({"layers": ("head.fc1",)}, ExplainError, "'head.fc1' has no spatial extent"),
        ({"methods": ("gradcamm",)}, UnknownNameError, "Did you mean 'gradcam'"),
        (
            {"methods": ("traces",)},
            ExplainError,
            "meso4 has no traces. Choose one of its methods: vanilla",
        ),
        ({"methods": ("attention",)}, ExplainError, "meso4 has no attention."),
        (
            {"methods": ("vanilla",), "layers": ("block3",)},
            ArgumentError,
            "`layers` apply to gradcam, guided_gradcam, got vanilla",
        ),
        ({"methods": ()}, ArgumentError, "`methods` must name at least one"),
        ({"target": "Glo"}, UnknownNameError, "No class named 'Glo'. Did you mean 'Glow'"),
        ({"landmarks": Path("no.dat")}, CorpusError, "no.dat: no such file"),
        ({"frames": 0}, ArgumentError, "`frames` must be at least 1, got 0"),
        ({"paths": ()}, ArgumentError, "`paths` or `data` must name an image"),
        ({"paths": (Path("nowhere.png"),)}, ArgumentError, "nowhere.png: no such file or folder"),
        ({"paths": (Path("x" * 300),)}, ArgumentError, "xxx: no such file or folder"),
        ({"device": "tpu"}, ArgumentError, "`device` must be"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    three: Path, photo: Path, tmp_path: Path, how: dict[str, Any], error: Any, message: str
) -> None:
    how = {"paths": (photo,), "device": "cpu", **how}
    with pytest.raises(error) as caught:
        explain(ExplainRequest(three, **how), tmp_path / "out")
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"classes": ("Glo",)}, HffkitError, "Did you mean 'Glow'"),
        ({"split": "val", "classes": ("none",)}, HffkitError, "No class named 'none'"),
    ],
)
def test_classes_that_a_corpus_lacks_are_refused(
    three: Path, corpus: Path, tmp_path: Path, how: dict[str, Any], error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        asked(three, tmp_path / "out", corpus, **how)
    assert list(tmp_path.iterdir()) == []


def test_a_corpus_packed_at_another_size_is_refused(
    three: Path, corpus: Path, tmp_path: Path, run: Invoke
) -> None:
    assert run("pack", corpus, "--size", 32, "--out", tmp_path / "p.lmdb").exit_code == 0
    with pytest.raises(CorpusError, match="packed at 32 px, and the network is fed with 64"):
        asked(three, tmp_path / "out", tmp_path / "p.lmdb")


def test_a_run_of_spectra_is_refused(corpus: Path, tmp_path: Path, run: Invoke) -> None:
    path = tmp_path / "shallow"
    train_spectrum(SpectrumRequest(data=(str(corpus),)), path, n_workers=1)
    found = run("explain", path, corpus, "--out", tmp_path / "out")
    assert found.exit_code == 1
    assert "a spectrum run, which has no network to explain. Draw its spectra" in found.stderr
    assert not (tmp_path / "out").exists()


def test_images_without_a_face_are_reported(
    three: Path, photo: Path, tmp_path: Path, run: Invoke
) -> None:
    empty = write_image(tmp_path / "empty.png", size=(64, 64))
    found = run("explain", three, empty, "--out", tmp_path / "out")
    assert found.exit_code == 1
    assert (
        f"No face to explain: {empty}: no face found. If the files are face crops, set --whole."
        in found.stderr
    )
    assert {path.name for path in tmp_path.iterdir()} == {"empty.png"}
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    for more in ((), ("--whole",)):  # no advice to do what was done, or would change nothing
        told = run("explain", three, broken, "--out", tmp_path / "out", *more)
        assert told.exit_code == 1
        assert "No face to explain: " in told.stderr
        assert "--whole" not in told.stderr
    broken.unlink()
    found = run("explain", three, empty, photo, "--out", tmp_path / "out", "--steps", 0)
    assert found.exit_code == 0
    assert f"{empty}: no face found" in found.stdout


def test_unreadable_files_are_reported_and_skipped(
    three: Path, photo: Path, tmp_path: Path, run: Invoke
) -> None:
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(photo.read_bytes()[:3000])
    found = run("explain", three, damaged, photo, "--out", tmp_path / "out", "--steps", 0)
    assert found.exit_code == 3
    assert f"{damaged}: unreadable: cut short" in found.stdout
    assert (tmp_path / "out" / "index.html").is_file()


def test_out_appears_whole_or_not_at_all(
    three: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("hffkit.explain.explain.page_of", fail)
        with pytest.raises(KeyboardInterrupt):
            asked(three, tmp_path / "out", photo)
    assert not (tmp_path / "out").exists()
    asked(three, tmp_path / "out", photo)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(HffkitError, match="already exists"):
        asked(three, tmp_path / "out", photo)


def test_the_last_layer_that_has_maps_at_the_size_of_the_run_is_taken(
    photo: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net = build("resnet18", 2, 8)
    (tmp_path / "run").mkdir()
    write_weights(tmp_path / "run", net.state_dict(), {})
    spec = network_named("resnet18").input
    Run("resnet18", 8, spec, BINARY, {}, TrainingResult()).write(tmp_path / "run")
    result = asked(tmp_path / "run", tmp_path / "out", photo)
    assert result.layers == ("layer1",)  # 2x2; the last three have one value a map


# The mistakes of an evaluation


def test_the_worst_mistakes_are_shown_with_their_heat(
    three: Path, corpus: Path, tmp_path: Path
) -> None:
    result = evaluate(
        EvalRequest((three,), (str(corpus),), split=None, n_resamples=0, device="cpu")
    )
    (tmp_path / "page.html").write_text(result.to_html(), "utf-8")
    html = (tmp_path / "page.html").read_text("utf-8")
    scored = result.measured[0].scored
    n_wrong = int((scored.predicted != scored.labels).sum())
    assert n_wrong > 0
    assert html.count('alt="Heat map of ') == n_wrong
    assert "the Grad-CAM of the predicted class" in html
