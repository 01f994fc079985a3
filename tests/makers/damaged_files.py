"""Files of hffkit and of other programs, damaged in any way, and the readers that must refuse them.

A reader may accept what is left; else its error is one of hffkit's that names the file.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from safetensors.torch import save_file

from hffkit.corpus.drop_list import read_drop_list
from hffkit.degrade.suites import read_suite
from hffkit.errors import HffkitError
from hffkit.faces.detection import read_boxes
from hffkit.inference.detector import load_detector
from hffkit.interop.cao_checkpoint import read_parts
from hffkit.interop.weights import foreign_weights
from hffkit.manifest.classes import BINARY
from hffkit.networks.table import build
from hffkit.pipeline.plan import Planned
from hffkit.pipeline.recipe import Step
from hffkit.pipeline.recipe import read_recipe as read_steps
from hffkit.pipeline.step_results import (
    false_alarms_of,
    promise_of,
    robust_auc_of,
    samples_of,
    videos_of,
)
from hffkit.pipeline.verbs import EVALUATION_FILE, ROBUSTNESS_FILE
from hffkit.pipeline.verbs import SAMPLES_FILE as SCORES_FILE
from hffkit.recipe_files import recipe_path
from hffkit.runs.decision import DECISION_FILE, Decision, Guarantee, read_decision
from hffkit.runs.run import GROUPS_FILE, RUN_FILE, WEIGHTS_FILE, write_groups
from hffkit.runs.scores import Scored, binary_probabilities, csv_of
from hffkit.runs.spectrum import MODEL_FILE, SpectrumResult, SpectrumRun
from hffkit.runs.training_samples import SAMPLES_FILE, write_training_samples
from hffkit.spectrum.classifiers import CLASSIFIERS, fit
from hffkit.spectrum.features import FeatureSpec
from hffkit.spectrum.models import write_model
from hffkit.storage.audits import read_summary
from hffkit.storage.corpus import CORPUS_FILE, MANIFEST_FILE, Corpus
from hffkit.storage.staging import Partial, partial_path
from hffkit.training.recipe import read_recipe, recipe_of
from makers import cao
from makers.mutations import mutations
from makers.runs import write_run
from makers.trees import build_two_classes, listing, touch

NASTY = [
    "null", "{}", "[]", '""', '"x"', "true", "-1", "0", "3000000000", "1e999", "NaN", "Infinity",
    "0.5", "-0.0", "9" * 30, "9" * 5000, '"\\u0000"', '"\\ud800"', '"../../x"', f'"{"y" * 9000}"',
    "[" * 100, "[" * 5000, '{"a":' * 2000, "[[[]]]", '{"a": {"b": null}}', "nan", "inf",
    "1979-05-27", "0x" + "f" * 5000, "a." * 100 + "a", "*x", "&x [*x]", "!!python/name:os.system",
]  # fmt: skip
TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|[\[\]{},:=]|\w+')
LONGEST = 20.0  # s of a reader


@dataclass(frozen=True, slots=True)
class Readable:
    """A file that a reader accepts, and the reader."""

    path: Path
    read: Callable[[], object]
    is_text: bool = True


def retold(text: str, rng: np.random.Generator) -> bytes:
    """Return a text with tokens replaced, swapped, left out or doubled."""
    tokens = list(TOKEN.finditer(text))
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        if not tokens:
            break
        values = [token for token in tokens if token[0] not in "[]{},:="] or tokens
        one, other = (values[int(rng.integers(len(values)))] for _ in range(2))
        puts = [str(rng.choice(NASTY)), other[0], "", f"{one[0]} {one[0]}"]
        put = puts[int(rng.choice(len(puts), p=[0.55, 0.25, 0.1, 0.1]))]
        text = text[: one.start()] + put + text[one.end() :]
        tokens = list(TOKEN.finditer(text[:20_000]))
    return text.encode("utf-8", "surrogateescape")


def damaged(good: bytes, rng: np.random.Generator, *, is_text: bool) -> bytes:
    """Return a damaged copy of a file."""
    if is_text and rng.random() < 0.7:
        return retold(good.decode(), rng)
    return next(mutations(good, 1, int(rng.integers(1 << 32))))


def damaged_texts(scratch: Path, n: int, seed: int) -> Counter[str]:
    """Damage text files: what is left is read, or refused with the file's name."""
    return tried(text_files(scratch), scratch, n, seed)


def damaged_weights(scratch: Path, n: int, seed: int) -> Counter[str]:
    """Damage files of weights: what is left is read, or refused with the file's name."""
    return tried(weight_files(scratch), scratch, n, seed)


