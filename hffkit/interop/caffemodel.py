"""Reader of Caffe's NetParameter messages, restricted to the blobs of each layer.

NetParameter: 100 layer (LayerParameter: 1 name, 7 blobs), 2 layers (V1LayerParameter: 4 name,
6 blobs). BlobProto: 7 shape (1 dim), 5 data, 8 double_data, 1 to 4 the older num, channels,
height and width, which take precedence. Messages nest four deep and are read without recursion,
so memory is bounded by the file's size.
"""

import math
import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hffkit.errors import StorageError, WeightsError, reading_from
from hffkit.input_files import check_file
from hffkit.storage.datum import BYTES, FIXED32, FIXED64, VARINT, read_varint

Blob = npt.NDArray[np.float32]

_LAYERS = {100: (1, 7), 2: (4, 6)}  # field of NetParameter: the fields name and blobs of its layers
_MAX_BYTES = (1 << 31) - 1  # protobuf's, and so Caffe's
_MAX_FIELDS = 1 << 22  # some seconds; AMTENnet has 500, or 2 million with its floats unpacked
_MAX_BLOBS = 10_000
_MAX_AXES = 32  # Caffe's


def read_caffemodel(path: Path) -> dict[str, list[Blob]]:
    """Read the blobs of all layers that have some, by the layer's name, in the file's order.

    Blobs keep their shape: (O, I, kh, kw) of convolutions, (N, K) of fully connected layers, or
    (1, 1, N, K) in files of Caffe's first versions.

    Raises
    ------
    WeightsError
        If the file cannot be read, or is not a NetParameter with weights.
    """
    check_file(path, WeightsError, "Give a .caffemodel file.")
    with reading_from(path, WeightsError), path.open("rb") as file:
        n_bytes = file.seek(0, 2)
        if not 0 < n_bytes <= _MAX_BYTES:
            raise WeightsError(
                f"{path}: a caffemodel has 1 to {_MAX_BYTES} bytes, got {n_bytes}. "
                "Copy or download it again."
            )
        view = memoryview(mmap.mmap(file.fileno(), n_bytes, access=mmap.ACCESS_READ))
    try:
        return _Reader().layers(view)
    except StorageError as error:
        raise WeightsError(
            f"{path}: no readable caffemodel: {error}. Copy or download it again; "
            "it must be the binary .caffemodel, not the .prototxt or .solverstate."
        ) from None


class _BrokenError(StorageError):
    """Invalid bytes; the caller adds the file's name."""


