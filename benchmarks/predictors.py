"""What evaluates the trees: LightGBM's own calls, lleaves and ONNX Runtime, by time and by exactness.

One thread each. The predictors are called in turn, round after round, so that whatever else the machine does falls on
all of them alike; a ratio is the median of the rounds' ratios. Exactness is the greatest difference to
``Booster.predict`` over many rows. lleaves and ONNX Runtime come with ``environment_setup/bench.txt``, which ``make
bench`` installs; where they are missing, the table says so.

    python -m benchmarks.predictors [--quick]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TypeAlias

# Read when the libraries are loaded.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from benchmarks.models import LEAVES, TREES, make_model, make_rows  # noqa: E402
from insurance_claims.model import MODEL_FILE, Model, load_model  # noqa: E402

ROWS = (1, 100, 1_000)
BOOSTER = "Booster.predict"
SINGLE = "Model.predict_row (the C interface's single-row call)"
LLEAVES = "lleaves"
ONNX = "ONNX Runtime, float32"

Table: TypeAlias = NDArray[np.float64]
Predict: TypeAlias = Callable[[Table], Table]


@dataclass(frozen=True, slots=True)
class Predictor:
    """A way to evaluate the trees.

    Attributes:
        predict: shape (n, 57) to shape (n,).
        ready_seconds: what converting or compiling the model took.
        most_rows: that one call takes; None where there is no limit.
    """

    predict: Predict
    ready_seconds: float = 0.0
    most_rows: int | None = None


@dataclass(slots=True)
class Found:
    """What was measured of one predictor.

    Attributes:
        ready_seconds: what converting or compiling the model took.
        difference: the greatest one to ``Booster.predict``, as a probability.
        equal: share of the rows with the same bits.
        times: by rows a call, microseconds of a call in each round.
    """

    ready_seconds: float
    difference: float
    equal: float
    times: dict[int, list[float]] = field(default_factory=dict)


def predictors(folder: Path) -> dict[str, Predictor]:
    """Every predictor that is installed, ready to be called, with the model of a folder."""
    model = load_model(folder)
    found = {
        BOOSTER: Predictor(model.predict),
        SINGLE: single_row(model),
    }
    for name, package, make in ((LLEAVES, "lleaves", _lleaves), (ONNX, "onnxmltools", _onnx)):
        if find_spec(package) is not None:
            began = time.perf_counter()
            predict = make(folder, model)
            found[name] = Predictor(predict, time.perf_counter() - began)
    return found


def single_row(model: Model) -> Predictor:
    """What score.py calls for a request of one row."""

    def predict(rows: Table) -> Table:
        return np.array([model.predict_row(row) for row in rows.tolist()])

    return Predictor(predict, most_rows=1)


def _lleaves(folder: Path, _: Model) -> Predict:
    compiled = import_module("lleaves").Model(model_file=str(folder / MODEL_FILE))
    compiled.compile()

    def predict(rows: Table) -> Table:
        return np.asarray(compiled.predict(rows, n_jobs=1), dtype=np.float64)

    return predict


def _onnx(_: Path, model: Model) -> Predict:
    onnxruntime = import_module("onnxruntime")
    types = import_module("onnxmltools.convert.common.data_types")
    shape = [("rows", types.FloatTensorType([None, model.booster.num_feature()]))]
    graph = import_module("onnxmltools").convert_lightgbm(
        model.booster, initial_types=shape, zipmap=False
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # Errors alone: the converter states a wrong shape for labels, of which each call would warn.
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def predict(rows: Table) -> Table:
        [probabilities] = session.run(["probabilities"], {"rows": rows.astype(np.float32)})
        return np.asarray(probabilities[:, 1], dtype=np.float64)

    return predict


def compare(seconds: float, rounds: int, checked: int) -> dict[str, Found]:
    """Call every predictor in turn.

    Args:
        seconds: of calls, for each number of rows, predictor and round.
        rounds: how often.
        checked: rows that exactness is looked at with. The model has not seen them.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "insurance_claims" / "1"
        make_model(folder)
        ready = predictors(folder)
    rows = make_rows(checked, seed=3)
    expected = ready[BOOSTER].predict(rows)
    found = {}
    for label, own in ready.items():
        scores = own.predict(rows)
        difference = float(np.abs(scores - expected).max())
        found[label] = Found(own.ready_seconds, difference, float((scores == expected).mean()))
    for size in ROWS:
        for _ in range(rounds):
            for label, own in ready.items():
                if own.most_rows is None or size <= own.most_rows:
                    spent = microseconds(own.predict, rows, size, seconds)
                    found[label].times.setdefault(size, []).append(spent)
    return found


def microseconds(predict: Predict, rows: Table, size: int, seconds: float) -> float:
    """The median time of a call with so many rows, other ones each time."""
    pieces = [rows[start : start + size] for start in range(0, len(rows) - size + 1, size)]
    predict(pieces[0])
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        began = time.perf_counter()
        predict(pieces[len(times) % len(pieces)])
        times.append(time.perf_counter() - began)
    return 1e6 * median(times)


def table(found: Mapping[str, Found]) -> str:
    """The figures as Markdown."""
    lines = [
        f"| predictor | {' | '.join(f'us, rows: {size:,}' for size in ROWS)} "
        "| times as fast as Booster.predict | greatest difference | same bits | made ready, s |",
        f"|{'---|' * (len(ROWS) + 5)}",
    ]
    for name, own in found.items():
        cells = [name]
        cells += [f"{median(own.times[size]):,.1f}" if size in own.times else "–" for size in ROWS]
        ratios = [
            median(a / b for a, b in zip(found[BOOSTER].times[size], times, strict=True))
            for size, times in own.times.items()
        ]
        cells += [
            ", ".join(f"{ratio:.1f} x" for ratio in ratios),
            f"{own.difference:.1e}" if own.difference else "0",
            f"{own.equal:.1%}",
            f"{own.ready_seconds:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        f"| {name} | not installed |{' – |' * (len(ROWS) + 3)}"
        for name in (LLEAVES, ONNX)
        if name not in found
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="few short rounds and fewer rows")
    quick = parser.parse_args().quick
    found = compare(
        seconds=0.1 if quick else 0.5, rounds=3 if quick else 9, checked=5_000 if quick else 50_000
    )
    print(table(found))
    print(f"\n{TREES} trees of {LEAVES} leaves, one thread.")


if __name__ == "__main__":
    main()
