"""The files of a class folder, and which of them belong together."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hffkit.manifest.samples import Split
from hffkit.media.walk import MediaFile
from hffkit.sources.entries import Entry

# Folders that sort files by their kind, such as DeepfakeBench's; they tell nothing of their origin.
_KIND_FOLDERS = frozenset({"videos", "video", "frames", "images"})
# A folder of this name holds images of any origin, even if it is the only one of its class.
_COLLECTION = re.compile(
    r"img_align_celeba\w*|img|imgs|images?|photos?|pictures?|pics?|faces?|crops?|data|samples?"
    r"|jpe?gs?|pngs?|(images?|thumbnails?|data)?_?(\d+x\d+|64|128|256|512|1024)"
)

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

        No groups are a folder of videos called `videos`, and a folder that holds the whole class
        if it has videos or the name of a collection, such as CelebA's img_align_celeba. Images in
        a folder with the name of a video belong to this video.
        """
        lone, videos = self._lone_folder(), self._videos()
        names = defaultdict(list)
        for origin in filter(None, videos):
            names[origin[-1]].append(origin)
        is_collection = bool(lone) and (bool(videos) or _is_collection(lone, self.name))
        of_images: dict[str, str | None] = {}
        for path, is_video in self.files:
            folder = self._folder(path)
            if is_video:
                group = self._of_video(folder, is_collection=is_collection)
            elif folder in of_images:
                group = of_images[folder]
            else:
                group = None if is_collection else self._group(folder)
                origin = _origin(folder)
                origin = origin if origin in videos else _nearest(origin, names)
                group = of_images[folder] = videos.get(origin, group)
            yield Entry(path, self.name, is_video, self.split, group)

    def note(self) -> str | None:
        """Return a remark if the class is one group because it is one folder of images."""
        lone = self._lone_folder()
        if not lone or self._videos() or _is_collection(lone, self.name):
            return None
        return (
            f"class {self.name} is one folder, {self.folder}/{lone}, and one group: its images are "
            "taken for frames of one video. If they are not, `group_by` '[^/]+$' makes each file a "
            "group."
        )

    def _lone_folder(self) -> str:
        """Return the folder that holds the whole class, below its own; empty if there is none."""
        folders = {self._folder(path) for path, _ in self.files}
        return folders.pop() if len(folders) == 1 else ""

    def _videos(self) -> dict[Origin, str]:
        """Return the groups of the videos by the folders that their frames would be in."""
        is_lone = bool(self._lone_folder())
        found: dict[Origin, str] = {}
        for path, is_video in self.files:
            if is_video:
                folder = self._folder(path)
                name = path.rpartition("/")[2]
                origin = _origin(f"{folder}/{name.rpartition('.')[0] or name}")
                found[origin] = self._of_video(folder, is_collection=is_lone) or path
        return found

    def _of_video(self, folder: str, *, is_collection: bool) -> str | None:
        is_of_kind = folder.rpartition("/")[2].lower() in _KIND_FOLDERS
        return None if is_collection or is_of_kind else self._group(folder)

    def _group(self, folder: str) -> str | None:
        return (f"{self.split}/{folder}" if self.split else folder) if folder else None

    def _folder(self, path: str) -> str:
        """Return the folder of a file, below that of the class."""
        return path.removeprefix(f"{self.folder}/").rpartition("/")[0]


def _origin(folder: str) -> Origin:
    return tuple(part for part in folder.split("/") if part and part.lower() not in _KIND_FOLDERS)


def _nearest(folder: Origin, names: Mapping[str, Sequence[Origin]]) -> Origin:
    """Return the video that a folder is in by name, of several the one with most in common.

    Empty without one, or where videos of one name are equally near.
    """
    found = sorted(
        (len({*folder} & {*origin}), depth, origin)
        for depth, part in enumerate(folder)
        for origin in names.get(part, ())
    )
    if not found or [each[:2] for each in found[-2:]].count(found[-1][:2]) > 1:
        return ()
    return found[-1][2]


def _is_collection(folder: str, cls: str) -> bool:
    name = folder.rpartition("/")[2].lower()
    return _COLLECTION.fullmatch(name) is not None or name == cls.lower()
