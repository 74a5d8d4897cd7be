"""parameters.yml as typed objects. Unknown keys are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from insurance_claims import schema
from insurance_claims.errors import ParametersError
from insurance_claims.typed_yaml import load_typed, parse_typed

PARAMETERS_FILE = Path(__file__).with_name("parameters.yml")

Share = Annotated[float, Field(gt=0, lt=1)]

RESERVED_FOR_TRAINING = frozenset(
    "objective objective_type app application loss metric metrics metric_types "
    "boosting boosting_type boost "
    "learning_rate shrinkage_rate eta "
    "num_iterations num_iteration n_iter num_tree num_trees num_round num_rounds nrounds "
    "num_boost_round n_estimators max_iter "
    "early_stopping_round early_stopping_rounds early_stopping n_iter_no_change "
    "seed random_seed random_state num_threads num_thread nthread nthreads n_jobs "
    "deterministic force_col_wise force_row_wise verbosity verbose "
    "tweedie_variance_power "
    "categorical_feature cat_feature categorical_column cat_column categorical_features "
    "ignore_column ignore_feature blacklist device device_type".split()
)
"""LightGBM's names, and their aliases, for what the recipe decides."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitParameters(_Section):
    """Which rows are for training, validation and holdout, by a stable hash of the row's id."""

    salt: str
    holdout: Share
    validation: Share

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> SplitParameters:
        if self.holdout + self.validation > 0.9:
            raise ValueError("holdout and validation together leave less than a tenth to train on")
        return self


class TrainingParameters(_Section):
    """How a model is trained."""

    seed: int = Field(ge=0, lt=2**31)
    threads: int = Field(ge=1)
    cross_validate_below: int = Field(ge=0)
    folds: int = Field(ge=2)
    max_rounds: int = Field(ge=1)
    early_stopping_rounds: int = Field(ge=1)
    learning_rate: float = Field(gt=0, le=1)
    ignored_features: tuple[str, ...]
    categorical_features: tuple[str, ...]
    lightgbm: dict[str, Any]

    @model_validator(mode="after")
    def _names_features(self) -> TrainingParameters:
        for key in ("ignored_features", "categorical_features"):
            for name in getattr(self, key):
                if name not in schema.BY_NAME:
                    raise ValueError(f"{key} names {name!r}, which is no feature of the schema")
        return self

    @model_validator(mode="after")
    def _leaves_the_recipe_alone(self) -> TrainingParameters:
        taken = sorted(RESERVED_FOR_TRAINING.intersection(self.lightgbm))
        if taken:
            raise ValueError(f"lightgbm sets {', '.join(taken)}, which training sets itself")
        return self


class GateParameters(_Section):
    """What a challenger has to show before it is promoted."""

    confidence: Share
    require: Literal["better", "not_worse"]
    margin: float = Field(ge=0)
    minimum_claims: int = Field(ge=2)
    minimum_gini: float = Field(ge=0, le=1)
    expected_gini: float = Field(ge=0, le=1)
    maximum_gini: float = Field(gt=0, le=1)
    maximum_calibration_error: float = Field(gt=0)
    slices: tuple[str, ...]
    minimum_slice_claims: int = Field(ge=1)
    maximum_slice_loss: float = Field(ge=0)
    maximum_latency_ms: float = Field(gt=0)

    @model_validator(mode="after")
    def _slices_are_features(self) -> GateParameters:
        for name in self.slices:
            if name not in schema.BY_NAME:
                raise ValueError(f"slices names {name!r}, which is no feature of the schema")
            if not schema.BY_NAME[name].is_integer:
                raise ValueError(f"slices names {name!r}, whose values are too many to be groups")
        return self


class ScoringParameters(_Section):
    """Limits of a scoring request."""

    max_rows: int = Field(ge=1)
    max_body_bytes: int = Field(ge=1024)
    headroom: float = Field(ge=1, le=1000)


class MonitoringParameters(_Section):
    """When rows that are scored differ from those that were learnt from, and what follows from it."""

    alpha: float = Field(gt=0, le=0.2)
    psi: float = Field(gt=0)
    ks: float = Field(gt=0, lt=1)
    missing_share: Share
    new_values: Share
    minimum_rows: int = Field(ge=100)
    confidence: Share
    minimum_claims: int = Field(ge=2)
    gini_loss: float = Field(gt=0, lt=1)
    calibration_error: float = Field(gt=0)
    window_hours: float = Field(gt=0)
    windows: int = Field(ge=1)
    bad_windows: int = Field(ge=1)
    new_rows: float = Field(gt=0)
    cooldown_hours: float = Field(ge=0)

    @model_validator(mode="after")
    def _can_be_reached(self) -> MonitoringParameters:
        if self.bad_windows > self.windows:
            raise ValueError(f"bad_windows is above windows, which is {self.windows}")
        return self


class Parameters(_Section):
    """The whole of parameters.yml."""

    split: SplitParameters
    training: TrainingParameters
    gate: GateParameters
    scoring: ScoringParameters
    monitoring: MonitoringParameters


def parse_parameters(content: Any, where: str) -> Parameters:
    """Check parsed YAML or JSON.

    Args:
        content: what the file holds.
        where: the file's name, for messages.

    Raises:
        ParametersError: names every key that is unknown, missing or wrong.
    """
    return parse_typed(Parameters, content, where, ParametersError)


def load_parameters(path: Path = PARAMETERS_FILE) -> Parameters:
    """Read and check a parameters file.

    Raises:
        ParametersError: it cannot be read, is not YAML, or does not fit.
    """
    return load_typed(Parameters, path, ParametersError)
