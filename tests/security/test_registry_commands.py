"""`mlops models promote`, `audit` and `sbom`: who did it, whether the log was changed, what a model is made of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ml_service.platforms.local.platform import LocalPlatform
from tests.command import Mlops, runner
from tests.environment_setup.cyclonedx import schema_problems


@pytest.fixture
def mlops(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Mlops:
    """Runs a command; its exit code, and what it printed."""
    # It may be set on a build agent.
    monkeypatch.setenv("BUILD_REQUESTEDFOR", "someone")
    from ml_service.settings import settings

    settings.cache_clear()
    return runner(capfd, monkeypatch)


def test_a_promotion_by_hand_is_in_the_log_and_a_changed_log_is_named(
    registered: LocalPlatform, mlops: Mlops
) -> None:
    for reason in ("a person wants it", "again"):
        assert mlops("models", "promote", "1", "--reason", reason)[0] == 0
    code, out, _ = mlops("audit", "--json")
    found: Any = json.loads(out)
    first, second = found["records"]
    assert code == 0
    assert found["unlinked_lines"] == []
    assert (first["who"], first["what"], first["why"], first["after"]) == (
        *("someone", "made champion", "a person wants it", 1),
    )
    assert (first["environment"], second["before"]) == ("registry", 1)
    log = registered.state.home / "documents" / "audit.jsonl"
    log.write_text(log.read_text().replace("a person wants it", "the gate wants it"))
    code, out, err = mlops("audit")
    assert code == 1
    assert "again" in out
    assert err.strip() == "error: somebody changed the audit log: what stood before line 2 is gone"
    code, out, _ = mlops("audit", "--json")
    assert (code, json.loads(out)["unlinked_lines"]) == (1, [2])


def test_the_bill_of_materials_of_a_registered_model_is_valid(
    registered: LocalPlatform, mlops: Mlops
) -> None:
    code, out, _ = mlops("models", "sbom", "1")
    bill: Any = json.loads(out)
    assert code == 0
    files = {item["name"] for item in bill["metadata"]["component"]["components"]}
    assert {"model.txt", "golden.json", "packages.json"} <= files
    assert "pkg:pypi/lightgbm@" in out
    # The data's checksum is no real one in this test.
    [problem] = schema_problems(bill)
    assert problem.startswith("'d' does not match")
