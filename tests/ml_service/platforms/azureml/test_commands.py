"""The commands that only the platform azureml has, and how they are refused elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.command import Mlops, runner


@pytest.fixture
def mlops(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Mlops:
    """Runs a command and gives its exit code and what it printed to stdout and stderr."""
    return runner(capfd, monkeypatch)


def test_schedules_are_added_listed_and_removed(azure: str, mlops: Mlops, root: Path) -> None:
    assert "nothing is scheduled" in mlops("schedules", "list")[1]
    code, _, err = mlops("schedules", "add", "training", "--version", "7", "--cron", "0 3 * * 1")
    assert code == 1
    assert "was published" in err
    assert mlops("data", "add", str(root / "data" / "sample.csv"))[0] == 0
    code, out, _ = mlops("publish", "training", "--version", "7")
    assert (code, "version 7 is published" in out) == (0, True)
    arguments = ("schedules", "add", "training", "--version", "7", "--cron")
    code, _, err = mlops(*arguments, "0 3 1 * *")
    assert code == 1
    assert "Traceback" not in err
    code, out, err = mlops(*arguments, "0 3 * * 1", "--json")
    assert code == 0, err
    made = json.loads(out)
    assert made["id"] in mlops("schedules", "list")[1]
    assert mlops("schedules", "remove", made["id"])[0] == 0
    (kept,) = json.loads(mlops("schedules", "list", "--json")[1])["schedules"]
    assert (kept["id"], kept["active"]) == (made["id"], False)


def test_batch_scoring_is_published_once(azure: str, mlops: Mlops, tmp_path: Path) -> None:
    code, out, err = mlops("batch", "publish", "--version", "7", "--json")
    assert code == 0, err
    assert json.loads(mlops("batch", "publish", "--version", "7", "--json")[1]) == json.loads(out)
    code, _, err = mlops("batch", "run", "--version", "8", "--output", str(tmp_path / "scores"))
    assert code == 1
    assert "8" in err
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    code, _, err = mlops("batch", "run", "--version", "7", "--output", str(tmp_path / "taken"))
    assert (code, "choose another --output" in err) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [("schedules", "list"), ("batch", "publish", "--version", "7")],
    ids=lambda words: words[0],
)
def test_the_local_platform_says_what_to_do_instead(
    home: Path, mlops: Mlops, arguments: tuple[str, ...]
) -> None:
    code, _, err = mlops(*arguments, "--platform", "local")
    assert code == 1
    assert "only the platform azureml" in err
