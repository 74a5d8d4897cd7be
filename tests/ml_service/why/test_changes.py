"""What changed between two runs: from what was kept when they were submitted, and from git."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from insurance_claims.data.synthesize import synthesize
from ml_service import source
from ml_service.platforms import facts
from ml_service.platforms.base import PipelineRun, RunStatus
from ml_service.platforms.facts import RunFacts, gather_facts, keep_facts, read_facts
from ml_service.platforms.local.platform import LocalPlatform
from ml_service.why.changes import Change, changes_between

OLD = PipelineRun(
    "a" * 32, "p", RunStatus.COMPLETED, "2026-11-20T10:00:00", 9.0, {"engine": "local"}, ()
)
NEW = replace(OLD, id="b" * 32, status=RunStatus.FAILED, parameters={"engine": "dask"})


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one commit, from which runs are submitted."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "parameters.yml").write_text("training: {seed: 1, folds: 5}\n")
    (folder / "requirements.txt").write_text("Numpy==2.3.2 \\\n    --hash=sha256:a\nmade.up==1.0\n")
    _git(folder, "init")
    commit(folder, "first")
    monkeypatch.setattr(source, "SOURCE", folder)
    monkeypatch.setattr(source, "_LOCK", folder / "requirements.txt")
    monkeypatch.setattr(facts, "PARAMETERS_FILE", folder / "parameters.yml")
    return folder


def commit(folder: Path, message: str) -> None:
    _git(folder, "add", "--all")
    _git(folder, "commit", "--message", message)


def _git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def keep(local: LocalPlatform, run: PipelineRun, found: RunFacts | None = None) -> None:
    keep_facts(local.documents, run.id, found or gather_facts((), installed=False))


def test_what_a_run_is_made_of_is_kept_and_read_again(checkout: Path, local: LocalPlatform) -> None:
    (checkout / "parameters.yml").write_text("training: {seed: 2}\n")
    (checkout / "notes.txt").write_text("a note")
    keep(local, OLD)
    found = read_facts(local.documents, OLD.id)
    assert found == gather_facts((), installed=False)
    assert found is not None
    assert len(found.commit) == 40
    assert found.uncommitted == ("parameters.yml (+1 -1)", "notes.txt (new)")
    assert found.parameters == {"training.seed": "2"}
    assert found.packages == {"numpy": "2.3.2", "made-up": "1.0"}


def test_packages_that_are_installed_otherwise_count(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site" / "made_up-2.0.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert gather_facts((), installed=True).packages["made-up"] == "2.0"
    assert gather_facts((), installed=False).packages["made-up"] == "1.0"


@pytest.mark.parametrize("text", ["training: [", "- 1\n", ""])
def test_parameters_that_cannot_be_read_are_left_to_the_step(checkout: Path, text: str) -> None:
    (checkout / "parameters.yml").write_text(text)
    assert gather_facts((), installed=False).parameters == {}


def test_facts_of_another_version_of_this_code_are_none(local: LocalPlatform) -> None:
    local.documents.write("runs/abc/facts.json", b'{"commit": "abc"}')
    assert read_facts(local.documents, "abc") is None
    assert read_facts(local.documents, "unknown") is None


def test_commits_files_parameters_and_packages(checkout: Path, local: LocalPlatform) -> None:
    keep(local, OLD)
    (checkout / "parameters.yml").write_text("training: {seed: 1, folds: 9, rounds: 3}\n")
    commit(checkout, "more folds")
    (checkout / "requirements.txt").write_text("numpy==3.0\nmade.up==1.0\n")
    keep(local, NEW)
    found = changes_between(local, OLD, NEW)
    assert [line.partition(" ")[2] for line in found.commits] == ["more folds"]
    assert found.files == ("parameters.yml (+1 -1)",)
    assert found.uncommitted == ("requirements.txt (+1 -2)",)
    assert found.all_files == ("parameters.yml", "requirements.txt")
    assert found.parameters == (
        Change("training.folds", "5", "9"),
        Change("training.rounds", "none", "3"),
        Change("pipeline.engine", "local", "dask"),
    )
    assert found.packages == (Change("numpy", "2.3.2", "3.0"),)
    assert (found.data, found.unknown) == ((), ())


def test_nothing_changed(checkout: Path, local: LocalPlatform) -> None:
    keep(local, OLD)
    keep(local, NEW)
    found = changes_between(local, OLD, replace(NEW, parameters=OLD.parameters))
    assert not any((found.all_files, found.parameters, found.packages, found.data, found.unknown))


def test_a_run_of_which_nothing_was_kept_is_compared_by_its_parameters(
    checkout: Path, local: LocalPlatform
) -> None:
    keep(local, NEW)
    found = changes_between(local, OLD, NEW)
    assert found.parameters == (Change("pipeline.engine", "local", "dask"),)
    assert found.unknown == (
        "code, packages and data of run aaaaaaaa: nothing was kept when it was submitted",
    )


@pytest.mark.parametrize(
    ("commit_id", "says"),
    [
        ("0" * 40, "commits: 00000000 or .* is not in this clone: `git fetch`, then ask again"),
        ("--output=/tmp/x", "commits: one of the runs was not submitted from a checkout"),
        ("unknown", "commits: one of the runs was not submitted from a checkout"),
    ],
)
def test_commits_that_git_does_not_know_are_said(
    checkout: Path, local: LocalPlatform, commit_id: str, says: str
) -> None:
    now = gather_facts((), installed=False)
    keep(local, OLD, replace(now, commit=commit_id, uncommitted=("a.py (+1 -0)",)))
    keep(local, NEW, now)
    dirty, unknown = changes_between(local, OLD, NEW).unknown
    assert dirty == "the last good run was not of its commit alone: 1 files differed from it"
    assert re.fullmatch(says, unknown)


def test_another_version_of_the_data_is_compared_column_by_column(
    checkout: Path, local: LocalPlatform, tmp_path: Path
) -> None:
    for number, run in ((1, OLD), (2, NEW)):
        table, _ = synthesize(800, number)
        table["ps_ind_01"] = 7 if number == 2 else table["ps_ind_01"]
        table.to_parquet(tmp_path / "claims.parquet")
        version, _ = local.data.add("claims", tmp_path / "claims.parquet", lambda line: None)
        keep(local, run, gather_facts([version], installed=False))
    [data] = changes_between(local, OLD, NEW).data
    assert data.version == Change("claims", "version 1", "version 2")
    assert [column.name for column in data.columns] == ["ps_ind_01"]


def test_a_data_version_that_is_gone_is_said(checkout: Path, local: LocalPlatform) -> None:
    now = gather_facts((), installed=False)
    keep(local, OLD, replace(now, data={"claims": 1}))
    keep(local, NEW, replace(now, data={"claims": 2}))
    found = changes_between(local, OLD, NEW)
    assert found.data[0].columns == ()
    assert "there is no data set 'claims'" in found.unknown[0]
