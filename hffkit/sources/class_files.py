"""The files of a class folder, and which of them belong together."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hffkit.manifest.samples import Split
from hffkit.media.walk import MediaFile
from hffkit.sources.entries import Entry
from hffkit.wording import counted

_SPLITS: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# Folders that sort files by kind, such as DeepfakeBench's; they say nothing about their origin.
_KIND_FOLDERS = frozenset({"videos", "video", "frames", "images"})
# A folder of this name holds images of any origin, even if it is the only one of its class.
_COLLECTION = re.compile(
    r"img_align_celeba\w*|img|imgs|images?|photos?|pictures?|pics?|faces?|crops?|data|samples?"
    r"|jpe?gs?|pngs?|(images?|thumbnails?|data)?_?(\d+x\d+|64|128|256|512|1024)"
)

# A folder of the videos of one quality, as in FaceForensics++.
_QUALITY = re.compile(r"raw|c\d{1,2}", re.IGNORECASE)

Origin = tuple[str, ...]  # the folders and the name of a video, without those that sort by kind


@dataclass(frozen=True, slots=True)
class ClassFiles:
    """The files of a class, of one split if splits are folders."""

    name: str
    split: Split | None
    folder: str  # relative to the root
    files: Sequence[MediaFile]

    def entries(self) -> Iterator[Entry]:
        """Yield an entry for each file; a subfolder is a group, of one video or one person.

        A folder of videos called `videos` is no group, and neither is one that holds the whole
        class if it has videos or the name of a collection, such as CelebA's img_align_celeba.
        Images in a folder with the name of a video belong to this video.
        """
        lone, videos = self._lone_folder(), self._videos()
        names = _by_name(videos)
        is_collection = bool(lone) and (bool(videos) or _is_collection(lone, self.name))
        of_images: dict[str, str | None] = {}
        for path, is_video in self.files:
            folder = self._folder(path)
            if is_video:
                group = self._of_video(path, is_collection=is_collection)
            elif folder in of_images:
                group = of_images[folder]
            else:
                group = None if is_collection else self._group(folder)
                origin = _origin(folder)
                near = [origin] if origin in videos else _nearest(origin, names)
                group = of_images[folder] = videos[near[0]] if len(near) == 1 else group
            yield Entry(path, self.name, is_video, self.split, group)

    def by_split(self) -> "list[ClassFiles]":
        """Divide the files of a class by folders in it that are named after splits.

        One such name beside other folders may be that of a person or a video.
        """
        parts = defaultdict(list)
        for file in self.files:
            parts[_up_to_split(self._folder(file.path))].append(file)
        splits = {part: split_named(part.rpartition("/")[2]) for part in parts}
        named = set(splits.values()) - {None}
        if not named or (len(named) < 2 and None in splits.values()):
            return [self]
        return [
            replace(
                self, split=splits[part], folder=f"{self.folder}/{part}".strip("/"), files=files
            )
            for part, files in sorted(parts.items())
        ]

    def notes(self) -> Iterator[str]:
        """Yield remarks on groups that may be wrong."""
        lone, videos = self._lone_folder(), self._videos()
        if lone and not videos and not _is_collection(lone, self.name):
            yield (
                f"class {self.name} is one folder, {self.folder}/{lone}, and one group: its images "
                "are taken for frames of one video. If they are not, `group_by` '[^/]+$' makes "
                "each file a group."
            )
        names = _by_name(videos)
        folders = sorted({self._folder(file.path) for file in self.files if not file.is_video})
        near = {
            folder: _nearest(origin, names)
            for folder in folders
            if (origin := _origin(folder)) not in videos
        }
        unclear = [folder for folder, origins in near.items() if len(origins) > 1]
        if unclear:
            first = unclear[0]
            where = " and ".join("/".join(origin) for origin in near[first][:2])
            yield (
                f"{counted(len(unclear), 'folder')} of class {self.name} may hold frames of "
                f"several videos, such as {self.folder}/{first} of {where}: each folder is a "
                "group of its own. `group_by` can join it with its video."
            )

    def _lone_folder(self) -> str:
        """Return the folder that holds the whole class, below its own; empty if there is none."""
        folders = {self._folder(path) for path, _ in self.files}
        return folders.pop() if len(folders) == 1 else ""

    def _videos(self) -> dict[Origin, str]:
        """Return the groups of the videos by the folders that their frames would be in."""
        is_lone = bool(self._lone_folder())
        return {
            _origin(self._home(path)): self._of_video(path, is_collection=is_lone) or path
            for path, is_video in self.files
            if is_video
        }

    def _of_video(self, path: str, *, is_collection: bool) -> str | None:
        folder = self._folder(path)
        last = folder.rpartition("/")[2]
        if is_collection or last.lower() in _KIND_FOLDERS:
            return None
        return self._group(self._home(path) if _QUALITY.fullmatch(last) else folder)

    def _home(self, path: str) -> str:
        """Return the folder in which a video's frames would be, for all qualities the same one."""
        folder, name = self._folder(path), path.rpartition("/")[2]
        above, _, last = folder.rpartition("/")
        home = above if _QUALITY.fullmatch(last) else folder
        return "/".join(filter(None, (home, name.rpartition(".")[0] or name)))

    def _group(self, folder: str) -> str | None:
        return (f"{self.split}/{folder}" if self.split else folder) if folder else None

    def _folder(self, path: str) -> str:
        """Return the folder of a file, below that of the class."""
        return path.removeprefix(f"{self.folder}/").rpartition("/")[0]


def split_named(folder: str) -> Split | None:
    """Return the split that the name of a folder stands for, or None."""
    return _SPLITS.get(folder.lower())


def _up_to_split(folder: str) -> str:
    """Return the path of the first folder that is named after a split; empty without one."""
    parts = folder.split("/")
    named = next((n for n, part in enumerate(parts, 1) if split_named(part)), 0)
    return "/".join(parts[:named])


def _origin(folder: str) -> Origin:
    return tuple(part for part in folder.split("/") if part and part.lower() not in _KIND_FOLDERS)


def _by_name(videos: Iterable[Origin]) -> dict[str, list[Origin]]:
    names = defaultdict(list)
    for origin in filter(None, videos):
        names[origin[-1]].append(origin)
    return names


def _nearest(folder: Origin, names: Mapping[str, Sequence[Origin]]) -> list[Origin]:
    """Return the videos whose frames a folder may hold by its name: those nearest to it."""
    found = [
        ((len({*folder} & {*origin}), depth), origin)
        for depth, part in enumerate(folder)
        for origin in names.get(part, ())
    ]
    most = max((near for near, _ in found), default=None)
    return sorted(origin for near, origin in found if near == most)


def _is_collection(folder: str, cls: str) -> bool:
    name = folder.rpartition("/")[2].lower()
    return _COLLECTION.fullmatch(name) is not None or name == cls.lower()
