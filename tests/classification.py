"""Tests of the example, whose target is 0 or 1 and whose rows have no time: skipped for other problems."""

from __future__ import annotations

from pathlib import Path

import pytest

from insurance_claims import schema
from insurance_claims.problem import Problem

PACKAGE = "tests/insurance_claims"

TESTS: dict[str, frozenset[str]] = {
    f"{PACKAGE}/data/test_content.py": frozenset(
        (
            "test_a_version_comes_back_as_it_was",
            "test_the_hash_of_known_rows_never_changes",
        )
    ),
    f"{PACKAGE}/data/test_prepare.py": frozenset(("test_it_writes_the_dataset",)),
    f"{PACKAGE}/data/test_split.py": frozenset(
        (
            "test_a_part_without_claims_is_refused_with_the_counts",
            "test_an_empty_part_is_refused",
        )
    ),
    f"{PACKAGE}/data/test_synthesize.py": frozenset(
        (
            "test_a_file_holds_the_table",
            "test_a_shift_moves_the_population_and_what_makes_claims_likely",
            "test_another_claim_rate_is_kept",
            "test_claims_are_as_frequent_as_in_the_real_data",
            "test_golden_rows_begin_with_the_edges",
            "test_missing_values_tell_something",
            "test_one_row",
            "test_the_table_has_kaggles_columns_and_types",
            "test_the_truth_is_as_hard_to_find_as_in_the_real_data",
            "test_the_truth_is_calibrated_in_every_decile",
            "test_what_matters_is_what_matters_in_the_real_data",
        )
    ),
    f"{PACKAGE}/data/test_validate.py": frozenset(
        (
            "test_a_target_that_is_neither",
            "test_numbers_in_another_type_are_numbers",
            "test_one_class_only",
            "test_one_row_is_one_class",
            "test_without_target_the_rest_is_checked",
        )
    ),
    f"{PACKAGE}/drift/test_features.py": frozenset(("test_rows_of_the_same_law_do_not_drift",)),
    f"{PACKAGE}/drift/test_performance.py": frozenset(("test_rates_that_moved_are_told",)),
    f"{PACKAGE}/evaluate/test_bad_models.py": frozenset(
        (
            "test_a_feature_that_leaks_the_outcome_at_judgement_too",
            "test_the_good_model_beats_one_of_few_features",
            "test_the_good_model_passes_alone",
        )
    ),
    f"{PACKAGE}/evaluate/test_evaluate_model.py": frozenset(
        (
            "test_a_refusal_exits_0_and_a_mistake_1",
            "test_a_spoiled_dataset_is_one_clear_message_and_no_output",
            "test_everything_but_the_latency_is_the_same_twice",
            "test_the_first_model_is_promoted_and_the_folder_is_complete",
            "test_the_registrys_champion_is_compared_with_and_its_version_named",
        )
    ),
    f"{PACKAGE}/evaluate/test_gate.py": frozenset(
        (
            "test_a_bad_model_is_refused_with_and_without_champion",
            "test_a_constant_champion_is_beaten",
            "test_a_good_first_model_is_promoted",
            "test_decision_json_has_the_contracts_keys",
            "test_not_worse_accepts_what_better_does_not",
            "test_the_same_model_again_is_no_better_than_the_champion",
        )
    ),
    f"{PACKAGE}/evaluate/test_gate_simulation.py": frozenset(
        (
            "test_on_all_rows_a_model_better_by_a_hundredth_is_promoted",
            "test_on_the_real_holdout_good_first_models_usually_pass_and_useless_ones_never",
            "test_simulated_models_have_the_gini_calibration_and_likeness_they_should",
        )
    ),
    f"{PACKAGE}/evaluate/test_metrics.py": frozenset(
        (
            "test_what_cannot_be_measured_is_refused",
            "test_what_chance_does_to_the_calibration_error_is_what_simulation_gives",
        )
    ),
    f"{PACKAGE}/scoring/batch/test_csv_reader.py": frozenset(
        (
            "test_a_header_that_does_not_fit_is_refused",
            "test_bad_lines_are_known_by_their_number",
        )
    ),
    f"{PACKAGE}/scoring/batch/test_parquet_reader.py": frozenset(
        ("test_columns_that_hold_no_numbers_are_refused",)
    ),
    f"{PACKAGE}/training/test_on_dask.py": frozenset(
        (
            "test_two_workers_train_as_good_a_model_with_the_same_parameters",
            "test_what_cannot_be_trained_is_refused",
        )
    ),
    f"{PACKAGE}/training/test_recipe.py": frozenset(
        ("test_folds_refuse_a_class_with_fewer_rows_than_folds",)
    ),
    f"{PACKAGE}/training/test_train.py": frozenset(
        (
            "test_mlflow_gets_parameters_curve_metrics_and_importance",
            "test_model_folder_is_whole_and_takes_raw_rows_of_all_features",
            "test_model_json_says_how_it_was_made",
            "test_plenty_of_claims_choose_rounds_on_the_validation_split",
            "test_progress_is_printed",
            "test_too_few_claims_for_the_folds_are_refused",
            "test_validation_split_of_one_class_is_refused",
        )
    ),
}
"""By their files. What they hold is held for other problems by the tests in files named after costs, and by the whole
loops in the folder ``problems``."""


def skip_where_another_problem(items: list[pytest.Item], root: Path) -> None:
    """Mark such tests as skipped in a project of another problem.

    Args:
        items: what was collected.
        root: of the repository.
    """
    if schema.PROBLEM is Problem.CLASSIFICATION:
        return
    skip = pytest.mark.skip(reason="it is about the example, whose target is 0 or 1")
    for item in items:
        path = item.path.relative_to(root).as_posix()
        if item.name.partition("[")[0] in TESTS.get(path, ()):
            item.add_marker(skip)
