"""Names for arrays by element type, and readers of NumPy's files that execute nothing."""

import io
import math
import tokenize
import zipfile
import zlib
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats32 = npt.NDArray[np.float32]
Floats64 = npt.NDArray[np.float64]

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


# Raised by NumPy for damaged headers, which are literals of Python.
_HEADER_DAMAGE = (
    EOFError, KeyError, MemoryError, RecursionError, SyntaxError, TypeError, tokenize.TokenError,
)  # fmt: skip


def array_of(encoded: bytes) -> npt.NDArray[Any]:
    """Parse the content of a .npy file.

    Raises
    ------
    ValueError
        If it is no such file, or its header does not match the bytes that follow it.
    """
    file = io.BytesIO(encoded)
    try:
        shape, is_transposed, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
        n_items = math.prod(shape)
        is_whole = n_items * dtype.itemsize == len(encoded) - file.tell()
        if dtype.hasobject or min(shape, default=0) < 0 or not is_whole:
            raise ValueError(f"an array of shape {shape} and type {dtype} is not what follows it")
        order: Literal["F", "C"] = "F" if is_transposed else "C"
        flat = np.frombuffer(encoded, dtype, n_items, file.tell())
        return flat.reshape(shape, order=order).copy(order)
    except _HEADER_DAMAGE as error:
        raise ValueError(f"no NumPy array: {error}") from None


def arrays_of(encoded: bytes) -> dict[str, npt.NDArray[Any]]:
    """Parse the content of an .npz file without compression, and return its arrays by name.

    Raises
    ------
    ValueError
        If it is no such file.
    """
    return {
        name.removesuffix(".npy"): array_of(data) for name, data in stored_files(encoded).items()
    }


def stored_files(encoded: bytes) -> dict[str, bytes]:
    """Return the files of a ZIP archive without compression, which cannot grow when it is read.

    Raises
    ------
    ValueError
        If it is no such archive, or damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(encoded)) as archive:
            entries = archive.infolist()
            if any(each.compress_type != zipfile.ZIP_STORED for each in entries):
                raise ValueError("its files are compressed")
            if sum(each.file_size for each in entries) > len(encoded):
                raise ValueError("its files overlap")
            return {each.filename: archive.read(each) for each in entries}
    except _ZIP_DAMAGE as error:
        raise ValueError(f"no ZIP archive: {error}") from None


# Raised by zipfile for archives that are cut, altered, or of a later version of the format.
_ZIP_DAMAGE = (EOFError, KeyError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error)
