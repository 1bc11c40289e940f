"""Completion in the shell: commands, options, and names of experiments, profiles and rules."""

from __future__ import annotations

import subprocess
import sys

import pytest

from radiomics_crlm import clinical
from radiomics_crlm.cli.app import run
from radiomics_crlm.cli.completion import experiment_names, profile_names, rule_names
from radiomics_crlm.features.profiles import load_profiles
from radiomics_crlm.resources import resource


def completed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, shell: str) -> list[str]:
    """What the shell is offered for the last word of a line."""
    monkeypatch.setattr(sys, "argv", ["crlm"])
    monkeypatch.setenv("_CRLM_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    assert run([]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("crlm ru", ["run", "rules"]),
        ("crlm bundle ch", ["check"]),
        ("crlm score --att", ["--attributions"]),
        ("crlm run dem", ["demo"]),
        ("crlm extract cohort --profile mr", ["mr-t1-hbp"]),
        ("crlm robustness cohort --profile mr", ["mr-t1-hbp"]),
        ("crlm rules explain fong_c", ["fong_crs"]),
        ("crlm rules run cohort --rule fong_c", ["fong_crs"]),
    ],
)
def test_what_bash_is_offered(
    line: str, offered: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completed(monkeypatch, capsys, line, "bash") == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_offered_the_same(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offered = "\n".join(completed(monkeypatch, capsys, "crlm rules explain fong_c", shell))
    assert "fong_crs" in offered
    assert "tbs2018" not in offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["crlm"])
    monkeypatch.setenv("_CRLM_COMPLETE", f"source_{shell}")
    assert run([]) == 0
    script = capsys.readouterr().out
    assert f"_CRLM_COMPLETE=complete_{shell}" in script


def test_all_names_are_offered() -> None:
    """The text of the files is read in a simple way; here it is compared with what reads them fully."""
    assert rule_names("") == sorted(clinical.rule_ids())
    assert profile_names("") == sorted(load_profiles().profiles)
    assert experiment_names("") == sorted(path.stem for path in resource("experiments").glob("*.yaml"))
    assert rule_names("no such") == []


def test_names_are_found_without_a_library() -> None:
    code = (
        "import sys; from radiomics_crlm.cli import completion as c; c.rule_names(''); c.profile_names('');"
        "c.experiment_names(''); print(*{'pandas', 'yaml', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
