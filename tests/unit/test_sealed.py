"""A sealed folder that changes under the reader's hands, cannot be opened, or cannot be put in its place."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.files import canonical_json
from radiomics_crlm.scoring import sealed
from radiomics_crlm.scoring.sealed import DESCRIPTION, MANIFEST, seal, unseal

FILES = {DESCRIPTION: b'{"versions": {"radiomics_crlm": "7.1.0"}}\n', "model.json": b"{}\n"}
CAPS = dict.fromkeys(FILES, 1000)
REQUIRED = frozenset(FILES)


def _link(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("swap", "words"),
    [
        (Path.unlink, "model.json: the bundle is refused: a file cannot be opened"),
        (_link, "model.json: the bundle is refused: a file cannot be opened"),
        (_pipe, "model.json: the bundle is refused: there is something that is no plain file"),
        (lambda path: path.write_bytes(b"{}" + b" " * 2000), "model.json: the bundle is refused: a file is too large"),
    ],
    ids=["gone", "a link", "a pipe", "grown"],
)
def test_a_file_that_is_swapped_after_the_listing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: Callable[[Path], object], words: str
) -> None:
    folder = tmp_path / "b"
    seal(folder, FILES)
    listing = sealed._entries

    def raced(asked: Path) -> set[str]:
        found = listing(asked)
        swap(asked / "model.json")
        return found

    monkeypatch.setattr(sealed, "_entries", raced)
    with pytest.raises(InputError, match=words):
        unseal(folder, CAPS, required=REQUIRED)


def test_a_file_in_place_of_the_folder_that_nobody_may_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "b").write_bytes(b"PK")

    def closed(_: Path) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sealed, "_open", closed)
    with pytest.raises(InputError, match="a bundle is a folder, not a file.*got something else"):
        unseal(tmp_path / "b", CAPS, required=REQUIRED)


@pytest.mark.parametrize(
    ("description", "by"),
    [
        (FILES[DESCRIPTION], ", written by radiomics_crlm 7.1.0"),
        (b'{"versions": {"radiomics_crlm": "7\\n1"}}', ""),
        (b'{"versions": ["7.1.0"]}', ""),
        (b"\x80\x04", ""),
        (None, ""),
    ],
    ids=["named", "no version", "no versions", "no JSON", "absent"],
)
def test_a_newer_format_is_told_with_its_writer_if_that_can_be_read(
    tmp_path: Path, description: bytes | None, by: str
) -> None:
    folder = tmp_path / "b"
    seal(folder, FILES)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(canonical_json(manifest | {"protocol": 9}) + "\n")
    (folder / DESCRIPTION).unlink()
    if description is not None:
        (folder / DESCRIPTION).write_bytes(description)
    with pytest.raises(InputError, match=rf"expected protocol 1 or 2; got protocol 9{by}\. Update this program"):
        unseal(folder, CAPS, required=REQUIRED)


def test_a_folder_that_cannot_be_put_in_its_place_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Path, _: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="No space left"):
        seal(tmp_path / "b", FILES)
    assert list(tmp_path.iterdir()) == []


def test_the_same_folder_sealed_by_another_process_meanwhile_is_as_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def late(content: dict[str, bytes]) -> Callable[[Path, Path], Path]:
        def after_another(self: Path, target: Path) -> Path:
            monkeypatch.setattr(Path, "rename", rename)
            seal(tmp_path / "b", content)
            return rename(self, target)

        return after_another

    monkeypatch.setattr(Path, "rename", late(FILES))
    digest = seal(tmp_path / "b", FILES)
    assert unseal(tmp_path / "b", CAPS, required=REQUIRED).sha256 == digest
    monkeypatch.setattr(Path, "rename", late(FILES))
    with pytest.raises(InputError, match="already holds something else and is not overwritten"):
        seal(tmp_path / "b", FILES | {"model.json": b'{"a": 1}\n'})
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
