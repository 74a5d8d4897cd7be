"""Make requirements.txt from pyproject.toml, and from it the parts that are installed where less is needed.

``requirements.txt`` is the exact, hash-pinned lock of everything. The parts hold some of its lines and nothing else:

- ``requirements/local.txt``: the local platform (``make demo``)
- ``requirements/azure.txt``: the local platform and Azure ML's SDK
- ``requirements/dask.txt``: the local platform and Dask
- ``requirements/test.txt``: all of that, notebooks, Dask and the tools of the tests
- ``requirements/training.txt``: what the steps of pipelines need on Azure ML's compute
- ``requirements/scoring.txt``: what a scoring image holds
- ``requirements/uv.txt``: the installer

``environment_setup/bench.txt`` is beside them: what ``make bench`` adds, in versions that go with those of the lock.

The conda files of Azure ML's environments are made of the parts ``training`` and ``scoring``.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.txt"
PARTS = ROOT / "requirements"
CONDA = {
    room: ROOT / "insurance_claims" / room / "conda_dependencies.yml"
    for room in ("training", "scoring")
}
"""The conda file of each part that has one."""

TRAINING = (
    "lightgbm",
    "matplotlib",
    "mlflow",
    "numpy",
    "orjson",
    "pandas",
    "pandera",
    "pyarrow",
    "pydantic",
    "pyyaml",
    "scikit-learn",
    "scipy",
    "opencensus-ext-azure",
    "psutil",
    "papermill",
    "ipykernel",
    "azureml-core",
    "azureml-dataset-runtime",
    "azureml-mlflow",
)
"""What the steps and their telemetry import, and what hands them Azure ML's data and tracking."""

SCORING = (
    "lightgbm",
    "numpy",
    "orjson",
    "pyarrow",
    "pydantic",
    "pyyaml",
    "opencensus-ext-azure",
    "psutil",
    "azureml-inference-server-http",
    "gunicorn",
)
"""What score.py, its telemetry, the collection of rows and the server around it import."""

BENCH = (
    "lleaves==1.3.0",  # compiles the trees
    "llvmlite==0.44.0",  # lleaves says no limit, and does not work with newer ones
    "onnxmltools==1.16.0",  # converts the trees
    "skl2onnx==1.20.0",  # onnxmltools imports it
    "onnxruntime==1.31.1",  # evaluates what was converted
)
"""What only the benchmark of predictors imports. No other task installs it, so it is not in requirements.txt."""

_PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)


def main() -> None:
    """Write every lock file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = project["dependencies"]
    extras = project["optional-dependencies"]
    everything = [*base, *(line for extra in extras.values() for line in extra)]
    _compile(everything, LOCK, None)
    by_name = {re.split(r"[=<>\[]", line)[0].lower(): line for line in everything}
    _compile(base, PARTS / "local.txt", LOCK)
    _compile([*base, *extras["azure"]], PARTS / "azure.txt", LOCK)
    _compile([*base, *extras["dask"]], PARTS / "dask.txt", LOCK)
    tests = [line for extra in extras.values() for line in extra]
    _compile([*base, *tests], PARTS / "test.txt", LOCK)
    _compile([by_name[name] for name in TRAINING], PARTS / "training.txt", LOCK)
    _compile([by_name[name] for name in SCORING], PARTS / "scoring.txt", LOCK)
    _compile([by_name["uv"]], PARTS / "uv.txt", LOCK)
    peers = [by_name["lightgbm"], by_name["numpy"], *BENCH]
    _compile(peers, ROOT / "environment_setup" / "bench.txt", LOCK)
    for room, path in CONDA.items():
        path.write_text(conda_file(room), encoding="utf-8")


def conda_file(room: str) -> str:
    """The conda file of an environment: Python, and exactly what its part of the lock pins.

    Args:
        room: ``training`` or ``scoring``.
    """
    lock = PARTS / f"{room}.txt"
    pins = [
        f"{name}=={version}" for name, version in _PINNED.findall(lock.read_text(encoding="utf-8"))
    ]
    content = {
        "name": f"insurance_claims_{room}",
        "channels": ["conda-forge"],
        "dependencies": ["python=3.11", "pip", {"pip": pins}],
    }
    return "# Made by `make lock`. Do not edit.\n" + yaml.safe_dump(content, sort_keys=False)


def _compile(requirements: list[str], output: Path, constraint: Path | None) -> None:
    output.parent.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".in") as source:
        source.write("\n".join(requirements))
        source.flush()
        command = [
            *(
                sys.executable,
                "-m",
                "uv",
                "pip",
                "compile",
                source.name,
                "--output-file",
                str(output),
            ),
            *("--python-version", "3.11", "--generate-hashes", "--only-binary", ":all:", "--quiet"),
            *("--no-emit-index-url", "--no-annotate", "--custom-compile-command", "make lock"),
        ]
        if constraint is not None:
            command += ["--constraint", str(constraint)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print(f"wrote {output.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
