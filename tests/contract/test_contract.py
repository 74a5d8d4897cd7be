"""What every platform keeps: one suite, each platform. Tests run in order on one training run."""

from __future__ import annotations

import gzip
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from insurance_claims.errors import ClaimsError
from insurance_claims.model import load_model
from ml_service.platforms.base import Endpoint, PlatformError, Routing, RunStatus
from ml_service.reproduce import reproduce
from ml_service.scoring_client import score_file
from ml_service.smoke_test import load_golden, smoke_test

pytestmark = pytest.mark.slow

LINEAGE = {
    *("data_name", "data_version", "data_sha256", "schema_version", "git_commit", "lock_sha256"),
    *("parameters", "parameters_sha256", "model_sha256", "pipeline_run_id", "decision"),
    *("metric_gini", "metric_auc", "metric_log_loss", "metric_brier"),
}


def quiet(line: str) -> None:
    """A log that nobody reads."""


def output(trained: Any, step: str, name: str) -> Path:
    path: Path = trained.platform.pipelines.output(trained.run.id, step, name)
    return path


# Data


def test_the_same_content_is_the_same_version(trained: Any, tmp_path: Path) -> None:
    table = pd.read_csv(trained.file)
    table.to_parquet(tmp_path / "same.parquet")
    (tmp_path / "same.csv.gz").write_bytes(gzip.compress(trained.file.read_bytes()))
    for name in ("same.parquet", "same.csv.gz"):
        version, new = trained.platform.data.add("insurance_claims", tmp_path / name, quiet)
        assert (version, new) == (trained.data, False)


def test_other_content_is_another_version(trained: Any, tmp_path: Path) -> None:
    pd.read_csv(trained.file).iloc[:-1].to_csv(tmp_path / "other.csv", index=False)
    version, new = trained.platform.data.add("another", tmp_path / "other.csv", quiet)
    assert (new, version.version, version.name) == (True, 1, "another")
    assert version.sha256 != trained.data.sha256
    assert trained.platform.data.get("another") == version
    assert [v.version for v in trained.platform.data.list("another")] == [1]


def test_a_bad_file_makes_no_version(trained: Any, tmp_path: Path) -> None:
    before = list(trained.platform.data.list())
    bad = pd.read_csv(trained.file)
    bad.loc[0, "ps_ind_01"] = 99
    bad.to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(ClaimsError, match="ps_ind_01"):
        trained.platform.data.add("insurance_claims", tmp_path / "bad.csv", quiet)
    assert list(trained.platform.data.list()) == before


@pytest.mark.parametrize(("name", "version"), [("nothing", "latest"), ("insurance_claims", "99")])
def test_a_missing_version_is_named(trained: Any, name: str, version: str) -> None:
    with pytest.raises(PlatformError, match=f"{name}.*|{version}"):
        trained.platform.data.get(name, version)


# Pipelines


def test_the_run_completed_and_is_found_again(trained: Any) -> None:
    assert trained.run.status is RunStatus.COMPLETED
    assert [step.name for step in trained.run.steps] == ["prepare", "train", "evaluate", "register"]
    assert trained.platform.pipelines.get(trained.run.id) == trained.run
    assert trained.run in trained.platform.pipelines.list()


def test_logs_are_streamed_and_kept(trained: Any) -> None:
    kept = trained.platform.pipelines.logs(trained.run.id)
    for line in kept.splitlines():
        assert line in trained.printed
    assert "[train]" in kept
    assert "[train]" not in trained.platform.pipelines.logs(trained.run.id, "train")


def test_folders_keep_their_contract(trained: Any) -> None:
    dataset = output(trained, "prepare", "dataset")
    manifest = json.loads((dataset / "manifest.json").read_text())
    assert manifest["data"]["sha256"] == trained.data.sha256
    assert set(manifest) >= {"data", "schema_version", "split", "rows", "claims"}
    ids = [set(pd.read_parquet(dataset / f"{part}.parquet")["id"]) for part in manifest["rows"]]
    assert sum(len(part) for part in ids) == len(set.union(*ids)) == trained.data.rows
    model = load_model(output(trained, "train", "model"))
    assert model.metadata["data"]["sha256"] == trained.data.sha256
    evaluation = output(trained, "evaluate", "evaluation")
    decision = json.loads((evaluation / "decision.json").read_text())
    assert decision["decision"] == "promote"
    assert decision["reasons"]
    card = (evaluation / "model_card.md").read_text()
    plots = sorted(path.name for path in (evaluation / "plots").glob("*.png"))
    assert len(plots) >= 5
    assert all(f"plots/{name}" in card for name in plots)
    registration = output(trained, "register", "registration")
    assert json.loads((registration / "model_version.json").read_text())["version"] == 1


