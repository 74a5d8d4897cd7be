"""What a project is made of: which files, and what documents say of those that are left out."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path, PureWindowsPath

import pytest

from bootstrap.answers import Answers, check_answers, from_json, to_json
from bootstrap.errors import BootstrapError, UsageError
from bootstrap.markdown import Without
from bootstrap.render import EXAMPLE_ONLY, render
from bootstrap.template import ROOT, File, ignored, read_template, write_files
from tests.bootstrap.conftest import LONG


def rendered(*files: File, **answers: object) -> dict[str, str]:
    made = render(list(files), Answers("churn", **answers), "abc")  # type: ignore[arg-type]
    return {file.path: file.text or "" for file in made}


def test_paths_and_contents_are_renamed_and_bytes_are_not() -> None:
    made = rendered(
        File("insurance_claims/a.py", b"import insurance_claims\n"),
        File("docs/images/a.png", b"\0insurance_claims"),
    )
    assert made["churn/a.py"] == "import churn\n"
    files = render([File("a.png", b"\0insurance_claims")], Answers("churn"), "abc")
    assert files[-1].content == b"\0insurance_claims"


def test_a_link_leads_to_the_new_place(tmp_path: Path) -> None:
    files = render(
        [
            File("insurance_claims/notes.md", b"hello\n"),
            File("notes.md", b"insurance_claims/notes.md", link=True),
            File("run", b"#!/bin/sh\n", executable=True),
        ],
        Answers("churn"),
        "abc",
    )
    write_files(files, tmp_path)
    assert (tmp_path / "notes.md").is_symlink()
    assert (tmp_path / "notes.md").read_text() == "hello\n"
    assert (tmp_path / "run").stat().st_mode & 0o111


def test_without_links_what_they_lead_to_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("a privilege is not held")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    files = [File("a/link", b"../b/file", link=True), File("b/file", b"hello\n")]
    write_files(files, tmp_path)
    assert (tmp_path / "a/link").read_text() == "hello\n"


def test_files_that_differ_by_case_alone_are_refused() -> None:
    with pytest.raises(BootstrapError, match="would be one file"):
        rendered(File("Churn/a.py", b""), File("insurance_claims/a.py", b""))


def test_a_description_is_in_readme_and_packaging() -> None:
    made = rendered(
        File("README.md", b"# Insurance claims\n\nText\n"),
        File("pyproject.toml", b'name = "insurance-claims"\ndescription = "x"\n'),
        description='Who "leaves"',
    )
    assert made["README.md"] == '# Churn\n\nWho "leaves"\n\nText\n'
    assert made["pyproject.toml"] == 'name = "churn"\ndescription = "Who \\"leaves\\""\n'


def test_bootstrap_is_not_taken_along() -> None:
    made = rendered(
        File("bootstrap/bootstrap.py", b""),
        File("tests/bootstrap/test_names.py", b""),
        File("pyproject.toml", b'files = ["insurance_claims", "bootstrap", "tests"]\n'),
        File("tests/test_notebook.py", b""),
    )
    assert sorted(made) == [".template.json", "pyproject.toml", "tests/test_notebook.py"]
    assert made["pyproject.toml"] == 'files = ["churn", "tests"]\n'


def test_without_example_leaves_its_files_out() -> None:
    files = [File(f"{path}/x" if "." not in path else path, b"") for path in EXAMPLE_ONLY]
    assert len(rendered(*files)) == 1 + len(files)
    assert list(rendered(*files, example=False)) == [".template.json"]


def test_documents_do_not_speak_of_what_is_left_out() -> None:
    text = """See [the start](bootstrap/README.md) and [the gate](docs/gate.md), or `bootstrap/bootstrap.py`.

| folder | what |
|---|---|
| `bootstrap/` | makes projects |
| `docs/` | documents; bootstrap is a word; see [the start](bootstrap/README.md) |

- [how](bootstrap/README.md) goes on
  in a second line
- stays

```bash
python bootstrap/bootstrap.py --name x
make demo
```
"""
    assert Without(("bootstrap",)).document("README.md", text) == (
        """See the start and [the gate](docs/gate.md), or bootstrap/bootstrap.py.

| folder | what |
|---|---|
| `docs/` | documents; bootstrap is a word; see the start |

- stays

