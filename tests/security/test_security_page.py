"""SECURITY.md: what it names exists, and every role and secret that the templates know is in it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.test_docs import problems


def test_what_it_mentions_exists(root: Path) -> None:
    assert problems((root / "SECURITY.md").read_text(encoding="utf-8"), root) == []


def test_it_names_a_test_for_each_thing_that_is_stopped(root: Path) -> None:
    text = (root / "SECURITY.md").read_text(encoding="utf-8")
    table = re.search(r"## What could be poisoned.*?\n## ", text, re.DOTALL)
    assert table
    rows = [line for line in table[0].splitlines() if line.startswith("|")][2:]
    without = [row for row in rows if not re.search(r"`tests/[\w/]+\.py`", row)]
    assert len(rows) > 12
    # Reviews and approvals are set up outside of the repository.
    assert [row for row in without if "outside of this repository" not in row] == []


def test_it_says_what_each_identity_may_do(root: Path) -> None:
    text = (root / "SECURITY.md").read_text(encoding="utf-8")
    roles = (root / "environment_setup/arm/modules/roles.json").read_text()
    whys = set(re.findall(r'"why": "(Azure DevOps|GitHub|Nodes|Data Factory|People):', roles))
    named = {"Nodes": "training nodes", "People": "data scientists"}
    assert whys
    assert [who for who in whys if named.get(who, who) not in text] == []
    assert set(re.findall(r'"why": "([^:"]+)', roles)) == whys
