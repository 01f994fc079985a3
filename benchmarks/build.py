"""Speed and memory of `hffkit build ff++` against a plain script and the bare minimum.

    python benchmarks/build.py --data ../shared/data/ffpp

The tree has the layout of FaceForensics++: for each target one real and four derived videos at two
qualities. The test data hold one forgery of each target. A re-encoded copy takes the place of each
missing method, and re-encoding makes the second quality. Each variant runs in processes of its own,
timed from outside. The variants take turns, round after round:

- ours: `hffkit build ff++ --frames 75/20`, two workers;
- naive: decode each video, detect on each sampled frame, crop, write a PNG; two processes, and
  one, which is how such scripts are usually run;
- bare: decode each file once, detect once for each frame of the target, apply the alignment guard,
  encode PNG, write the same bytes once; two processes, no manifest, digests or LMDB.

With --memory it prints the peak memory of building 7 and 70 clips instead.
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
from peaks import peaks_of

from hffkit.extraction.alignment import Surroundings, compare, worth_keeping
from hffkit.extraction.frames import FramePlan
from hffkit.extraction.units import Family
from hffkit.faces.detection import FaceRule, crop
from hffkit.manifest.samples import Box
from hffkit.media.h264 import write_video
from hffkit.media.image import Image, encode_png, from_bgr, grey
from hffkit.media.spacing import evenly
from hffkit.media.video import VideoFile
from hffkit.sources.ffpp import official_pairs, read_ffpp
from hffkit.sources.ffpp_tree import FfppOptions

METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")
TARGETS = {"519": "Deepfakes/519_515", "634": "FaceSwap/634_660", "004": "NeuralTextures/004_982"}
QUALITIES = ("c23", "c40")
FRAMES = "75/20"
WORKERS = 2


def lay_out(data: Path, root: Path, n_frames: int) -> None:
    """Write the tree with `n_frames` of each clip; keep existing files."""
    for target, forgery in TARGETS.items():
        method, name = forgery.split("/")
        real = data / f"original_sequences/youtube/c23/videos/{target}.mp4"
        fake = data / f"manipulated_sequences/{method}/c23/videos/{name}.mp4"
        for quality, crf in zip(QUALITIES, (23, 40), strict=True):
            place = f"{quality}/videos"
            copy(real, root / f"original_sequences/youtube/{place}/{target}.mp4", crf, n_frames)
            for other in METHODS:
                clip = root / f"manipulated_sequences/{other}/{place}/{name}.mp4"
                copy(fake, clip, crf, n_frames)


def copy(source: Path, clip: Path, crf: int, n_frames: int) -> None:
    """Re-encode the first frames of a clip."""
    if clip.exists():
        return
    clip.parent.mkdir(parents=True, exist_ok=True)
    temporary = clip.with_suffix(".tmp.mp4")
    write_video(temporary, islice(images(source), n_frames), crf=crf)
    temporary.rename(clip)


def images(path: Path) -> Iterator[Image]:
    """Yield the frames of a video."""
    capture = cv2.VideoCapture(str(path))
    while True:
        ok, bgr = capture.read()
        if not ok:
            return
        yield from_bgr(bgr)


def families(root: Path) -> list[Family]:
    """Return the families of the tree, the heaviest first."""
    listing = read_ffpp(FfppOptions("ff++", root, qualities=QUALITIES))
    found = [unit for unit in listing.units if isinstance(unit, Family)]
    return sorted(found, key=lambda f: -sum((root / p).stat().st_size for p in f.paths))


def ours(root: Path, out: Path) -> None:
    """Build with `hffkit build ff++`."""
    command = ["hffkit", "build", "ff++", "--src", root, "--quality", ",".join(QUALITIES)]
    command += ["--frames", FRAMES, "--workers", WORKERS, "--out", out / "data.lmdb"]
    command += ["--accept-duplicates"]  # the tree's missing methods are copies
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


def naive(root: Path, out: Path, n_processes: int = WORKERS) -> None:
    """Process each video by itself, as a script would."""
    videos = sorted(root.rglob("*.mp4"))
    with multiprocessing.Pool(n_processes) as pool:
        pool.starmap(naive_video, [(video, out) for video in videos], chunksize=1)


def naive_alone(root: Path, out: Path) -> None:
    """Process each video by itself in one process."""
    naive(root, out, 1)


def naive_video(path: Path, out: Path) -> None:
    """Decode, detect on each sampled frame, crop, write a PNG."""
    capture = cv2.VideoCapture(str(path))
    n = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = 75 if "_" not in path.stem else 20
    chosen = {int((i + 0.5) * n / wanted) for i in range(wanted)}
    folder = out / "-".join(path.parts[-4:-2]) / path.stem
    folder.mkdir(parents=True)
    rule = FaceRule()
    number = 0
    while True:
        ok, bgr = capture.read()
        if not ok:
            return
        if number in chosen:
            found = rule.find(grey(from_bgr(bgr)))
            if found is not None:
                x, y, size = found.box
                cv2.imwrite(str(folder / f"{number:04d}.png"), bgr[y : y + size, x : x + size])
        number += 1


def bare(root: Path, out: Path) -> None:
    """Do the minimum of work that gives the same bytes."""
    with multiprocessing.Pool(WORKERS) as pool:
        pool.starmap(bare_family, [(f, root, out) for f in families(root)], chunksize=1)


def bare_family(family: Family, root: Path, out: Path) -> None:
    """Decode once, detect on the target, guard, encode, write."""
    rule = FaceRule()
    clips = {video.path: VideoFile(root / video.path) for video in family.videos}
    numbers = range(min(len(clip.numbers) for clip in clips.values()))
    real, fake = FramePlan.parse(FRAMES).choose(numbers, family.videos[0].split)
    probes = evenly(fake, 5)
    boxes: dict[int, Box] = {}
    target = Surroundings()
    with (out / f"{family.videos[0].name}.bin").open("wb") as file:
        for i, video in enumerate(family.videos):
            wanted = set(fake if video.is_fake else real)
            around = Surroundings() if i else target
            thumbs = set(probes) if i else worth_keeping(wanted, probes)
            for frame in clips[video.path].frames(wanted | thumbs, lambda *_: None):
                if frame.number in thumbs or not i:
                    grey_image = grey(frame.image)
                    if frame.number in thumbs:
                        around.add(frame.number, grey_image)
                    if not i and frame.number in wanted and (found := rule.find(grey_image)):
                        boxes[frame.number] = found.box
                if frame.number in wanted and frame.number in boxes:
                    file.write(encode_png(crop(frame.image, boxes[frame.number])))
            if i:
                compare(target, around, boxes, probes)


WAYS: dict[str, Callable[[Path, Path], None]] = {
    "ours": ours,
    "naive": naive,
    "naive_alone": naive_alone,
    "bare": bare,
}


def timed(way: str, root: Path) -> float:
    """Time a variant in a process of its own; return seconds."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--way", way, "--tree", str(root), "--out", folder]
        begin = time.perf_counter()
        subprocess.run(command, check=True)
        return time.perf_counter() - begin


