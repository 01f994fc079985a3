"""Tables as Markdown and as aligned columns."""

from hffkit.reports.text_table import Table

TABLE = Table(("name", "n", "what"), (("a|b", "7", "x"), ("long name", "1,024", "y")), left=(0, 2))


def test_markdown_aligns_columns_and_escapes_bars() -> None:
    assert TABLE.to_markdown() == (
        "| name | n | what |\n|---|---:|---|\n| a\\|b | 7 | x |\n| long name | 1,024 | y |"
    )


def test_text_pads_columns_to_the_widest_cell() -> None:
    assert TABLE.to_text() == (
        "name           n  what\na|b            7  x\nlong name  1,024  y"
    )  # fmt: skip


def test_text_without_a_header_has_no_rows_but_its_own() -> None:
    assert Table((), (("a", "1"), ("bcd", "10"))).to_text() == "a     1\nbcd  10"
