"""The files of a class folder, and which of them belong together."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

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
        lone, videos = self.lone_folder, self._videos()
        is_collection = lone is not None and (bool(videos) or _is_collection(lone, self.name))
        for path, is_video in self.files:
            folder = self._below(path).parent
            group = None if is_collection else self._group(folder)
            if is_video and folder.name.lower() in _KIND_FOLDERS:
                group = None
            elif not is_video:
                group = videos.get(_origin(folder), group)
            yield Entry(path, self.name, is_video, self.split, group)

    @property
    def lone_folder(self) -> PurePosixPath | None:
        """The folder that holds the whole class, below the class folder; None if there is none."""
        parents = {self._below(path).parent for path, _ in self.files}
        lone = parents.pop() if len(parents) == 1 else None
        return lone if lone is not None and lone.parts else None

    @property
    def note(self) -> str | None:
        """A remark if the class is a single group because it is a single folder of images."""
        groups = {entry.group for entry in self.entries()}
        if self.lone_folder is None or None in groups or len(groups) > 1:
            return None
        return (
            f"class {self.name} is one folder, {self.folder}/{self.lone_folder}, and one group: "
            "its images are taken for frames of one video. If they are not, `group_by` [^/]+$ "
            "makes each file a group."
        )

    def _videos(self) -> dict[tuple[str, ...], str]:
        """Return the groups of the videos by the folders that their frames would be in."""
        found = {}
        is_lone = self.lone_folder is not None
        for path, is_video in self.files:
            if is_video:
                below = self._below(path)
                is_alone = is_lone or below.parent.name.lower() in _KIND_FOLDERS
                group = None if is_alone else self._group(below.parent)
                found[_origin(below.with_suffix(""))] = group or path
        return found

    def _group(self, folder: PurePosixPath) -> str | None:
        if not folder.parts:
            return None
        return f"{self.split}/{folder}" if self.split else str(folder)

    def _below(self, path: str) -> PurePosixPath:
        return PurePosixPath(path).relative_to(self.folder)


def _origin(folder: PurePosixPath) -> tuple[str, ...]:
    return tuple(part for part in folder.parts if part.lower() not in _KIND_FOLDERS)


def _is_collection(folder: PurePosixPath, cls: str) -> bool:
    name = folder.name.lower()
    return _COLLECTION.fullmatch(name) is not None or name == cls.lower()
