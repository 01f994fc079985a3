"""The processor and the drivers as Linux describes them."""

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest
import torch

from hffkit.errors import ArgumentError
from hffkit.networks import hardware
from hffkit.networks.hardware import check_bf16, check_device

X86 = "processor\t: 0\nflags\t\t: fpu sse avx2 {}\nbogomips\t: 5190\n"
ARM = "processor\t: 0\nBogoMIPS\t: 50\nFeatures\t: fp asimd {}\n"


def processor(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    """Let a text stand for Linux's description of the processor."""
    (folder / "cpuinfo").write_text(text, "utf-8")
    monkeypatch.setattr(hardware, "_CPUINFO", folder / "cpuinfo")


@pytest.mark.parametrize("text", [X86.format(""), X86.format("avx512f vnni_bf16x"), ARM.format("")])
def test_a_processor_without_bfloat16_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    processor(monkeypatch, tmp_path, text)
    with pytest.raises(ArgumentError, match="`precision` must be fp32 on this processor"):
        check_bf16("cpu")
    check_bf16("cuda")
    check_bf16("cuda:1")


@pytest.mark.parametrize(
    "text",
    [
        X86.format("avx512_bf16"), X86.format("amx_tile amx_bf16"), X86.format("avx_ne_convert"),
        ARM.format("bf16"), ARM.format("svebf16"), "processor\t: 0\ncpu\t: POWER10\n", "",
    ],
)  # fmt: skip
def test_bfloat16_is_tried_on_all_other_processors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    processor(monkeypatch, tmp_path, text)
    check_bf16("cpu")


def test_bfloat16_is_tried_where_linux_does_not_describe_the_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hardware, "_CPUINFO", tmp_path / "absent")
    check_bf16("cpu")


def test_linux_and_pytorch_agree_on_this_processor() -> None:
    found: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    named = {name for name in hardware._BF16 if found.get(name)}
    assert named <= hardware._instructions()


@pytest.mark.parametrize(
    ("version", "driver", "lacks"),
    [
        ("2.13.0+cpu", "libm.so.6", "this PyTorch is built without CUDA"),
        ("2.13.0", "absent.so", r"the machine has no driver for CUDA \(absent\.so\)"),
        ("2.13.0+cu130", "absent.so", "the machine has no driver for CUDA"),
    ],
)
def test_cuda_is_refused_where_its_parts_are_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, driver: str, lacks: str
) -> None:
    parts(monkeypatch, version, driver)
    processor(monkeypatch, tmp_path, X86.format(""))
    check_device("auto")
    check_device("cpu")
    with pytest.raises(ArgumentError, match=f"^`device` cuda:1 is not there: {lacks}"):
        check_device("cuda:1")
    with pytest.raises(ArgumentError, match="`precision`"):
        check_bf16("auto")


@pytest.mark.parametrize(
    ("version", "driver"), [("2.13.0", "libm.so.6"), ("2.13.0+rocm6.4", "absent.so")]
)
def test_cuda_is_left_to_pytorch_where_its_parts_are_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, driver: str
) -> None:
    parts(monkeypatch, version, driver)
    processor(monkeypatch, tmp_path, X86.format(""))
    check_device("cuda:1")
    check_bf16("auto")


def parts(monkeypatch: pytest.MonkeyPatch, version: str, driver: str) -> None:
    """Let PyTorch be of a version, and a library be the driver."""
    monkeypatch.setattr(metadata, "version", lambda _: version)
    monkeypatch.setattr(hardware, "_CUDA_DRIVER", driver)
