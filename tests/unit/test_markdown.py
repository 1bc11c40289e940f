"""Markdown of the reports: nothing in a text becomes markup, tables keep their shape."""

from __future__ import annotations

import re

import pytest

from radiomics_crlm.report.markdown import bullets, code, folded, image, page, table, words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", r"a\|b"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("*bold* _it_ `code`", r"\*bold\* \_it\_ \`code\`"),
        ("[link](target)", r"\[link\](target)"),
        ("two\nlines\t here", "two lines here"),
        ("read /srv/secret/table.csv", "read table.csv"),
        ("A & B", "A &amp; B"),
    ],
)
def test_words_are_not_markup(text: str, shown: str) -> None:
    assert words(text) == shown


def test_code_cannot_be_left() -> None:
    assert code("a`b|c") == "`a'b/c`"


def test_tables_have_one_width() -> None:
    lines = table(["a", "b", "c"], [[1, words("x|y"), ""], ["p", "q", "r"]], right=[0]).splitlines()
    assert lines[1] == "|--:|---|---|"
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in lines] == [4] * 4


def test_parts_are_separated_and_empty_ones_left_out() -> None:
    assert page(["# A", "", bullets(["x", "y"]), image("An <image>", "figures/a.svg")]) == (
        "# A\n\n- x\n- y\n\n![An &lt;image&gt;](figures/a.svg)\n"
    )
    assert folded("More", "body").splitlines()[1:4] == ["<summary>More</summary>", "", "body"]
