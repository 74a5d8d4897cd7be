"""Keeps the processes of one endpoint alive, through a supervisord of its own.

supervisord runs detached from the command that started it and starts again what dies. It listens on a Unix socket in
the endpoint's folder alone, so an answer on that socket comes from the right process, whatever a stale pid file says.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from insurance_claims.files import write_whole
from ml_service.platforms.base import PlatformError
from ml_service.platforms.local import launch
from ml_service.platforms.local.private import write_private
from ml_service.platforms.local.supervisor_rpc import SOCKET, call, short_path

MARKER = "MLOPS_ENDPOINT_FOLDER"
"""Variable that every process of an endpoint carries, so that none is ever overlooked when it is stopped."""

START_SECONDS = 90
"""How long a model server may take until it scores."""

STOP_SECONDS = 35
"""How long a program may take to finish the requests in flight before it is killed."""

LASTS_SECONDS = 10
"""A program that ends sooner failed to start: it is started again after a pause, which grows with every such end."""

_INHERITED = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
"""Variables that go on to the processes. The others may hold secrets of whoever deploys."""


@dataclass(frozen=True, slots=True)
class Program:
    """What is to be kept running."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ProgramState:
    """How a program is doing.

    Attributes:
        name: of the program.
        status: supervisord's: RUNNING, STARTING, BACKOFF, FATAL, EXITED, STOPPING, STOPPED.
        pid: of its process; 0 where it has none.
        seconds: since its process started.
        detail: supervisord's words about it.
    """

    name: str
    status: str
    pid: int
    seconds: float
    detail: str

    @property
    def starting(self) -> bool:
        """Whether it is too young to be blamed for not answering yet."""
        young = self.status == "RUNNING" and self.seconds < START_SECONDS
        return young or self.status in ("STARTING", "BACKOFF", "EXITED")

    @property
    def ended(self) -> bool:
        """Whether supervisord has given it up."""
        return self.status in ("FATAL", "STOPPED", "UNKNOWN")


