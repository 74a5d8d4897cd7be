"""The command that serves a model: on loopback, from anywhere, whatever the caller's environment says."""

from __future__ import annotations

from pathlib import Path

import pytest

from insurance_claims.errors import ClaimsError
from ml_service.platforms.local.serving_command import APP_ROOT, SCORE_SCRIPT, server_command


def _option(argv: list[str], name: str) -> str:
    return argv[argv.index(name) + 1]


def test_it_listens_on_loopback_alone() -> None:
    argv, _ = server_command(Path("models/claims/3"), 8123, workers=2)
    assert argv.count("--bind") == 1
    assert _option(argv, "--bind") == "127.0.0.1:8123"
    assert _option(argv, "--workers") == "2"


def test_its_paths_hold_in_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, environment = server_command(Path("claims/3"), 1)
    assert environment["AZUREML_MODEL_DIR"] == str(tmp_path / "claims" / "3")
    assert Path(environment["AZUREML_ENTRY_SCRIPT"]) == SCORE_SCRIPT
    assert SCORE_SCRIPT.is_file()
    assert (APP_ROOT / "insurance_claims" / "__init__.py").is_file()


def test_the_callers_environment_does_not_steer_the_server() -> None:
    _, environment = server_command(Path("claims/3"), 1)
    assert environment["GUNICORN_CMD_ARGS"] == ""
    assert environment["AML_APP_INSIGHTS_ENABLED"] == "false"
    assert environment["OMP_NUM_THREADS"] == "1"


def test_the_server_answers_before_gunicorn_kills() -> None:
    argv, environment = server_command(Path("claims/3"), 1, request_seconds=7)
    assert environment["SCORING_TIMEOUT_MS"] == "7000"
    assert int(_option(argv, "--timeout")) > 7
    assert int(_option(argv, "--graceful-timeout")) >= 7


@pytest.mark.parametrize("path", ["claims", "claims/v1", "claims/1/model", "claims/-1"])
def test_a_path_that_names_no_version_is_refused(path: str) -> None:
    with pytest.raises(ClaimsError, match="<name>/<version>"):
        server_command(Path(path), 1)
