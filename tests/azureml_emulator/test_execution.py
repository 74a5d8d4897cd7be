"""Steps as processes of the emulator: nothing is left running, and a restart knows what it interrupted."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.azureml_emulator import runs
from tests.azureml_emulator.context import Workspace
from tests.azureml_emulator.execution import executor
from tests.azureml_emulator.in_process import Site
from tests.azureml_emulator.services import published

SCRIPT = "spawn.py"
SPAWN = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with open(sys.argv[1], "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
time.sleep(60)
"""


@pytest.fixture
def workspace(site: Site, tmp_path: Path) -> Workspace:
    """A workspace with a snapshot that holds a script."""
    made = site.workspace(tmp_path.name)
    file = made.blob_file("snapshots", f"upload/{SCRIPT}")
    file.parent.mkdir(parents=True)
    file.write_text(SPAWN)
    snapshot = {SCRIPT: f"upload/{SCRIPT}"}
    site.ask(lambda: made.table("snapshots").update({"snapshot": snapshot}))
    return made


def submit(site: Site, workspace: Workspace, *words: str) -> str:
    """Run a graph of one step; the id of its run."""
    module = {
        "Name": "spawn",
        "StorageId": "snapshot",
        "StepType": "CommandStep",
        "IsDeterministic": False,
        "StructuredInterface": {
            "Arguments": [{"ValueType": "Literal", "Value": word} for word in words]
        },
    }
    node = {
        "Id": "n",
        "ModuleId": "m",
        "ModuleParameters": [{"ValueType": "0", "Name": "Command", "Value": "python"}],
        "Runconfig": json.dumps({}),
    }
    graph: dict[str, Any] = {"ModuleNodes": [node], "DatasetNodes": [], "Edges": []}

    async def begin() -> str:
        workspace.table("modules")["m"] = module
        run_id = await runs.create_run(
            site.context, workspace, "claims", "spawn", run_type="azureml.PipelineRun"
        )
        workspace.table(executor.TABLE)[run_id] = {
            "Id": run_id,
            "GraphId": published.keep_graph(workspace, graph, None),
            "ParameterAssignments": {},
            "datasets": {},
            "nodes": {},
        }
        executor.start(site.context, workspace, run_id, graph)
        return run_id

    return site.run(begin())


def state(site: Site, workspace: Workspace, run_id: str) -> str:
    return str(site.ask(lambda: runs.get(workspace, run_id))["status"])


def error(site: Site, workspace: Workspace, run_id: str) -> dict[str, str]:
    found: dict[str, str] = site.ask(lambda: runs.get(workspace, run_id))["error"]["error"]
    return found


def wait_until_ended(site: Site, workspace: Workspace, run_id: str) -> str:
    for _ in range(300):
        if (found := state(site, workspace, run_id)) in runs.ENDED:
            return found
        time.sleep(0.05)
    raise AssertionError(f"run {run_id} goes on")


@pytest.fixture
def spawned(site: Site, workspace: Workspace, tmp_path: Path) -> Iterator[tuple[str, list[int]]]:
    """A run whose step started a process of its own: its id, and both processes."""
    file = tmp_path / "processes"
    run_id = submit(site, workspace, SCRIPT, str(file))
    for _ in range(200):
        if file.is_file() and len(file.read_text().split()) == 2:
            break
        time.sleep(0.05)
    yield run_id, [int(number) for number in file.read_text().split()]
    site.ask(lambda: executor.cancel(run_id))


def gone(numbers: list[int]) -> bool:
    """Whether none of these processes runs any more."""
    for _ in range(100):
        alive = [number for number in numbers if psutil.pid_exists(number)]
        if all(psutil.Process(number).status() == psutil.STATUS_ZOMBIE for number in alive):
            return True
        time.sleep(0.05)
    return False


def test_a_cancelled_step_ends_with_all_that_it_started(
    site: Site, workspace: Workspace, spawned: tuple[str, list[int]]
) -> None:
    run_id, processes = spawned
    site.ask(lambda: executor.cancel(run_id))
    assert wait_until_ended(site, workspace, run_id) == "Canceled"
    assert gone(processes)
    assert list((workspace.folder / "steps").iterdir()) == []


def test_as_the_emulator_ends_its_steps_do_too(
    site: Site, workspace: Workspace, spawned: tuple[str, list[int]]
) -> None:
    run_id, processes = spawned
    site.run(executor.stop_all())
    assert state(site, workspace, run_id) == "Failed"
    assert gone(processes)


def test_what_a_killed_emulator_left_running_has_failed(site: Site, workspace: Workspace) -> None:
    run_id = submit(site, workspace, "-c", "pass")
    assert wait_until_ended(site, workspace, run_id) == "Completed"
    (node,) = site.ask(lambda: workspace.table(executor.TABLE)[run_id])["nodes"].values()
    for left in (run_id, node["run"]):
        site.run(runs.update_run(site.context, workspace, left, status="Running"))
    site.run(executor.close_interrupted(site.context))
    for left in (run_id, node["run"]):
        assert state(site, workspace, left) == "Failed"
        assert "interrupted" in error(site, workspace, left)["message"]


@pytest.mark.parametrize(
    ("words", "code"),
    [(("-c", "raise SystemExit(3)"), 3), (("-c", "import os; os.kill(os.getpid(), 9)"), 137)],
)
def test_the_client_learns_the_exit_code_and_not_the_reason(
    site: Site, workspace: Workspace, words: tuple[str, ...], code: int
) -> None:
    run_id = submit(site, workspace, *words)
    assert wait_until_ended(site, workspace, run_id) == "Failed"
    (node,) = site.ask(lambda: workspace.table(executor.TABLE)[run_id])["nodes"].values()
    told = error(site, workspace, node["run"])
    assert told["code"] == "UserError"
    assert f"Process exited with code {code}." in told["message"]
