from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ml_service.platforms.azureml.compute import aks_compute, training_compute
from ml_service.platforms.base import PlatformError
from tests.azureml_emulator.process import EmulatorProcess
from tests.ml_service.platforms.azureml.conftest import no_wait

if TYPE_CHECKING:
    from ml_service.platforms.azureml.workspace import AzureWorkspace


def test_a_cluster_is_made_once_and_reused(
    connect: Callable[..., AzureWorkspace], lines: list[str]
) -> None:
    made = training_compute(
        connect(AML_CLUSTER_MAX_NODES="2", AML_CLUSTER_PRIORITY="lowpriority"),
        lines.append,
        no_wait,
    )
    assert (
        lines[0] == "compute train-cluster: making it (STANDARD_DS3_V2, 0 to 2 lowpriority nodes)"
    )
    assert lines[1:] == [
        "compute train-cluster: creating",
        "compute train-cluster: ready",
    ]
    assert made.scale_settings.minimum_node_count == 0
    assert made.scale_settings.maximum_node_count == 2
    assert made.scale_settings.idle_seconds_before_scaledown == 600
    assert made.vm_priority == "Lowpriority"

    lines.clear()
    found = training_compute(connect(), lines.append, no_wait)
    assert found.id == made.id
    assert lines == ["compute train-cluster: reused (STANDARD_DS3_V2)"]


def test_a_process_looks_it_up_once(
    connect: Callable[..., AzureWorkspace], emulator: EmulatorProcess, lines: list[str]
) -> None:
    workspace = connect()
    training_compute(workspace, lines.append, no_wait)
    emulator.calls()
    training_compute(workspace, lines.append, no_wait)
    assert [call for call in emulator.calls()[0] if "/computes/" in str(call["path"])] == []


@pytest.mark.parametrize("status", [0, 400], ids=["while it is made", "at once"])
def test_a_lack_of_quota_says_what_to_ask_for_and_a_rerun_completes(
    connect: Callable[..., AzureWorkspace],
    fault: Callable[..., None],
    lines: list[str],
    status: int,
) -> None:
    name = f"small-{status}"
    fault(kind="quota", status=status)
    with pytest.raises(PlatformError) as caught:
        training_compute(connect(AML_COMPUTE_CLUSTER_NAME=name), lines.append, no_wait)
    text = str(caught.value)
    assert "not enough quota in region local for 0 to 4 dedicated nodes of STANDARD_DS3_V2" in text
    assert "exceeding quota limits" in text
    assert "Azure portal: Quotas" in text
    made = training_compute(connect(AML_COMPUTE_CLUSTER_NAME=name), lines.append, no_wait)
    assert made.provisioning_state == "Succeeded"


def test_a_network_that_is_cut_while_waiting_is_told_and_a_rerun_completes(
    connect: Callable[..., AzureWorkspace],
    fault: Callable[..., None],
    emulator: EmulatorProcess,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cut(_seconds: float) -> None:
        fault(path="computes/slow", cut=True, times=100)

    workspace = connect(AML_COMPUTE_CLUSTER_NAME="slow")
    with monkeypatch.context() as patch:
        patch.setattr("time.sleep", no_wait)
        with pytest.raises(PlatformError, match="waiting for compute slow: no answer from"):
            training_compute(workspace, lines.append, cut)
    emulator.clear_faults()
    made = training_compute(workspace, lines.append, no_wait)
    assert made.provisioning_state == "Succeeded"


def test_a_refused_size_is_told(
    connect: Callable[..., AzureWorkspace], fault: Callable[..., None], lines: list[str]
) -> None:
    fault(path="computes/odd", method="PUT", status=400, message="VM size is not supported here.")
    with pytest.raises(PlatformError, match="making compute odd: VM size is not supported here"):
        training_compute(connect(AML_COMPUTE_CLUSTER_NAME="odd"), lines.append, no_wait)


def test_a_name_that_belongs_to_something_else_is_refused(
    connect: Callable[..., AzureWorkspace], lines: list[str]
) -> None:
    with pytest.raises(PlatformError, match="of type AKS: .*AML_COMPUTE_CLUSTER_NAME"):
        training_compute(connect(AML_COMPUTE_CLUSTER_NAME="aks"), lines.append, no_wait)


def test_the_aks_cluster_is_found(connect: Callable[..., AzureWorkspace]) -> None:
    assert aks_compute(connect()).name == "aks"


def test_a_missing_aks_cluster_says_how_to_get_one(
    connect: Callable[..., AzureWorkspace], lines: list[str]
) -> None:
    with pytest.raises(
        PlatformError, match="has no compute nowhere: make or attach an AKS cluster"
    ):
        aks_compute(connect(AKS_COMPUTE_NAME="nowhere"))
    training_compute(connect(AML_COMPUTE_CLUSTER_NAME="machines"), lines.append, no_wait)
    with pytest.raises(PlatformError, match="not an AKS cluster"):
        aks_compute(connect(AKS_COMPUTE_NAME="machines"))


def test_a_lookup_that_fails_twice_is_done_again(
    connect: Callable[..., AzureWorkspace], fault: Callable[..., None]
) -> None:
    fault(path="computes/aks", status=500, times=2)
    assert aks_compute(connect()).name == "aks"


def test_a_removed_compute_is_gone(
    connect: Callable[..., AzureWorkspace], lines: list[str]
) -> None:
    workspace = connect(AML_COMPUTE_CLUSTER_NAME="passing")
    training_compute(workspace, lines.append, no_wait).delete()
    assert "passing" not in workspace.workspace.compute_targets
    assert "aks" in workspace.workspace.compute_targets
