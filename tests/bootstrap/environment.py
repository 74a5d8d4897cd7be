"""What `make` installs for a project, taken from where these tests run: two minutes and a gigabyte less."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

_PROGRAMS = ("mlops", "pytest")
_OUTER = re.compile(r"MAKE|MFLAGS|PYTEST|COV_|VIRTUAL_ENV|PYTHONPATH|TESTS$|RESULTS$|DATA$|MLOPS_")
"""Variables of the `make` and of the tests that run this one."""


def give_environment(project: Path) -> None:
    """Make a project's .venv as its Makefile would leave it, with the packages of this environment.

    Args:
        project: made by bootstrap. Its own code goes before that of the template, which is not looked at.
    """
    folder = project / ".venv"
    venv.create(folder, symlinks=True)
    packages = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    site = next((folder / "lib").glob("python*/site-packages"))
    # A path alone: files of that folder which name further paths, such as the template's, are not read.
    (site / "project.pth").write_text("\n".join([str(project), *packages]) + "\n")
    for name in _PROGRAMS:
        _copy_program(Path(sys.executable).with_name(name), folder / "bin")
    makefile = (project / "Makefile").read_text(encoding="utf-8")
    stamps = [folder / "bin" / "uv", *(folder / name for name in _stamps(makefile))]
    for stamp in stamps:
        stamp.touch()
    newest = stamps[-1].stat().st_mtime_ns
    for stamp in stamps:
        # One that is older than another would be made again.
        os.utime(stamp, ns=(newest, newest))


def _stamps(makefile: str) -> list[str]:
    """Names of the files that say what is installed."""
    return re.findall(r"^\$\(VENV\)/(\.\w+):", makefile, re.MULTILINE)


def _copy_program(program: Path, folder: Path) -> None:
    content = program.read_bytes()
    if not content.startswith(b"#!"):
        (folder / program.name).symlink_to(program)
        return
    _, _, code = content.partition(b"\n")
    copy = folder / program.name
    copy.write_bytes(b"#!" + os.fsencode(folder / "python") + b"\n" + code)
    copy.chmod(0o755)


def make(project: Path, *arguments: str) -> str:
    """What `make` prints in a project.

    Raises:
        AssertionError: it failed; with the end of what it printed.
    """
    kept = {key: value for key, value in os.environ.items() if not _OUTER.match(key)}
    result = subprocess.run(
        ["make", *arguments],
        cwd=project,
        env=kept,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    return result.stdout