def tried(files: dict[str, Readable], scratch: Path, n: int, seed: int) -> Counter[str]:
    """Damage each of the files in turn, `n` times in all, and read it."""
    outcomes = Counter[str]()
    names = list(files)
    for number in range(n):
        name = names[number % len(names)]
        file = files[name]
        good = file.path.read_bytes()
        bad = damaged(good, np.random.default_rng([seed, number]), is_text=file.is_text)
        file.path.write_bytes(bad)
        begin = time.monotonic()
        try:
            outcomes[outcome(file)] += 1
            if time.monotonic() - begin > LONGEST:
                raise AssertionError("takes too long")
        except BaseException as error:
            (scratch / "wrong").write_bytes(bad)
            text = f"{name}, number {number} of seed {seed}: {type(error).__name__}: {error}"
            raise AssertionError(text) from error
        finally:
            file.path.write_bytes(good)
    return outcomes


def outcome(file: Readable) -> str:
    """Read a file, and return what came of it."""
    try:
        file.read()
    except HffkitError as error:
        text = error.message({})
        if file.path.name not in text and file.path.parent.name not in text:
            raise AssertionError(f"does not name the file: {text}") from error
        if len(text) > 5000:
            raise AssertionError(f"has {len(text)} characters: {text[:300]}") from error
        return "refused with the file's name"
    return "read"


def text_files(scratch: Path) -> dict[str, Readable]:
    """Write each kind of text file that hffkit reads."""
    corpus = build_two_classes(scratch / "corpus", 4)
    run = write_run(scratch / "run", made={"data": [{"path": "x", "content_sha256": "0"}]})
    write_groups(run, ["a", "b"])
    about = spectrum_run(scratch / "svm", "svm-rbf")
    decision = a_decision()
    decision.write(run)
    return {
        "corpus.json": Readable(corpus / CORPUS_FILE, lambda: Corpus(corpus).info.to_json()),
        "manifest": Readable(corpus / MANIFEST_FILE, lambda: list(Corpus(corpus).samples())),
        "run.json": Readable(run / RUN_FILE, lambda: described(run)),
        "run.json of spectra": Readable(about / RUN_FILE, lambda: described(about)),
        "groups": Readable(run / GROUPS_FILE, lambda: load_detector(run, torch.device("cpu"))),
        "decision": Readable(
            run / "decision.json", lambda: shown(read_decision(run, decision.weights_sha256))
        ),
        **recipes(scratch),
        **lists(scratch),
        **leftovers(scratch, corpus),
        **results_of_steps(scratch),
    }


def described(run: Path) -> object:
    detector = load_detector(run, torch.device("cpu"))
    return detector.run.facts, detector.run.summary, detector.run.to_json()


def shown(decision: Decision | None) -> object:
    return None if decision is None else (decision.texts, decision.verdict(0.3), decision.to_json())


def a_decision() -> Decision:
    """Return a decision with a guarantee."""
    guarantee = Guarantee("false_alarm", 0.1, 0.9, 30, 1, 0.05)
    data = ({"path": "x", "content_sha256": "0", "manifest_sha256": "1"},)
    counts, notes, versions = {"real": 3, "fake": 4}, ("note",), {"numpy": "2"}
    return Decision(0.6, 0.4, (guarantee,), 1.5, "00", data, "val", counts, notes, versions)


def spectrum_run(folder: Path, classifier: str) -> Path:
    """Write a run of a classifier of spectra."""
    rng = np.random.default_rng(0)
    is_fake = np.arange(40) % 2 == 0
    features = rng.normal(size=(40, 6)) + is_fake[:, None]
    folder.mkdir(parents=True)
    write_model(folder / MODEL_FILE, fit(classifier, features, is_fake))
    spec = FeatureSpec(n_points=6)
    settings = {name: getattr(spec, name) for name in spec.__dataclass_fields__}
    result = SpectrumResult(40, 1.0)
    SpectrumRun(classifier, settings, 6, {"verb": "spectrum"}, result).write(folder)
    return folder


def recipes(scratch: Path) -> dict[str, Readable]:
    """Write a recipe of a training, of steps, a suite, and settings of the facial parts study."""
    found = {}
    readers: dict[str, tuple[Any, str, Callable[[str], object]]] = {
        "recipe": ("train", "amtennet", lambda p: recipe_of(read_recipe(Path(p)), p)),
        "recipe of pairs": ("train", "mml", lambda p: recipe_of(read_recipe(Path(p)), p)),
        "steps": ("tables", "table-vii", read_steps),
        "suite": ("suites", "table-ix", read_suite),
    }
    for name, (kind, recipe, read) in readers.items():
        path = scratch / f"{kind}-{recipe}.toml"
        path.write_bytes(recipe_path(recipe, kind, Path()).read_bytes())
        found[name] = Readable(path, partial(read, str(path)))
    path = scratch / "study.yaml"
    path.write_text(
        "network: ResNet\ninput_size:\n  height: 224\n  width: 224\noptimizer:\n  type: Adam\n"
        "  lr: 1e-4\n  weight_decay: 0\nbatch_size: 32\nnum_epochs: 20\nEARLY_STOPPING_EPOCH: 5\n"
        "model:\n  pretrained: true\nseed: 1\n"
    )
    found["settings"] = Readable(path, lambda: recipe_of(read_recipe(path), str(path)))
    return found


