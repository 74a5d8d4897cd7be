"""Judge a challenger on the frozen holdout, against the champion where there is one.

A refused model is a result: the step ends well, and decision.json and the model card say why.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from insurance_claims.errors import ModelError
from insurance_claims.evaluate.champion import NONE, Champion, load_champion
from insurance_claims.evaluate.gate import Decision, judge
from insurance_claims.evaluate.holdout import Holdout, read_holdout
from insurance_claims.evaluate.metrics import Floats, claims_of
from insurance_claims.evaluate.model_card import model_card
from insurance_claims.files import whole_folder, write_json, write_whole
from insurance_claims.model import Model, load_model
from insurance_claims.parameters import load_parameters
from insurance_claims.step import run_step, step_parser
from insurance_claims.tracking import tracker

DECISION_FILE = "decision.json"
CARD_FILE = "model_card.md"
PLOTS_FOLDER = "plots"

_WARM_UP = 20
_TIMED_ROWS = 300


def single_row_latency(model: Model, rows: Floats) -> float:
    """Median time in ms of scoring one row, over up to 300 of the given rows, shape (n, 57)."""
    chosen = [row.copy() for row in rows[:_TIMED_ROWS]]
    for row in chosen[:_WARM_UP]:
        model.predict_row(row)
    times = []
    for row in chosen:
        start = perf_counter()
        model.predict_row(row)
        times.append(perf_counter() - start)
    return 1000 * median(times)


def refuse_another_split(who: str, model: Model, holdout: Holdout) -> None:
    """Refuse to judge a model on rows that it may have been trained on.

    Raises:
        ModelError: the model was trained on another split than the holdout is of, or on a period of it.
    """
    then, now = model.metadata.get("split"), holdout.manifest.get("split")
    if then is not None and then != now:
        raise ModelError(
            f"{who} was trained with split {then}, the holdout is of split {now}: it may have seen these rows. "
            "Put the split in parameters.yml back, or start a model of another name with the new one"
        )
    learnt, held_out = model.metadata.get("periods"), holdout.manifest.get("periods")
    if learnt and held_out and (last := learnt["validation"][1]) >= held_out["holdout"][0]:
        raise ModelError(
            f"{who} was trained on periods up to {last}, the holdout begins with {held_out['holdout'][0]}: "
            "it has seen these rows. Train on data that holds the newest periods, or start a model of another name"
        )


def decision_content(
    decision: Decision, challenger: Model, champion: Champion | None, holdout: Holdout
) -> dict[str, Any]:
    """The content of decision.json: the decision, and which models and data it is about."""
    content = decision.to_json()
    data = holdout.manifest["data"]
    content["challenger"] = {"sha256": challenger.metadata["sha256"], **content["challenger"]}
    if champion is not None:
        identity = {"version": champion.version, "sha256": champion.model.metadata["sha256"]}
        content["champion"] = {**identity, **(content["champion"] or {})}
    content["holdout"] |= {"data_version": data["version"], "data_sha256": data["sha256"]}
    return content


def flat_metrics(decision: Decision) -> dict[str, float]:
    """What people look at in the tracker, one number a name."""
    sides = {"": decision.challenger, "champion_": decision.champion}
    found = {
        f"{prefix}{name}": figure
        for prefix, side in sides.items()
        if side is not None
        for name, figure in side.metrics.items()
    }
    found |= decision.comparison or {}
    flat = {"promoted": float(decision.promote), "latency_ms": decision.latency_ms}
    for name, figure in found.items():
        flat |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
    return flat


def draw(
    folder: Path,
    decision: Decision,
    challenger: Model,
    holdout: Holdout,
    scores: dict[str, Floats],
) -> list[str]:
    """Draw the plots that the figures allow, and return their names."""
    from insurance_claims.evaluate.plots import draw_plots
    from insurance_claims.training.importance import draw_importance, importance

    drawn: list[str] = []
    if decision.challenger.metrics:
        drawn += draw_plots(holdout.target, scores, folder)
    draw_importance(importance(challenger.booster), folder / "importance.png")
    return [*drawn, "importance.png"]


def main(arguments: argparse.Namespace) -> None:
    """Run the step."""
    parameters = load_parameters(arguments.parameters)
    threads = parameters.training.threads
    with whole_folder(arguments.output) as output, tracker() as to:
        holdout = read_holdout(arguments.dataset)
        challenger = load_model(arguments.model)
        champion = load_champion(arguments.champion, arguments.model_name)
        for who, model in {"the challenger": challenger, **_models(champion)}.items():
            refuse_another_split(who, model, holdout)
        against = "without a champion" if champion is None else f"against the {champion.name}"
        _say(
            f"judging on {holdout.target.size:,} holdout rows with "
            f"{claims_of(holdout.target):,} claims, {against}"
        )
        scores = {"challenger": challenger.predict(holdout.features, threads)}
        if champion is not None:
            scores[champion.name] = champion.model.predict(holdout.features, threads)
        decision = judge(
            holdout.target,
            {name: holdout.column(name) for name in parameters.gate.slices},
            scores["challenger"],
            None if champion is None else scores[champion.name],
            single_row_latency(challenger, holdout.features),
            parameters.gate,
            holdout.manifest.get("periods", {}).get("naive"),
        )
        content = decision_content(decision, challenger, champion, holdout)
        plots_folder = output / PLOTS_FOLDER
        plots_folder.mkdir()
        plots = draw(plots_folder, decision, challenger, holdout, scores)
        write_json(output / DECISION_FILE, content)
        card = model_card(
            arguments.model_name, content, challenger.metadata, holdout.manifest, plots
        )
        write_whole(output / CARD_FILE, card)
        to.log_metrics(flat_metrics(decision))
        to.log_files(output, "evaluation")
    _say("the gate promotes the challenger:" if decision.promote else "the gate refuses:")
    for reason in decision.reasons:
        _say(f"  - {reason}")


def _models(champion: Champion | None) -> dict[str, Model]:
    return {} if champion is None else {f"the {champion.name}": champion.model}


def _say(line: str) -> None:
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = step_parser("insurance_claims.evaluate.evaluate_model", __doc__)
    parser.add_argument(
        "--dataset", type=Path, required=True, metavar="DIR", help="folder written by prepare"
    )
    parser.add_argument(
        "--model", type=Path, required=True, metavar="DIR", help="the challenger's model folder"
    )
    parser.add_argument(
        "--model-name", required=True, metavar="NAME", help="of the registered model"
    )
    parser.add_argument(
        "--champion",
        metavar=f"DIR|{NONE}",
        help=f"a model folder, or '{NONE}' (default: the champion of the registry that "
        "MLFLOW_TRACKING_URI names, and none where it is not set)",
    )
    return parser


if __name__ == "__main__":
    run_step(_parser(), main)
