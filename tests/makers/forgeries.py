"""Alterations of finished corpora, and what `verify` and the commands that read them make of them.

Half of the corpora have no digests of their files, as older versions of hffkit wrote them. There an
alteration may be accepted, but never with a traceback.
"""

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from hffkit.cli.main import main
from hffkit.manifest.classes import numbered
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import SPLITS, Sample
from hffkit.storage.corpus import Provenance
from hffkit.storage.parts import Event, Record, VideoBoxes
from hffkit.storage.record import store
from hffkit.storage.writer import CorpusWriter
from makers.trees import about, change_records, face, make_older, records
from makers.workers import lasting_workers

FILES = ("corpus.json", "manifest.jsonl", "failures.jsonl", "boxes.json")
VALUES = (
    "null", "{}", "[]", "-5", '"x"', "Infinity", "NaN", "1e400", "7" * 40, "7" * 5000, "true", "0",
    '""', "[" * 5000 + "]" * 5000, '"\\ud800"', "1.5", '{"op": {}}', "[[]]",
)  # fmt: skip
VERBS = {
    "inspect": ["--no-sheet", "--json"],
    "pack": ["--size", "8", "--workers", "1"],
    "merge": [],
    "degrade": ["--op", "gc:0.7", "--workers", "1"],
    "subset": ["--share", "0.5"],
}


def small_corpus(out: Path) -> Path:
    """Write a corpus of 12 crops of videos in two classes and all splits, with failures and boxes.

    It is the only shard of its command, whose boxes `merge` reads.
    """
    table = numbered(["Forged"], ["Real"])
    with CorpusWriter(out) as writer:
        for number in range(12):
            split, cls = SPLITS[number // 4], table.names[number % 2]
            video, key = f"{number:03}", f"ff++/c23/{cls}/{number:03}/0007"
            done = store(face(number)[::8, ::8], None, table.label(cls, "multi"), None)
            sample = Sample(
                key, cls, split, f"group {number // 2}", f"{video}.mp4", done.sha256, 7,
                (number, 2, 30), "dlib", done.sha256, done.pixels_sha256,
                ({"op": "me:3", "size": 3},), None, {"codec": "h264", "fps": 25.0, "frames": 8},
            )  # fmt: skip
            events: list[Event] = [
                Record(sample, done.value),
                VideoBoxes(video, {7: (number, 2, 30)}),
            ]
            writer.append(video, [*events, Failure("no-face", f"{video}.mp4", 3, "no face")])
        writer.finish(
            Provenance(table, None, "multi", "build", {"seed": 0}, {"opencv": "5"}, (0, 1))
        )
    return out


@dataclass(frozen=True, slots=True)
class Forgery:
    """An alteration of a corpus: the file that it is in, and what was done."""

    file: str
    what: str


def _flipped(folder: Path, rng: random.Random) -> Forgery:
    """Flip a bit of a record."""
    key, value = rng.choice(records(folder))
    place = rng.randrange(len(value))
    changed = bytearray(value)
    changed[place] ^= 1 << rng.randrange(8)
    change_records(folder, lambda transaction: transaction.put(key, bytes(changed)))
    return Forgery("data.mdb", f"bit of byte {place} of {key.decode()}")


def _exchanged_records(folder: Path, rng: random.Random) -> Forgery:
    """Exchange two records, or delete one."""
    (first, one), (second, other) = rng.sample(records(folder), 2)
    if rng.random() < 0.5:
        change_records(folder, lambda transaction: transaction.delete(first))
        return Forgery("data.mdb", f"without {first.decode()}")
    change_records(folder, lambda transaction: transaction.put(first, other))
    change_records(folder, lambda transaction: transaction.put(second, one))
    return Forgery("data.mdb", f"{first.decode()} and {second.decode()} exchanged")


def _swapped(folder: Path, rng: random.Random) -> Forgery:
    """Exchange a field of two lines of the manifest."""
    path = folder / "manifest.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    name, (one, other) = rng.choice(sorted(rows[0])), rng.sample(rows, 2)
    one[name], other[name] = other[name], one[name]
    text = "".join(
        json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":")) + "\n"
        for row in rows
    )
    path.write_text(text, "utf-8")
    return Forgery(path.name, f"{name} of two lines exchanged")


def _replaced(folder: Path, rng: random.Random) -> Forgery:
    """Put another value in the place of one somewhere in a file."""
    path = folder / rng.choice(FILES)
    text = path.read_text("utf-8")
    parts = text.splitlines(keepends=True) if path.suffix == ".jsonl" else [text]
    number = rng.randrange(len(parts))
    row = json.loads(parts[number])
    places = list(_places(row))
    place, value = rng.choice(places), rng.choice(VALUES)
    mark = "the place of the value"
    inner = row
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = mark
    made = json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    parts[number] = made.replace(json.dumps(mark), value) + "\n"
    path.write_text("".join(parts), "utf-8")
    return Forgery(path.name, f"{'.'.join(map(str, place))} is {value[:20]}")


