"""The model card: what a person has to know of a model before using it, in Markdown.

The outline is that of Mitchell et al. 2019, "Model Cards for Model Reporting".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from insurance_claims import schema
from insurance_claims.problem import Problem

_PREDICTED = {
    Problem.CLASSIFICATION: "the probability that a driver files an insurance claim in the next year",
    Problem.REGRESSION: "what a driver's insurance claims of the next year cost on average",
    Problem.FORECASTING: "what a driver's insurance claims of the next period will cost on average",
}
_METRICS = {
    "gini": "Normalized Gini (higher is better)",
    "auc": "AUC (higher is better)",
    "log_loss": "Log loss (lower is better)",
    "brier": "Brier score (lower is better)",
    "deviance": "Tweedie deviance (lower is better)",
    "squared_error": "Squared error (lower is better)",
    "calibration_error": "Calibration error (lower is better)",
}
_DIFFERENCES = {
    "gini_difference": "Normalized Gini",
    "log_loss_difference": "Log loss",
    "brier_difference": "Brier score",
    "deviance_difference": "Tweedie deviance",
    "squared_error_difference": "Squared error",
}
_PLOT_TITLES = {
    "roc.png": "ROC",
    "gains.png": "Cumulative gains",
    "calibration.png": "Calibration",
    "lift.png": "Lift by decile",
    "scores.png": "Score distribution",
    "importance.png": "Feature importance",
}


def model_card(
    name: str,
    decision: Mapping[str, Any],
    model: Mapping[str, Any],
    dataset: Mapping[str, Any],
    plots: Sequence[str],
) -> str:
    """Write the card.

    Args:
        name: of the model.
        decision: content of decision.json.
        model: content of model.json.
        dataset: content of the dataset folder's manifest.json.
        plots: file names under ``plots/``.

    Returns:
        Markdown, with links to the plots relative to the evaluation folder.
    """
    parts = [
        _head(name, decision),
        _use(),
        _data(decision, dataset),
        _training(model),
        _performance(decision),
        _slices(decision),
        _checks(decision),
        _limits(decision),
        _plots(plots),
        _reproduce(model, dataset),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(name: str, decision: Mapping[str, Any]) -> str:
    word = "promoted" if decision["decision"] == "promote" else "refused"
    reasons = "\n".join(f"- {reason}" for reason in decision["reasons"])
    return f"# Model card: {name}\n\nThe gate **{word}** this model.\n\n{reasons}"


def _use() -> str:
    return (
        "## Intended use\n\n"
        f"The model estimates {_PREDICTED[schema.PROBLEM]}. It is meant "
        "to rank and price policies of the kind that it was trained on, under a "
        "person's supervision. It is not meant to decide alone whether a person gets insurance, to "
        "explain a single claim, or for another country, product or time without a new judgement."
    )


def _data(decision: Mapping[str, Any], dataset: Mapping[str, Any]) -> str:
    data, split, rows = dataset["data"], dataset["split"], dataset["rows"]
    claims = dataset.get("claims", {})
    share = {
        "holdout": split.get("holdout"),
        "validation": split.get("validation"),
    }
    share["train"] = None if None in share.values() else 1 - sum(share.values())
    if "periods" in dataset:
        share = {part: rows[part] / sum(rows.values()) for part in rows}
    lines = [
        "## Data",
        "",
        f"{data['name']} version {data['version']}: {data['rows']:,} rows, claim rate "
        f"{data['claim_rate']:.4f}, sha256 `{data['sha256']}`, schema {dataset['schema_version']}.",
        _how_split(dataset),
        "",
    ]
    body = [
        [
            part,
            "" if share[part] is None else f"{share[part]:.0%}",
            f"{rows[part]:,}",
            f"{claims[part]:,}" if part in claims else "",
        ]
        for part in ("train", "validation", "holdout")
    ]
    return "\n".join(lines) + "\n" + _table(["part", "share", "rows", "claims"], body)


def _how_split(dataset: Mapping[str, Any]) -> str:
    if "periods" not in dataset:
        salt = dataset["split"].get("salt")
        by = f"a stable hash of its id (salt `{salt}`)"
        return f"A row belongs to a part by {by}, so it stays there as the data grows."
    periods = {part: dataset["periods"][part] for part in ("train", "validation", "holdout")}
    spans = ", ".join(f"{first} to {last} for {part}" for part, (first, last) in periods.items())
    return f"Rows are parted by time (`{schema.PERIOD}`): {spans}. No part is older than the one before."


def _training(model: Mapping[str, Any]) -> str:
    parameters = model.get("parameters", {})
    chosen = {name: value for name, value in parameters.items() if name != "lightgbm"}
    chosen.update(parameters.get("lightgbm", {}))
    body = [[f"`{name}`", f"`{value}`"] for name, value in chosen.items()]
    return (
        f"## Model\n\nLightGBM, {model.get('best_iteration', '?')} rounds, "
        f"{len(schema.FEATURE_NAMES)} features, sha256 `{model['sha256']}`.\n\n"
        + _table(["parameter", "value"], body)
    )


def _performance(decision: Mapping[str, Any]) -> str:
    holdout = decision["holdout"]
    challenger = decision["challenger"]["metrics"]
    if not challenger:
        return "## Performance\n\nNot measured: see the checks."
    champion = (decision["champion"] or {}).get("metrics", {})
    head = ["figure", "this model"] + (["champion"] if champion else [])
    body = [
        [title, _interval(challenger[key])] + ([_interval(champion[key])] if champion else [])
        for key, title in _METRICS.items()
        if key in challenger
    ]
    lift = ", ".join(f"{value:.2f}" for value in decision["challenger"]["lift"])
    text = (
        f"## Performance\n\nOn {holdout['rows']:,} holdout rows with {holdout['claims']:,} claims, "
        f"which no model was trained on. Intervals: {decision['confidence']:.0%}.\n\n"
        + _table(head, body)
        + f"\n\nLift by tenths of the rows, highest scores first: {lift}. Median of scoring one "
        f"row: {decision['challenger']['latency_ms']:.3f} ms."
    )
    compared = decision["comparison"]
    if compared:
        rows = [
            [title, _interval(compared[key])]
            for key, title in _DIFFERENCES.items()
            if key in compared
        ]
        version = decision["champion"]["version"]
        against = "the champion" if version is None else f"the champion, version {version}"
        text += (
            f"\n\n### Against {against}\n\nThis model less the champion, paired on the same rows.\n\n"
            + _table(["figure", "difference"], rows)
        )
    return text


def _slices(decision: Mapping[str, Any]) -> str:
    if not decision["slices"]:
        return ""
    compared = decision["comparison"] is not None
    judged = "difference" if compared else "challenger"
    body = []
    for item in decision["slices"]:
        value = "missing" if item["value"] == schema.MISSING else item["value"]
        counts = [f"`{item['feature']}` = {value}", f"{item['rows']:,}", f"{item['claims']:,}"]
        if item["skipped"]:
            body.append([*counts, "too few claims", "", "", "skipped"])
            continue
        difference = _interval(item["difference"]) if compared else ""
        verdict = "passed" if item["passed"] else "**failed**"
        noticed = f"{item['noticed']:.3f}"
        body.append([*counts, _interval(item["challenger"]), difference, noticed, verdict])
    head = ["group", "rows", "claims", "Gini", "against the champion", "noticed", "verdict"]
    return (
        "## Groups of customers\n\n"
        f"Intervals are widened for the number of groups. A group fails where the whole interval of "
        f"its {'difference' if compared else 'Gini'} lies below the limit. *Noticed* is the "
        f"{'difference' if judged == 'difference' else 'Gini'} that would fail four times in five: "
        "smaller harm may go unseen.\n\n" + _table(head, body)
    )


def _checks(decision: Mapping[str, Any]) -> str:
    body = [
        [
            check["name"],
            "passed" if check["passed"] else "**failed**",
            _figure(check["value"]),
            _figure(check["limit"]),
            check["reason"],
        ]
        for check in decision["checks"]
    ]
    return "## Checks of the gate\n\n" + _table(
        ["check", "result", "value", "limit", "reason"], body
    )


def _limits(decision: Mapping[str, Any]) -> str:
    skipped = sum(bool(item["skipped"]) for item in decision["slices"])
    gini = decision["challenger"]["metrics"].get("gini")
    span = "one year" if schema.PERIOD is None else "some periods"
    figure = "A probability" if schema.PROBLEM.facts.binary else "An expected cost"
    lines = [
        "## Limits",
        "",
        f"- Trained and judged on {span} of one insurer's customers: other times and markets differ.",
        "- Features are anonymous: whether one stands for a protected group cannot be told here. "
        "Have the groups reviewed before prices depend on the score.",
        f"- {figure} is right on average over many customers, not for one.",
    ]
    if gini:
        half = (gini["high"] - gini["low"]) / 2
        lines.append(
            f"- {decision['holdout']['claims']:,} claims on the holdout leave the Gini uncertain by "
            f"about {half:.3f} to either side."
        )
    if skipped:
        lines.append(f"- {skipped} groups had too few claims to be judged.")
    return "\n".join(lines)


def _plots(plots: Sequence[str]) -> str:
    if not plots:
        return ""
    images = [f"![{_PLOT_TITLES.get(plot, plot)}](plots/{plot})" for plot in plots]
    return "## Plots\n\n" + "\n\n".join(images)


def _reproduce(model: Mapping[str, Any], dataset: Mapping[str, Any]) -> str:
    data = dataset["data"]
    return (
        "## How to reproduce\n\n"
        "Once registered, `mlops models reproduce N` trains the version again from its lineage and "
        "confirms the same model text. By hand, with the parameters above and data "
        f"{data['name']} version {data['version']}:\n\n"
        "```\n"
        f"mlops run training --set data={data['name']} --set data_version={data['version']}\n"
        "```\n\n"
        f"The model text must have sha256 `{model['sha256']}`."
    )


def _interval(content: Mapping[str, float]) -> str:
    return f"{content['value']:.4f} ({content['low']:.4f} to {content['high']:.4f})"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _table(head: Sequence[str], body: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(content: Any) -> str:
    return str(content).replace("|", "\\|").replace("\n", " ")
