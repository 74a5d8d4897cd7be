"""`make audit`: what it finds is held against reviewed lists, and a tool that did not look is no success.

Whether a vulnerability was published today is not for tests to say: pip-audit is replaced by reports here.
"""

from __future__ import annotations

import json
import secrets
import stat
import string
import subprocess
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from environment_setup.security import __main__ as command
from environment_setup.security import bill, secret_scan, vulnerabilities
from environment_setup.security.secret_scan import Harmless, Suspect
from environment_setup.security.tools import LOCK, PROGRAMS, SecurityError
from environment_setup.security.vulnerabilities import Accepted, Unreachable, Vulnerability
from tests.environment_setup.cyclonedx import schema_problems

TODAY = date(2026, 11, 21)
FOUND = Vulnerability(("PYSEC-1", "CVE-2"), "left-pad", "1.0", ("1.1",))
REPORT: Mapping[str, Any] = {
    "dependencies": [
        {"name": "sound", "version": "2", "vulns": []},
        {
            "name": "left-pad",
            "version": "1.0",
            "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-2"], "fix_versions": ["1.1"]}],
        },
    ],
    "fixes": [],
}
SKIPPED = {"name": "x", "skip_reason": "not found on PyPI"}
Program = Callable[..., Path]


def entry(**changes: Any) -> Accepted:
    """An entry of the list of accepted vulnerabilities."""
    why = "nothing here calls the function that has it"
    fields = {"reviewed": date(2026, 6, 1), "expires": date(2026, 12, 1), **changes}
    return Accepted(**{"id": "CVE-2", "package": "left-pad", "why": why, **fields})