def _places(value: Any, above: tuple[Any, ...] = ()) -> Any:
    """Yield the place of each value inside a value, as the names and numbers that lead there."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for name, each in inside:
        yield (*above, name)
        if isinstance(each, dict | list):
            yield from _places(each, (*above, name))


def _lines(folder: Path, rng: random.Random) -> Forgery:
    """Delete, double or move a line of a file."""
    path = folder / rng.choice(FILES)
    lines = path.read_text("utf-8").splitlines(keepends=True)
    number = rng.randrange(len(lines))
    what = rng.choice(["deleted", "doubled", "moved"])
    line = lines.pop(number)
    if what != "deleted":
        lines[rng.randrange(len(lines) + 1) : 0] = [line]
    if what == "doubled":
        lines.insert(number, line)
    path.write_text("".join(lines), "utf-8")
    return Forgery(path.name, f"line {number + 1} {what}")


def _cut(folder: Path, rng: random.Random) -> Forgery:
    """Cut a file short, or remove it."""
    path = folder / rng.choice([*FILES, "data.mdb"])
    if rng.random() < 0.2:
        path.unlink()
        return Forgery(path.name, "removed")
    end = rng.randrange(path.stat().st_size)
    path.write_bytes(path.read_bytes()[:end])
    return Forgery(path.name, f"cut after {end} bytes")


def _byte(folder: Path, rng: random.Random) -> Forgery:
    """Change a byte of a text."""
    path = folder / rng.choice(FILES)
    data = bytearray(path.read_bytes())
    place = rng.randrange(len(data))
    data[place] = rng.randrange(256)
    path.write_bytes(bytes(data))
    return Forgery(path.name, f"byte {place} is {data[place]}")


KINDS: tuple[Callable[[Path, random.Random], Forgery], ...] = (
    _flipped, _exchanged_records, _swapped, _replaced, _replaced, _replaced, _lines, _cut, _byte,
)  # fmt: skip


def _meaning(folder: Path, n_bytes: int) -> Any:
    """Return all that a corpus says; None if it is not whole.

    Reading a database that has less than its `n_bytes` would end the process.
    """
    try:
        if (folder / "data.mdb").stat().st_size < n_bytes:
            return None
        texts = [(folder / name).read_bytes() for name in FILES[1:]]
        values = json.loads((folder / FILES[0]).read_bytes())
        # As text, for Python takes 1 and true to be equal.
        return [json.dumps(values, sort_keys=True), texts, records(folder)]
    except Exception:  # noqa: BLE001  (whatever is wrong, it is no longer whole)
        return None


def _called(*arguments: str) -> tuple[int, str]:
    """Return the exit code and output of a command; AssertionError if it has a traceback."""
    done = CliRunner().invoke(main, arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    return done.exit_code, done.output


def _product(verb: str, source: Path, out: Path) -> tuple[int, str, Any]:
    """Return exit code, output and product of a command on a corpus."""
    target = [] if verb == "inspect" else ["--out", str(out)]
    code, text = _called(verb, str(source), *target, *VERBS[verb])
    if code == 1:
        return code, text, None
    if verb == "inspect":
        return code, text, {**json.loads(text), "corpora": None}
    lines = (out / "manifest.jsonl").read_text("utf-8").splitlines()
    made = (about(out)["content_sha256"], lines, (out / "boxes.json").read_bytes())
    shutil.rmtree(out)
    return code, text, made


def _outcome(verb: str, found: tuple[int, str, Any], good: Any, forgery: Forgery) -> str:
    """Judge a command on an altered corpus with digests."""
    code, text, made = found
    if code == 1:
        assert forgery.file in text or "altered.lmdb" in text, f"no file in {text!r}"
        return f"{verb} refused"
    if code == 3:  # the record is left out, and listed
        assert forgery.file == "data.mdb", forgery
        assert set(map(_without_index, made[1])) < set(map(_without_index, good[1])), forgery
        return f"{verb} left the record out"
    assert made == good, f"{verb} gave another product"
    return f"{verb} gave the same"


def _without_index(line: str) -> str:
    return json.dumps({**json.loads(line), "index": None}, sort_keys=True)


def forged_corpora(scratch: Path, n: int, seed: int) -> Counter[str]:
    """Corpora with an alteration in a record or in one of their files."""
    outcomes: Counter[str] = Counter()
    source, altered, out = (scratch / name for name in ("whole.lmdb", "altered.lmdb", "out.lmdb"))
    small_corpus(source)
    with lasting_workers():
        good = {verb: _product(verb, source, out)[2] for verb in VERBS}
        for number in range(n):
            rng = random.Random(f"{seed} {number}")
            shutil.copytree(source, altered)
            is_older = rng.random() < 0.5
            if is_older:
                make_older(altered)
            n_bytes = (altered / "data.mdb").stat().st_size
            before = _meaning(altered, n_bytes)
            forgery = rng.choice(KINDS)(altered, rng)
            is_harmless = _meaning(altered, n_bytes) == before
            verb = rng.choice(list(VERBS))
            try:
                code, text = _called("verify", str(altered), "--workers", "1")
                found = _product(verb, altered, out)
                if is_older:
                    assert code in (0, 1), code
                    outcomes["older: verify " + ("found it" if code else "accepted")] += 1
                    continue
                assert (code == 0) == is_harmless, f"verify: {code}, {text}"
                assert code == 0 or forgery.file in text or "altered.lmdb" in text, text
                outcomes["harmless" if is_harmless else "verify found it"] += 1
                outcomes[_outcome(verb, found, good[verb], forgery)] += 1
            except AssertionError as error:
                raise AssertionError(
                    f"forgery {number} of seed {seed}, {forgery.file}: {forgery.what}"
                    f"{', older' if is_older else ''}, {verb}: {error}"
                ) from error
            finally:
                shutil.rmtree(altered)
                for path in (out, out.with_name(f"{out.name}.partial")):
                    shutil.rmtree(path, ignore_errors=True)
    return outcomes
