"""Each seeded defect breaks the training of a copy of this repository, and `mlops runs why` names the cause."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from insurance_claims.data.synthesize import synthesize
from ml_service.platforms.local.platform import LocalPlatform
from ml_service.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DEFECTS = ROOT / "docs" / "challenges" / "defects"
COPIED = (
    *("insurance_claims", "ml_service", "azure_pipelines_local", "requirements.txt"),
    *("requirements", "pyproject.toml", "docs/challenges/defects", ".gitignore"),
)
ROWS = 4000
CLAIM_RATE = 0.25
MEMORY = 4 * 2**30
"""Bytes of addresses that a run of the defect in memory gets, so that it harms nobody else."""


@dataclass(frozen=True)
class Defect:
    """What a patch does, and what has to be said of it."""

    code: int
    causes: tuple[str, ...]
    memory: int | None = None
    installs: bool = False


EXPECTED: Mapping[str, Defect] = {
    "01-renamed-column": Defect(
        1, ("column ps_car_13 is missing, and ps_car_engine is there", "data/prepare.py")
    ),
    "02-leaking-feature": Defect(0, ("feature ps_ind_14 knows the outcome", "data/prepare.py")),
    "03-target-type": Defect(1, ("column target has another type", "when step train reads it")),
    "04-unbounded-parameter": Defect(
        1, ("parameter training.lightgbm.num_leaves is 1000000", "it was 4")
    ),
    "05-memory": Defect(
        1, ("step train ran out of memory, at insurance_claims/training/train.py",), memory=MEMORY
    ),
    "06-dependency": Defect(
        1, ("package pandera, which changed from 0.35.0 to 0.23.1", "pandera.pandas"), installs=True
    ),
}


@dataclass(frozen=True)
class Fork:
    """A copy of the repository under git, with a good run behind it."""

    folder: Path
    home: Path
    older: Path

    def mlops(
        self, *arguments: str, memory: int | None = None, older: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the copy."""
        path = [str(self.folder)]
        ours = ("MLOPS_", "MLFLOW_", "APPLICATIONINSIGHTS_")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        return subprocess.run(
            [sys.executable, "-m", "ml_service", *arguments],
            cwd=self.folder,
            env={
                **inherited,
                "MLOPS_HOME": str(self.home),
                "PYTHONPATH": os.pathsep.join([str(self.older), *path] if older else path),
            },
            # Nothing but the limit is set between fork and exec.
            preexec_fn=partial(_limit, memory) if memory else None,
            capture_output=True,
            text=True,
        )

    def why(self) -> Any:
        """What is said of the last run."""
        answer = self.mlops("runs", "why", "latest", "--json")
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)

    def git(self, *arguments: str) -> None:
        """Run git in the copy."""
        who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
        subprocess.run(["git", *who, *arguments], cwd=self.folder, check=True, capture_output=True)


def _limit(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


@pytest.fixture(scope="module")
def fork(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Fork:
    """A copy as it is now, trained once on synthetic rows."""
    folder = tmp_path_factory.mktemp("fork")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *COPIED]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    home = tmp_path_factory.mktemp("state")
    shutil.copy(database, home)
    fork = Fork(folder, home, _older_pandera(tmp_path_factory.mktemp("older")))
    fork.git("init", "--initial-branch", "main")
    fork.git("add", "--all")
    fork.git("commit", "--message", "fork")
    table, _ = synthesize(ROWS, 3, claim_rate=CLAIM_RATE)
    table.to_parquet(home / "claims.parquet")
    platform = LocalPlatform(Settings.model_validate({"MLOPS_HOME": home}))
    platform.data.add("insurance_claims", home / "claims.parquet", lambda line: None)
    good = fork.mlops("run", "training")
    assert good.returncode == 0, good.stdout + good.stderr
    assert fork.why()["most_likely"] is None
    return fork


def _older_pandera(folder: Path) -> Path:
    """The modules of pandera 0.23.1 that matter, as an installer would have put them: without pandera.pandas."""
    (folder / "pandera-0.23.1.dist-info").mkdir()
    package = folder / "pandera"
    package.mkdir()
    (package / "__init__.py").write_text('__version__ = "0.23.1"\n')
    config = (
        "from contextlib import nullcontext\n\ndef config_context(**given): return nullcontext()\n"
    )
    (package / "config.py").write_text(config)
    (package / "errors.py").write_text("class SchemaErrors(Exception): ...\n")
    return folder


def test_each_defect_is_known_here_and_has_its_answer_for_coaches() -> None:
    patches = sorted(path.stem for path in DEFECTS.glob("*.patch"))
    assert patches == sorted(EXPECTED)
    answers = (DEFECTS / "README.md").read_text()
    assert [name for name in patches if name not in answers] == []


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
@pytest.mark.parametrize("name", EXPECTED)
def test_why_names_the_cause(fork: Fork, name: str) -> None:
    defect = EXPECTED[name]
    fork.git("apply", "--index", f"docs/challenges/defects/{name}.patch")
    fork.git("commit", "--message", f"seed {name}")
    try:
        ran = fork.mlops("run", "training", memory=defect.memory, older=defect.installs)
        answer = fork.why()
    finally:
        fork.git("reset", "--hard", "HEAD~1")
    assert ran.returncode == defect.code, ran.stdout + ran.stderr
    likely = answer["most_likely"]
    assert [cause for cause in defect.causes if cause not in likely] == [], likely
    changes = answer["evidence"]["changes"]
    assert [line.partition(" ")[2] for line in changes["commits"]] == [f"seed {name}"]
    assert changes["files"]
    assert changes["uncommitted"] == []
