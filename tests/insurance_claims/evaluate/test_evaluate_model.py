"""The step from folders to an evaluation folder, against a real registry and a real tracker."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from insurance_claims import registry, schema
from insurance_claims.errors import ClaimsError, DataError, ModelError
from insurance_claims.evaluate import evaluate_model
from insurance_claims.files import read_json, write_json
from insurance_claims.model import save_model
from insurance_claims.parameters import load_parameters
from ml_service.platforms.local.platform import LocalPlatform

NAME = "claims"
PLOTS = {"roc.png", "calibration.png", "lift.png", "scores.png", "importance.png"}
DATA = {"name": "claims", "version": 1, "sha256": "d" * 64, "rows": 42_000, "claim_rate": 0.036}


@pytest.fixture(scope="module")
def dataset(customers: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    table = pd.DataFrame(customers.holdout, columns=list(schema.FEATURE_NAMES))
    for column in schema.FEATURES:
        if column.is_integer:
            table[column.name] = table[column.name].astype(np.int64)
    table.insert(0, schema.TARGET, customers.outcome.astype(np.int64))
    table.insert(0, schema.ID, np.arange(len(table)))
    table.to_parquet(folder / "holdout.parquet", index=False)
    manifest = {
        "data": DATA,
        "schema_version": schema.SCHEMA_VERSION,
        "split": SPLIT,
        "rows": {"train": 24_000, "validation": 6_000, "holdout": len(table)},
        "claims": {"train": 870, "validation": 220, "holdout": int(table.target.sum())},
    }
    write_json(folder / "manifest.json", manifest)
    return folder


SPLIT = {"salt": "claims", "holdout": 0.2, "validation": 0.16}


def _save(folder: Path, booster: lgb.Booster, salt: str = "claims") -> Path:
    parameters = load_parameters().training.model_dump(mode="json")
    content = {"parameters": parameters, "best_iteration": 100, "metrics": {}, "data": DATA}
    content["split"] = {**SPLIT, "salt": salt}
    folder.mkdir()
    save_model(folder, booster.model_to_string(), content)
    return folder


@pytest.fixture(scope="module")
def good(good_model: lgb.Booster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _save(tmp_path_factory.mktemp("good") / "model", good_model)


@pytest.fixture(scope="module")
def poor(customers: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    blind = customers.features.copy()
    blind[:, : len(schema.FEATURE_NAMES) // 2] = 0
    model = customers.train(blind, customers.target)
    return _save(tmp_path_factory.mktemp("poor") / "model", model)


@pytest.fixture
def client(local: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", local.state.tracking_uri)
    return local.state.mlflow


def _evaluate(dataset: Path, model: Path, output: Path, champion: str | None = None) -> Any:
    parser = evaluate_model._parser()
    command = f"--dataset {dataset} --model {model} --model-name {NAME} --output {output}"
    extra = [] if champion is None else ["--champion", champion]
    evaluate_model.main(parser.parse_args([*command.split(), *extra]))
    return read_json(output / "decision.json")


def _register(client: Any, model: Path) -> registry.ModelVersion:
    run = client.create_run("0")
    client.log_artifacts(run.info.run_id, str(model), "model")
    tags = {registry.MODEL_SHA256: read_json(model / "model.json")["sha256"]}
    source = f"{run.info.artifact_uri}/model"
    made = registry.register(client, NAME, run.info.run_id, source, tags)
    registry.promote(client, NAME, made.version, "for the test")
    return made


def test_the_first_model_is_promoted_and_the_folder_is_complete(
    dataset: Path,
    good: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    output = tmp_path / "evaluation"
    decision = _evaluate(dataset, good, output)
    text = (output / "decision.json").read_text()
    assert not re.search("NaN|Infinity", text)
    assert decision["decision"] == "promote"
    assert decision["champion"] is None and decision["comparison"] is None
    assert decision["challenger"]["sha256"] == read_json(good / "model.json")["sha256"]
    assert decision["challenger"]["latency_ms"] > 0
    assert decision["holdout"]["data_version"] == 1
    assert decision["holdout"]["data_sha256"] == "d" * 64
    assert {path.name for path in output.iterdir()} == {"decision.json", "model_card.md", "plots"}
    plots = list((output / "plots").iterdir())
    assert {path.name for path in plots} == PLOTS
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in plots)
    card = (output / "model_card.md").read_text()
    linked = re.findall(r"\]\(plots/(.*?)\)", card)
    assert set(linked) == PLOTS
    for heading in ("Intended use", "Data", "Performance", "Groups", "Limits", "reproduce"):
        assert re.search(f"^## .*{heading}", card, re.MULTILINE), heading
    assert "no champion yet" in card and "sha256 `" + "d" * 64 in card
    assert "the gate promotes the challenger" in capsys.readouterr().out


def test_the_registrys_champion_is_compared_with_and_its_version_named(
    dataset: Path, good: Path, poor: Path, tmp_path: Path, client: Any
) -> None:
    assert _evaluate(dataset, poor, tmp_path / "first")["champion"] is None
    _register(client, poor)
    better = _evaluate(dataset, good, tmp_path / "better")
    assert better["decision"] == "promote", better["reasons"]
    assert better["champion"]["version"] == 1
    assert better["champion"]["sha256"] == read_json(poor / "model.json")["sha256"]
    assert better["comparison"]["gini_difference"]["low"] > 0
    _register(client, good)
    again = _evaluate(dataset, good, tmp_path / "again")
    assert again["decision"] == "refuse" and again["champion"]["version"] == 2
    assert "no better than the champion" in again["reasons"][0]
    worse = _evaluate(dataset, poor, tmp_path / "worse")
    assert worse["decision"] == "refuse"
    assert "champion, version 2" in (tmp_path / "worse/model_card.md").read_text()


def test_metrics_and_files_reach_the_tracker(
    dataset: Path, good: Path, tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = client.create_run("0")
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    decision = _evaluate(dataset, good, tmp_path / "evaluation", str(good))
    logged = client.get_run(run.info.run_id).data.metrics
    assert logged["gini"] == pytest.approx(decision["challenger"]["metrics"]["gini"]["value"])
    assert logged["gini_difference"] == 0 and logged["promoted"] == 0
    assert logged["champion_gini"] == logged["gini"]
    files = {item.path for item in client.list_artifacts(run.info.run_id, "evaluation")}
    assert files == {"evaluation/decision.json", "evaluation/model_card.md", "evaluation/plots"}


@pytest.mark.parametrize("damage", ["changed", "gone", "schema", "other"])
def test_a_champion_that_cannot_be_loaded_stops_the_step(
    damage: str, dataset: Path, good: Path, poor: Path, tmp_path: Path, client: Any
) -> None:
    version = _register(client, good)
    folder = Path(version.source.removeprefix("file://"))
    if damage == "changed":
        with (folder / "model.txt").open("a") as file:
            file.write("\n")
    elif damage == "gone":
        shutil.rmtree(folder)
    elif damage == "schema":
        content = read_json(folder / "model.json")
        write_json(folder / "model.json", {**content, "schema_version": "0"})
    else:
        shutil.rmtree(folder)
        shutil.copytree(poor, folder)
    output = tmp_path / "evaluation"
    with pytest.raises(ModelError, match="the champion, version 1 of claims, cannot be loaded"):
        _evaluate(dataset, poor, output)
    assert not output.exists()
    assert _evaluate(dataset, good, output, "none")["champion"] is None


def test_a_given_champion_that_is_no_model_folder(
    dataset: Path, good: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="the champion .*nowhere cannot be loaded"):
        _evaluate(dataset, good, tmp_path / "evaluation", str(tmp_path / "nowhere"))


@pytest.fixture
def spoiled(dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(dataset, tmp_path / "dataset"))


def _rewrite(folder: Path, change: Any) -> None:
    table = pd.read_parquet(folder / "holdout.parquet")
    change(table).to_parquet(folder / "holdout.parquet", index=False)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "manifest.json").unlink(), "not a dataset folder"),
        (lambda f: (f / "manifest.json").write_text("{}"), "does not describe a dataset"),
        (lambda f: (f / "holdout.parquet").unlink(), "holdout.parquet does not exist"),
        (lambda f: (f / "holdout.parquet").write_bytes(b"PAR1"), "cannot be read"),
        (lambda f: _rewrite(f, lambda t: t.drop(columns="ps_car_13")), "lacks ps_car_13"),
        (lambda f: _rewrite(f, lambda t: t.head(100)), "has 100 rows, the manifest says 12,000"),
        (lambda f: _rewrite(f, lambda t: t.assign(ps_car_13=float("nan"))), "holds nulls or NaN"),
        (lambda f: _rewrite(f, lambda t: t.assign(ps_car_13="a")), "is no number"),
        (lambda f: _rewrite(f, lambda t: t.assign(target=2)), "other than 0 and 1"),
    ],
)
def test_a_spoiled_dataset_is_one_clear_message_and_no_output(
    spoil: Any, said: str, spoiled: Path, good: Path, tmp_path: Path
) -> None:
    spoil(spoiled)
    with pytest.raises(DataError, match=said):
        _evaluate(spoiled, good, tmp_path / "evaluation", "none")
    assert not (tmp_path / "evaluation").exists()


def test_another_schema_and_an_empty_holdout_are_refused(
    spoiled: Path, good: Path, tmp_path: Path
) -> None:
    manifest = read_json(spoiled / "manifest.json")
    write_json(spoiled / "manifest.json", {**manifest, "schema_version": "0"})
    with pytest.raises(DataError, match="made for schema 0"):
        _evaluate(spoiled, good, tmp_path / "evaluation", "none")
    _rewrite(spoiled, lambda table: table.head(0))
    manifest["rows"]["holdout"] = 0
    write_json(spoiled / "manifest.json", manifest)
    with pytest.raises(DataError, match="has no rows"):
        _evaluate(spoiled, good, tmp_path / "evaluation", "none")


def test_a_holdout_without_claims_is_a_refusal(spoiled: Path, good: Path, tmp_path: Path) -> None:
    _rewrite(spoiled, lambda table: table.assign(target=0))
    decision = _evaluate(spoiled, good, tmp_path / "evaluation", str(good))
    assert decision["decision"] == "refuse"
    assert "0 rows with a claim" in decision["reasons"][0]
    assert decision["challenger"]["metrics"] == {}
    assert decision["champion"]["sha256"] == decision["challenger"]["sha256"]
    assert "Not measured" in (tmp_path / "evaluation/model_card.md").read_text()


def test_a_constant_model_is_a_refusal(
    customers: Any, dataset: Path, good: Path, tmp_path: Path
) -> None:
    booster = customers.train(customers.features, customers.target, min_data_in_leaf=40_000)
    model = _save(tmp_path / "model", booster)
    decision = _evaluate(dataset, model, tmp_path / "evaluation", str(good))
    assert decision["decision"] == "refuse"
    assert "Every row got the same score" in decision["reasons"][0]


def test_everything_but_the_latency_is_the_same_twice(
    dataset: Path, good: Path, poor: Path, tmp_path: Path
) -> None:
    first, second = (_evaluate(dataset, good, tmp_path / n, str(poor)) for n in ("a", "b"))
    for decision in (first, second):
        del decision["challenger"]["latency_ms"]
        decision["checks"] = [c for c in decision["checks"] if c["name"] != "latency"]
    assert first == second
    for plot in PLOTS:
        assert (tmp_path / "a/plots" / plot).read_bytes() == (
            tmp_path / "b/plots" / plot
        ).read_bytes()


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "insurance_claims.evaluate.evaluate_model"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


def test_a_refusal_exits_0_and_a_mistake_1(dataset: Path, good: Path, tmp_path: Path) -> None:
    common = ("--dataset", dataset, "--model-name", NAME, "--champion", good)
    refused = _run(*common, "--model", good, "--output", tmp_path / "evaluation")
    assert refused.returncode == 0, refused.stderr
    assert "the gate refuses:\n  - The challenger is no better than the champion" in refused.stdout
    mistaken = _run(*common, "--model", tmp_path, "--output", tmp_path / "other")
    assert mistaken.returncode == 1
    assert mistaken.stderr.startswith("error: ") and "Traceback" not in mistaken.stderr
    again = _run(*common, "--model", good, "--output", tmp_path / "evaluation")
    assert again.returncode == 1 and "exists already" in again.stderr


def test_plots_and_the_registry_are_imported_only_when_needed() -> None:
    code = (
        "import sys, insurance_claims.evaluate.gate, insurance_claims.evaluate.metrics\n"
        "heavy = ('lightgbm', 'matplotlib', 'mlflow', 'sklearn', 'scipy', 'pandas')\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "import insurance_claims.evaluate.evaluate_model\n"
        "print([name for name in ('matplotlib', 'mlflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"]


def test_no_registry_answers(
    dataset: Path, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ClaimsError, match="the registry of claims cannot be read"):
        _evaluate(dataset, good, tmp_path / "evaluation")


def test_a_model_of_another_split_may_have_seen_the_holdout(
    dataset: Path, good: Path, good_model: lgb.Booster, tmp_path: Path
) -> None:
    other = _save(tmp_path / "other", good_model, salt="another")
    with pytest.raises(ModelError, match="the champion was trained with split .*'another'"):
        _evaluate(dataset, good, tmp_path / "evaluation", str(other))
    with pytest.raises(ModelError, match="the challenger was trained with split"):
        _evaluate(dataset, other, tmp_path / "evaluation", "none")
    assert not (tmp_path / "evaluation").exists()
