"""Later changes of the template, as a branch of a project that was made of it.

The branch ``template`` holds what bootstrap made and nothing else. An upgrade makes the project again with the same
answers as its next commit, and git merges what changed since into a branch ``template-upgrade`` of the project's own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bootstrap.answers import ANSWERS_FILE, check_answers, from_json
from bootstrap.errors import BootstrapError, UsageError
from bootstrap.git import commit, git, git_or_none, run_git, stage, why_no_commit
from bootstrap.project import TEMPLATE_BRANCH, tidy
from bootstrap.render import render
from bootstrap.template import commit_of, read_template, write_files

UPGRADE_BRANCH = "template-upgrade"


@dataclass(frozen=True)
class Upgrade:
    """What came of an upgrade.

    Attributes:
        changed: whether there is anything new.
        conflicts: files that both sides changed in the same place; then nothing is merged yet.
        summary: how many files and lines the branch changes.
    """

    changed: bool
    conflicts: tuple[str, ...] = ()
    summary: str = ""


def upgrade(directory: Path) -> Upgrade:
    """Bring later changes of the template into a project, on a branch of their own.

    Nothing that is checked out changes, and no branch but ``template`` and ``template-upgrade``.

    Raises:
        UsageError: the folder is no project that can be upgraded; nothing was changed.
        BootstrapError: something failed on the way.
    """
    project = directory.expanduser().resolve()
    _check(project)
    answers = from_json(git(project, "show", f"{TEMPLATE_BRANCH}:{ANSWERS_FILE}"))
    check_answers(answers)
    base = git(project, "rev-parse", "HEAD").strip()
    source = commit_of()
    template = read_template()
    files = render(template, answers, source)
    with _work_tree(project) as tree:
        git(tree, "rm", "-r", "--quiet", "--force", ".")
        write_files(files, tree)
        if not tidy(template, answers, tree):
            raise BootstrapError(
                "there is no ruff to format the project with: run `make test` in the template once"
            )
        stage(tree, [file.path for file in files if file.executable])
        # A template without changes has another commit at most.
        if _differs(tree):
            commit(tree, f"Template at {source}")
        if git_or_none(tree, "merge-base", "--is-ancestor", TEMPLATE_BRANCH, base) is not None:
            return Upgrade(changed=False)
        git(tree, "checkout", "--quiet", "-b", UPGRADE_BRANCH, base)
        message = f"Merge the template at {source}"
        merge = ["merge", "--quiet", "--no-ff", "--no-verify", "-m", message, TEMPLATE_BRANCH]
        result = run_git(tree, *merge)
        if result.returncode == 0:
            summary = git(tree, "diff", "--shortstat", base, UPGRADE_BRANCH).strip()
            return Upgrade(changed=True, summary=summary)
        conflicts = git(tree, "diff", "--name-only", "-z", "--diff-filter=U").split("\0")
        git_or_none(tree, "merge", "--abort")
        if not any(conflicts):
            raise BootstrapError(f"git could not merge: {' '.join(result.stderr.split())}")
        return Upgrade(changed=True, conflicts=tuple(filter(None, conflicts)))


def _check(project: Path) -> None:
    if not (project / ANSWERS_FILE).is_file() or not (project / ".git").exists():
        raise UsageError(f"{project} is no project that bootstrap made: it has no {ANSWERS_FILE}")
    if (reason := why_no_commit(project)) is not None:
        raise UsageError(reason)
    if git(project, "status", "--porcelain"):
        raise UsageError(f"{project} has changes that are not committed: commit or stash them")
    heads = "refs/heads/"
    if git_or_none(project, "rev-parse", "--verify", f"{heads}{TEMPLATE_BRANCH}") is None:
        raise UsageError(
            f"{project} has no branch {TEMPLATE_BRANCH}: fetch it (git fetch origin "
            f"{TEMPLATE_BRANCH}:{TEMPLATE_BRANCH}), or make it of the commit that bootstrap made (git branch "
            f"{TEMPLATE_BRANCH} COMMIT)"
        )
    if git_or_none(project, "rev-parse", "--verify", f"{heads}{UPGRADE_BRANCH}") is not None:
        raise UsageError(
            f"{project} has a branch {UPGRADE_BRANCH} of an upgrade before: merge it, then remove it (git branch "
            f"--delete {UPGRADE_BRANCH})"
        )
    current = git(project, "rev-parse", "--abbrev-ref", "HEAD").strip()
    if current == TEMPLATE_BRANCH:
        raise UsageError(f"{project} has {TEMPLATE_BRANCH} checked out: git switch main")


@contextmanager
def _work_tree(project: Path) -> Iterator[Path]:
    """A work tree of the branch ``template``, away from the project's own."""
    git(project, "worktree", "prune")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git(project, "worktree", "add", "--quiet", str(tree), TEMPLATE_BRANCH)
        try:
            yield tree
        finally:
            git_or_none(project, "worktree", "remove", "--force", str(tree))


def _differs(tree: Path) -> bool:
    changed = git(tree, "diff", "--cached", "--name-only").split()
    return bool(changed) and changed != [ANSWERS_FILE]
