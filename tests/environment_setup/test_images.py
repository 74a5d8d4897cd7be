"""The images: what they install is the lock, what they start answers, and hadolint finds nothing wrong.

An engine that builds images is not needed. The scoring server is started from folders laid out as its COPY lines do,
with the packages of its lock and no others.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from environment_setup.check import dockerfile
from ml_service.platforms.local.serving_command import APP_ROOT, HOST, server_command
from tests.environment_setup.tools import tool

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "environment_setup" / "images"
CONTEXTS = {"scoring.Dockerfile": ROOT, "agent.Dockerfile": ROOT, "model.Dockerfile": None}
BAD = Path(__file__).parent / "bad" / "images"


def stage(name: str) -> list[dockerfile.Instruction]:
    """The last stage of an image of ours."""
    return dockerfile.last_stage(dockerfile.instructions((IMAGES / name).read_text()))


def test_every_image_is_checked() -> None:
    assert {path.name for path in IMAGES.glob("*.Dockerfile")} == set(CONTEXTS)


@pytest.mark.parametrize("name", CONTEXTS)
def test_an_image_keeps_the_rules(name: str) -> None:
    assert dockerfile.problems(IMAGES / name, CONTEXTS[name]) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "reason"),
    [
        ("scoring.Dockerfile", "python:3.11.14-slim-trixie", "python:3.11-slim", "not pinned"),
        ("scoring.Dockerfile", "python:3.11.14-slim-trixie", "python:latest", "not pinned"),
        ("scoring.Dockerfile", "--require-hashes ", "", "without --require-hashes"),
        ("scoring.Dockerfile", "--require-hashes", "--require-hashes pandas", "holds: pandas"),
        ("scoring.Dockerfile", "--requirement /requirements/scoring.txt", "pandas", "no lock"),
        ("scoring.Dockerfile", "--requirement /requirements/", "-r /tmp/", "is not copied"),
        ("scoring.Dockerfile", "USER 10001:10001\n", "", "runs as root"),
        ("scoring.Dockerfile", "USER 10001:10001", "USER 0", "other than root"),
        ("scoring.Dockerfile", "USER 10001:10001", "USER app", "other than root"),
        ("scoring.Dockerfile", "COPY insurance_claims ", "COPY ml_service ", "is not let in"),
        ("scoring.Dockerfile", "COPY requirements/scoring", "COPY nowhere", "does not exist"),
        ("scoring.Dockerfile", "COPY insurance_claims", "ADD insurance_claims", "use COPY"),
        ("scoring.Dockerfile.dockerignore", "*\n", "", "has to begin with *"),
        (
            "scoring.Dockerfile.dockerignore",
            "!insurance_claims",
            "!.env\n!insurance_claims",
            "lets .env in",
        ),
        ("agent.Dockerfile", "requirements/test.txt /req", "/req", "test.txt in, which is not"),
        ("agent.Dockerfile", "&& rm -rf /home/agent/warm", "&& npm install left-pad", "left-pad"),
    ],
)
def test_the_rules_refuse(tmp_path: Path, name: str, old: str, new: str, reason: str) -> None:
    shutil.copytree(IMAGES, tmp_path, dirs_exist_ok=True)
    text = (tmp_path / name).read_text()
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new))
    file = tmp_path / name.removesuffix(".dockerignore")
    assert reason in "; ".join(dockerfile.problems(file, ROOT))


def hadolint(*files: Path) -> str:
    """What hadolint finds wrong."""
    command = [str(tool("hadolint")), *map(str, files)]
    result = subprocess.run(command, capture_output=True, text=True)
    return result.stdout + result.stderr if result.returncode else ""


def test_hadolint_finds_nothing_wrong() -> None:
    assert hadolint(*(IMAGES / name for name in CONTEXTS)) == ""


def test_hadolint_refuses() -> None:
    found = hadolint(BAD / "unpinned.Dockerfile")
    assert "DL3007" in found
    assert "DL3042" in found


def test_the_image_starts_the_server_as_the_local_platform_does() -> None:
    built = stage("scoring.Dockerfile")
    [cmd] = [item for item in built if item.keyword == "CMD"]
    argv, variables = server_command(Path("/models/insurance_claims/3"), 5001)
    expected = ["python", *argv[1:]]
    # Notes starts of workers in a file, for the local platform's supervision; a cluster counts restarts itself.
    config = expected.index("--config")
    del expected[config : config + 2]
    expected[expected.index(f"{HOST}:5001")] = "0.0.0.0:5001"
    assert [word.replace(str(APP_ROOT), "/app") for word in expected] == dockerfile.command(
        cmd.text
    )
    image = dockerfile.environment(built)
    model = dockerfile.environment(stage("model.Dockerfile"))
    image["AZUREML_MODEL_DIR"] = model["AZUREML_MODEL_DIR"].replace("${VERSION}", "3")
    for name, value in variables.items():
        assert image[name] == value.replace(str(APP_ROOT), "/app"), name


def site_of(lock: Path, target: Path) -> Path:
    """A folder that holds the packages of a lock and nothing else, as links to those installed here."""
    target.mkdir()
    blocks = [line.split()[0] for line in lock.read_text().splitlines() if "==" in line]
    for name, version in (block.split("==") for block in blocks):
        distribution = metadata.distribution(name)
        assert distribution.version == version, name
        for file in distribution.files or ():
            top = file.parts[0]
            if top != ".." and top != "__pycache__" and not (target / top).exists():
                source = distribution.locate_file(top)
                (target / top).symlink_to(str(source))
    return target


def lay_out(name: str, context: Path, folder: Path) -> None:
    """Copy into a folder what the last stage of an image copies from its context."""
    for sources, target in dockerfile.copies(stage(name)):
        place = folder / target.lstrip("/").replace("${VERSION}", "3")
        for source in map(context.joinpath, sources):
            if source.is_dir():
                shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, place)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def served(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port on loopback at which the images' own start command answers."""
    folder = tmp_path_factory.mktemp("image")
    lay_out("scoring.Dockerfile", ROOT, folder)
    lay_out("model.Dockerfile", model_dir, folder)
    site = site_of(ROOT / "requirements" / "scoring.txt", folder / "site")
    variables = {
        **dockerfile.environment(stage("scoring.Dockerfile")),
        **dockerfile.environment(stage("model.Dockerfile")),
    }
    here = {
        name: value.replace("${VERSION}", "3")
        .replace("/app", str(folder / "app"))
        .replace("/models", str(folder / "models"))
        for name, value in variables.items()
        if name != "PATH"
    }
    [cmd] = [item for item in stage("scoring.Dockerfile") if item.keyword == "CMD"]
    port = free_port()
    words = [word.replace("/app", str(folder / "app")) for word in dockerfile.command(cmd.text)]
    assert words[0] == "python"
    words[words.index("0.0.0.0:5001")] = f"{HOST}:{port}"
    # -S: what is installed beside the lock's packages cannot be imported.
    argv = [sys.executable, "-S", *words[1:]]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            cwd=folder / "app",
            env={**here, "PYTHONPATH": str(site)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        end = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < end and not health(port):
            time.sleep(0.2)
        assert process.poll() is None, log.read_text()
        yield port
    finally:
        process.terminate()
        process.wait(timeout=60)


def health(port: int) -> bool:
    """What the image's HEALTHCHECK says of a server."""
    [check] = [item for item in stage("scoring.Dockerfile") if item.keyword == "HEALTHCHECK"]
    words = dockerfile.command(check.text)
    assert words[0] == "python"
    code = [word.replace(":5001/", f":{port}/") for word in words[1:]]
    return subprocess.run([sys.executable, *code], capture_output=True).returncode == 0


def test_the_image_answers_score(served: int, rows: list[list[float]]) -> None:
    request = urllib.request.Request(
        f"http://{HOST}:{served}/score",
        json.dumps({"data": rows[:3]}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        content = json.load(answer)
    assert len(content["result"]) == 3
    assert content["model"]["version"] == 3
    assert all(0 < score < 1 for score in content["result"])


def test_the_health_check_fails_where_nothing_answers() -> None:
    assert not health(free_port())


def test_the_site_of_a_lock_holds_nothing_else(tmp_path: Path) -> None:
    site = site_of(ROOT / "requirements" / "scoring.txt", tmp_path / "site")
    code = "import lightgbm, flask; import mlflow"
    result = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert "No module named 'mlflow'" in result.stderr