def speed(root: Path, rounds: int, ways: Sequence[str]) -> None:
    """Print seconds and ratios, medians over the rounds."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways:
            seconds[way].append(timed(way, root))
            print(f"round {number + 1}: {way:12} {seconds[way][-1]:7.1f} s", flush=True)
    print()
    for way in ways[1:]:
        ratios = [theirs / mine for theirs, mine in zip(seconds[way], seconds["ours"], strict=True)]
        median = statistics.median(ratios)
        if way == "bare":
            print(f"ours takes {1 / median:.2f} times the bare minimum")
        else:
            print(f"ours is {median:.2f} times as fast as {way}")


def memory(data: Path, root: Path) -> None:
    """Print the peak memory of 7 clips and of ten copies of them."""
    peaks: list[tuple[int, int]] = []
    for copies in (1, 10):
        tree = root / f"times{copies}"
        repeat(data, tree, copies)
        with tempfile.TemporaryDirectory() as out:
            peaks.append(peak_of(tree, Path(out)))
        parent, worker = (kilobytes / 1024 for kilobytes in peaks[-1])
        print(f"{7 * copies:3} clips: parent {parent:.0f} MB, worker {worker:.0f} MB", flush=True)
    print(f"{100 * (sum(peaks[1]) / sum(peaks[0]) - 1):+.1f} %")


def repeat(data: Path, tree: Path, copies: int) -> None:
    """Link the 7 clips under the names of other official pairs."""
    pairs = [tuple(pair.split("+")) for pair in sorted({p for p, _ in official_pairs().values()})]
    clips = sorted(data.rglob("*.mp4"))
    names = sorted({clip.stem.split("_")[0] for clip in clips})
    for n in range(copies):
        for clip in clips:
            target, source = pairs[n * len(names) + names.index(clip.stem.split("_")[0])]
            name = f"{target}_{source}.mp4" if "_" in clip.stem else f"{target}.mp4"
            link = tree / clip.relative_to(data).with_name(name)
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(clip.resolve())


def peak_of(tree: Path, out: Path) -> tuple[int, int]:
    """Return the peak memory of a build's parent and of its worker, in kB.

    With two workers, chance would decide whether both receive the largest frames.
    """
    command = ["hffkit", "build", "ff++", "--src", tree, "--frames", "4", "--workers", "1"]
    command += ["--accept-duplicates"]
    parent, workers, _ = peaks_of([*command, "--out", out / "data.lmdb"])
    return parent, workers[0]


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, help="an official FaceForensics++ tree")
    parser.add_argument("--tree", type=Path, default=Path(tempfile.gettempdir(), "hffkit-bench"))
    parser.add_argument("--n-frames", type=int, default=300, help="frames of each clip")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", default="ours,naive,naive_alone,bare")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        WAYS[arguments.way](arguments.tree, arguments.out)
        return
    print(f"{os.cpu_count()} cores, OpenCV {cv2.__version__}, {WORKERS} workers", flush=True)
    if arguments.memory:
        memory(arguments.data, arguments.tree)
        return
    tree = arguments.tree / f"ff++{arguments.n_frames}"
    lay_out(arguments.data, tree, arguments.n_frames)
    speed(tree, arguments.rounds, arguments.ways.split(","))


if __name__ == "__main__":
    main()
