from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from hffkit.errors import HffkitError, StorageError
from hffkit.media.image import CONVERT_IMAGESET, decode, encode_png, resize
from hffkit.storage.datum import Datum, decode_datum, encode_datum, raw_datum

_F = descriptor_pb2.FieldDescriptorProto
CAFFE_FIELDS = (
    (1, "channels", _F.TYPE_INT32),
    (2, "height", _F.TYPE_INT32),
    (3, "width", _F.TYPE_INT32),
    (4, "data", _F.TYPE_BYTES),
    (5, "label", _F.TYPE_INT32),
    (6, "float_data", _F.TYPE_FLOAT),
    (7, "encoded", _F.TYPE_BOOL),
)
STRANGE_FIELDS = (
    (8, "strange_varint", _F.TYPE_UINT64),
    (9, "strange_fixed32", _F.TYPE_FIXED32),
    (10, "strange_fixed64", _F.TYPE_FIXED64),
    (2000, "strange_bytes", _F.TYPE_BYTES),
)
LABELS = (0, 1, 127, 128, 300, 2**31 - 1, -1, -300, -(2**31))


def message_class(fields: tuple[tuple[int, str, int], ...]) -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe")
    message = file.message_type.add(name="Datum")
    for number, name, kind in fields:
        repeated = name == "float_data"
        label = _F.LABEL_REPEATED if repeated else _F.LABEL_OPTIONAL
        message.field.add(name=name, number=number, type=kind, label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.Datum"))


CaffeDatum = message_class(CAFFE_FIELDS)
StrangeDatum = message_class(CAFFE_FIELDS + STRANGE_FIELDS)


def portrait(height: int = 3, width: int = 2) -> Any:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def read(message: bytes) -> tuple[bytes, int, bool, int, int, int]:
    """Read a message with our decoder, into values that compare."""
    datum = decode_datum(message)
    shape = (datum.channels, datum.height, datum.width)
    return (bytes(datum.data), datum.label, datum.encoded, *shape)


@pytest.mark.parametrize("label", LABELS)
def test_raw_record_has_protobufs_bytes(label: int) -> None:
    image = portrait(5, 300)
    blue_green_red = image.transpose(2, 0, 1)[[2, 1, 0]].tobytes()
    theirs = CaffeDatum(
        channels=3, height=5, width=300, data=blue_green_red, label=label, encoded=False
    )
    assert encode_datum(raw_datum(image, label)) == theirs.SerializeToString()


@pytest.mark.parametrize("label", LABELS)
def test_encoded_record_has_protobufs_bytes(label: int) -> None:
    theirs = CaffeDatum(data=b"\xff\xd8 image", label=label, encoded=True)
    ours = encode_datum(Datum(b"\xff\xd8 image", label, encoded=True))
    assert ours == theirs.SerializeToString()


def test_raw_record_of_two_pixels_is_exactly_these_bytes() -> None:
    image = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    expected = bytes.fromhex("0803 1001 1802 2206 0306 0205 0104 2807 3800")
    assert encode_datum(raw_datum(image, 7)) == expected


def test_raw_record_of_128_pixels_is_laid_out_as_caffes() -> None:
    image = portrait(128, 128)
    message = encode_datum(raw_datum(image, 4))
    assert message[:12] == bytes.fromhex("0803 108001 188001 22808003")
    assert message[12:-4] == b"".join(image[:, :, channel].tobytes() for channel in (2, 1, 0))
    assert message[-4:] == bytes.fromhex("2804 3800")
    assert len(message) == 49168


@given(st.binary(max_size=300), st.integers(-(2**31), 2**31 - 1), st.booleans())
def test_decoder_reads_what_protobuf_writes(data: bytes, label: int, encoded: bool) -> None:  # noqa: FBT001
    theirs = CaffeDatum(channels=3, height=70, width=80, data=data, label=label, encoded=encoded)
    assert read(theirs.SerializeToString()) == (data, label, encoded, 3, 70, 80)


def test_absent_fields_are_zero() -> None:
    message = CaffeDatum(data=b"x").SerializeToString()
    assert read(message) == (b"x", 0, False, 0, 0, 0)
    assert decode_datum(message) == Datum(b"x", 0, encoded=False)


def test_record_without_the_encoded_field_is_raw() -> None:
    message = CaffeDatum(channels=3, height=1, width=1, data=b"\1\2\3", label=1)
    assert decode_datum(message.SerializeToString()).image().tolist() == [[[3, 2, 1]]]


def test_record_in_a_memoryview_is_not_copied() -> None:
    message = encode_datum(raw_datum(portrait(), 1))
    data = decode_datum(memoryview(message)).data
    assert isinstance(data, memoryview)
    assert data.obj is message


def test_record_can_be_made_of_a_view_again() -> None:
    message = encode_datum(raw_datum(portrait(), 1))
    again = decode_datum(memoryview(b"before" + message + b"behind")[6:-6])
    assert encode_datum(again) == message
    assert np.array_equal(again.image(), portrait())


PIECES = [
    StrangeDatum(**{name: value}).SerializeToString()
    for name, value in (
        ("channels", 3),
        ("height", 40),
        ("width", 50),
        ("data", b"pixels"),
        ("label", -5),
        ("encoded", True),
        ("strange_varint", 2**64 - 1),
        ("strange_fixed32", 7),
        ("strange_fixed64", 8),
        ("strange_bytes", b"\x28\x09"),
    )
]


@given(st.permutations(PIECES))
def test_reader_takes_any_order_and_skips_unknown_fields(pieces: list[bytes]) -> None:
    assert read(b"".join(pieces)) == (b"pixels", -5, True, 3, 40, 50)


def test_last_of_a_repeated_field_counts() -> None:
    message = b"".join(CaffeDatum(label=n, data=bytes([n])).SerializeToString() for n in (1, 2))
    theirs = CaffeDatum.FromString(message)
    assert read(message)[:2] == (theirs.data, theirs.label) == (b"\2", 2)


def test_float_data_is_refused() -> None:
    message = CaffeDatum(channels=1, float_data=[0.5]).SerializeToString()
    with pytest.raises(StorageError, match="float_data holds features, not pixels"):
        decode_datum(message)


def test_group_is_refused() -> None:
    with pytest.raises(StorageError, match="no Datum: wire type 3"):
        decode_datum(b"\x43\x44")


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (b"\x08", "ends within a number"),
        (b"\x08" + b"\x80" * 10, "more than ten bytes"),
        (b"\x22\x05abcd", "field 4 runs past the end"),
        (b"\x22" + b"\xff" * 9 + b"\x01", "field 4 runs past the end"),
        (b"\x4d\x00\x00\x00", "field 9 runs past the end"),
    ],
)
def test_damage_is_named(message: bytes, what: str) -> None:
    with pytest.raises(StorageError, match=what):
        decode_datum(message)


