"""Classes by name, tables joined, and failures counted."""

import pytest

from hffkit.errors import UnknownNameError
from hffkit.manifest.classes import BINARY, ClassTable, FaceClass, joined, numbered
from hffkit.manifest.failures import Failure, damage_of, n_fatal


def rows_of(table: ClassTable) -> list[tuple[int, str, bool]]:
    return [(row.id, row.name, row.is_fake) for row in table]


def test_binary_labels_are_0_for_fake_and_1_for_real() -> None:
    assert rows_of(BINARY) == [(0, "fake", True), (1, "real", False)]
    assert [row.kind for row in BINARY] == ["fake", "real"]


def test_a_class_is_called_in_capitals_or_not_where_that_is_unambiguous() -> None:
    table = numbered(["Glow", "glow", "StarGAN"], ["real"])
    assert table.called("STARGAN").name == "StarGAN"
    assert (table.called("Glow").id, table.called("glow").id) == (0, 1)
    for name in ("GLOW", "Reel"):
        with pytest.raises(UnknownNameError, match=f"No class named '{name}'"):
            table.called(name)


def test_outputs_are_numbered_from_0_in_the_order_of_the_table() -> None:
    table = ClassTable((FaceClass(7, "b", is_fake=True), FaceClass(2, "a", is_fake=False)))
    assert rows_of(table.renumbered()) == [(0, "b", True), (1, "a", False)]


def test_joined_classes_keep_their_ids_unless_these_contradict() -> None:
    one = ClassTable((FaceClass(3, "c", is_fake=True), FaceClass(1, "a", is_fake=False)))
    other = ClassTable((FaceClass(2, "b", is_fake=True), FaceClass(1, "a", is_fake=False)))
    assert rows_of(joined([one, other])) == [(1, "a", False), (2, "b", True), (3, "c", True)]
    same_id = ClassTable((FaceClass(3, "b", is_fake=True),))
    two_ids = ClassTable((FaceClass(4, "c", is_fake=True),))
    assert rows_of(joined([one, same_id])) == [(0, "b", True), (1, "c", True), (2, "a", False)]
    assert rows_of(joined([one, two_ids])) == [(0, "c", True), (1, "a", False)]


def test_unreadable_and_damaged_inputs_are_errors_and_what_was_kept_is_none() -> None:
    counts = {"unreadable": 3, "damaged": 4, "damage-kept": 5, "no-face": 6}
    assert (n_fatal(counts), n_fatal({"unreadable": 2}), n_fatal({"no-face": 1})) == (7, 2, 0)
    assert damage_of("a.jpg", 3, "why", is_kept=False) == Failure("damaged", "a.jpg", 3, "why")
    assert damage_of("a.jpg", None, "why", is_kept=True).kind == "damage-kept"
