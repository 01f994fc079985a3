"""Messages of image decoders: caught, and judged whether they mean damage.

libjpeg, libpng and OpenCV write warnings to the file descriptor of stderr, without the name of the
file, and return pixels all the same.
"""

import functools
import os
import re
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

import cv2

from hffkit.media.headers import jpeg_markers, png_with_wrong_checksum
from hffkit.media.kinds import Kind

_MOST_BYTES = 1 << 16  # of messages that are read; a decoder may repeat itself for each line
_OPENCV = re.compile(r"\[ *([A-Z]+):[^\]]*\] global \S+ (\S+) (.*)")  # level, function, text
_WRAPPER = "imdecode_"  # the function that repeats as an exception what its decoder said
_CODEC = re.compile(  # messages of libpng, and all warnings in libjpeg's jerror.h
    r"libpng (?:warning|error): |Corrupt JPEG data: |Premature end of JPEG file|Unknown Adobe color"
    r"|Inconsistent progression|Invalid SOS parameters|Warning: unknown JFIF"
)
# Pixels are complete in spite of these.
_HARMLESS: Sequence[re.Pattern[str]] = tuple(
    map(
        re.compile,
        (
            r"Warning: unknown JFIF|Unknown Adobe color|Corrupt JPEG data: bad ICC marker",
            r"libpng warning: (?!.*(CRC|data check|distance|code|Not enough|Truncated))",
            r"TIFF_Warning (?!.*(Premature EOL|Line length mismatch))",
            r"\S+ OpenJPEG2000: Image has unknown or unspecified color space",
            r"warningLogCallback (?!.*(EOC|truncated|short))",
        ),
    )
)
_PADDING = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_lock = threading.Lock()


@dataclass(slots=True)
class Messages:
    """Lines that decoders wrote, cleaned of times and places in source files."""

    serious: list[str] = field(default_factory=list)
    harmless: list[str] = field(default_factory=list)

    @property
    def reason(self) -> str:
        """The first serious line, or else the first one; empty without any."""
        return next(iter(self.serious + self.harmless), "")

    def damage(self, encoded: bytes, kind: Kind) -> str | None:
        """Return what is wrong with a file that was decoded; None if all pixels are right."""
        if kind.name == "png" and (chunk := png_with_wrong_checksum(encoded)):
            return f"checksum of its {chunk} chunk is wrong"
        return next((text for text in self.serious if not _is_padding(text, encoded)), None)

    def take(self, text: str) -> str:
        """Add the decoders' lines of a text, and return the rest."""
        others = []
        is_theirs = False
        for line in text.splitlines(keepends=True):
            if found := _OPENCV.match(line):
                is_theirs = True  # an exception of OpenCV goes on over several lines
                level, function, about = found.groups()
                if function != _WRAPPER:
                    self._add(f"{function} {about}", about, is_error=level != "WARN")
            elif _CODEC.match(line):
                self._add(line, line.strip(), is_error=False)
            elif not is_theirs:
                others.append(line)
        return "".join(others)

    def _add(self, line: str, about: str, *, is_error: bool) -> None:
        is_harmless = not is_error and any(rule.match(line) for rule in _HARMLESS)
        (self.harmless if is_harmless else self.serious).append(about)


def _is_padding(text: str, encoded: bytes) -> bool:
    """Test for zeros between the pixels of a JPEG and its end, which some cameras write."""
    found = _PADDING.fullmatch(text)
    if found is None:
        return False
    *_, (_, after) = jpeg_markers(encoded)
    end = encoded.rindex(b"\xff", 0, after)
    padding = encoded[:end].rstrip(b"\xff")
    return padding.endswith(bytes(int(found[1])))


@functools.cache
def _file() -> IO[bytes]:
    try:
        os.fstat(2)
    except OSError:  # started without a stderr
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    return tempfile.TemporaryFile(buffering=0)


if hasattr(os, "register_at_fork"):  # a file that two processes share has one position
    os.register_at_fork(after_in_child=_file.cache_clear)


@contextmanager
def caught_messages() -> Iterator[Messages]:
    """Catch what decoders write to stderr in the block; other text is passed on after it.

    The descriptor is the whole process's, so one block runs at a time.
    """
    messages = Messages()
    with _lock:
        file, level = _file().fileno(), cv2.utils.logging.getLogLevel()
        stderr = os.dup(2)
        try:
            os.dup2(file, 2)
            cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_WARNING)
            yield messages
        finally:
            cv2.utils.logging.setLogLevel(level)
            os.dup2(stderr, 2)
            os.close(stderr)
            n_bytes = os.lseek(file, 0, os.SEEK_CUR)
            if n_bytes:
                os.lseek(file, 0, os.SEEK_SET)
                text = os.read(file, _MOST_BYTES)
                os.lseek(file, 0, os.SEEK_SET)
                os.ftruncate(file, 0)
                os.write(2, messages.take(text.decode("utf-8", "replace")).encode())