```bash
make demo
```
"""
    )
    linked = "[a](../bootstrap/README.md) [b](bootstrap/README.md)"
    assert Without(("bootstrap",)).document("docs/a.md", linked) == "a [b](bootstrap/README.md)"


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (Answers("churn", problem="clustering"), "no problem"),
        (Answers("churn", "two\nlines"), "one line"),
        (Answers("churn", "`code`"), "plain text"),
        (Answers("churn", "x" * 201), "201 characters"),
    ],
)
def test_what_cannot_be_made_is_refused(answers: Answers, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        check_answers(answers)


def test_answers_are_kept() -> None:
    answers = Answers("churn", "Who leaves?", "forecasting", example=False)
    check_answers(answers)
    assert from_json(to_json(answers, "abc").decode()) == answers


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"commit": "a"}', '{"commit": "a", "name": 1}', '{"commit": "a", "x": 1}'],
)
def test_answers_that_were_changed_are_refused(text: str) -> None:
    with pytest.raises(BootstrapError, match="restore it"):
        from_json(text)


def test_a_downloaded_archive_gives_the_files_that_git_tracks(tmp_path: Path) -> None:
    tracked = read_template()
    write_files(tracked, tmp_path)
    for path in (".mlops/mlflow.db", "data/train.csv", "ml_service/__pycache__/a.pyc", ".env"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    assert read_template(tmp_path) == tracked


def test_line_ends_of_windows_are_not_taken_along(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_bytes(b"x/\r\n")
    (tmp_path / "pyproject.toml").write_bytes(b"a = 1\r\n")
    assert [file.content for file in read_template(tmp_path)] == [b"x/\n", b"a = 1\n"]


def test_a_checkout_without_links_has_them_in_the_project(tmp_path: Path) -> None:
    """As git makes one on Windows: a file says where the link leads."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "link").write_text("a/file")
    git("init", "--quiet")
    git("add", "pyproject.toml")
    blob = git("hash-object", "-w", "link").strip()
    git("update-index", "--add", "--cacheinfo", f"120000,{blob},link")
    assert read_template(tmp_path)[0] == File("link", b"a/file", link=True)


def is_path_on_windows(path: str) -> bool:
    """Whether Windows takes it, below a folder of 60 characters."""
    parts = PureWindowsPath(path).parts
    odd = any(re.search(r'[<>:"|?*\x00-\x1f]|[. ]$', part) for part in parts)
    reserved = any(PureWindowsPath(part).is_reserved() for part in parts)
    return "/".join(parts) == path and not odd and not reserved and len(path) < 200


def test_every_path_is_one_on_windows(template: Path) -> None:
    made = render(read_template(template), Answers(LONG), "abc")
    assert len(made) > 500
    assert [file.path for file in made if not is_path_on_windows(file.path)] == []


@pytest.mark.parametrize(
    "path", ["a\\b.py", "docs/aux.md", "a:b", "docs./a", "why?.md", "a/" * 100 + "b"]
)
def test_what_is_no_path_on_windows(path: str) -> None:
    assert not is_path_on_windows(path)


def test_a_folder_that_is_no_template_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").touch()
    with pytest.raises(BootstrapError, match="does not hold the template"):
        read_template(tmp_path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("build/", True),
        ("a/build/", True),
        ("build", False),
        ("a.pyc", True),
        ("data/a.csv", True),
        ("data/sample.csv", False),
        ("tests/data/a.csv", False),
        ("data/deep/a.csv", False),
    ],
)
def test_ignore_rules(path: str, expected: bool) -> None:
    rules = ["build/", "*.pyc", "/data/*.csv", "!/data/sample.csv"]
    assert ignored(path, rules) is expected


def test_the_rules_of_this_repository_are_of_the_kinds_that_are_known() -> None:
    rules = [line for line in (ROOT / ".gitignore").read_text().splitlines() if line]
    assert [rule for rule in rules if "**" in rule or "\\" in rule or "[" in rule] == []


def test_it_is_python_3_9() -> None:
    for path in (ROOT / "bootstrap").glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 9))


def test_it_needs_nothing_but_python(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "bootstrap", tmp_path / "bootstrap", ignore=shutil.ignore_patterns("__pycache__")
    )
    command = ["python3", "-I", "-S", str(tmp_path / "bootstrap" / "bootstrap.py"), "--help"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "--upgrade" in result.stdout
    assert not list(tmp_path.rglob("__pycache__"))
