"""Peers in environments of their own: made once, then each is a process that repeats its call when told to."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from measuring import Timed

_WORKER = Path(__file__).with_name("peer_worker.py")
_IMAGING = ("numpy", "SimpleITK", "scipy", "scikit-image", "scikit-learn", "trimesh", "PyWavelets", "pykwalify", "h5py")


@dataclass(frozen=True)
class Peer:
    """A package of others: what pip installs, and the Pythons (minor versions) it works with."""

    name: str
    requirements: tuple[str, ...]
    minors: tuple[int, ...] = (11, 12, 13)


EXTRACTORS = (
    Peer("pyradiomics-cuda", ("pyradiomics-cuda==1.0.4", "numpy")),
    Peer("flash-radiomics", ("flash-radiomics==1.0.0", *_IMAGING)),
    Peer("pictologics", ("pictologics==0.9.0",), (12, 13)),
    Peer("z-rad", ("z-rad==26.9.0",)),
    Peer("mirp", ("mirp==2.7.0",)),
    Peer("pyradiomics", ("pyradiomics",)),
    Peer("WORC", ("WORC",)),
)


class InstallError(Exception):
    """Why a peer is not there."""


def interpreter(peer: Peer, folder: Path) -> Path:
    """Python of the environment of a peer; it is made below ``folder`` if it is not there yet.

    Raises
    ------
    InstallError
        With the last words of pip.
    """
    home = folder / peer.name
    python, failed = home / "bin" / "python", folder / f"{peer.name}.failed"
    if failed.exists():
        raise InstallError(failed.read_text(encoding="utf-8").strip())
    if not (home / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _install(peer, home, python)
        except InstallError as error:
            failed.write_text(f"{error}\n", encoding="utf-8")
            raise
        (home / "installed").touch()
    return python


def _install(peer: Peer, home: Path, python: Path) -> None:
    subprocess.run([_base_python(peer.minors), "-m", "venv", "--clear", str(home)], check=True)
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        shutil.rmtree(home)
        lines = [line.strip() for line in done.stderr.splitlines() if "Error: " in line or line.startswith("ERROR: ")]
        raise InstallError(f"`pip install {peer.requirements[0]}`: {(lines or ['fails'])[0][:160]}")


def _base_python(minors: tuple[int, ...]) -> str:
    """This Python, or another one of this machine that the peer works with.

    Raises
    ------
    InstallError
        If there is none.
    """
    if sys.version_info.minor in minors:
        return sys.executable
    beside = Path(sys.base_prefix).parent.glob("3.*/bin/python")  # as pyenv keeps them
    found = [shutil.which(f"python3.{minor}") for minor in minors] + sorted(map(str, beside))
    for python in filter(None, found):
        ask = [python, "-c", "import sys; print(sys.version_info[1])"]
        said = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()
        if said.isdigit() and int(said) in minors:
            return python
    raise InstallError(f"it needs Python {' or '.join(f'3.{minor}' for minor in minors)}, and none was found")


@dataclass(frozen=True)
class Remote:
    """The call of a peer on one image and mask, as a side of a comparison: each call is one round."""

    python: Path
    peer: str
    image: Path
    mask: Path
    full: bool

    @cached_property
    def _process(self) -> subprocess.Popen[str]:
        arguments = [self.peer, self.image, self.mask, "full" if self.full else "original"]
        command = [str(part) for part in (self.python, _WORKER, *arguments)]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def __call__(self) -> Timed:
        """Seconds of one call by the clock of that process, its values, and the peak of its memory."""
        assert self._process.stdin is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                said = json.loads(line)
                return Timed(said["seconds"], said["values"], said["peak"])
        raise RuntimeError(f"{self.peer} ended with exit code {self._process.wait()}")

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