def program_of(name: str) -> Path:
    """One of the tools; the test is skipped where they are not installed."""
    if not (PROGRAMS / name).exists():
        pytest.skip(f"{name} is not installed: `make .venv/.security` installs it")
    return PROGRAMS / name


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Makes a program that prints something and ends with a code."""

    def make(out: str = "", err: str = "", code: int = 0) -> Path:
        path = tmp_path / "program"
        (tmp_path / "out").write_text(out)
        (tmp_path / "err").write_text(err)
        script = f"cat {tmp_path}/out; cat {tmp_path}/err >&2; exit {code}"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


# Vulnerabilities


def test_a_report_becomes_vulnerabilities(program: Program) -> None:
    report = vulnerabilities.audit(program(json.dumps(REPORT), "Found 1 known vulnerability", 1))
    assert vulnerabilities.vulnerabilities(report) == [FOUND]


def test_a_vulnerability_that_nobody_accepted_is_a_problem() -> None:
    [problem] = vulnerabilities.problems([FOUND], [], TODAY)
    assert problem == "left-pad 1.0: PYSEC-1, CVE-2: fixed in 1.1"
    assert list(vulnerabilities.problems([FOUND], [entry()], TODAY)) == []
    assert list(vulnerabilities.problems([FOUND], [entry(id="PYSEC-1")], TODAY)) == []
    assert len(list(vulnerabilities.problems([FOUND], [entry(id="CVE-3")], TODAY))) == 2
    assert len(list(vulnerabilities.problems([FOUND], [entry(package="x")], TODAY))) == 2


def test_an_entry_that_nothing_needs_or_that_expired_is_a_problem() -> None:
    [problem] = vulnerabilities.problems([], [entry()], TODAY)
    assert "nothing has it: remove it" in problem
    [problem] = vulnerabilities.problems([FOUND], [entry(expires=TODAY)], TODAY)
    assert "its review expired on 2026-11-21: look again" in problem


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        ({"dependencies": []}, "looked at no package"),
        ({"dependencies": [SKIPPED, *REPORT["dependencies"]]}, "did not look up x: PyPI"),
        ({"dependencies": [SKIPPED]}, "no package could be looked up: not found on PyPI"),
    ],
)
def test_a_report_that_looked_at_nothing_is_no_success(report: Any, reason: str) -> None:
    with pytest.raises(SecurityError, match=reason):
        vulnerabilities.vulnerabilities(report)


def test_no_answer_is_told_from_no_success(program: Program, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="were not looked up: ERROR: Could not connect"):
        vulnerabilities.audit(program(err="note\nERROR: Could not connect to PyPI", code=1))
    with pytest.raises(SecurityError, match="did not run: oops") as caught:
        vulnerabilities.audit(program(err="oops", code=2))
    assert not isinstance(caught.value, Unreachable)
    with pytest.raises(SecurityError, match="nowhere did not run: No such file.*make audit"):
        vulnerabilities.audit(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("why: short", "why"),
        ("expires: 2028-06-01", "within a year"),
        ("expires: 2026-01-01", "within a year"),
        ("expires: soon", "expires"),
        ("approved: true", "approved"),
    ],
)
def test_an_entry_without_reason_or_end_is_refused(
    tmp_path: Path, change: str, reason: str
) -> None:
    fields = ["id: CVE-2", "package: left-pad", "why: nothing here calls the function"]
    fields += ["reviewed: 2026-06-01", "expires: 2026-12-01"]
    name = change.partition(":")[0]
    changed = [line for line in fields if not line.startswith(f"{name}:")] + [change]
    file = tmp_path / "list.yml"
    for lines, good in ((fields, True), (changed, False)):
        file.write_text("- " + "\n  ".join(lines) + "\n")
        if good:
            assert [item.id for item in vulnerabilities.accepted(file)] == ["CVE-2"]
            continue
        with pytest.raises(SecurityError, match=reason):
            vulnerabilities.accepted(file)


# Secrets


def fake_key() -> str:
    """What looks like the key of a storage account; made here, so that no file of the repository holds one."""
    letters = string.ascii_letters + string.digits
    return "".join(secrets.choice(letters) for _ in range(86)) + "=="


def test_a_secret_in_a_file_is_found(tmp_path: Path) -> None:
    key = fake_key()
    (tmp_path / "settings.py").write_text(f"import os\nAccountKey = '{key}'\n")
    (tmp_path / "sound.py").write_text("import os\nkey = os.environ['KEY']\n")
    (tmp_path / "aws.yml").write_text("id: " + "AK" + "IA" + "Q3EGRIXBTTN2YQCP" + "\n")
    files = ["settings.py", "sound.py", "aws.yml"]
    found = secret_scan.scan(program_of("detect-secrets"), files, tmp_path)
    places = {(item.file, item.line) for item in found}
    assert {("settings.py", 2), ("aws.yml", 1)} == places
    assert key not in "".join(secret_scan.problems(found, []))


def test_only_the_text_that_was_reviewed_is_harmless() -> None:
    found = Suspect("a.py", 3, "Secret Keyword", "a" * 40)
    known = Harmless(file="a.py", sha1="a" * 40, why="an example in a test")
    assert list(secret_scan.problems([found], [known])) == []
    [problem] = secret_scan.problems([found], [])
    assert problem == f"a.py:3: Secret Keyword (sha1 {'a' * 40})"
    [problem] = secret_scan.problems([], [known])
    assert "nothing has it: remove it" in problem
    other = Suspect("a.py", 3, "Secret Keyword", "b" * 40)
    assert len(list(secret_scan.problems([other], [known]))) == 2


def test_what_git_tracks_or_would_is_looked_at(tmp_path: Path) -> None:
    subprocess.run(["git", "init"], cwd=tmp_path, check=True, capture_output=True)
    for name in ("requirements.txt", "tracked.txt", "new.txt", ".env"):
        (tmp_path / name).touch()
    (tmp_path / ".gitignore").write_text(".env\n")
    subprocess.run(["git", "add", "tracked.txt"], cwd=tmp_path, check=True)
    assert sorted(secret_scan.tracked(tmp_path)) == [".gitignore", "new.txt", "tracked.txt"]


def test_outside_a_checkout_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(SecurityError, match="looked for in what git tracks: .*not a git repo"):
        secret_scan.tracked(tmp_path)


def test_a_scan_that_did_not_run_is_no_success(program: Program) -> None:
    with pytest.raises(SecurityError, match="did not run: broken"):
        secret_scan.scan(program(err="broken", code=1), ["a"])


def test_what_is_called_harmless_is_in_the_repository() -> None:
    files = set(secret_scan.tracked())
    assert [entry.file for entry in secret_scan.harmless() if entry.file not in files] == []


# The bill of materials


def test_the_bill_of_materials_holds_the_lock(tmp_path: Path) -> None:
    lock = LOCK.read_text().split("\naiohttp==")[0]
    (tmp_path / "lock.txt").write_text(lock)
    folder = tmp_path / "new" / "folder"
    content = json.loads(
        bill.write_bill(program_of("cyclonedx-py"), folder, tmp_path / "lock.txt").read_text()
    )
    assert content["specVersion"] == "1.6"
    held = {f"{item['name']}=={item['version']}" for item in content["components"]}
    assert held == {line.split()[0] for line in lock.splitlines() if "==" in line}
    assert schema_problems(content) == []
    content["components"][0]["type"] = "nonsense"
    assert schema_problems(content)


def test_a_bill_that_could_not_be_written_is_no_success(program: Program, tmp_path: Path) -> None:
    with pytest.raises(SecurityError, match="program failed: no such lock"):
        bill.write_bill(program(err="no such lock", code=1), tmp_path)


# All of it


@pytest.mark.parametrize("agent", ["", "true"])
def test_no_network_is_said_and_fails_on_a_build_agent_alone(
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    agent: str,
) -> None:
    for name in ("CI", "TF_BUILD"):
        monkeypatch.setenv(name, agent)
    silent = program(err="Could not connect to PyPI", code=1)
    audit = vulnerabilities.audit
    monkeypatch.setattr(vulnerabilities, "audit", lambda _: audit(silent))
    if agent:
        with pytest.raises(Unreachable):
            list(command.vulnerability_problems())
    else:
        assert list(command.vulnerability_problems()) == []
        assert "skipped: vulnerabilities were not looked up" in capsys.readouterr().out


def test_everything_is_looked_at_whatever_is_wrong_with_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "PROGRAMS", tmp_path / "nowhere")
    assert command.main([str(tmp_path)]) == 1
    said = capsys.readouterr()
    for name in ("pip-audit", "detect-secrets", "cyclonedx-py"):
        assert f"error: {tmp_path}/nowhere/{name} did not run" in said.err
    assert "3 problems" in said.out
    assert command.main(["a", "b"]) == 2
