"""From synthetic rows to a score, with the package that PYTHONPATH names: ``python whole_loop.py FOLDER``.

Writes what came of it to FOLDER/result.json. The steps run as the pipeline runs them, in one process.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import insurance_claims
from insurance_claims import schema
from insurance_claims.data.content import write_version
from insurance_claims.data.load import read_table
from insurance_claims.data.split import split_table
from insurance_claims.data.synthesize import TRUTH, write_synthetic
from insurance_claims.data.validate import check
from insurance_claims.drift.features import compare
from insurance_claims.errors import ClaimsError
from insurance_claims.files import read_json
from insurance_claims.parameters import load_parameters
from insurance_claims.register.golden import golden
from insurance_claims.scoring.scorer import load_scorer
from insurance_claims.training.importance import importance

ROWS = 24_000


def step(module: str, **arguments: Path | str) -> None:
    """Run a step of the pipeline."""
    given = ((f"--{name.replace('_', '-')}", str(value)) for name, value in arguments.items())
    options = [text for option in given for text in option]
    sys.argv = [module, *options]
    runpy.run_module(module, run_name="__main__")


def refused(table: Any, **changed: Any) -> str:
    """Why a changed table cannot be trained on."""
    try:
        split_table(check(table.assign(**changed)), load_parameters().split)
    except ClaimsError as error:
        return str(error)
    return ""


def main(folder: Path) -> None:
    """Do all of it."""
    write_synthetic(folder / "claims.csv", ROWS, 1, folder / "truth.csv")
    table = check(read_table(folder / "claims.csv"))
    raw = folder / "raw"
    raw.mkdir()
    facts = {"name": "claims", "created": "2026-01-02T03:04:05+00:00", "source": "claims.csv"}
    write_version(table, raw, version=1, **facts)
    dataset, model, evaluation = folder / "dataset", folder / "claims" / "1", folder / "evaluation"
    step("insurance_claims.data.prepare", raw=raw, output=dataset)
    step("insurance_claims.training.train", dataset=dataset, output=model)
    judged: dict[str, Path | str] = {"dataset": dataset, "model": model, "model_name": "claims"}
    step("insurance_claims.evaluate.evaluate_model", **judged, champion="none", output=evaluation)
    known = golden(model)
    scorer = load_scorer(model, load_parameters().scoring)
    answer = json.loads(
        scorer.score(json.dumps({"data": known["rows"]}).encode(), "request").answer
    )
    values = {name: table[name].to_numpy(float) for name in schema.FEATURE_NAMES}
    periods = {} if schema.PERIOD is None else {schema.PERIOD: table[schema.PERIOD] % 2 + 1}
    result = {
        "package": insurance_claims.__file__,
        "problem": schema.PROBLEM,
        "truth": [TRUTH, float(read_table(folder / "truth.csv")[TRUTH].mean())],
        "target": float(table[schema.TARGET].mean()),
        "dataset": read_json(dataset / "manifest.json"),
        "model": read_json(model / "model.json"),
        "importance_of_period": importance(scorer.model.booster).get(str(schema.PERIOD), 0),
        "decision": read_json(evaluation / "decision.json"),
        "plots": sorted(path.name for path in (evaluation / "plots").iterdir()),
        "same_scores": answer["result"] == known["scores"],
        "scores": known["scores"],
        "compared": [
            item.feature for item in compare(values, values, load_parameters().monitoring)
        ],
        "refused": {
            "negative": refused(table, **{schema.TARGET: table[schema.TARGET] - 1}),
            "two periods": refused(table, **periods),
        },
    }
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
