"""The bill of materials of the environment: every package of the lock, in CycloneDX."""

from __future__ import annotations

from pathlib import Path

from environment_setup.security.tools import LOCK, ROOT, SecurityError, last_line, run

FILE = "environment.cdx.json"


def write_bill(program: Path, folder: Path, lock: Path = LOCK) -> Path:
    """Write it and check it against CycloneDX's schema.

    Args:
        program: cyclonedx-py.
        folder: that gets the file; made where it is not there.
        lock: a requirements file.

    Returns:
        The file.

    Raises:
        SecurityError: it could not be written, or is not valid.
    """
    file = folder / FILE
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--spec-version", "1.6", "--output-format", "JSON", "--output-reproducible"]
    options += ["--validate", "--pyproject", str(ROOT / "pyproject.toml"), "-o", str(file)]
    result = run(program, "requirements", *options, str(lock))
    if result.returncode:
        raise SecurityError(f"{program.name} failed: {last_line(result.stderr)}")
    return file