def lists(scratch: Path) -> dict[str, Readable]:
    """Write lists of files, of keys, of boxes and of labels."""
    images = touch(scratch / "listed", "a b.png", "c/d.png")
    videos = touch(scratch / "dfdc", "a.mp4", "b.mp4")
    texts = {
        "list.txt": "a b.png 0\nc/d.png 1\n",
        "list.csv": 'path,real\n"a b.png",0\nc/d.png,1\n',
        "keys.csv": 'key;other\n"a;b";1\nc;2\n',
        "audit.json": json.dumps({"findings": [{"title": "x", "drop": ["a", "b"]}, {"drop": []}]}),
        "boxes.json": json.dumps({"000": {"0": [1, 2, 30], "7": [4, 5, 60]}}),
    }
    for name, text in texts.items():
        (scratch / name).write_text(text)
    table, labels = videos / "metadata.json", touch(scratch / "dfdc-test", "a.mp4") / "labels.csv"
    table.write_text(
        json.dumps(
            {
                "a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"},
                "b.mp4": {"label": "REAL", "split": "train"},
            }
        )
    )
    labels.write_text("filename,label\na.mp4,1\n")
    known: dict[str, Any] = {"real": ("1",), "fake": ("0",)}
    return {
        "list": Readable(
            scratch / "list.txt",
            lambda: listing("list", images, list_file=scratch / "list.txt", **known),
        ),
        "CSV list": Readable(
            scratch / "list.csv", lambda: listing("list", images, list_file=scratch / "list.csv")
        ),
        "keys": Readable(scratch / "keys.csv", lambda: read_drop_list(scratch / "keys.csv")),
        "audit": Readable(scratch / "audit.json", lambda: read_drop_list(scratch / "audit.json")),
        "boxes": Readable(scratch / "boxes.json", lambda: read_boxes(scratch / "boxes.json")),
        "DFDC metadata": Readable(table, lambda: listing("dfdc", videos)),
        "DFDC labels": Readable(labels, lambda: listing("dfdc", labels.parent)),
    }


def leftovers(scratch: Path, corpus: Path) -> dict[str, Readable]:
    """Write what an interrupted command left, and the summary of an audit."""
    out, command = scratch / "unfinished", {"verb": "build", "options": {"a": [1, 2]}}
    with Partial(out, command):
        pass

    def again() -> None:
        with Partial(out, command):
            pass

    summary = corpus.with_name(f"{corpus.stem}-audit.json")
    row = {
        "findings": {"high": 1, "medium": 0, "low": 2},
        "worst": "title",
        "leakage": {"file": [0.5, 0.4, 0.6]},
    }
    text = json.dumps({"format": 1, "data": [Corpus(corpus).identity()], "summary": row})
    summary.write_text(text)
    return {
        "command.json": Readable(partial_path(out) / "command.json", again),
        "summary": Readable(summary, lambda: text_of_summary(corpus)),
    }


def results_of_steps(scratch: Path) -> dict[str, Readable]:
    """Write what finished steps of a recipe left, from which its tables are computed."""
    out = scratch / "steps"
    out.mkdir()
    keys = [f"{name}/{number}" for name in ("fake", "real") for number in range(4)]
    probabilities = binary_probabilities(np.linspace(0.9, 0.2, 8).astype(np.float32))
    labels, videos = np.repeat([0, 1], 4), ("a",) * 4 + (None,) * 4
    scored = Scored(BINARY, labels, probabilities, tuple(keys), tuple(keys), videos)
    (out / SCORES_FILE).write_text(csv_of(scored, {"method": [key[:4] for key in keys]}))
    measured = {"decision": {"threshold": 0.5}, "classes": BINARY.to_json()}
    (out / EVALUATION_FILE).write_text(json.dumps({"measured": [measured]}))
    suite = {"robust_auc": {"value": 0.5}, "resampled_robust_auc": [0.4, 0.6]}
    run = {"levels": {"frame": {"suites": [suite]}}}
    (out / ROBUSTNESS_FILE).write_text(json.dumps({"runs": [run]}))
    a_decision().write(out)
    step = Planned(Step("judged", "eval", {}), "0", out, {})

    def of_samples() -> object:
        (rows,) = samples_of(step)
        videos = [videos_of(step, rows, level) for level in ("video_mean", "video_vote")]
        return videos, false_alarms_of(step)

    return {
        "scores of a step": Readable(out / SCORES_FILE, of_samples),
        "evaluation of a step": Readable(out / EVALUATION_FILE, of_samples),
        "robustness of a step": Readable(out / ROBUSTNESS_FILE, lambda: robust_auc_of(step)),
        "decision of a step": Readable(out / DECISION_FILE, lambda: promise_of(step)),
    }


