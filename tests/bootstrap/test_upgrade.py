"""Later changes of a template reach a project that was made of it, and keep what its people changed."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrap.problems import CHANGES, SAMPLE
from bootstrap.template import ROOT
from tests.bootstrap.conftest import Run

LINES = "".join(f"LINE_{number} = {number}\n" for number in range(20))

Git = Callable[..., str]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small template with the real bootstrap."""
    folder = tmp_path / "origin"
    for name in ("bootstrap", ".flake8", ".gitignore", "pyproject.toml", "requirements.txt"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        folder.mkdir(exist_ok=True)
        copy(ROOT / name, folder / name)
    shutil.rmtree(folder / "bootstrap" / "__pycache__", ignore_errors=True)
    (folder / "insurance_claims").mkdir()
    (folder / "insurance_claims" / "schema.py").write_text(f"# insurance_claims\n{LINES}")
    (folder / "insurance_claims" / "old.py").write_text("OLD = 1\n")
    return folder


@pytest.fixture
def command(bootstrap: Run, small: Path) -> Run:
    """The template's own command."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return bootstrap(*arguments, of=small)

    return run


@pytest.fixture
def project(command: Run, tmp_path: Path) -> Path:
    """A project made of the template."""
    folder = tmp_path / "our churn"
    result = command("--name", "churn", "--directory", str(folder))
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def git(project: Path, git_environment: dict[str, str]) -> Git:
    """git in the project."""

    def run(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments],
            cwd=project,
            env=git_environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    return run


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_both_sides_changes_are_in_the_branch(
    command: Run, small: Path, project: Path, git: Git
) -> None:
    change(project / "churn" / "schema.py", "LINE_1 = 1\n", "OURS = 1\n")
    git("commit", "--all", "--message", "ours")
    before = git("rev-parse", "main")
    change(
        small / "insurance_claims" / "schema.py",
        "LINE_18 = 18\n",
        "THEIRS = 'insurance_claims'\n",
    )
    (small / "insurance_claims" / "new.py").write_text("import insurance_claims.schema\n")
    (small / "insurance_claims" / "old.py").unlink()

    result = command("--upgrade", str(project))

    assert result.returncode == 0, result.stderr
    assert "3 files changed" in result.stdout
    assert git("rev-parse", "main") == before
    assert git("status", "--porcelain") == ""
    git("merge", "template-upgrade")
    merged = (project / "churn" / "schema.py").read_text()
    assert "OURS = 1\n" in merged
    # Renamed, and formatted.
    assert 'THEIRS = "churn"\n' in merged
    assert (project / "churn" / "new.py").read_text() == "import churn.schema\n"
    assert not (project / "churn" / "old.py").exists()
    assert git("worktree", "list").count("\n") == 0


def test_a_conflict_is_named_and_left_to_be_merged(
    command: Run, small: Path, project: Path, git: Git
) -> None:
    change(project / "churn" / "schema.py", "LINE_1 = 1\n", "OURS = 1\n")
    git("commit", "--all", "--message", "ours")
    change(small / "insurance_claims" / "schema.py", "LINE_1 = 1\n", "THEIRS = 1\n")

    result = command("--upgrade", str(project))

    assert result.returncode == 1
    assert "  churn/schema.py\n" in result.stdout
    assert git("rev-parse", "template-upgrade") == git("rev-parse", "main")
    assert git("show", "template:churn/schema.py").count("THEIRS") == 1
    assert git("status", "--porcelain") == ""
    # What the message says to do.
    git("switch", "template-upgrade")
    with pytest.raises(subprocess.CalledProcessError):
        git("merge", "template")
    assert "<<<<<<<" in (project / "churn" / "schema.py").read_text()


def test_upgrades_follow_each_other(command: Run, small: Path, project: Path, git: Git) -> None:
    for number in (3, 9):
        change(small / "insurance_claims" / "schema.py", f"LINE_{number} = {number}\n", "")
        assert command("--upgrade", str(project)).returncode == 0
        git("merge", "template-upgrade")
        git("branch", "--delete", "template-upgrade")
    text = (project / "churn" / "schema.py").read_text()
    assert "LINE_3 =" not in text
    assert "LINE_9 =" not in text


def test_an_upgrade_that_was_cut_short_goes_on(
    command: Run, small: Path, project: Path, git: Git
) -> None:
    change(small / "insurance_claims" / "schema.py", "LINE_3 = 3\n", "")
    assert command("--upgrade", str(project)).returncode == 0
    git("branch", "--delete", "--force", "template-upgrade")
    result = command("--upgrade", str(project))
    assert result.returncode == 0, result.stderr
    assert "LINE_3 =" not in git("show", "template-upgrade:churn/schema.py")


def test_nothing_new(command: Run, project: Path, git: Git) -> None:
    before = git("rev-parse", "template")
    result = command("--upgrade", str(project))
    assert result.returncode == 0, result.stderr
    assert "nothing to bring" in result.stdout
    assert git("for-each-ref", "--format=%(refname:short) %(objectname)") == (
        f"main {before}\ntemplate {before}"
    )


def test_the_options_are_those_that_the_project_was_made_with(
    command: Run, small: Path, tmp_path: Path, git_environment: dict[str, str]
) -> None:
    (small / "README.md").write_text("# Insurance claims\n")
    folder = tmp_path / "described"
    made = command("--name", "churn", "--directory", str(folder), "--description", "Who leaves")
    assert made.returncode == 0, made.stderr
    (small / "README.md").write_text("# Insurance claims: new\n")
    assert command("--upgrade", str(folder)).returncode == 0
    shown = subprocess.run(
        ["git", "show", "template-upgrade:README.md", "template-upgrade:.template.json"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert shown.startswith("# Churn: new\n\nWho leaves\n")
    assert json.loads(shown[shown.index("{") :])["description"] == "Who leaves"


def test_a_project_stays_of_its_problem(command: Run, small: Path, tmp_path: Path) -> None:
    for path in {SAMPLE, *(change.path for change in CHANGES["forecasting"])}:
        (small / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, small / path)
    folder = tmp_path / "forecast"
    made = command("--name", "churn", "--directory", str(folder), "--problem", "forecasting")
    assert made.returncode == 0, made.stderr
    change(small / "insurance_claims" / "schema.py", 'ID = "id"', 'ID = "number"')
    result = command("--upgrade", str(folder))
    assert result.returncode == 0, result.stderr
    assert "1 file changed, 1 insertion(+), 1 deletion(-)" in result.stdout


def test_git_may_write_line_ends_of_windows(
    command: Run, small: Path, project: Path, git: Git
) -> None:
    git("config", "core.autocrlf", "true")
    schema = project / "churn" / "schema.py"
    schema.unlink()
    git("checkout", "--", ".")
    assert b"\r\n" in schema.read_bytes()
    change(small / "insurance_claims" / "schema.py", "LINE_3 = 3\n", "")
    result = command("--upgrade", str(project))
    assert result.returncode == 0, result.stderr
    assert "1 file changed, 1 deletion(-)" in result.stdout
    assert "\r" not in git("cat-file", "blob", "template-upgrade:churn/schema.py")


def test_what_cannot_be_upgraded_is_refused_and_unchanged(
    command: Run, small: Path, project: Path, git: Git
) -> None:
    change(small / "insurance_claims" / "schema.py", "LINE_3 = 3\n", "")
    refs = git("for-each-ref")

    def refused(reason: str) -> None:
        result = command("--upgrade", str(project))
        assert result.returncode == 2, result.stdout
        assert reason in result.stderr
        assert "Traceback" not in result.stderr

    (project / "churn" / "schema.py").write_text("CHANGED = 1\n")
    refused("not committed")
    git("checkout", "churn/schema.py")
    git("switch", "--quiet", "template")
    refused("checked out")
    git("switch", "--quiet", "main")
    git("branch", "template-upgrade")
    refused("an upgrade before")
    git("branch", "--delete", "template-upgrade")
    assert git("for-each-ref") == refs
    git("branch", "--delete", "template")
    refused("has no branch template")