class _Reader:
    """Reader of one file, with counters that limit the work."""

    def __init__(self) -> None:
        self._n_fields = 0
        self._n_blobs = 0

    def layers(self, net: memoryview) -> dict[str, list[Blob]]:
        found: dict[str, list[Blob]] = {}
        for field, kind, value in self._fields(net):
            if field == 1:
                _message(field, kind, value)  # the network's name
            if field not in _LAYERS:
                continue
            name, blobs = self._layer(_message(field, kind, value), *_LAYERS[field])
            if name in found and blobs:
                raise _BrokenError(f"two layers are named {name!r:.60}")
            if blobs:
                found[name] = blobs
        if not found:
            raise _BrokenError("it holds no layer with weights")
        return found

    def _layer(self, layer: memoryview, name_at: int, blobs_at: int) -> tuple[str, list[Blob]]:
        name = ""
        messages = []
        for field, kind, value in self._fields(layer):
            if field == name_at:
                name = bytes(_message(field, kind, value)).decode("utf-8", "replace")
            elif field == blobs_at:
                messages.append(_message(field, kind, value))
                self._n_blobs += 1
                if self._n_blobs > _MAX_BLOBS:
                    raise _BrokenError(f"it holds more than {_MAX_BLOBS} blobs")
        blobs = []
        for number, message in enumerate(messages):
            try:
                blobs.append(self._blob(message))
            except StorageError as error:
                raise _BrokenError(f"layer {name!r:.60}, blob {number}: {error}") from None
        return name, blobs

    def _blob(self, blob: memoryview) -> Blob:
        shape: list[int] = []
        old_shape: dict[int, int] = {}
        values = {5: bytearray(), 8: bytearray()}  # data may come in many pieces
        for field, kind, value in self._fields(blob):
            if field in (1, 2, 3, 4):
                old_shape[field] = _number(field, kind, value)
            elif field == 7:
                shape += self._dims(_message(field, kind, value))
            elif field in values:
                values[field] += _floats(field, kind, value)
        if old_shape:
            shape = [old_shape.get(field, 0) for field in (1, 2, 3, 4)]
        if values[5] and values[8]:
            raise _BrokenError("it holds both float and double values")
        item_bytes = 8 if values[8] else 4
        _check_shape(shape, len(values[8] or values[5]), item_bytes)
        if not values[8]:
            return np.frombuffer(values[5], "<f4").reshape(shape).astype(np.float32, copy=False)
        with np.errstate(over="ignore"):
            return np.frombuffer(values[8], "<f8").reshape(shape).astype(np.float32)

    def _dims(self, message: memoryview) -> list[int]:
        dims: list[int] = []
        for field, kind, value in self._fields(message):
            if field != 1:
                continue
            if kind == BYTES:
                at, packed = 0, _message(field, kind, value)
                while at < len(packed) and len(dims) <= _MAX_AXES:
                    dim, at = read_varint(packed, at)
                    dims.append(dim)
            else:
                dims.append(_number(field, kind, value))
            if len(dims) > _MAX_AXES:
                raise _BrokenError(f"its shape has more than {_MAX_AXES} axes")
        return dims

    def _fields(self, view: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
        """Yield (field, wire type, number or bytes)."""
        at = 0
        while at < len(view):
            self._n_fields += 1
            if self._n_fields > _MAX_FIELDS:
                raise _BrokenError(f"it holds more than {_MAX_FIELDS} fields")
            tag, at = read_varint(view, at)
            field, kind = tag >> 3, tag & 7
            if not 0 < field < 1 << 29:
                raise _BrokenError(f"field number {field}")
            if kind == VARINT:
                value, at = read_varint(view, at)
                yield field, kind, value
                continue
            length, at = _length(view, at, kind)
            if length > len(view) - at:
                raise _BrokenError(
                    f"field {field} wants {length} bytes where {len(view) - at} are left"
                )
            yield field, kind, view[at : at + length]
            at += length


def _check_shape(shape: list[int], n_bytes: int, item_bytes: int) -> None:
    if len(shape) > _MAX_AXES:
        raise _BrokenError(f"its shape has more than {_MAX_AXES} axes")
    if not n_bytes:
        raise _BrokenError("it holds no values")
    if math.prod(shape) * item_bytes != n_bytes:
        wanted = " x ".join(map(str, shape)) or "a single value"
        raise _BrokenError(f"its shape is {wanted}, but it holds {n_bytes / item_bytes:g} values")


def _message(field: int, kind: int, value: int | memoryview) -> memoryview:
    if kind != BYTES or isinstance(value, int):
        raise _BrokenError(f"field {field} has wire type {kind}, expected {BYTES}")
    return value


def _number(field: int, kind: int, value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise _BrokenError(f"field {field} has wire type {kind}, expected {VARINT}")
    return value


def _floats(field: int, kind: int, value: int | memoryview) -> memoryview:
    """Return the bytes of packed values or of a single one."""
    single, item_bytes = (FIXED32, 4) if field == 5 else (FIXED64, 8)
    if kind not in (BYTES, single) or isinstance(value, int):
        raise _BrokenError(f"field {field} has wire type {kind}, expected {BYTES} or {single}")
    if len(value) % item_bytes:
        raise _BrokenError(f"field {field} has {len(value)} bytes, no multiple of {item_bytes}")
    return value


def _length(view: memoryview, at: int, kind: int) -> tuple[int, int]:
    """Return the length and the start of a value that is not a varint."""
    if kind == BYTES:
        return read_varint(view, at)
    if kind in (FIXED32, FIXED64):
        return (4 if kind == FIXED32 else 8), at
    raise _BrokenError(f"wire type {kind}")