def test_what_is_published_is_run_by_name_and_version(trained: Any) -> None:
    pipelines = trained.platform.pipelines
    published = pipelines.publish(trained.pipeline, "42", quiet)
    assert (published.name, published.version) == (trained.pipeline.name, "42")
    assert pipelines.publish(trained.pipeline, "42", quiet) == published
    assert pipelines.published(trained.pipeline.name, "42") == published
    with pytest.raises(PlatformError, match="43"):
        pipelines.published(trained.pipeline.name, "43")
    with pytest.raises(ClaimsError, match="no parameter colour; it has: data"):
        pipelines.run(published, {"colour": "red"}, quiet)


# Models


def test_the_registered_model_carries_its_whole_lineage(trained: Any) -> None:
    model = trained.platform.models.champion()
    assert model.version == 1
    assert model.champion
    assert set(model.tags) >= LINEAGE
    assert model.tags["data_sha256"] == trained.data.sha256
    assert model.tags["pipeline_run_id"] == trained.run.id
    folder = trained.platform.models.fetch(1)
    text = (output(trained, "train", "model") / "model.txt").read_text()
    assert (folder / "model.txt").read_text() == text
    assert trained.platform.models.get("latest") == trained.platform.models.get("champion") == model


def test_a_missing_model_is_named(trained: Any) -> None:
    with pytest.raises(ClaimsError, match="no version 99; it has: 1"):
        trained.platform.models.get(99)
    with pytest.raises(ClaimsError, match="no version 99"):
        trained.platform.models.promote(99, "why not")


def test_an_identical_challenger_is_no_better(trained: Any) -> None:
    published = trained.platform.pipelines.publish(trained.pipeline, "42", quiet)
    again = trained.platform.pipelines.run(published, {}, quiet)
    assert again.error is None
    assert [str(step.status) for step in again.steps] == [
        *("reused", "reused", "completed", "completed")
    ]
    evaluation = trained.platform.pipelines.output(again.id, "evaluate", "evaluation")
    decision = json.loads((evaluation / "decision.json").read_text())
    assert decision["decision"] == "refuse"
    assert "no better" in " ".join(decision["reasons"])
    assert [model.version for model in trained.platform.models.list()] == [1]
    assert trained.platform.models.champion().version == 1


def test_a_version_is_reproduced_from_its_lineage(trained: Any) -> None:
    result = reproduce(trained.platform, 1, quiet)
    assert result.same, result.describe()


# Endpoints


@pytest.fixture(scope="module")
def staging(trained: Any) -> Endpoint:
    """Version 1 on staging."""
    endpoint: Endpoint = trained.platform.endpoints.deploy("staging", 1, quiet)
    return endpoint


def test_a_deployed_version_passes_the_smoke_test(trained: Any, staging: Endpoint) -> None:
    golden = load_golden(trained.platform.models.fetch(1) / "golden.json")
    report = smoke_test(staging.url, staging.key, golden, 1, quiet)
    assert report.ok, report.describe()
    found = trained.platform.endpoints.get("staging")
    assert (found.state, dict(found.traffic), found.key) == ("healthy", {1: 100}, staging.key)
    assert staging.key not in repr(found)


def test_a_file_is_scored_over_http_as_by_the_model(
    trained: Any, staging: Endpoint, tmp_path: Path
) -> None:
    few = pd.read_csv(trained.file).head(50)
    few.to_csv(tmp_path / "few.csv", index=False)
    csv = score_file(staging, tmp_path / "few.csv", quiet).splitlines()
    rows = few.drop(columns=["id", "target"]).to_numpy(dtype=float)
    expected = load_model(trained.platform.models.fetch(1)).predict(rows)
    scored = [line.split(",") for line in csv[1:]]
    assert [int(row[0]) for row in scored] == few["id"].tolist()
    assert [float(row[1]) for row in scored] == pytest.approx(expected.tolist(), abs=1e-12)


def test_a_request_without_the_key_is_refused(staging: Endpoint) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        request = urllib.request.Request(staging.url, data=b"{}", headers=headers)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=10)
        assert caught.value.code == 401
        caught.value.close()


