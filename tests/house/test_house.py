"""The house: locks that agree, import rules that refuse, a Makefile that helps, CI that is the test command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from benchmarks.__main__ import BENCHMARKS
from environment_setup.lock import CONDA, LOCK, PARTS, conda_file

ROOT = Path(__file__).resolve().parents[2]


def pins(path: Path) -> dict[str, str]:
    """Each requirement with its version and hashes."""
    blocks = re.split(r"\n(?=[A-Za-z0-9])", path.read_text())
    return {block.split("==")[0]: block.strip() for block in blocks if "==" in block.split("\n")[0]}


@pytest.mark.parametrize("part", sorted(PARTS.glob("*.txt")), ids=lambda path: path.stem)
def test_each_part_is_lines_of_the_lock(part: Path) -> None:
    lock = pins(LOCK)
    lines = pins(part)
    assert lines
    assert {name: lock.get(name) for name in lines} == lines


def test_every_pin_has_hashes() -> None:
    assert all("--hash=sha256:" in block for block in pins(LOCK).values())


def test_the_lock_holds_what_the_project_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(line for extra in extras for line in extra)]
    locked = {
        name.lower().replace("_", "-"): block.split()[0] for name, block in pins(LOCK).items()
    }
    for line in wanted:
        name, version = line.split("==")
        found = locked[name.lower().replace("_", "-").partition("[")[0]]
        assert found.split("==")[1] == version


def test_every_dependency_has_a_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    pinned = [
        line for line in text.splitlines() if re.match(r'\s+"[A-Za-z0-9_-]+(\[[a-z,]+\])?==', line)
    ]
    assert len(pinned) > 20
    assert [line for line in pinned if not re.search(r",\s+# \S+", line)] == []


@pytest.mark.parametrize("room", CONDA)
def test_a_conda_file_is_the_lock(room: str) -> None:
    text = CONDA[room].read_text()
    assert text == conda_file(room)
    python, _, packages = yaml.safe_load(text)["dependencies"]
    assert python == "python=3.11"
    locked = {block.split()[0] for block in pins(LOCK).values()}
    assert packages["pip"]
    assert set(packages["pip"]) <= locked


def imported(files: Iterable[Path]) -> set[str]:
    """The packages that modules import, anywhere in them."""
    return {
        match[1]
        for path in files
        for match in re.finditer(r"^\s*(?:import|from) (\w+)", path.read_text(), re.MULTILINE)
    }


def test_the_training_environment_holds_what_the_steps_import() -> None:
    # score.py alone runs in the scoring image.
    files = [path for path in (ROOT / "insurance_claims").rglob("*.py") if path.name != "score.py"]
    distributions = metadata.packages_distributions()
    installed = imported(files) & distributions.keys() - {"insurance_claims"}
    assert {"lightgbm", "pandas", "mlflow", "yaml"} <= installed
    held = {name.lower() for name in pins(PARTS / "training.txt")}
    for name in installed:
        assert held & {item.lower() for item in distributions[name]}, name


def test_no_registry_address_is_in_a_lock() -> None:
    for path in (LOCK, *PARTS.glob("*.txt")):
        assert "://" not in path.read_text()
        assert "--index" not in path.read_text()


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


FORBIDDEN = [
    ("insurance_claims.training.train", "ml_service.settings"),
    ("insurance_claims.data.load", "azure.core"),
    ("insurance_claims.step", "opencensus.ext"),
    ("ml_service.pipeline", "ml_service.platforms.base"),
    ("ml_service.platforms.base", "ml_service.platforms.local.state"),
    ("ml_service.platforms.local.state", "ml_service.cli.app"),
    ("ml_service.platforms.local.state", "ml_service.platforms.azureml.data"),
    ("ml_service.platforms.azureml.data", "ml_service.platforms.local.data"),
    ("ml_service.cli.context", "azureml.core"),
    ("ml_service.monitoring.store", "opencensus.trace"),
    ("azure_pipelines_local.runner", "ml_service.settings"),
    ("ml_service.doctor", "azure.identity"),
]
"""Imports that the rules of pyproject.toml have to refuse."""


def test_the_import_rules_refuse(tmp_path: Path) -> None:
    for name in ("insurance_claims", "ml_service", "azure_pipelines_local"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for module, imported in FORBIDDEN:
        with (tmp_path / module.replace(".", "/")).with_suffix(".py").open("a") as source:
            source.write(f"\nimport {imported}\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1, result.stdout
    for module, imported in FORBIDDEN:
        # Packages from outside are named by their first part.
        name = imported if imported.startswith("ml_service") else imported.partition(".")[0]
        assert f"{module} -> {name} (" in result.stdout, result.stdout


def test_nothing_that_is_shipped_knows_the_emulator() -> None:
    for folder in ("insurance_claims", "ml_service", "azure_pipelines_local"):
        for file in (ROOT / folder).rglob("*.py"):
            assert "azureml_emulator" not in file.read_text(), file


def test_ci_is_the_test_command_of_the_readme() -> None:
    commands = [
        line
        for line in (ROOT / ".ci" / "run").read_text().splitlines()
        if line and not line.startswith(("#", "set ", "cd "))
    ]
    assert commands == ["make test"]
    assert "make test" in (ROOT / "README.md").read_text()


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_make_help_lists_every_target() -> None:
    shown = make("help").stdout
    for target in re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE):
        assert f"make {target}" in shown


def test_a_missing_python_says_what_to_do(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(PARTS, tmp_path / "requirements")
    result = subprocess.run(
        ["make", "demo", "PYTHON=python3.11-nowhere"], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode != 0
    assert "install it" in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_help_and_light_commands_import_nothing_heavy() -> None:
    code = (
        "import sys; from ml_service.cli.app import app\n"
        "heavy = {'mlflow', 'pandas', 'lightgbm', 'azureml', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported: {sorted(heavy)}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_has_a_short_version(name: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--help"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "--quick" in result.stdout
