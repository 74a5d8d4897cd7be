"""Steps small enough to watch."""

from __future__ import annotations

from pathlib import Path

import pytest


STEP = '''
"""A step that does what it is told: write, fail, hang, die."""
import os, sys, time
from pathlib import Path

output, what, *inputs = sys.argv[1:]
print(f"doing {what}", flush=True)
if what == "fail":
    print("error: the reason\\nand what to do", file=sys.stderr)
    sys.exit(1)
if what == "crash":
    raise RuntimeError("a bug")
if what == "die":
    os.kill(os.getpid(), 9)
if what == "hang":
    Path(output).parent.joinpath("half").write_text("half")
    Path(os.environ["MLOPS_HOME"], "hanging.pid").write_text(str(os.getpid()))
    print("hanging", flush=True)
    time.sleep(60)
if what != "nothing":
    target = Path(output)
    target.mkdir()
    (target / "value").write_text(what + "".join((Path(i) / "value").read_text() for i in inputs))
'''

PIPELINE = """
name: example
parameters: {first: one, second: two}
steps:
  - {name: a, run: "python -m watched {outputs.x} {parameters.first}", outputs: [x], reuse: true}
  - name: b
    run: python -m watched {outputs.y} {parameters.second} {inputs.x}
    inputs: {x: a.x}
    outputs: [y]
    reuse: true
  - {name: c, run: "python -m watched {outputs.z} three {inputs.y}", inputs: {y: b.y}, outputs: [z]}
"""


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline file whose steps do what its parameters say."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "watched.py").write_text(STEP)
    monkeypatch.setenv("PYTHONPATH", str(modules))
    path = tmp_path / "example.yml"
    path.write_text(PIPELINE)
    return path
