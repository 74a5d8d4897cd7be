"""How one model version is served on this machine: the command line and environment of the inference server.

The server is the one inside Azure Machine Learning's own images, so the same scoring script answers in both places.
Its own launcher binds to every network interface; gunicorn is therefore started directly, on loopback.
"""

from __future__ import annotations

import sys
from pathlib import Path

import insurance_claims
from insurance_claims.errors import ClaimsError
from ml_service.platforms.local import worker_starts

HOST = "127.0.0.1"
APP = "azureml_inference_server_http.server.entry:app"
APP_ROOT = Path(insurance_claims.__file__).resolve().parent.parent
"""The folder that holds the model package, so that a scoring script can import it."""

SCORE_SCRIPT = APP_ROOT / "insurance_claims" / "scoring" / "score.py"

START_SECONDS = 120
"""The longest that loading the model may take, on a machine that has much else to do."""


def server_command(
    model_dir: Path,
    port: int,
    *,
    workers: int = 1,
    entry_script: Path = SCORE_SCRIPT,
    request_seconds: int = 30,
) -> tuple[list[str], dict[str, str]]:
    """The command that serves a model version, and the variables to set on top of the caller's environment.

    The process answers ``GET /`` once the model is loaded, and ``POST /score``. It exits with 3 where the model cannot
    be loaded. SIGTERM lets the requests in flight finish; a worker that dies is replaced.

    Args:
        model_dir: the model folder; its path ends in ``<name>/<version>``, as on Azure Machine Learning.
        port: on loopback.
        workers: processes. Each scores one request at a time, on one thread.
        entry_script: defines ``init()`` and ``run()``.
        request_seconds: the longest that one request may take, sending its body included.

    Raises:
        ClaimsError: ``model_dir`` does not end in ``<name>/<version>``.
    """
    model_dir = model_dir.absolute()
    if not model_dir.name.isdecimal():
        raise ClaimsError(f"{model_dir} cannot be served: its path has to end in <name>/<version>")
    argv = [
        *(sys.executable, "-m", "gunicorn", APP),
        *("--config", worker_starts.__file__),
        *("--bind", f"{HOST}:{port}"),
        *("--workers", str(workers)),
        # The server's own time limit needs a signal, which only a worker of this class can take.
        *("--worker-class", "sync"),
        # Above the server's own limit, which answers; this one kills. A worker that still starts is not to be killed.
        *("--timeout", str(request_seconds + START_SECONDS)),
        *("--graceful-timeout", str(request_seconds)),
        *("--chdir", str(APP_ROOT)),
        # The server's log tells of worker starts and deaths already; this would print each twice.
        *("--error-logfile", "/dev/null"),
    ]
    environment = {
        "AML_APP_ROOT": str(APP_ROOT),
        "AZUREML_ENTRY_SCRIPT": str(entry_script.absolute()),
        "AZUREML_MODEL_DIR": str(model_dir),
        "SCORING_TIMEOUT_MS": str(1000 * request_seconds),
        # Single rows gain nothing from threads, and on a busy machine lose most of their speed to them.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "AML_APP_INSIGHTS_ENABLED": "false",
        # Whatever the caller's environment says must not change how the server runs.
        "AML_CORS_ORIGINS": "",
        "AZUREML_CONFIG_FILE": "",
        "AZUREML_SOURCE_DIRECTORY": "",
        "GUNICORN_CMD_ARGS": "",
    }
    return argv, environment
