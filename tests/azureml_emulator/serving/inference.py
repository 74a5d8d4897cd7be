"""One container of a web service: the inference server of Azure ML's images, on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.azureml_emulator.serving import gunicorn_config

HOST = "127.0.0.1"
START_SECONDS = 120
_REQUEST_SECONDS = 60
_STOP_SECONDS = 10
_ERROR = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception)\b: .+")
_DESCRIPTION = "container.json"
_LOG = "container.log"
_MOST_BYTES = 1 << 30


class ContainerFailed(Exception):
    """A container ended before it answered; says why."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a container is made of.

    Attributes:
        assets: file to where it goes; a folder that ends in ``/`` has an archive unpacked into it.
        models: file to path below the models' folder: ``NAME/VERSION/...``.
        model_dir: the one model's folder below the models' folder; empty where there are several or none.
        variables: of the environment, with the entry script's place among them.
    """

    assets: Mapping[str, Path]
    models: Mapping[str, Path]
    model_dir: str
    variables: Mapping[str, str]


def build(folder: Path, image: Image) -> None:
    """Lay out a container's files.

    Raises:
        ContainerFailed: an asset is missing, or no archive that can be unpacked.
    """
    application = folder / "azureml-app"
    application.mkdir(parents=True)
    for place, file in image.assets.items():
        if not file.is_file():
            raise ContainerFailed(f"asset {place} was never uploaded")
        if place.endswith("/"):
            _unpack(file, application, place)
        else:
            shutil.copyfile(file, application / place)
    for place, file in image.models.items():
        target = folder / "azureml-models" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    description = {"model_dir": image.model_dir, "variables": dict(image.variables)}
    (folder / _DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")


def _unpack(file: Path, to: Path, place: str) -> None:
    """Unpack an archive, unless something of it would lie elsewhere or it is a bomb."""
    try:
        with tarfile.open(file) as archive:
            size = 0
            for member in archive:
                size += member.size
                if size > _MOST_BYTES:
                    raise ContainerFailed(
                        f"asset {place} unpacks to more than {_MOST_BYTES:,} bytes"
                    )
            archive.extractall(to, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ContainerFailed(f"asset {place} cannot be unpacked: {error}") from None


def log(folder: Path, lines: int) -> str:
    """The last lines that a container printed."""
    with suppress(OSError):
        text = (folder / _LOG).read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:]) if lines > 0 else ""
    return ""


class Container:
    """A running container, started again when it ends by itself.

    Args:
        folder: laid out by ``build``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port: int | None = None
        """Where it answers; None while it does not."""
        self._requests = 0
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            ContainerFailed: it ended instead, or did not answer in time.
        """
        port = await self._spawn()
        try:
            await self._answers(port)
        except BaseException:
            await self.stop()
            raise
        self.port = port
        self._watch = asyncio.create_task(self._keep_alive())

    @contextmanager
    def used(self) -> Iterator[None]:
        """While a request is passed on to it, it is not stopped by ``drain``."""
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    async def drain(self) -> None:
        """Wait until no request is on its way to it: one that was passed on before it was replaced is answered."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                while self._requests:
                    await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """End it, letting it finish what it is answering."""
        self.port = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        process = self._process
        self._process = None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                # Before it listens it does not watch its standard input yet.
                with suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _spawn(self) -> int:
        listener = socket.socket()
        with listener, (self.folder / _LOG).open("ab") as output:
            listener.bind((HOST, 0))
            port: int = listener.getsockname()[1]
            self._process = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    "-m",
                    "gunicorn",
                    "azureml_inference_server_http.server.entry:app",
                ),
                *("--config", gunicorn_config.__file__),
                *("--bind", f"fd://{listener.fileno()}"),
                *("--workers", "1", "--worker-class", "sync"),
                *("--timeout", str(_REQUEST_SECONDS + START_SECONDS), "--graceful-timeout", "5"),
                *("--error-logfile", "/dev/null"),
                cwd=self.folder / "azureml-app",
                env=self._environment(),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=(listener.fileno(),),
            )
        return port

    def _environment(self) -> dict[str, str]:
        description = json.loads((self.folder / _DESCRIPTION).read_text(encoding="utf-8"))
        application = self.folder / "azureml-app"
        models = self.folder / "azureml-models"
        variables: dict[str, str] = dict(description["variables"])
        own = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
        }
        return {
            **own,
            # Nobody wants to wait for what was observed as long as on Azure.
            "MLOPS_TELEMETRY_SECONDS": "1",
            **variables,
            "AML_APP_ROOT": str(application),
            "AZUREML_MODEL_DIR": str(models / description["model_dir"]),
            # The uploaded source comes before the one that the emulator itself was started from.
            "PYTHONPATH": str(application / variables.get("AZUREML_SOURCE_DIRECTORY", "")),
            "PYTHONUNBUFFERED": "1",
            "SCORING_TIMEOUT_MS": str(1000 * _REQUEST_SECONDS),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            # The emulator does not receive the server's own telemetry.
            "AML_APP_INSIGHTS_ENABLED": "false",
        }

    async def _answers(self, port: int) -> None:
        process = self._process
        assert process is not None
        async with aiohttp.ClientSession() as session:
            with suppress(TimeoutError):
                async with asyncio.timeout(START_SECONDS):
                    while process.returncode is None:
                        with suppress(aiohttp.ClientError, OSError):
                            async with session.get(f"http://{HOST}:{port}/") as response:
                                if response.status == 200:
                                    return
                        await asyncio.sleep(0.05)
        if process.returncode is None:
            raise ContainerFailed(f"the container did not answer within {START_SECONDS} s")
        found = _ERROR.findall(log(self.folder, 200))
        # The first is the cause of those after it.
        reason = found[0] if found else f"it exited with {process.returncode}"
        raise ContainerFailed(f"Error in entry script, {reason}")

    async def _keep_alive(self) -> None:
        while self._process is not None:
            await self._process.wait()
            self.port = None
            port = await self._spawn()
            try:
                await self._answers(port)
            except ContainerFailed:
                await asyncio.sleep(5)
            else:
                self.port = port
