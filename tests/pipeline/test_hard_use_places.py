"""Other locales, time zones and places: the outputs are the same bytes as in plain conditions.

What tells of the run itself (times, memory, the tracking store) is not compared.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hard_use import BY_NAME, DONE, Work, can_mount, differences, files, finish, settings, small_disk, write_inputs

pytestmark = pytest.mark.xdist_group("hard use")
COMPARED = ("run", "extract", "score", "card", "sheet")
LONG = "a very long name " * 14
DECOMPOSED = "Leberzentrum Mu\u0308nchen"


@dataclass(frozen=True)
class Conditions:
    """Variables of the environment, and names of the folders of inputs, of outputs, and of the home."""

    variables: Mapping[str, str] = field(default_factory=dict)
    inputs: str = "inputs"
    out: str = "out"
    home: str = "home"
    relative: bool = False


CONDITIONS = {
    "C": Conditions(
        {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "Ärzte Köln", "肝転移"
    ),
    "POSIX": Conditions({"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}, out="Ergebnis ü"),
    "no variables": Conditions({"LC_ALL": "", "LANG": "", "LANGUAGE": ""}),
    "German": Conditions({"LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8", "LANGUAGE": "de"}),
    "Turkish": Conditions({"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}),
    "Kiritimati": Conditions({"TZ": "Pacific/Kiritimati"}),
    "St John's": Conditions({"TZ": "America/St_Johns"}),
    "no such zone": Conditions({"TZ": "Nowhere/At_All"}),
    "UTF-8 mode": Conditions({"PYTHONUTF8": "1"}),
    "spaces": Conditions(inputs="my inputs", out=" of  spaces ", home="my home"),
    "umlauts": Conditions(inputs="Ärzte Köln", out="Übergrößenträger", home="Jörg"),
    "decomposed": Conditions(inputs=DECOMPOSED, out=DECOMPOSED + " out", home=DECOMPOSED + " home"),
    "CJK": Conditions(inputs="肝転移 입력", out="结果", home="ホーム"),
    "emoji": Conditions(inputs="🩻 scans", out="📈", home="🏠"),
    "signs": Conditions(inputs="100 % [a]{b} #1 ?x=1&y", out='o\'ut "quoted" $HOME ;', home="~home"),
    "long": Conditions(inputs=LONG[:240].strip(), out=LONG[3:250].strip()),
    "leading dash": Conditions(inputs="-inputs", out="--out", relative=True),
    "relative": Conditions(relative=True),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("hard") / "inputs")


@pytest.fixture(scope="module")
def plain(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """What each command leaves in plain conditions."""
    folder = tmp_path_factory.mktemp("plain")
    return {name: at(Conditions(), BY_NAME[name], inputs, folder) for name in COMPARED}


def at(there: Conditions, work: Work, inputs: Path, folder: Path, **more: str) -> dict[str, bytes]:
    """The files of a command that is given under some conditions."""
    folder.mkdir(exist_ok=True)
    (folder / there.home).mkdir(exist_ok=True)
    named = folder / there.inputs
    if not named.exists():
        shutil.copytree(inputs, named)
    out = work.prepare(inputs, folder / there.out)
    # As for any program, a name that begins with a dash is given as ./-name.
    known = (f"./{there.inputs}", f"./{there.out}") if there.relative else (named, out)
    arguments = work.command(*known)
    env = settings(HOME=str(folder / there.home), XDG_CACHE_HOME=str(folder / there.home), **there.variables, **more)
    code, said, errors = finish(arguments, env=env, cwd=folder)
    assert code in DONE, (said, errors)
    assert "Traceback" not in said + errors
    return files(out, work.besides)


def require_locale(name: str) -> None:
    """Skip where a locale is not installed: its name would then stand for C."""
    environment = os.environ | {"LC_ALL": name}
    asked = [sys.executable, "-c", "import locale; locale.setlocale(locale.LC_ALL, '')"]
    if subprocess.run(asked, env=environment, capture_output=True, check=False).returncode:
        pytest.skip(f"the locale {name} is not installed (localedef makes it)")


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPARED)
@pytest.mark.parametrize("there", CONDITIONS.values(), ids=CONDITIONS.keys())
def test_the_same_bytes_everywhere(
    there: Conditions, name: str, inputs: Path, plain: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    require_locale(there.variables.get("LC_ALL", ""))
    assert differences(at(there, BY_NAME[name], inputs, tmp_path), plain[name]) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPARED)
def test_temporary_files_on_another_device(
    name: str, inputs: Path, plain: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    if not can_mount(tmp_path / "probe"):
        pytest.skip("this user may not mount a small disk (needs root and tmpfs)")
    with small_disk(tmp_path / "other", 64 << 20):
        assert os.stat(tmp_path / "other").st_dev != os.stat(tmp_path).st_dev
        found = at(Conditions(), BY_NAME[name], inputs, tmp_path / "here", TMPDIR=str(tmp_path / "other"))
        assert not list((tmp_path / "other").iterdir())
    assert differences(found, plain[name]) == []


def test_a_locale_and_a_name_that_are_not_plain(tmp_path: Path) -> None:
    """The daily part: a command without inputs, in ASCII, to a folder with all sorts of signs."""
    there = CONDITIONS["C"]
    work = BY_NAME["rules docs"]
    (tmp_path / "inputs").mkdir()
    plain = at(Conditions(), work, tmp_path / "inputs", tmp_path / "a")
    assert len(plain) > 10
    assert at(there, work, tmp_path / "inputs", tmp_path / "b") == plain
    assert sys.getfilesystemencoding() == "utf-8"
