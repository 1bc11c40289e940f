"""Names of what is being written, and what becomes of it when its writer was killed."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from radiomics_crlm.provenance import unfinished as module
from radiomics_crlm.provenance.unfinished import remove_leftovers, unfinished

ELSEWHERE = ".table.parquet.0123abcd-17-89abcdef"
"""Left by a process of another machine."""


@pytest.fixture(scope="module")
def ended() -> str:
    """Left by a process of this machine that has ended."""
    program = (
        "from pathlib import Path; from radiomics_crlm.provenance.unfinished import unfinished; "
        "print(unfinished(Path('scan.nii.gz')))"
    )
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize("name", ["x", "é" * 100, "a.b", "[x]*?", "肝転移.csv", "🫀" * 60])
def test_a_name_is_hidden_new_and_fits(tmp_path: Path, name: str) -> None:
    one, other = (unfinished(tmp_path / name) for _ in range(2))
    assert one != other
    assert one.parent == tmp_path
    one.write_bytes(b"")
    (tmp_path / "y").write_bytes(b"")
    remove_leftovers(tmp_path, of="y")
    assert names(tmp_path) == {one.name, "y"}
    remove_leftovers(tmp_path, of=name)
    assert names(tmp_path) == {"y"}


@pytest.mark.parametrize(("depth", "left"), [(0, 2), (1, 1), (2, 0), (None, 0)])
def test_leftovers_are_looked_for_so_many_levels_down(tmp_path: Path, depth: int | None, left: int) -> None:
    for place in (tmp_path, tmp_path / "one", tmp_path / "one" / "two"):
        place.mkdir(exist_ok=True)
        (place / ELSEWHERE).write_bytes(b"half")
        os.utime(place / ELSEWHERE, (2**32, 2**32))  # by the clock of another machine
    remove_leftovers(tmp_path, depth=depth)
    assert len(list(tmp_path.rglob(ELSEWHERE))) == left
    assert not (tmp_path / ELSEWHERE).exists()


def test_only_leftovers_go_and_links_are_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "precious").write_text("x")
    out = tmp_path / "out"
    out.mkdir()
    (out / ELSEWHERE).symlink_to(mine)
    half = out / unfinished(Path("image.nii"))
    (half / "deep").mkdir(parents=True)
    (half / "deep" / ELSEWHERE).write_bytes(b"half")  # gone with the folder that holds it
    kept = {".notes", ELSEWHERE.upper(), ELSEWHERE[1:], f"{ELSEWHERE}0", ".x.0123abcd-017-89abcdef", ".git"}
    for name in kept:
        (out / name).write_text("mine")
    remove_leftovers(out)
    assert {path.name for path in out.iterdir()} == kept
    assert (mine / "precious").read_text() == "x"


def test_what_nobody_writes_any_more_goes_at_once_and_the_rest_when_it_is_old(tmp_path: Path, ended: str) -> None:
    own, young, old = unfinished(tmp_path / "x").name, ELSEWHERE, ELSEWHERE.replace("-17-", "-18-")
    for name in (own, young, old, ended):
        (tmp_path / name).write_bytes(b"half")
    before = time.time() - 100
    for name in (own, old):  # a writer that lives may pause, as between two slow patients
        os.utime(tmp_path / name, (before, before))
    remove_leftovers(tmp_path, idle_s=60)
    assert names(tmp_path) == {own, young}
    remove_leftovers(tmp_path)
    assert names(tmp_path) == set()


def test_a_writer_that_was_killed_but_not_yet_buried(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from radiomics_crlm.provenance.unfinished import unfinished; "
        "unfinished(Path(sys.argv[1])).write_bytes(b''); print('written', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "x")], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        remove_leftovers(tmp_path, idle_s=60)
        assert len(names(tmp_path)) == 1
        writer.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, writer.pid, os.WEXITED | os.WNOWAIT)  # it stays in the list of processes
        remove_leftovers(tmp_path, idle_s=60)
        if Path("/proc/self/stat").exists():
            assert names(tmp_path) == set()
    remove_leftovers(tmp_path, idle_s=60)
    assert names(tmp_path) == set()


def test_without_a_list_of_processes_the_system_is_asked(
    tmp_path: Path, ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = unfinished(tmp_path / "x").name
    for name in (own, ended):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (0, 0))
    read = Path.read_bytes

    def no_list(path: Path) -> bytes:
        if path.is_relative_to("/proc"):
            raise FileNotFoundError
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", no_list)
    remove_leftovers(tmp_path, idle_s=60)
    assert names(tmp_path) == {own}


def test_where_asking_would_stop_the_process_only_age_counts(
    tmp_path: Path, ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ended).write_bytes(b"half")
    monkeypatch.setattr(module, "os", type("Windows", (), {"name": "nt"}))
    remove_leftovers(tmp_path, idle_s=60)
    assert names(tmp_path) == {ended}


def test_processes_of_another_machine_or_container_are_not_mistaken_for_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {unfinished(tmp_path / "x").name.split(".")[-1].split("-")[0]}
    (tmp_path / "boot").write_text("another start\n")
    (tmp_path / "pid").write_text("another container")
    changes = [
        (platform, "node", lambda: "elsewhere-\udcff"),
        (module, "_BOOT", tmp_path / "boot"),
        (module, "_CONTAINER", tmp_path / "pid"),
        (module, "_BOOT", tmp_path / "absent"),
    ]
    for count, (owner, name, value) in enumerate(changes, 2):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, value)
            module._machine.cache_clear()
            seen.add(unfinished(tmp_path / "x").name.split(".")[-1].split("-")[0])
        assert len(seen) == count
    module._machine.cache_clear()


def test_what_may_not_be_removed_stays(tmp_path: Path, ended: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError

    (tmp_path / ended).write_bytes(b"half")
    monkeypatch.setattr(Path, "unlink", refuse)
    remove_leftovers(tmp_path, idle_s=60)
    assert names(tmp_path) == {ended}
