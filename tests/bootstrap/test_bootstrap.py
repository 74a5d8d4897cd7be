"""Projects as a person makes them: nothing of the old name is left, and they pass their own checks."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrap.names import TEMPLATE, forms
from bootstrap.template import ROOT
from tests.bootstrap.conftest import LONG, SHORT, Run
from tests.bootstrap.environment import give_environment, make

Made = Callable[[str], Path]

OLD_NAMES = re.compile("insurance[ _-]?claims")


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def limit(project: Path) -> int:
    """Length of line that a project's flake8 allows."""
    parser = configparser.ConfigParser()
    parser.read(project / ".flake8")
    return parser.getint("flake8", "max-line-length")


def tracked(project: Path) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=project, check=True, capture_output=True, text=True
    )
    return listed.stdout.rstrip("\0").split("\0")


@pytest.mark.parametrize("name", [SHORT, LONG])
def test_nothing_of_the_old_name_is_left(made: Made, name: str) -> None:
    project = made(name)
    left = []
    for path in tracked(project):
        file = project / path
        text = (
            os.readlink(file) if file.is_symlink() else file.read_bytes().decode(errors="replace")
        )
        left += [f"{path}: {old}" for old in OLD_NAMES.findall(f"{path} {text}".lower())]
    assert left == []
    assert (project / name / "schema.py").is_file()
    assert (project / ".pipelines" / f"{name}-ci.yml").is_file()


def test_the_template_would_not_pass_that() -> None:
    assert set(OLD_NAMES.findall((ROOT / "README.md").read_text().lower())) >= {TEMPLATE}
    assert all(OLD_NAMES.search(form.lower()) for form in forms(TEMPLATE).values())


@pytest.mark.parametrize("name", [SHORT, LONG])
def test_the_code_is_formatted_and_lints(made: Made, name: str) -> None:
    """ruff's rules of these names are flake8's, in a fiftieth of the time."""
    project = made(name)
    ruff = [str(Path(sys.executable).with_name("ruff"))]
    rules = ["--select", "E501,E701,F,W", "--line-length", str(limit(project))]
    for command in (
        [*ruff, "format", "--check", "--no-cache"],
        [*ruff, "check", "--no-cache", *rules],
    ):
        result = subprocess.run(command, cwd=project, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr


def test_lines_are_only_as_long_as_the_name_needs(made: Made) -> None:
    assert limit(made(SHORT)) == limit(ROOT) == 120
    more = 2 * (len(LONG) - len(TEMPLATE))
    assert 120 < limit(made(LONG)) <= 120 + more


@pytest.mark.parametrize("name", [SHORT, LONG])
def test_the_first_commit_holds_everything(made: Made, name: str) -> None:
    project = made(name)

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=project, check=True, capture_output=True, text=True
        ).stdout.strip()

    assert git("status", "--porcelain", "--ignored") == ""
    assert git("log", "--all", "--format=%an %D") == "Someone HEAD -> main, template"
    assert git("ls-files", "--stage", ".ci/run").startswith("100755")
    assert git("ls-files", "--stage", f"{name}/ingestion/ingest.ipynb").startswith("120000")
    assert (project / name / "ingestion" / "ingest.ipynb").resolve().is_file()


def test_options_are_in_the_project(made: Made) -> None:
    project = made(LONG)
    kept = json.loads((project / ".template.json").read_text())
    assert (kept["name"], kept["problem"], kept["example"]) == (LONG, "regression", False)
    assert (project / "README.md").read_text().splitlines()[2] == 'Our "first" one'
    packaging = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    assert packaging["description"] == 'Our "first" one'
    assert packaging["name"] == LONG.replace("_", "-")
    assert not (project / "tests" / "test_notebook.py").exists()
    assert not (project / "bootstrap").exists()
    assert (made(SHORT) / "tests" / "test_notebook.py").exists()


