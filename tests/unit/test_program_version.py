"""One version, however it is asked for; the program starts under each of its names; shells can complete it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import radiomics_crlm

REPOSITORY = Path(__file__).parents[2]
MODULE = [sys.executable, "-m", "radiomics_crlm"]


def said(command: list[str], **environment: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **environment})
    return done.stdout


def test_the_project_file_states_the_version_of_the_package() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == radiomics_crlm.__version__


@pytest.mark.parametrize("asked", ["--version", "version"])
def test_the_program_says_its_version(asked: str) -> None:
    assert said([*MODULE, asked]) == f"{radiomics_crlm.__version__}\n"


def test_a_shell_completes_commands() -> None:
    # What the script of `crlm --show-completion` asks for.
    line = [sys.executable, "-c", "import sys; sys.argv[0] = 'crlm'; from radiomics_crlm.cli import main; main()"]
    offered = said(line, _CRLM_COMPLETE="complete_bash", COMP_WORDS="crlm ru", COMP_CWORD="1")
    assert offered.split() == ["run", "rules"]
