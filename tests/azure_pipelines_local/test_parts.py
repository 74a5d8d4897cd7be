"""Small parts by themselves: logging commands, masking, patterns, numbers, state."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from azure_pipelines_local.artifacts import ArtifactError, fetch, locate, names, publish
from azure_pipelines_local.build_number import build_number
from azure_pipelines_local.commands import parse
from azure_pipelines_local.errors import PipelineError
from azure_pipelines_local.masking import Masker
from azure_pipelines_local.matching import find, to_regex
from azure_pipelines_local.records import Result, combined
from azure_pipelines_local.state import KeptRun, State, write_json
from azure_pipelines_local.variables import Variables


def test_a_logging_command_is_taken_apart() -> None:
    command = parse("##vso[task.setvariable variable=a;isOutput=true;]va]lue%0Anext%AZP250A")
    assert command is not None
    assert (command.name, command.message) == ("task.setvariable", "va]lue\nnext%0A")
    assert command.properties == {"variable": "a", "isoutput": "true"}
    assert command.flag("isoutput") and not command.flag("issecret")
    escaped = parse("##vso[task.logissue type=error;sourcepath=a%3Bb%5D]x")
    assert escaped is not None and escaped.properties["sourcepath"] == "a;b]"


@pytest.mark.parametrize(
    "line", ["##[section]x", "##vso[task]x", "##vso[task.a.b]x", "##vso[task.x", "vso[task.x]y", ""]
)
def test_what_is_no_logging_command(line: str) -> None:
    assert parse(line) is None


def test_masking_hides_values_and_their_lines() -> None:
    masker = Masker()
    masker.add("")
    assert masker.mask("unchanged") == "unchanged"
    masker.add("abc")
    masker.add("abcdef")
    masker.add("-----BEGIN\nc2VjcmV0\n}\n")
    masker.add("a.c")
    assert masker.mask("abcdef abc abXdef") == "*** *** abXdef"
    assert masker.mask("  c2VjcmV0") == "  ***"
    assert masker.mask("{ } axc a.c") == "{ } axc ***"
    assert masker.mask_all({"k abc": ["abc", 1, {"x": "abc"}]}) == {
        "k ***": ["***", 1, {"x": "***"}]
    }


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.py", "a.py", True),
        ("*.py", "a/b.py", False),
        ("**/*.py", "a.py", True),
        ("**/*.py", "a/b/c.py", True),
        ("a/**", "a/b/c", True),
        ("a/**", "b/a/c", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[ab].txt", "b.txt", True),
        ("[!ab].txt", "b.txt", False),
        ("*.{yml,yaml}", "a.yaml", True),
        ("*.{yml,yaml}", "a.json", False),
        ("a.c", "abc", False),
        ("a+(b)", "a+(b)", True),
    ],
)
def test_patterns(pattern: str, path: str, fits: bool) -> None:
    assert bool(to_regex(pattern).fullmatch(path)) is fits


def test_files_are_found_and_taken_out_again(tmp_path: Path) -> None:
    for name in ("a.txt", "b/c.txt", "b/d.md", ".git/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def found(*patterns: str) -> list[str]:
        return [str(path.relative_to(tmp_path)) for path in find(tmp_path, list(patterns))]

    assert found("**") == ["a.txt", "b/c.txt", "b/d.md"]
    assert found("**/*.txt", "!b/**") == ["a.txt"]
    assert found("b") == ["b/c.txt", "b/d.md"]
    assert found(str(tmp_path / "b" / "*.md")) == ["b/d.md"]
    assert found() == []


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$(Date:yyyyMMdd)$(Rev:.r)", "20260309.5"),
        ("$(Date:yyyy-MM-dd)_$(Rev:rr)", "2026-03-09_05"),
        ("$(BuildID)-$(SourceBranchName)", "12-main"),
        ("$(DayOfMonth) $(DayOfYear) $(Hours):$(Minutes):$(Seconds)", "9 68 4:5:6"),
        ("$(Month) $(Year:yy) $(Year:yyyy)", "3 26 2026"),
        ("fixed $(unknown)", "fixed $(unknown)"),
    ],
)  # fmt: skip
def test_numbers_of_runs(template: str, expected: str) -> None:
    variables = Variables()
    variables.set("Build.BuildId", "12")
    variables.set("Build.SourceBranchName", "main")
    start = datetime(2026, 3, 9, 4, 5, 6, tzinfo=UTC)
    asked: list[str] = []

    def count(prefix: str) -> int:
        asked.append(prefix)
        return 5

    assert build_number(template, variables, start, count) == expected
    assert bool(asked) == ("Rev" in template)


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([], Result.SKIPPED),
        ([Result.SKIPPED], Result.SKIPPED),
        ([Result.SKIPPED, Result.SUCCEEDED], Result.SUCCEEDED),
        ([Result.ISSUES, Result.SUCCEEDED], Result.ISSUES),
        ([Result.CANCELED, Result.ISSUES], Result.CANCELED),
        ([Result.CANCELED, Result.FAILED], Result.FAILED),
    ],
)
def test_the_result_of_parts(parts: list[Result], whole: Result) -> None:
    assert combined(parts) is whole


def _take_number(folder: str) -> int:
    return State(Path(folder)).new_run()[0]


def _count(folder: str) -> int:
    return State(Path(folder)).count("p", "x", 10)


def test_two_runs_at_once_get_their_own_numbers_and_counts(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    state.prepare()
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        numbers = pool.map(_take_number, [str(state.folder)] * 20)
        counts = pool.map(_count, [str(state.folder)] * 20)
    assert sorted(numbers) == list(range(1, 21))
    assert sorted(counts) == list(range(10, 30))


def test_only_whole_and_good_runs_are_found(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.prepare()
    assert (tmp_path / ".gitignore").read_text() == "*\n"
    for result in ("Succeeded", "SucceededWithIssues", "Failed", None):
        number, folder = state.new_run()
        write_json(folder / "run.json", {"id": number, "pipeline": "CI", "result": result})
    state.new_run()
    assert [run.id for run in state.kept()] == [4, 3, 2, 1]
    latest = state.latest("some\\folder\\ci")
    assert latest is not None and latest.id == 2
    assert state.latest("other") is None
    assert state.find("3").id == 3
    with pytest.raises(PipelineError, match="is not the folder of a run"):
        state.find("5")
    (tmp_path / "runs" / "5" / "run.json").write_text("{broken")
    with pytest.raises(PipelineError, match="is not the folder of a run"):
        KeptRun(tmp_path / "runs" / "5")


def test_artifacts_appear_whole(tmp_path: Path) -> None:
    store = tmp_path / "artifacts"
    source = tmp_path / "out"
    (source / "sub").mkdir(parents=True)
    (source / "a.txt").write_text("1")
    (source / "sub" / "b.md").write_text("2")
    assert publish(source, store, "All") == 2
    assert publish(source / "a.txt", store, "one") == 1
    assert publish(source / "sub" / "b.md", store, "one", add=True) == 1
    assert names(store) == ["All", "one"]
    target = tmp_path / "here"
    assert fetch(locate([store], "all"), target, "**/*.md") == 1
    assert (target / "sub" / "b.md").read_text() == "2"
    assert fetch(store / "one", target, "") == 2
    for name in ("All", ".hidden", "a/b", "x:y"):
        with pytest.raises(ArtifactError):
            publish(source, store, name)
    with pytest.raises(ArtifactError, match="there is: All, one"):
        locate([store], "nope")
    assert names(store) == ["All", "one"]


def test_an_absolute_pattern_leads_elsewhere_only_where_it_may(tmp_path: Path) -> None:
    folder, results = tmp_path / "s [1]", tmp_path / "results"
    for file in (folder / "a.xml", results / "b.xml", results / "deep" / "c.xml"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    patterns = [f"{results}/**/*.xml", "*.xml", f"!{results}/deep/**"]
    assert find(folder, patterns) == [folder / "a.xml"]
    assert find(folder, patterns, anywhere=True) == [folder / "a.xml", results / "b.xml"]
    assert find(folder, [f"{folder}/a.xml"]) == [folder / "a.xml"]
