"""Checks and exports the data factory, and stops and starts its triggers: ``python -m environment_setup.data_factory``.

``check`` prints what is wrong, one line each. MLOPS_ARM_SCHEMAS names a folder with Azure's schemas, as for
``environment_setup.check``. Exit codes: 0 done, 1 failed with a reason, 2 wrong use.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from environment_setup.check.__main__ import SCHEMAS, schema_folder
from environment_setup.check.schemas import Schemas
from environment_setup.data_factory.check import factory_problems
from environment_setup.data_factory.export import parameters, template
from environment_setup.data_factory.files import ENVIRONMENTS, FOLDER, load_factory
from environment_setup.data_factory.models import PACKAGE, models_installed
from environment_setup.data_factory.triggers import start_triggers, stop_triggers
from insurance_claims.errors import ClaimsError
from insurance_claims.files import write_json

TEMPLATE, PARAMETERS = "template.json", "parameters.json"
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def main(arguments: Sequence[str]) -> int:
    """Run a command."""
    chosen = _parser().parse_args(arguments)
    try:
        if chosen.command == "check":
            return _check()
        if chosen.command == "export":
            _export(chosen.environment, chosen.output, chosen.pipeline_id)
        elif chosen.command == "stop-triggers":
            stop_triggers(chosen.resource_group, chosen.environment, print, chosen.dry_run)
        else:
            wanted = load_factory().resources["trigger"].keys()
            start_triggers(chosen.resource_group, chosen.environment, wanted, print, chosen.dry_run)
    except (ClaimsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _check() -> int:
    folder = schema_folder()
    if folder is None:
        print(f"Azure's schemas are not checked: set {SCHEMAS} to a folder that has them")
    if not models_installed():
        print(f"the models are not checked: {PACKAGE} is not installed")
    wrong = factory_problems(None if folder is None else Schemas(folder))
    for problem in wrong:
        print(problem)
    print("nothing is wrong" if not wrong else f"{len(wrong)} problems")
    return 1 if wrong else 0


def _export(environment: str, output: Path, pipeline_id: str | None) -> None:
    factory = load_factory()
    files = {
        TEMPLATE: template(factory, environment),
        PARAMETERS: parameters(factory, environment, pipeline_id),
    }
    for name, content in files.items():
        write_json(output / name, content)
        print(output / name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m environment_setup.data_factory",
        description="The data factory as code.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("check", help="say what is wrong with its files")
    environments = sorted(file.stem for file in (FOLDER / ENVIRONMENTS).glob("*.json"))
    export = commands.add_parser(
        "export", help="write the ARM template of an environment and its parameter file"
    )
    export.add_argument("--output", required=True, type=Path, metavar="DIR")
    export.add_argument(
        "--pipeline-id",
        type=_guid,
        metavar="ID",
        help="of the published ingestion pipeline: `mlops publish ingestion` prints it. Without it, give the "
        "parameter ingestionPipelineId when the template is deployed",
    )
    stop = commands.add_parser("stop-triggers", help="stop what is running in the factory")
    start = commands.add_parser("start-triggers", help="start the triggers of these files")
    for command in (export, stop, start):
        command.add_argument("--environment", required=True, choices=environments)
    group = os.environ.get("RESOURCE_GROUP")
    for command in (stop, start):
        command.add_argument(
            "--resource-group",
            default=group,
            required=not group,
            metavar="NAME",
            help="that the factory is in. Default: the variable RESOURCE_GROUP",
        )
        command.add_argument("--dry-run", action="store_true", help="only say what would be done")
    return parser


def _guid(text: str) -> str:
    if not _GUID.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no id like 00000000-0000-0000-0000-00000000000a"
        )
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
