"""What a default installation brings along: locked with hashes, from no address, under permissive licences."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
from installed_licences import COPYLEFT, LOCKS, PAGE, PAGE_PYTHON, kind, licence, locked, main, page, said_licence

FILES = sorted(LOCKS.glob("*.txt"))
RUNTIME = [path for path in FILES if path.name.startswith("runtime-")]
HERE = LOCKS / f"runtime-py3{sys.version_info.minor}.txt"


def test_there_is_a_lock_for_each_python() -> None:
    expected = [f"{kind}py3{minor}.txt" for kind in ("", "runtime-") for minor in (11, 12, 13)]
    assert [path.name for path in FILES] == ["lowest-py311.txt", *expected]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_requirement_has_a_hash_and_no_address(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"https?://|--index|--find-links|^-e |@ file", text, re.MULTILINE)
    blocks = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE).strip())
    assert len(blocks) == len(locked(path)) > 50
    assert all("--hash=sha256:" in block for block in blocks)


@pytest.mark.parametrize("path", RUNTIME, ids=lambda path: path.stem)
def test_the_default_installation_is_part_of_the_tested_one(path: Path) -> None:
    tested = locked(path.with_name(path.name.removeprefix("runtime-")))
    assert locked(path).items() <= tested.items()


def test_the_default_installation_has_no_copyleft_but_that_of_single_files() -> None:
    kinds = {name: kind(licence(name)) for name in locked(HERE)}
    assert {name for name, found in kinds.items() if found != "permissive"} == {"certifi", "tqdm"}
    assert kinds["certifi"] == kinds["tqdm"] == "weak copyleft"
    assert not [name for name in kinds if COPYLEFT.search(said_licence(name))]


@pytest.mark.parametrize(
    "said", ["GPL-3.0-only", "LGPL-2.1-or-later", "MIT AND AGPL-3.0", "", "Apache-2.0 OR proprietary", "BSD-4-Clause"]
)
def test_a_licence_that_is_not_known_is_of_no_kind(said: str) -> None:
    assert kind(said) == ""


def test_an_environment_with_a_package_under_the_gpl_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sksurv")  # an oracle of the tests, under the GPL
    assert main(["check"]) == 1
    assert "scikit-survival: GPL-3.0-or-later" in capsys.readouterr().out


def test_the_page_says_what_is_locked() -> None:
    installed = {name: metadata.version(name) for name in locked(HERE)}
    if sys.version_info[:2] != PAGE_PYTHON or installed != locked(HERE):
        pytest.skip("the page is about the lock of Python 3.11, which is not what is installed here")
    assert PAGE.read_text(encoding="utf-8") == page()
