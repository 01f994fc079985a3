"""The free memory of a process, as Linux tells it."""

import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from hffkit.execution.memory import free_memory

MEGABYTE = 1 << 20
MACHINE = {"proc/meminfo": "MemTotal: 9999 kB\nMemAvailable:    8192 kB\nCached: 1 kB\n"}


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def group(folder: str, limit: str, usage: int, cache: int) -> dict[str, str]:
    """Return the files of a group of version 2; sizes in megabytes."""
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{usage * MEGABYTE}\n",
        f"{folder}/memory.stat": f"anon 5\ninactive_file {cache * MEGABYTE}\nactive_file 7\n",
    }


GROUPS = "sys/fs/cgroup"
CASES: dict[str, tuple[dict[str, str], int]] = {
    "no group": ({}, 8),
    "group without limit": (
        {"proc/self/cgroup": "0::/\n"} | group(GROUPS, "max", 3, 1), 8,
    ),
    "container": (
        {"proc/self/cgroup": "0::/\n"} | group(GROUPS, str(6 * MEGABYTE), 3, 1), 4,
    ),
    "container of another name": (
        {"proc/self/cgroup": "0::/../../a\n"} | group(GROUPS, str(6 * MEGABYTE), 3, 1), 4,
    ),
    "job in a slice with less": (
        {"proc/self/cgroup": "0::/slurm/job\n"}
        | group(f"{GROUPS}/slurm", str(5 * MEGABYTE), 3, 0)
        | group(f"{GROUPS}/slurm/job", str(5 * MEGABYTE), 1, 0), 2,
    ),
    "used up": (
        {"proc/self/cgroup": "0::/\n"} | group(GROUPS, str(2 * MEGABYTE), 3, 0), 0,
    ),
    "version 1": (
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/a:b\n1:name=systemd:/\n0::/\n",
            f"{GROUPS}/memory/memory.limit_in_bytes": "9223372036854771712\n",
            f"{GROUPS}/memory/memory.usage_in_bytes": "1\n",
            f"{GROUPS}/memory/memory.stat": "total_inactive_file 0\n",
            f"{GROUPS}/memory/a:b/memory.limit_in_bytes": f"{7 * MEGABYTE}\n",
            f"{GROUPS}/memory/a:b/memory.usage_in_bytes": f"{5 * MEGABYTE}\n",
            f"{GROUPS}/memory/a:b/memory.stat":
                f"inactive_file 9\ntotal_inactive_file {MEGABYTE}\n",
        }, 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_least_of_machine_and_groups_is_free(tmp_path: Path, case: str) -> None:
    files, megabytes = CASES[case]
    assert free_memory(tree(tmp_path, MACHINE | files)) == megabytes * MEGABYTE


def test_without_any_report_some_memory_is_free(tmp_path: Path) -> None:
    assert free_memory(tmp_path) == 1 << 32


@pytest.mark.skipif(sys.platform != "linux", reason="Linux limits the address space")
def test_a_limit_of_the_address_space_counts() -> None:
    """By this process itself: `import hffkit` needs some of it."""
    code = "from hffkit.execution.memory import free_memory; print(free_memory())"
    limit = 900 * MEGABYTE
    done = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert 500 * MEGABYTE < int(done.stdout) < limit - 5 * MEGABYTE


def test_this_machine_has_some() -> None:
    assert free_memory() > 50 * MEGABYTE