class Supervisor:
    """The supervisord of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def running(self) -> bool:
        """Whether supervisord answers."""
        try:
            self._call("supervisor.getState")
        except OSError:
            return False
        return True

    def start(self, programs: Sequence[Program]) -> None:
        """Start supervisord with these programs, after taking away what an earlier one left behind.

        Raises:
            PlatformError: it does not start.
        """
        self.kill_strays()
        self._write(programs)
        env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        with short_path(self.folder) as short:
            self._write(programs, short / SOCKET)
            done = subprocess.run(
                [sys.executable, "-m", "supervisor.supervisord", "-c", "supervisord.conf"],
                cwd=self.folder,
                env={**env, MARKER: str(self.folder)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
            )
            answers = done.returncode == 0 and wait_until(self.running, 20)
        if not answers:
            raise PlatformError(
                f"supervisord in {self.folder} does not start: "
                f"{done.stderr.strip() or done.stdout.strip() or self.tail('supervisord', 5)}"
            )

    def apply(self, programs: Sequence[Program]) -> None:
        """Make the running programs these: stop all others, start what is new, has changed or was given up."""
        self._write(programs)
        [[added, changed, removed]] = self._call("supervisor.reloadConfig")
        for name in (*removed, *changed):
            self._call("supervisor.stopProcessGroup", name)
            self._call("supervisor.removeProcessGroup", name)
        for name in (*changed, *added):
            self._call("supervisor.addProcessGroup", name)
        for name, state in self.states().items():
            if state.ended and name not in (*changed, *added):
                with suppress(xmlrpc.client.Fault):
                    self._call("supervisor.startProcess", name, False)

    def states(self) -> dict[str, ProgramState]:
        """Every program's state, by name; none where supervisord does not run."""
        try:
            found = self._call("supervisor.getAllProcessInfo")
        except (OSError, xmlrpc.client.Error):
            return {}
        return {
            item["name"]: ProgramState(
                item["name"],
                item["statename"],
                item["pid"],
                float(item["now"] - item["start"]),
                item["description"] or item["spawnerr"],
            )
            for item in found
        }

    def stop(self) -> None:
        """Stop all programs and supervisord, and leave no process behind."""
        with suppress(OSError, xmlrpc.client.Error):
            self._call("supervisor.shutdown")
            wait_until(lambda: not self.running(), STOP_SECONDS + 10)
        self.kill_strays()

    def strays(self) -> list[psutil.Process]:
        """Every process of this folder, supervisord included, whoever is its parent now."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                own = process.pid == os.getpid()
                if not own and process.environ().get(MARKER) == str(self.folder):
                    found.append(process)
        return found

    def owns(self, pid: int, word: str) -> bool:
        """Whether a process of this folder has this id, and this word on its command line."""
        try:
            process = psutil.Process(pid)
            own = process.environ().get(MARKER) == str(self.folder)
            return own and word in process.cmdline()
        except (psutil.Error, OSError):
            return False

    def kill_strays(self) -> None:
        """End every process of this folder: by SIGTERM, and by SIGKILL what is still there after some seconds."""
        for number, seconds in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            # A process may be starting others while the list is made.
            while found := self.strays():
                for process in found:
                    with suppress(psutil.Error):
                        process.send_signal(number)
                _, alive = psutil.wait_procs(found, timeout=seconds)
                if alive:
                    break

    def log_names(self) -> list[str]:
        """The programs that have written a log."""
        return sorted(path.stem for path in (self.folder / "logs").glob("*.log"))

    def tail(self, name: str, lines: int) -> str:
        """The last lines of a program's log, rotated files included."""
        text = ""
        for suffix in ("", ".1"):
            with suppress(OSError):
                older = (self.folder / "logs" / f"{name}.log{suffix}").read_text(
                    encoding="utf-8", errors="replace"
                )
                text = older + text
            if text.count("\n") > lines:
                break
        return "\n".join(text.splitlines()[-lines:]) if lines > 0 else ""

    def _call(self, method: str, *arguments: str | bool) -> Any:
        return call(self.folder, method, *arguments, seconds=STOP_SECONDS + 15)

    def _write(self, programs: Sequence[Program], socket_path: Path = Path(SOCKET)) -> None:
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        (self.folder / "programs").mkdir(exist_ok=True)
        sections = [_HEAD.format(socket=_escaped(str(socket_path)))]
        files = set()
        for program in programs:
            content = json.dumps({"argv": list(program.argv), "env": dict(program.env)}, indent=2)
            # The content's digest in the name makes supervisord see that a program has changed.
            digest = hashlib.sha256(content.encode()).hexdigest()[:12]
            file = self.folder / "programs" / f"{program.name}.{digest}.json"
            # Its variables may hold a secret.
            write_private(file, content)
            files.add(file)
            command = (sys.executable, "-I", "-S", launch.__file__, f"programs/{file.name}")
            sections.append(
                _PROGRAM.format(name=program.name, command=_escaped(shlex.join(command)))
            )
        write_whole(self.folder / "supervisord.conf", "\n".join(sections))
        for file in set((self.folder / "programs").iterdir()) - files:
            file.unlink()


# Paths are relative to the folder that supervisord is started in.
_HEAD = """\
[supervisord]
logfile = logs/supervisord.log
logfile_maxbytes = 1MB
logfile_backups = 1
pidfile = supervisord.pid
childlogdir = logs

[unix_http_server]
file = {socket}
chmod = 0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""

_PROGRAM = f"""\
[program:{{name}}]
command = {{command}}
autostart = true
autorestart = true
startsecs = {LASTS_SECONDS}
startretries = 100
stopsignal = TERM
stopwaitsecs = {STOP_SECONDS}
killasgroup = true
redirect_stderr = true
stdout_logfile = logs/{{name}}.log
stdout_logfile_maxbytes = 5MB
stdout_logfile_backups = 2
"""


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask again and again until it is true; False where it is not within this time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
