"""The committed pages of the rules and the worked examples are what the program prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from radiomics_crlm import clinical
from radiomics_crlm.cli.app import run
from radiomics_crlm.clinical.explain import _escaped, pages, sections

DOCS = Path(__file__).parents[2] / "docs"


def test_the_pages_of_the_rules_are_up_to_date() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "rules").glob("*.md")}
    assert written == pages(), "write them anew: crlm rules docs --out docs/rules"


def test_the_pages_hold_every_rule_once() -> None:
    anchors = [a for text in pages().values() for a in re.findall(r'<a id="([a-z0-9_]+)">', text)]
    assert anchors == clinical.rule_ids()


def test_the_pages_cite_publications() -> None:
    for name, text in pages().items():
        plain = re.sub(r"(lt_seed003|cytoreduction_seed003|resect_seed004)", "", text)
        assert "seed" not in plain.lower(), name
    assert "10.1097/00000658-199909000-00004" in pages()["scores.md"]


@pytest.mark.parametrize("patient", ["EX-A", "EX-B"])
def test_the_worked_example_is_what_the_program_prints(patient: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = (DOCS / "worked_examples.md").read_text(encoding="utf-8")
    command = f"crlm rules show {patient} --cohort docs/examples"
    shown = text.split(f"```console\n$ {command}\n")[1].split("```")[0]
    assert run(["rules", "show", patient, "--cohort", str(DOCS / "examples")]) == 0
    assert capsys.readouterr().out == shown


def test_explain_and_list_on_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "explain", "game2018"]) == 0
    shown = capsys.readouterr().out
    for part in sections("game2018"):
        assert part.heading in shown
        assert all(line in shown for line in part.lines)
    assert "multidisciplinary team decides" in shown
    assert run(["rules", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(rule in shown for rule in clinical.rule_ids())
    assert run(["rules", "explain", "gaem"]) == 2
    assert "Did you mean" in capsys.readouterr().err


def test_show_writes_a_page_and_refuses_an_unknown_patient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "sheet.html"
    assert run(["rules", "show", "EX-A", "--cohort", str(DOCS / "examples"), "--html", str(page)]) == 0
    assert "<h1>Patient EX-A</h1>" in page.read_text(encoding="utf-8")
    assert run(["rules", "show", "EX-Z", "--cohort", str(DOCS / "examples")]) == 3
    assert "no usable row of that patient" in " ".join(capsys.readouterr().err.split())


def test_running_text_is_marked_and_signs_of_markdown_are_escaped() -> None:
    assert {part.heading for rule in clinical.rule_ids() for part in sections(rule) if part.items is False} == {
        "Definition", "Optional", "Range", "When something is unknown", "Known at the earliest", "Informs on", "Notes",
    }  # fmt: skip
    assert [part.heading for part in sections("makuuchi")][:2] == ["Definition", "Optional"]
    assert _escaped(r"a\b *c* <d> [e]") == r"a\\b \*c\* \<d\> \[e]"
