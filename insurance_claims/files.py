"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from insurance_claims.errors import ClaimsError


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a folder beside ``target`` to write into; rename it to ``target`` when the block ends well.

    Whatever the block raises, and whenever the process dies, ``target`` is either complete or as it was. Only where it
    is a mount point, which nothing can be renamed over, is it filled file by file at the end.

    Raises:
        ClaimsError: ``target`` exists and is not an empty folder.
    """
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ClaimsError(f"{target} exists already: choose another output, or remove it first")
    mounted = os.path.ismount(target)
    beside = None if mounted else target.parent
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=beside))
    try:
        aside.chmod(0o755)
        yield aside
        if mounted:
            shutil.copytree(aside, target, dirs_exist_ok=True)
            shutil.rmtree(aside)
        else:
            if target.exists():
                target.rmdir()
            aside.rename(target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


@contextmanager
def whole_file(target: Path) -> Iterator[IO[bytes]]:
    """Give a file beside ``target`` to write into; flush it to disk and rename it when the block ends well.

    Whatever the block raises, ``target`` is either complete or as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        os.fchmod(handle, 0o644)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_whole(target: Path, content: str | bytes) -> None:
    """Write a file that never holds half of ``content``."""
    with whole_file(target) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_json(target: Path, content: Any) -> None:
    """Write ``content`` as indented JSON with a last newline. NaN and infinities are refused with ValueError."""
    write_whole(target, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ClaimsError: it is missing, cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ClaimsError(f"{path} does not exist") from None
    except OSError as error:
        raise ClaimsError(f"{path} cannot be read: {error.strerror}") from None
    # Not only what json finds wrong: bytes that are no UTF-8 and numbers of too many digits too.
    except ValueError as error:
        raise ClaimsError(f"{path} is not JSON: {error}") from None
    except RecursionError:
        raise ClaimsError(f"{path} is not JSON that can be read: it is nested too deeply") from None


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
