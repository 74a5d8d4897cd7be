"""Runs submitted graphs: one task a run, its steps in order."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tests.azureml_emulator import runs
from tests.azureml_emulator.context import Context, Workspace
from tests.azureml_emulator.execution.graph import DatasetSource, Input, Node, read_graph
from tests.azureml_emulator.execution.step_process import run_step
from tests.azureml_emulator.execution.storage import Location, dataset_location, provide, upload
from tests.azureml_emulator.services import artifacts, snapshots

TABLE = "pipeline runs"
LOG = "user_logs/std_log.txt"
_REUSE = "step results"
_LOG = logging.getLogger("azureml_emulator")
_FAILED = "Pipeline has some failed steps. See child run or execution logs for more details."
_TASKS: dict[str, asyncio.Task[None]] = {}
"""The runs that this process is at work on."""

_Ending = Literal["Completed", "Failed", "Canceled"]


def start(context: Context, workspace: Workspace, run_id: str, graph: Mapping[str, Any]) -> None:
    """Begin with a run that was submitted.

    Raises:
        Refused: its graph cannot be run.
    """
    document = workspace.table(TABLE)[run_id]
    nodes = read_graph(workspace, graph, document["ParameterAssignments"], document["datasets"])
    execution = _Execution(context, workspace, run_id, nodes)
    task = asyncio.get_running_loop().create_task(execution.run())
    _TASKS[run_id] = task
    task.add_done_callback(lambda _: _TASKS.pop(run_id, None))


def cancel(run_id: str) -> None:
    """Stop a run, with the step that it is in. Nothing happens where it has ended."""
    if task := _TASKS.get(run_id):
        task.cancel()


async def stop_all() -> None:
    """End every run as the emulator ends."""
    tasks = list(_TASKS.values())
    for task in tasks:
        task.cancel("the emulator ends")
    await asyncio.gather(*tasks, return_exceptions=True)


async def close_interrupted(context: Context) -> None:
    """Let runs fail that an earlier process of the emulator left running."""
    for name in list(context.store.table("", "workspaces")):
        workspace = context.workspace(name)
        assert workspace is not None
        for run_id in workspace.table(TABLE):
            if runs.get(workspace, run_id)["status"] in ("Running", "NotStarted"):
                nodes = workspace.table(TABLE)[run_id]["nodes"]
                for child in [node["run"] for node in nodes.values()]:
                    if runs.get(workspace, child)["status"] not in runs.ENDED:
                        await _fail(context, workspace, child, "The compute node was interrupted.")
                await _fail(context, workspace, run_id, "The run was interrupted.")


class _Execution:
    def __init__(
        self, context: Context, workspace: Workspace, run_id: str, nodes: list[Node]
    ) -> None:
        self._context = context
        self._workspace = workspace
        self._run_id = run_id
        self._nodes = nodes
        self._experiment = runs.get(workspace, run_id)["experimentName"]

    async def run(self) -> None:
        current: str | None = None
        try:
            await runs.update_run(self._context, self._workspace, self._run_id, status="Running")
            for node in self._nodes:
                key = self._key(node)
                earlier = self._workspace.table(_REUSE).get(key)
                if earlier and node.allow_reuse and not node.regenerate:
                    await self._reuse(node, earlier)
                    continue
                current = await self._begin(node)
                self._fault()
                code = await self._execute(node, current)
                if code:
                    await self._step_failed(node, current, code)
                    await _fail(self._context, self._workspace, self._run_id, _FAILED)
                    return
                await runs.end_run(self._context, self._workspace, current, "Completed")
                self._workspace.table(_REUSE)[key] = {
                    **self._record()["nodes"][node.id],
                    "pipeline": self._run_id,
                    "node": node.id,
                }
                current = None
            await runs.end_run(self._context, self._workspace, self._run_id, "Completed")
        except asyncio.CancelledError as reason:
            ending: _Ending = "Failed" if reason.args else "Canceled"
            error = {"error": {"code": "SystemError", "message": "interrupted"}}
            for run_id in filter(None, (current, self._run_id)):
                await runs.end_run(
                    self._context,
                    self._workspace,
                    run_id,
                    ending,
                    error if ending == "Failed" else None,
                )
        except Exception as problem:
            _LOG.exception("run %s", self._run_id)
            for run_id in filter(None, (current, self._run_id)):
                await _fail(self._context, self._workspace, run_id, str(problem))

    def _fault(self) -> None:
        """Let someone cancel the run in the portal, where a test asked for that."""
        if self._context.faults.take("cancel"):
            cancel(self._run_id)

    async def _begin(self, node: Node) -> str:
        """Make a step's run."""
        run_id = await self._make_run(node, {})
        outputs = {
            name: [
                output.datastore,
                output.path.replace("{run-id}", run_id).replace("{output-name}", name),
            ]
            for name, output in node.outputs.items()
        }
        self._remember(node, run_id, outputs)
        address = artifacts.register(
            self._context, self._workspace, "ExperimentRun", f"dcid.{run_id}", [LOG]
        )
        content = address["artifactContentInformation"][LOG]
        self._log(run_id).parent.mkdir(parents=True, exist_ok=True)
        self._log(run_id).touch()
        await runs.update_run(
            self._context,
            self._workspace,
            run_id,
            status="Running",
            logFiles={LOG: content["contentUri"]},
        )
        return run_id

    async def _execute(self, node: Node, run_id: str) -> int:
        folder = self._workspace.folder / "steps" / run_id
        try:
            source = folder / "source"
            files = snapshots.files(self._workspace, node.snapshot)
            await asyncio.to_thread(snapshots.extract, files, source)
            paths: dict[tuple[str, str], Path] = {}
            for name, item in node.inputs.items():
                found = self._location(item).on_disk(self._workspace)
                paths["input", name] = await asyncio.to_thread(
                    provide, found, item.mode, folder / "inputs" / name
                )
            for name in node.outputs:
                paths["output", name] = folder / "outputs" / name
                paths["output", name].mkdir(parents=True)
            environment = await runs.step_environment(self._context, self._workspace, run_id)
            code = await run_step(node, source, paths, environment, self._log(run_id))
            if code == 0:
                for name, place in self._record()["nodes"][node.id]["outputs"].items():
                    target = Location(*place).on_disk(self._workspace)
                    await asyncio.to_thread(upload, paths["output", name], target)
            return code
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _reuse(self, node: Node, earlier: Mapping[str, Any]) -> None:
        """Let an earlier result stand in for a step."""
        properties = {
            "azureml.isreused": "true",
            "azureml.reusedrunid": earlier["run"],
            "azureml.reusednodeid": earlier["node"],
            "azureml.reusedpipeline": earlier["pipeline"],
            "azureml.reusedpipelinerunid": earlier["pipeline"],
        }
        run_id = await self._make_run(node, properties)
        self._remember(node, run_id, earlier["outputs"], earlier["run"])
        logs = runs.get(self._workspace, earlier["run"])["logFiles"]
        await runs.update_run(
            self._context, self._workspace, run_id, status="Completed", logFiles=logs
        )

    async def _make_run(self, node: Node, properties: Mapping[str, str]) -> str:
        return await runs.create_run(
            self._context,
            self._workspace,
            self._experiment,
            node.name,
            run_type="azureml.StepRun",
            parent=self._run_id,
            tags={"azureml.nodeid": node.id, "azureml.pipeline": self._run_id},
            properties={
                "azureml.nodeid": node.id,
                "azureml.pipelinerunid": self._run_id,
                "azureml.moduleName": node.name,
                "StepType": node.step_type,
                "ContentSnapshotId": node.snapshot,
                **properties,
            },
        )

    async def _step_failed(self, node: Node, run_id: str, code: int) -> None:
        message = (
            f"AzureMLCompute job failed. Job exited with code {code}: Process exited with code {code}. "
            f"Please check log file '{LOG}' of {node.name} for more details."
        )
        await _fail(self._context, self._workspace, run_id, message, "UserError")

    def _key(self, node: Node) -> str:
        """Hash of what a step is and of what it reads."""
        inputs = {}
        for name, item in node.inputs.items():
            if isinstance(item.source, DatasetSource):
                inputs[name] = item.source.saved
            else:
                made = self._record()["nodes"][item.source.node]
                inputs[name] = f"{made['made_by']}/{item.source.output}"
        facts = json.dumps([node.identity, inputs], sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()

    def _location(self, item: Input) -> Location:
        if isinstance(item.source, DatasetSource):
            return dataset_location(self._workspace, item.source.saved)
        return Location(*self._record()["nodes"][item.source.node]["outputs"][item.source.output])

    def _remember(
        self, node: Node, run_id: str, outputs: Mapping[str, Any], made_by: str | None = None
    ) -> None:
        document = self._record()
        document["nodes"][node.id] = {
            "run": run_id,
            "outputs": outputs,
            "made_by": made_by or run_id,
        }
        self._workspace.table(TABLE)[self._run_id] = document

    def _record(self) -> dict[str, Any]:
        document: dict[str, Any] = self._workspace.table(TABLE)[self._run_id]
        return document

    def _log(self, run_id: str) -> Path:
        return self._workspace.blob_file(artifacts.CONTAINER, f"ExperimentRun/dcid.{run_id}/{LOG}")


async def _fail(
    context: Context, workspace: Workspace, run_id: str, message: str, code: str = "UserError"
) -> None:
    error = {"error": {"code": code, "message": message}}
    await runs.end_run(context, workspace, run_id, "Failed", error)