def test_cut_record_is_refused_wherever_protobuf_refuses_it() -> None:
    message = encode_datum(raw_datum(portrait(), 300))
    for end in range(len(message)):
        try:
            CaffeDatum.FromString(message[:end])
        except DecodeError:
            with pytest.raises(StorageError, match=r"no protobuf message|no Datum"):
                decode_datum(message[:end])
        else:
            decode_datum(message[:end])


@given(st.lists(st.one_of(st.binary(max_size=12), st.sampled_from(PIECES))).map(b"".join))
@example(b"\x21" + bytes(8))  # field 4 as a fixed64: not our data
def test_any_bytes_are_read_as_protobuf_reads_them_or_refused(message: bytes) -> None:
    try:
        data, label, encoded, *_ = read(message)
    except StorageError:
        return
    try:
        theirs = CaffeDatum.FromString(message)
    except DecodeError:
        return  # ours is the more lenient: it reads a field numbered 0
    assert (data, label, encoded) == (theirs.data, theirs.label, theirs.encoded)


@given(
    st.binary(max_size=12),
    st.integers(0, 4),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.booleans(),
)
@example(
    data=b"", channels=3, height=2**32, width=2**32, encoded=False
)  # 3 * 2**64 is 0 in 64 bits
def test_any_shape_gives_its_pixels_or_our_error(
    data: bytes,
    channels: int,
    height: int,
    width: int,
    encoded: bool,  # noqa: FBT001
) -> None:
    datum = Datum(data, 0, encoded, channels, height, width)
    try:
        image = datum.image()
    except HffkitError:
        return
    assert image.shape == (height, width, 3)


def test_raw_image_survives_the_round_trip() -> None:
    image = portrait(17, 31)
    again = decode_datum(encode_datum(raw_datum(image, 2))).image()
    assert np.array_equal(again, image)
    assert again.flags.c_contiguous


def test_raw_record_takes_a_view_of_a_image() -> None:
    image = portrait(40, 40)
    view = image[3:20, 5:30][:, ::-1]
    assert encode_datum(raw_datum(view, 0)) == encode_datum(raw_datum(view.copy(), 0))


def test_encoded_image_is_decoded() -> None:
    image = portrait(17, 31)
    record = encode_datum(Datum(encode_png(image), 2, encoded=True))
    assert np.array_equal(decode_datum(record).image(), image)


def test_grey_raw_image_is_repeated() -> None:
    image = Datum(bytes(range(6)), 0, encoded=False, channels=1, height=2, width=3).image()
    assert image.tolist() == [[[v] * 3 for v in row] for row in ([0, 1, 2], [3, 4, 5])]


@pytest.mark.parametrize(("channels", "n_bytes"), [(3, 11), (3, 13), (2, 8), (0, 0)])
def test_raw_record_of_another_length_than_its_shape_is_refused(
    channels: int, n_bytes: int
) -> None:
    datum = Datum(bytes(n_bytes), 0, encoded=False, channels=channels, height=2, width=2)
    with pytest.raises(StorageError, match=rf"shape \({channels}, 2, 2\) holds {n_bytes} bytes"):
        datum.image()


@pytest.mark.golden
def test_records_made_from_the_files_are_caffes_own(data: Path) -> None:
    golden = data / "golden" / "caffe-convert_imageset"
    theirs = {}
    for name in ("raw128_lmdb", "encoded_asis_lmdb"):
        with lmdb.open(str(golden / name), readonly=True, lock=False) as env, env.begin() as read:
            theirs[name] = {bytes(key): bytes(value) for key, value in read.cursor()}
    lines = (golden / "list.txt").read_text().splitlines()
    labels = [int(line.rpartition(" ")[2]) for line in lines]
    for key, raw in theirs["raw128_lmdb"].items():
        label = labels[int(key[:8])]
        encoded = (golden / "images" / key[9:].decode()).read_bytes()
        assert encode_datum(raw_datum(resize(decode(encoded), 128, CONVERT_IMAGESET), label)) == raw
        asis = encode_datum(Datum(encoded, label, encoded=True))
        assert asis == theirs["encoded_asis_lmdb"][key]
