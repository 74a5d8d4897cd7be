"""A package of steps small enough to watch, and a pipeline of them that runs on every platform."""

from __future__ import annotations

from pathlib import Path

_STEP = '''
"""A step that does what it is told: write, fail, hang, die."""
import os, sys, time
from pathlib import Path

output, what, *inputs = sys.argv[1:]
target = Path(output)
print(f"doing {what}", flush=True)
if what == "fail":
    print("error: the reason\\nand what to do", file=sys.stderr)
    sys.exit(1)
if what == "crash":
    raise RuntimeError("a bug")
if what == "die":
    os.kill(os.getpid(), 9)
if what == "hang":
    if home := os.environ.get("MLOPS_HOME"):
        target.parent.joinpath("half").write_text("half")
        Path(home, "hanging.pid").write_text(str(os.getpid()))
    print("hanging", flush=True)
    time.sleep(60)
if what != "nothing":
    target.mkdir(exist_ok=True)
    assert os.listdir(target) == []
    (target / "value").write_text(what + "".join((Path(i) / "value").read_text() for i in inputs))
    if "AZUREML_ROOT_RUN_ID" in os.environ:
        (target / "build").write_text(os.environ.get("BUILD_BUILDID", "none"))
        (target / "run").write_text(os.environ["AZUREML_ROOT_RUN_ID"])
        (target / "sends").write_text(os.environ.get("APPLICATIONINSIGHTS_CONNECTION_STRING", ""))
'''

PIPELINE = """
name: example
parameters: {first: one, second: two}
steps:
  - {name: a, run: "python -m watched.step {outputs.x} {parameters.first}", outputs: [x], reuse: true}
  - name: b
    run: python -m watched.step {outputs.y} {parameters.second} {inputs.x}
    inputs: {x: a.x}
    outputs: [y]
    reuse: true
  - {name: c, run: "python -m watched.step {outputs.z} three {inputs.y}", inputs: {y: b.y}, outputs: [z]}
"""


def write_package(folder: Path) -> Path:
    """Write the package ``watched`` into a folder, and return its own."""
    package = folder / "watched"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "step.py").write_text(_STEP)
    return package
