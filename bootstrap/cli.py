"""The command line: what it takes, and what it says."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from bootstrap.answers import CLASSIFICATION, PROBLEMS, Answers
from bootstrap.errors import BootstrapError, UsageError
from bootstrap.project import TEMPLATE_BRANCH, Made, make_project
from bootstrap.template import ROOT
from bootstrap.upgrade import UPGRADE_BRANCH, Upgrade, upgrade


def main(arguments: list[str]) -> int:
    """Run the command and say how it ended.

    Returns:
        0: done. 1: it failed, or an upgrade has conflicts to resolve. 2: wrong use, and nothing was written.
    """
    asked = _parser().parse_args(arguments)
    try:
        if asked.upgrade is not None:
            given = (asked.name, asked.directory, asked.description, asked.problem)
            if any(given) or asked.without_example:
                raise UsageError("--upgrade takes the answers that the project was made with")
            return _say_upgraded(upgrade(asked.upgrade), asked.upgrade)
        if not asked.name or asked.directory is None:
            raise UsageError("give --name NAME and --directory DIR, or --upgrade DIR")
        example = not asked.without_example
        problem = asked.problem or CLASSIFICATION
        answers = Answers(asked.name, asked.description or "", problem, example)
        _say_made(make_project(answers, asked.directory), answers)
    except BootstrapError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("error: interrupted; nothing was made", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bootstrap.py",
        description="Make a new project of this template, or bring later changes of the template into one.",
    )
    parser.add_argument("--name", help="of the new package: customer_churn; 3 to 40 characters")
    parser.add_argument("--directory", type=Path, metavar="DIR", help="a new or an empty folder")
    parser.add_argument("--description", metavar="TEXT", help="one line for the README")
    parser.add_argument(
        "--problem", choices=PROBLEMS, help=f"what is predicted; {CLASSIFICATION} if not given"
    )
    parser.add_argument(
        "--without-example",
        action="store_true",
        help="leave out the challenges and the notebook of the first experiment",
    )
    parser.add_argument(
        "--upgrade", type=Path, metavar="DIR", help="a project that was made by this command"
    )
    return parser


def _say_made(made: Made, answers: Answers) -> None:
    folder = shlex.quote(str(made.folder))
    print(f"made {answers.name} in {made.folder}: {made.files} files")
    print(f"template: {made.commit}")
    if made.no_commit is None:
        print(f"first commit: on main, and on {TEMPLATE_BRANCH} for later upgrades")
    else:
        print(
            f"no first commit: {made.no_commit}. Then: cd {folder} && git init && git add --all && "
            f"git commit -m 'First commit' && git branch {TEMPLATE_BRANCH}"
        )
    if not made.formatted:
        print(
            "not formatted: there is no ruff here and it could not be installed. Run `make format` there and commit, "
            "before `make test`"
        )
    script = shlex.quote(str(ROOT / "bootstrap" / "bootstrap.py"))
    print(f"""
next:
  cd {folder}
  make demo     # the whole loop on this machine, with the example's synthetic rows
  make test     # lint, types, import rules and every test
  docs/adapting.md says how your own data take the place of the example's
later changes of the template: python {script} --upgrade {folder}""")


def _say_upgraded(result: Upgrade, directory: Path) -> int:
    if not result.changed:
        print("nothing to bring: the project has all that the template has")
        return 0
    folder = shlex.quote(str(directory))
    print(f"{TEMPLATE_BRANCH}: the template as it is now")
    if not result.conflicts:
        print(f"{UPGRADE_BRANCH}: your branch with it merged: {result.summary}")
        print(f"review: git -C {folder} diff HEAD...{UPGRADE_BRANCH}")
        print(f"take:   git -C {folder} merge {UPGRADE_BRANCH}")
        return 0
    print(f"{UPGRADE_BRANCH}: your branch; merging conflicts in {len(result.conflicts)} files:")
    for path in result.conflicts:
        print(f"  {path}")
    print(f"resolve: cd {folder} && git switch {UPGRADE_BRANCH} && git merge {TEMPLATE_BRANCH}")
    return 1
