"""Patches of the template apply to a project, whose lines are wrapped elsewhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bootstrap.answers import Answers
from bootstrap.formatting import format_code
from bootstrap.patches import remake_patches
from bootstrap.render import render
from bootstrap.template import ROOT, File, write_files
from tests.bootstrap.conftest import LONG

CODE = """from insurance_claims.evaluate.metrics import calibration_error, gini, log_loss, roc_auc
SCORES = [calibration_error, gini, log_loss, roc_auc]
FIRST = 1
"""
PATCH = """What a hasty person does.

diff --git a/insurance_claims/a.py b/insurance_claims/a.py
--- a/insurance_claims/a.py
+++ b/insurance_claims/a.py
@@ -1,3 +1,3 @@
 from insurance_claims.evaluate.metrics import calibration_error, gini, log_loss, roc_auc
 SCORES = [calibration_error, gini, log_loss, roc_auc]
-FIRST = 1
+FIRST = 2
"""
FILES = [
    File("pyproject.toml", (ROOT / "pyproject.toml").read_bytes()),
    File("insurance_claims/a.py", CODE.encode()),
    File("docs/one.patch", PATCH.encode()),
    File("docs/stale.patch", PATCH.replace("SCORES", "RESULTS").encode()),
]


def applies(project: Path, patch: str) -> bool:
    command = ["git", "apply", "--check", f"docs/{patch}.patch"]
    return subprocess.run(command, cwd=project, capture_output=True).returncode == 0


def test_a_patch_is_made_again(tmp_path: Path) -> None:
    answers = Answers(LONG)
    write_files(render(FILES, answers, ""), tmp_path)
    assert format_code(tmp_path, ROOT)
    assert len((tmp_path / LONG / "a.py").read_text().splitlines()) > 3
    assert not applies(tmp_path, "one")
    stale = (tmp_path / "docs" / "stale.patch").read_text()

    remake_patches(FILES, answers, tmp_path)

    assert applies(tmp_path, "one")
    text = (tmp_path / "docs" / "one.patch").read_text()
    assert text.startswith("What a hasty person does.\n\ndiff --git a/")
    assert "\n-FIRST = 1\n+FIRST = 2\n" in text
    # One that does not apply to the template is only renamed.
    assert (tmp_path / "docs" / "stale.patch").read_text() == stale
    assert f"a/{LONG}/a.py" in stale
