"""What steps print, while they run and afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_service.platforms.base import Log

_FILE = "user_logs/std_log.txt"
_REASON = "error: "
_LAST_LINES = 200
_KILLED = 137
"""What a container reports of a process that was killed."""


class StepLog:
    """The log of one step, read piece by piece from where it was left."""

    def __init__(self, session: Any, name: str, log: Log) -> None:
        self._session = session
        self._name = name
        self._log = log
        self._read = 0
        self._rest = b""
        self._address: str | None = None

    def knows_address(self) -> bool:
        """Whether it was told where the log is."""
        return self._address is not None

    def found(self, files: Mapping[str, str]) -> None:
        """Say where the log is.

        Args:
            files: log files of the step's run and their addresses.
        """
        self._address = log_address(files)

    def follow(self, ended: bool = False) -> None:
        """Hand on what was printed since the last time, line by line.

        Args:
            ended: nothing will follow: a last line need not be complete.

        Raises:
            requests.RequestException: the storage account does not answer.
        """
        if self._address is not None:
            self._rest += self._more(self._address)
        *lines, self._rest = self._rest.split(b"\n")
        if ended and self._rest:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._log(f"[{self._name}] {line.decode('utf-8', 'replace').rstrip()}")

    def _more(self, address: str) -> bytes:
        answer = self._session.get(address, headers={"Range": f"bytes={self._read}-"}, timeout=60)
        # 416: nothing is beyond what was read; 404: the step has printed nothing yet.
        if answer.status_code in (404, 416):
            return b""
        answer.raise_for_status()
        content: bytes = answer.content
        if answer.status_code != 206:
            content = content[self._read :]
        self._read += len(content)
        return content


def log_address(files: Mapping[str, str]) -> str | None:
    """Where a step's own output is among the log files of its run; on old nodes it has another name."""
    if _FILE in files:
        return files[_FILE]
    drivers = sorted(name for name in files if name.endswith("driver_log.txt"))
    return files[drivers[-1]] if drivers else None


def why(text: str, error: Any) -> str:
    """Why a step failed: its own reason where it printed one, as steps of this project do.

    Args:
        text: what it printed.
        error: what Azure says of it.
    """
    lines = text.rstrip().splitlines()[-_LAST_LINES:]
    starts = [at for at, line in enumerate(lines) if line.startswith(_REASON)]
    if starts:
        return "\n".join([lines[starts[-1]].removeprefix(_REASON), *lines[starts[-1] + 1 :]])
    said = _message(error)
    if f"code {_KILLED}" in said:
        return "ended by SIGKILL: the node may have run out of memory"
    if lines:
        return f"{lines[-1]} ({said})" if said else lines[-1]
    return said or "it printed nothing"


def _message(error: Any) -> str:
    """The first line of what Azure says of a failed run."""
    inner = error.get("error", error) if isinstance(error, dict) else {}
    message = str((inner or {}).get("message") or "").strip()
    return message.splitlines()[0].strip() if message else ""
