"""The command line: one clear message, the right exit code, nothing half written."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from insurance_claims.data.synthesize import write_synthetic
from ml_service.platforms.local.platform import LocalPlatform
from tests.command import Mlops, runner


@pytest.fixture
def mlops(
    local: LocalPlatform, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Mlops:
    """Runs a command and gives its exit code and what it printed to stdout and stderr."""
    return runner(capfd, monkeypatch)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("table") / "claims.csv"
    write_synthetic(path, 200, seed=4)
    return pd.read_csv(path)


def _csv(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path, pd.DataFrame], None]:
    return lambda path, table: change(table.copy()).to_csv(path, index=False)


BAD: dict[str, tuple[Callable[[Path, pd.DataFrame], Any], str]] = {
    "a missing column": (_csv(lambda t: t.drop(columns="ps_ind_01")), "ps_ind_01"),
    "a wrong type": (_csv(lambda t: t.astype({"ps_reg_01": str}).replace("0.9", "x")), "ps_reg_01"),
    "NaN": (_csv(lambda t: t.assign(ps_reg_01=float("nan"))), "ps_reg_01"),
    "-1 where it may not be": (_csv(lambda t: t.assign(ps_ind_01=-1)), "ps_ind_01"),
    "an unknown category": (_csv(lambda t: t.assign(ps_ind_04_cat=7)), "ps_ind_04_cat"),
    "duplicate ids": (_csv(lambda t: t.assign(id=1)), "id"),
    "one class only": (_csv(lambda t: t.assign(target=0)), "target"),
    "no rows": (_csv(lambda t: t.head(0)), "row"),
    "one row": (_csv(lambda t: t.head(1)), "row"),
    "an empty file": (lambda path, table: path.write_bytes(b""), "empty"),
    "not UTF-8": (
        lambda path, table: path.write_bytes(b"id,target\n1,\xff\xfe\xfa\n"),
        "UTF-8",
    ),
    "a truncated gzip": (
        lambda path, table: path.write_bytes(gzip.compress(table.to_csv().encode())[:-50]),
        "gzip",
    ),
    "no file at all": (lambda path, table: None, "does not exist"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_one_message_and_no_version(
    mlops: Mlops, local: LocalPlatform, table: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    make, reason = BAD[name]
    path = tmp_path / "ten-gigabytes.csv"
    make(path, table)
    code, out, err = mlops("data", "add", str(path))
    assert code == 1
    assert out == ""
    assert err.count("error: ") == 1
    assert reason in err
    assert "Traceback" not in err
    assert list(local.data.list()) == []
    assert not local.state.data.exists() or list(local.state.data.rglob("*.part")) == []


def test_validate_reports_every_problem_at_once(
    mlops: Mlops, table: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "bad.csv"
    table.assign(ps_ind_01=99, ps_car_15=-7.0, id=5).to_csv(path, index=False)
    code, out, _ = mlops("data", "validate", str(path))
    assert code == 1
    assert all(name in out for name in ("ps_ind_01", "ps_car_15", "id", "200"))
    code, out, _ = mlops("data", "validate", str(path), "--json")
    assert code == 1
    found = json.loads(out)
    assert not found["ok"]
    assert {p["column"] for p in found["report"]["problems"]} >= {"ps_ind_01", "ps_car_15", "id"}


def test_an_added_version_is_listed(
    mlops: Mlops, table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    table.to_csv(tmp_path / "good.csv", index=False)
    code, out, _ = mlops("data", "add", str(tmp_path / "good.csv"), "--json")
    assert (code, json.loads(out)["new"]) == (0, True)
    code, out, _ = mlops("data", "add", str(tmp_path / "good.csv"), "--json")
    assert (code, json.loads(out)["new"]) == (0, False)
    code, out, _ = mlops("data", "list", "--json")
    assert [version["version"] for version in json.loads(out)["versions"]] == [1]
    code, out, _ = mlops("data", "list")
    assert "good.csv" in out


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["nonsense"], 2, "nonsense"),
        (["data", "list", "--platform", "moon"], 2, "there is no platform 'moon'"),
        (["run", "training", "--set", "data"], 2, "NAME=VALUE"),
        (["run", "trainin"], 1, "there is no pipeline 'trainin'"),
        (["run", "training", "--set", "date=1"], 1, "no parameter date"),
        (["run", "training"], 1, "mlops data add FILE"),
        (["runs", "show", "latest"], 1, "mlops runs list"),
        (["models", "show", "1"], 1, "no version 1"),
        (["models", "promote", "1", "--reason", " "], 2, "must say why"),
        (["deploy", "staging"], 1, "mlops run training"),
        (["deploy", "staging", "--model", "best"], 2, "not 'best'"),
        (["deploy", "moon", "--model", "1"], 1, "no version 1"),
        (["smoke-test", "staging"], 1, "mlops deploy staging"),
        (["smoke-test", "moon"], 1, "staging, production"),
        (["score", "nowhere.csv"], 1, "nothing is deployed"),
        (["rollback", "production", "--reason", "x"], 1, "there is nothing to roll back"),
        (["rollback", "moon", "--reason", "x"], 1, "there is no environment 'moon'"),
        (["rollout", "status", "moon"], 1, "there is no environment 'moon'"),
        (["rollout", "run", "moon", "--once"], 1, "there is no environment 'moon'"),
        (["rollout", "advance", "--reason", "x"], 1, "has had no rollout"),
        (["rollout", "pause"], 2, "--reason"),
        (["demo", "--data", "nowhere.csv"], 1, "there is no file nowhere.csv"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_says_why(
    mlops: Mlops, arguments: list[str], code: int, reason: str
) -> None:
    got, out, err = mlops(*arguments)
    assert got == code
    assert reason in " ".join(err.split())
    assert out == ""
    assert "Traceback" not in err


def test_an_error_with_json_is_json(mlops: Mlops) -> None:
    code, out, _ = mlops("models", "show", "1", "--json")
    assert code == 1
    assert "no version 1" in json.loads(out)["error"]


def test_empty_lists_say_how_to_begin(mlops: Mlops) -> None:
    for command in (["data", "list"], ["runs", "list"], ["models", "list"], ["endpoints"]):
        code, out, _ = mlops(*command)
        assert code == 0
        assert "mlops" in out


@pytest.mark.slow
def test_a_refusal_is_a_result_and_exits_3_only_when_asked(
    mlops: Mlops, table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_synthetic(tmp_path / "small.csv", 1000, seed=6)
    assert mlops("data", "add", str(tmp_path / "small.csv"), "--name", "other")[0] == 0
    monkeypatch.setenv("DATASET_NAME", "other")
    from ml_service.settings import settings

    settings.cache_clear()
    code, out, _ = mlops("run", "training")
    assert code == 0
    assert "refused by the gate" in out
    monkeypatch.setenv("TF_BUILD", "True")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    report = tmp_path / "report"
    assert mlops("publish", "training", "--version", "7")[0] == 0
    arguments = ("--published", "7", "--json", "--fail-if-refused", "--report", str(report))
    code, out, err = mlops("run", "training", *arguments)
    assert code == 3
    assert "##vso[task.setvariable variable=registered;isOutput=true]false" in err
    assert (tmp_path / "outputs").read_text() == "registered=false\n"
    assert {path.name for path in report.iterdir()} >= {"decision.json", "model_card.md", "plots"}
    assert json.loads((report / "model_version.json").read_text())["decision"] == "refuse"
    assert "nothing was registered" in mlops("deploy", "staging", "--report", str(report))[2]
    assert "choose another --report" in mlops("run", "training", "--report", str(report))[2]
    found = json.loads(out)
    assert not found["registration"]["registered"]
    assert found["registration"]["reasons"]
    assert [step["status"] for step in found["run"]["steps"]][:2] == ["reused", "reused"]
    code, out, _ = mlops("runs", "show", "latest")
    assert code == 0
    assert "refused by the gate" in out
    code, out, _ = mlops("runs", "list")
    assert out.count("completed") == 2
    code, out, _ = mlops("runs", "logs", "latest", "--step", "evaluate")
    assert "the gate refuses" in out


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no report of a training run"),
        ({"registered": False, "reasons": ["worse"]}, "nothing was registered"),
        ({"registered": True, "name": "other", "version": 1}, "names model 'other'"),
        ({"registered": True, "name": "insurance_claims", "version": "1"}, "names no version"),
        ({"registered": True, "name": "insurance_claims", "version": 9}, "no version 9"),
    ],
)
def test_only_what_a_report_registered_is_deployed(
    mlops: Mlops, tmp_path: Path, content: dict[str, Any] | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / "model_version.json").write_text(json.dumps(content))
    code, out, err = mlops("deploy", "staging", "--report", str(tmp_path))
    assert (code, out) == (1, "")
    assert reason in err


def test_what_is_published_has_a_version(mlops: Mlops, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = mlops("publish", "training")
    assert code == 2
    assert "BUILD_BUILDID" in err
    assert (
        "no pipeline insurance_claims-training was published as version 8"
        in (mlops("run", "training", "--published", "8")[2])
    )
    monkeypatch.setenv("BUILD_BUILDID", "8")
    from ml_service.settings import settings

    settings.cache_clear()
    code, out, _ = mlops("publish", "training", "--json")
    assert (code, json.loads(out)["version"]) == (0, "8")
