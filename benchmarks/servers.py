"""The servers that the benchmark of serving compares: each started as its users start it, one thread a worker."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import lightgbm as lgb
import mlflow.lightgbm
import orjson
import psutil

from insurance_claims.model import MODEL_FILE
from ml_service.platforms.local.endpoints import LocalEndpoints
from ml_service.platforms.local.probe import free_port
from ml_service.platforms.local.programs import Serving
from ml_service.platforms.local.serving_command import HOST, SCORE_SCRIPT, server_command
from ml_service.platforms.local.supervision import Supervisor

_HANDLERS = Path(__file__).with_name("handlers")
_ROOT = Path(__file__).resolve().parents[1]
_MLFLOW_MODEL = "mlflow-model"

OURS = "score.py"
ROUTED = "score.py, through the router"
EMPTY = "empty handler, raw HTTP"
EMPTY_PLAIN = "empty handler, plain"
DATAFRAME = "DataFrame and sklearn wrapper"
MLFLOW = "mlflow models serve"
FASTAPI = "FastAPI and uvicorn"

SCRIPTS = {
    OURS: SCORE_SCRIPT,
    EMPTY: _HANDLERS / "empty_raw.py",
    EMPTY_PLAIN: _HANDLERS / "empty_plain.py",
    DATAFRAME: _HANDLERS / "dataframe_sklearn.py",
}
"""What runs in the inference server."""

SERVERS = (OURS, ROUTED, EMPTY, EMPTY_PLAIN, DATAFRAME, MLFLOW, FASTAPI)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        url: scoring address.
        rows_field: of the request's JSON that holds the rows.
        processes: that do the work.
        headers: that a request needs.
    """

    url: str
    rows_field: str
    processes: list[psutil.Process]
    headers: Mapping[str, str] = field(default_factory=dict)

    def cpu_seconds(self) -> float:
        """Processor time that its processes have used so far."""
        times = [process.cpu_times() for process in self.processes]
        return float(sum(time.user + time.system for time in times))

    def body(self, rows: list[list[float]]) -> bytes:
        """A request with these rows."""
        return orjson.dumps({self.rows_field: rows})


@dataclass(frozen=True, slots=True)
class _Command:
    """How a server is started, where it says that it is there, and where it scores."""

    argv: list[str]
    environment: Mapping[str, str]
    port: int
    alive: str = "/"
    path: str = "/score"
    rows_field: str = "data"


@contextmanager
def serve_all(model_dir: Path, workers: int) -> Iterator[dict[str, Server]]:
    """Start every server with the same model and wait until all answer.

    Args:
        model_dir: of ``benchmarks.models.make_model``.
        workers: processes of each.

    Raises:
        RuntimeError: one does not start.
    """
    with ExitStack() as stack:
        commands = {
            **{name: _inference_server(model_dir, workers, path) for name, path in SCRIPTS.items()},
            MLFLOW: _mlflow(model_dir, workers),
            FASTAPI: _fastapi(model_dir, workers),
        }
        # All at once: most of a start is imports.
        started = {name: stack.enter_context(_running(own)) for name, own in commands.items()}
        found = {ROUTED: stack.enter_context(_routed(model_dir, workers))}
        for name, command in commands.items():
            _wait(name, started[name], f"http://{HOST}:{command.port}{command.alive}")
            process = psutil.Process(started[name].pid)
            processes = [process, *process.children(recursive=True)]
            url = f"http://{HOST}:{command.port}{command.path}"
            found[name] = Server(url, command.rows_field, processes)
        yield {name: found[name] for name in SERVERS}


def _inference_server(model_dir: Path, workers: int, script: Path) -> _Command:
    port = free_port()
    argv, environment = server_command(model_dir, port, workers=workers, entry_script=script)
    return _Command(argv, environment, port)


def _mlflow(model_dir: Path, workers: int) -> _Command:
    path = model_dir.parent / _MLFLOW_MODEL
    if not path.exists():
        booster = lgb.Booster(model_file=model_dir / MODEL_FILE)
        # Named, so that nothing is inferred by loading it.
        mlflow.lightgbm.save_model(booster, str(path), pip_requirements=["lightgbm"])
    port = free_port()
    argv = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(path)]
    argv += ["--host", HOST, "--port", str(port), "--workers", str(workers)]
    argv += ["--env-manager", "local"]
    return _Command(argv, {}, port, "/ping", "/invocations", "inputs")


def _fastapi(model_dir: Path, workers: int) -> _Command:
    port = free_port()
    argv = [sys.executable, "-m", "uvicorn", "benchmarks.handlers.fastapi_app:app"]
    argv += ["--host", HOST, "--port", str(port), "--workers", str(workers), "--no-access-log"]
    return _Command(argv, {"AZUREML_MODEL_DIR": str(model_dir)}, port)


@contextmanager
def _running(command: _Command) -> Iterator[subprocess.Popen[bytes]]:
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, **threads, **command.environment}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command.argv, cwd=_ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    # mlflow's command does not pass the signal on to the server that it started.
    below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    for child in below:
        with suppress(psutil.NoSuchProcess):
            child.terminate()
    process.wait(timeout=60)
    psutil.wait_procs(below, timeout=60)


@contextmanager
def _routed(model_dir: Path, workers: int) -> Iterator[Server]:
    with deployed(lambda version: model_dir, Serving(workers=workers)) as endpoints:
        endpoint = endpoints.deploy("staging", 1, lambda line: None)
        processes = Supervisor(endpoints.folder("staging")).strays()
        headers = {"Authorization": f"Bearer {endpoint.key}"}
        yield Server(endpoint.url, "data", processes, headers)


@contextmanager
def deployed(models: Callable[[int], Path], serving: Serving) -> Iterator[LocalEndpoints]:
    """Endpoints of the local platform in a folder of their own; whatever is deployed there is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as name:
        endpoints = LocalEndpoints(Path(name), models, "insurance_claims", serving=serving)
        try:
            yield endpoints
        finally:
            endpoints.remove("staging", lambda line: None)


def _wait(name: str, process: subprocess.Popen[bytes], url: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"{name} did not start at {url}")