def test_what_cannot_be_deployed_leaves_the_endpoint_alone(trained: Any, staging: Endpoint) -> None:
    with pytest.raises(ClaimsError, match="99"):
        trained.platform.endpoints.deploy("staging", 99, quiet)
    with pytest.raises(ClaimsError, match="staging, production"):
        trained.platform.endpoints.deploy("nowhere", 1, quiet)
    with pytest.raises(ClaimsError, match="99"):
        trained.platform.endpoints.start_version("staging", 99)
    with pytest.raises(ClaimsError, match="99"):
        trained.platform.endpoints.set_routing("staging", Routing({1: 50, 99: 50}))
    found = trained.platform.endpoints.get("staging")
    assert (found.state, dict(found.traffic)) == ("healthy", {1: 100})


@pytest.mark.parametrize("traffic", [{1: 50}, {1: 110, 2: -10}, {1: 99.5, 2: 0.5}, {1: True}, {}])
def test_shares_that_cannot_be_are_no_routing(traffic: dict[int, int]) -> None:
    with pytest.raises(PlatformError, match="whole numbers|sum to 100"):
        Routing(traffic)


def test_the_only_version_is_healthy_and_keeps_its_traffic(trained: Any, staging: Endpoint) -> None:
    endpoints = trained.platform.endpoints
    assert endpoints.health("staging", 1) == ("healthy", None)
    endpoints.set_routing("staging", Routing({1: 100}))
    with pytest.raises(PlatformError, match="version 1"):
        endpoints.stop_version("staging", 1)
    # It is not served, so there is nothing to stop.
    endpoints.stop_version("staging", 99)
    assert dict(endpoints.traffic("staging")) == {1: 100}
    health, reason = endpoints.health("staging", 99)
    assert health == "unhealthy" and reason
    assert dict(endpoints.traffic("production")) == {}


def test_requests_are_observed_and_none_from_before(
    trained: Any, staging: Endpoint, tmp_path: Path
) -> None:
    pd.read_csv(trained.file).head(50).to_csv(tmp_path / "few.csv", index=False)
    since = datetime.now(UTC)
    # What an interval that began earlier holds is left out whole: go on until one begins later.
    for _ in range(60):
        score_file(staging, tmp_path / "few.csv", quiet)
        observed = trained.platform.endpoints.observed("staging", since).of(1)
        if observed.requests:
            break
        time.sleep(1)
    assert observed.requests > observed.errors == 0
    assert observed.scores.total >= 50
    assert 0 < observed.score_moments.mean < 1
    later = datetime.now(UTC) + timedelta(minutes=5)
    assert trained.platform.endpoints.observed("staging", later).of(1).requests == 0


def test_a_removed_endpoint_is_gone(trained: Any, staging: Endpoint) -> None:
    trained.platform.endpoints.remove("staging", quiet)
    assert trained.platform.endpoints.get("staging") is None
    assert list(trained.platform.endpoints.list()) == []
    with pytest.raises(OSError):
        urllib.request.urlopen(staging.url, timeout=5)
    trained.platform.endpoints.remove("staging", quiet)


# Promotion by hand comes last: it moves the champion.


def test_the_champion_moves_and_there_is_one(trained: Any) -> None:
    promoted = trained.platform.models.promote(1, "a person wants it")
    assert promoted.champion
    assert promoted.tags["champion_reason"] == "a person wants it"
    assert sum(model.champion for model in trained.platform.models.list()) == 1


# What the platforms must have in common: the same data and code give the same, wherever they run.


def test_the_platforms_agree(train: Callable[[str], Any]) -> None:
    found = [facts(train(name)) for name in ("local", "azureml")]
    assert found[0] == found[1]


def facts(trained: Any) -> dict[str, Any]:
    model = trained.platform.models.get(1)
    folder = trained.platform.models.fetch(1)
    decision = without_time(json.loads((folder / "decision.json").read_text()))
    return {
        "data": (trained.data.name, trained.data.version, trained.data.sha256, trained.data.rows),
        "model": (folder / "model.txt").read_text(),
        "decision": decision,
        "golden": json.loads((folder / "golden.json").read_text()),
        "lineage": sorted(set(model.tags) - {"build_id", "build_uri"}),
        "same lineage": {
            key: model.tags[key] for key in LINEAGE - {"pipeline_run_id"} if key in model.tags
        },
        "steps": [step.name for step in trained.run.steps],
        "parameters": trained.run.parameters,
    }


def without_time(content: Any) -> Any:
    """A decision without how long scoring a row took, which is never twice the same."""
    if isinstance(content, dict):
        if content.get("name") == "latency":
            return {"name": "latency", "passed": content["passed"]}
        return {key: without_time(value) for key, value in content.items() if key != "latency_ms"}
    if isinstance(content, list):
        return [without_time(item) for item in content]
    if isinstance(content, str):
        return re.sub(r"takes [0-9.]+ ms", "takes some ms", content)
    return content
