"""Values that look right and are not, in lines that are read without looking at each field."""

import pytest

from hffkit.errors import ManifestError
from hffkit.manifest.lines import sample_of

ROW: dict[str, object] = {
    **dict.fromkeys(("key", "cls", "group", "source"), "a"),
    **dict.fromkeys(("source_sha256", "sha256", "pixels_sha256"), "ab" * 32),
    "split": "val",
    "frame": 4,
    "box": [1, 2, 3],
    "detector": None,
    "operations": [],
    "index": 7,
}


def test_a_line_of_plain_values_is_a_sample() -> None:
    sample = sample_of(ROW)
    assert (sample.key, sample.frame, sample.box, sample.index) == ("a", 4, (1, 2, 3), 7)
    assert sample.sha256 == "ab" * 32


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, "AB" * 32) for name in ("source_sha256", "sha256", "pixels_sha256")],
        *[(name, value) for name in ("frame", "index") for value in (True, 4.0, -1, "4")],
    ],
)
def test_a_number_or_digest_in_another_form_is_refused(name: str, value: object) -> None:
    with pytest.raises(ManifestError, match=f"^{name} must be "):
        sample_of({**ROW, name: value})
