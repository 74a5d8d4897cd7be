"""Brings the policies of the main branch to Azure DevOps or GitHub: ``python -m environment_setup.branch_policies``.

Shows what would change, and changes it with ``--apply``; a second time there is nothing to change. Exit codes: 0 done,
1 failed with a reason, 2 wrong use.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from environment_setup.branch_policies import azure_devops, github
from environment_setup.branch_policies.policies import FILE, Policies, Step, load_policies
from insurance_claims.errors import ClaimsError

_WORDS = {"nothing": "as it has to be", "create": "to be made", "update": "to be changed"}


def main(arguments: Sequence[str]) -> int:
    """Show what would change, or change it."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    given = (chosen.project is not None, chosen.repository is not None)
    if given != (chosen.azure_devops is not None,) * 2:
        parser.error("--azure-devops needs --project and --repository, and --github neither")
    try:
        _carry_out(_plan(chosen, load_policies(chosen.policies)), chosen.apply)
    except ClaimsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _plan(chosen: argparse.Namespace, policies: Policies) -> list[Step]:
    if chosen.github:
        return github.plan(github.github(), chosen.github, policies)
    api = azure_devops.azure_devops(chosen.azure_devops)
    return azure_devops.plan(api, chosen.project, chosen.repository, policies)


def _carry_out(steps: Sequence[Step], apply: bool) -> None:
    for step in steps:
        print(f"{step.what}: {_WORDS[step.action]}")
        for line in step.differences:
            print(f"  {line}")
        if apply and step.action != "nothing":
            step.apply()
            print("  done")
    open_steps = sum(step.action != "nothing" for step in steps)
    if open_steps and not apply:
        print(f"{open_steps} of {len(steps)} policies would change: --apply does it")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m environment_setup.branch_policies",
        description="Policies of the main branch. The token comes from the environment: "
        f"{' or '.join(azure_devops.TOKENS)}, or {github.TOKENS[0]}.",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--azure-devops", metavar="URL", help="of the organization: https://dev.azure.com/NAME"
    )
    where.add_argument("--github", metavar="OWNER/REPO")
    parser.add_argument("--project", help="in Azure DevOps")
    parser.add_argument("--repository", help="in Azure DevOps")
    parser.add_argument(
        "--apply", action="store_true", help="change it; without this nothing is changed"
    )
    parser.add_argument("--policies", type=Path, default=FILE, metavar="FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
