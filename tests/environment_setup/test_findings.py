"""checkov finds nothing beside the reviewed exceptions; new findings and exceptions that nothing needs are refused."""

from __future__ import annotations

import re
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from environment_setup.check.findings import (
    SETUP,
    Allowed,
    FindingsError,
    exceptions,
    findings,
    lay_out,
    problems,
)
from tests.environment_setup.tools import tool

FOUND = [{"check_id": "CKV_1", "check_name": "be careful", "resource": "Type.name"}]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Mapping[str, Any]]:
    """What checkov says of ours, in ``good``, and of the same with a fault of each kind, in ``bad``."""
    program = tool("checkov")
    setup = tmp_path_factory.mktemp("setup")
    for name in ("arm", "images", "kubernetes"):
        shutil.copytree(SETUP / name, setup / name)
    changes = {
        "arm/modules/storage.json": ('"TLS1_2"', '"TLS1_0"'),
        "images/scoring.Dockerfile": ("USER 10001:10001\n", ""),
        "kubernetes/version/deployment.yaml": ("Escalation: false", "Escalation: true"),
    }
    for file, (old, new) in changes.items():
        text = (setup / file).read_text()
        assert old in text
        (setup / file).write_text(text.replace(old, new))
    folder = tmp_path_factory.mktemp("checkov")
    for name, source in (("good", SETUP), ("bad", setup)):
        (folder / name).mkdir()
        lay_out(folder / name, source)
    return findings(program, folder)


def of(found: list[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    return [item for item in found if item["file_path"].startswith(f"/{name}/")]


def test_checkov_finds_nothing_new(found: list[Mapping[str, Any]]) -> None:
    assert list(problems(of(found, "good"), exceptions())) == []


def test_checkov_refuses(found: list[Mapping[str, Any]]) -> None:
    text = "\n".join(problems(of(found, "bad"), exceptions()))
    assert re.search("^CKV_AZURE_44: Microsoft.Storage/storageAccounts", text, re.MULTILINE)
    assert re.search("^CKV_DOCKER_3: /bad/scoring/Dockerfile", text, re.MULTILINE)
    assert re.search("^CKV_K8S_20: Deployment", text, re.MULTILINE)


def test_a_finding_without_an_exception_is_a_problem() -> None:
    assert list(problems(FOUND, [])) == ["CKV_1: Type.name: be careful"]
    assert list(problems(FOUND, [Allowed("CKV_1", "Type", "because")])) == []
    assert len(list(problems(FOUND, [Allowed("CKV_1", "Other", "because")]))) == 2


def test_an_exception_that_nothing_needs_is_a_problem() -> None:
    [problem] = problems([], [Allowed("CKV_1", "Type", "because")])
    assert "nothing needs it" in problem


def test_every_exception_has_a_reason() -> None:
    assert all(len(entry.why) > 20 for entry in exceptions())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- {check: CKV_1, resource: x, why: ''}", "needs a resource and a reason"),
        ("- {check: CKV_1, resource: '', why: because}", "needs a resource and a reason"),
        ("- {check: CKV_1, why: because}", "is no list of check, resource and why"),
        ("- {check: CKV_1, resource: x, why: because, who: me}", "is no list of check"),
        ("CKV_1: because", "is no list of check"),
        ("[", "is no list of check"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "checkov.yml"
    file.write_text(text)
    with pytest.raises(FindingsError, match=reason):
        exceptions(file)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("echo oops", "did not run"),
        ('echo \'{"check_type": "arm", "summary": {"passed": 1}}\'', "nothing to check of docker"),
    ],
)
def test_a_checkov_that_checks_nothing_is_no_success(
    tmp_path: Path, answer: str, reason: str
) -> None:
    program = tmp_path / "checkov"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(FindingsError, match=reason):
        findings(program, tmp_path)


def test_a_checkov_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FindingsError, match="did not run"):
        findings(tmp_path / "nowhere", tmp_path)


@pytest.mark.parametrize(("tools", "count"), [("tools", 2), ("security", 3)])
def test_the_lock_of_the_tools_holds_what_is_named(tools: str, count: int) -> None:
    named = [line for line in (SETUP / f"{tools}.in").read_text().split("\n") if "==" in line]
    lock = (SETUP / f"{tools}.txt").read_text()
    blocks = re.split(r"\n(?=[a-z0-9])", lock)
    pinned = {block.split()[0] for block in blocks if "==" in block and "--hash=sha256:" in block}
    assert len(named) == count
    assert set(named) <= pinned
    assert len(pinned) == len([block for block in blocks if "==" in block.split("\n")[0]])
    assert "://" not in lock


def test_what_checkov_reads_is_what_is_deployed(tmp_path: Path) -> None:
    lay_out(tmp_path)
    names = {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    }
    assert {"azure.json", "scoring/Dockerfile", "canary.yaml"} <= names
    text: Any = (tmp_path / "azure.json").read_text()
    assert "parameters('" not in text
    assert "variables('" not in text