def text_of_summary(corpus: Path) -> object:
    found = read_summary(Corpus(corpus))
    return None if found is None else found.text


def weight_files(scratch: Path) -> dict[str, Readable]:
    """Write each kind of file with numbers that hffkit reads."""
    run = write_run(scratch / "run")
    write_training_samples(run, [], None)
    path = run / SAMPLES_FILE
    np.save(path, np.arange(100, dtype="<u8"))
    cpu = torch.device("cpu")
    found = {
        "weights of a run": Readable(
            run / WEIGHTS_FILE, lambda: load_detector(run, cpu), is_text=False
        ),
        "training samples": Readable(path, lambda: load_detector(run, cpu), is_text=False),
    }
    for name in CLASSIFIERS:
        folder = spectrum_run(scratch / name, name)
        found[name] = Readable(
            folder / MODEL_FILE,
            partial(scored, folder),
            is_text=False,
        )
    state = build("meso4", 2).state_dict()
    torch.save(state, scratch / "meso.pth")
    torch.save({"state_dict": state}, scratch / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, scratch / "meso.safetensors")
    write_keras(scratch / "meso.h5")
    write_caffe(scratch / "meso.caffemodel", state)
    for path in (scratch / name for name in ("meso.pth", "old.pth", "meso.safetensors")):
        found[path.name] = Readable(
            path,
            partial(foreign_weights, path, "meso4"),
            is_text=False,
        )
    for path in (scratch / "meso.h5", scratch / "meso.caffemodel"):
        found[path.name] = Readable(
            path,
            partial(foreign_weights, path, "meso4"),
            is_text=False,
        )
    head = cao.save(scratch / "head_000011.tar", cao.block("block1", (4, 4), first=0))
    tail = cao.save(scratch / "tail_000011.tar", cao.block("block12", (4, 4)))
    for path in (head, tail):  # of other layers than the network's, which is said last
        found[path.name] = Readable(path, partial(read_parts, (head, tail), None), is_text=False)
    return found


def scored(folder: Path) -> object:
    """Load a classifier of spectra and compute a margin."""
    detector: Any = load_detector(folder, torch.device("cpu"))
    found = detector.outputs([np.linspace(0, 1, 6)] * 2, [])
    assert found.shape == (2, 1)
    assert np.isfinite(found).all()
    return found


def write_keras(path: Path) -> None:
    """Write weights of ones, laid out as the published Meso4_DF.h5 is."""
    kernels = ((3, 3, 3, 8), (5, 5, 8, 8), (5, 5, 8, 16), (5, 5, 16, 16))
    with h5py.File(path, "w") as file:
        for number, kernel in enumerate(kernels, 1):
            layer, norm = f"conv2d_{number}", f"batch_normalization_{number}"
            file[f"{layer}/{layer}/kernel:0"] = np.ones(kernel, np.float32)
            file[f"{layer}/{layer}/bias:0"] = np.zeros(kernel[-1], np.float32)
            for name in ("gamma", "beta", "moving_mean", "moving_variance"):
                file[f"{norm}/{norm}/{name}:0"] = np.ones(kernel[-1], np.float32)
        for layer, shape in (("dense", (1024, 16)), ("dense_1", (16, 1))):
            file[f"{layer}/{layer}/kernel:0"] = np.ones(shape, np.float32)
            file[f"{layer}/{layer}/bias:0"] = np.ones(shape[1], np.float32)


def write_caffe(path: Path, state: dict[str, torch.Tensor]) -> None:
    """Write a state dict as the blobs of a NetParameter."""
    layers: dict[str, list[torch.Tensor]] = {}
    for key, tensor in state.items():
        layers.setdefault(key.rpartition(".")[0], []).append(tensor)
    path.write_bytes(
        b"".join(
            field(100, field(1, name.encode()) + b"".join(field(7, blob(t)) for t in tensors))
            for name, tensors in layers.items()
        )
    )


def blob(tensor: torch.Tensor) -> bytes:
    """Return a tensor as a BlobProto."""
    shape = b"".join(map(varint, tensor.shape or (1,)))
    return field(7, field(1, shape)) + field(5, tensor.float().numpy().astype("<f4").tobytes())


def field(number: int, payload: bytes) -> bytes:
    """Return a field of bytes of a message of protobuf."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    """Return a number as protobuf writes it."""
    head = bytearray()
    while value > 0x7F:
        head.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*head, value])