def test_the_patches_of_the_challenges_apply(made: Made) -> None:
    patches = sorted((made(SHORT) / "docs" / "challenges").rglob("*.patch"))
    assert patches
    for patch in patches:
        command = ["git", "apply", "--check", str(patch)]
        result = subprocess.run(command, cwd=made(SHORT), capture_output=True, text=True)
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", [SHORT, LONG])
def test_a_project_passes_both_commands_of_its_readme(
    made: Made, name: str, database: Path, tmp_path: Path
) -> None:
    """In short: few rows decide nothing, and the gate says so; lint is looked at above; of its tests, a few."""
    project = tmp_path / "project"
    shutil.copytree(made(name), project, symlinks=True)
    give_environment(project)
    (project / ".mlops").mkdir()
    shutil.copy(database, project / ".mlops")

    said = make(project, "demo", "DATA=data/sample.csv")
    assert f"{name} version 1: 500 rows" in said
    assert f"{name}/parameters.yml" in said
    assert "The gate refused the model" in said

    short = f"tests/docs/test_docs.py tests/{name}/evaluate/test_metrics.py"
    said = make(project, "test", "WORKERS=0", "MAKE=true", f"TESTS={short}")
    assert re.search(r"^\d+ passed", said, re.MULTILINE)
    shutil.rmtree(project)


def test_the_same_name_gives_the_same_project(
    bootstrap: Run, template: Path, tmp_path: Path
) -> None:
    result = bootstrap("--name", TEMPLATE, "--directory", str(tmp_path / "same"))
    assert result.returncode == 0, result.stderr
    for path in (
        "insurance_claims/schema.py",
        ".flake8",
        "environment_setup/arm/parameters/dev.json",
    ):
        assert (tmp_path / "same" / path).read_bytes() == (template / path).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--name", "mlflow", "--directory", "new"], "depends on"),
        (["--name", "ab", "--directory", "new"], "has 2 characters"),
        (["--name", "churn", "--directory", "full"], "is not empty"),
        (["--name", "churn", "--directory", "full/file"], "is a file"),
        (["--name", "churn", "--directory", "full/file/new"], "nothing can be made in"),
        (["--name", "churn", "--directory", "TEMPLATE/new"], "inside the template"),
        (["--name", "churn", "--directory", "new", "--problem", "clustering"], "invalid choice"),
        (["--name", "churn"], "give --name"),
        (["--directory", "new"], "give --name"),
        ([], "give --name"),
        (["--upgrade", "full", "--name", "churn"], "--upgrade takes the answers"),
        (["--upgrade", "full", "--problem", "regression"], "--upgrade takes the answers"),
        (["--upgrade", "full"], "no project that bootstrap made"),
        (["--upgrade", "nowhere"], "no project that bootstrap made"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_written(
    bootstrap: Run,
    template: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    before = tree(tmp_path)
    result = bootstrap(*(word.replace("TEMPLATE", str(template)) for word in arguments))
    assert result.returncode == 2
    assert reason in result.stderr
    assert "Traceback" not in result.stderr
    assert tree(tmp_path) == before


def test_a_repository_around_it_that_ignores_it_changes_nothing(
    bootstrap: Run, made: Made, tmp_path: Path
) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("*\n")
    result = bootstrap("--name", SHORT, "--directory", str(tmp_path / "new"))
    assert result.returncode == 0, result.stderr
    for path in ("fig/data/prepare.py", "ml_service/source.py"):
        assert (tmp_path / "new" / path).read_bytes() == (made(SHORT) / path).read_bytes()


def test_without_an_identity_the_project_is_made_and_it_says_what_to_do(
    bootstrap: Run, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    result = bootstrap("--name", TEMPLATE, "--directory", str(tmp_path / "new"), HOME=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "git config --global user.name" in result.stdout
    assert (tmp_path / "new" / "README.md").is_file()
    log = subprocess.run(["git", "log"], cwd=tmp_path / "new", capture_output=True, text=True)
    assert log.returncode != 0


def test_without_git_the_project_is_made(bootstrap: Run, tmp_path: Path) -> None:
    result = bootstrap("--name", SHORT, "--directory", str(tmp_path / "new"), PATH=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "git was not found" in result.stdout
    assert (tmp_path / "new" / "README.md").is_file()
    assert not (tmp_path / "new" / ".git").exists()


def test_what_fails_on_the_way_leaves_nothing(bootstrap: Run, tmp_path: Path) -> None:
    """git refuses the commit: signing it fails."""
    config = tmp_path / "home" / ".gitconfig"
    config.parent.mkdir()
    config.write_text(
        "[user]\n\tname = Someone\n\temail = someone@example.com\n"
        "[commit]\n\tgpgsign = true\n[gpg]\n\tprogram = /nowhere\n"
    )
    before = tree(tmp_path)
    result = bootstrap(
        *("--name", TEMPLATE, "--directory", str(tmp_path / "new")), HOME=str(config.parent)
    )
    assert result.returncode == 1
    assert "git commit failed" in result.stderr
    assert tree(tmp_path) == before
