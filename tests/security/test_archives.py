"""What is unpacked stays where it is unpacked to, and is not much larger than what it was packed into."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from pathlib import Path

import pytest

from insurance_claims.data import load
from ml_service.platforms.azureml.models import _place
from ml_service.platforms.base import PlatformError
from tests.azureml_emulator.serving import inference
from tests.azureml_emulator.serving.inference import ContainerFailed, Image, build
from tests.security.conftest import Refuse


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    """An entry of an archive."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


ESCAPES = {
    "a path that leads up": [member("../outside")],
    "a link that leads up": [member("link", tarfile.SYMTYPE, "../outside")],
    "an absolute link": [member("link", tarfile.SYMTYPE, "/etc")],
    "a file behind a link": [member("link", tarfile.SYMTYPE, ".."), member("link/outside")],
    "a hard link that leads up": [member("link", tarfile.LNKTYPE, "../outside")],
    "a device": [member("null", tarfile.CHRTYPE)],
}


def image(tmp_path: Path, *members: tarfile.TarInfo) -> Image:
    """A container image whose one asset is an archive, all of zeros."""
    file = tmp_path / "asset.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        for item in members:
            archive.addfile(item, io.BytesIO(bytes(item.size)))
    return Image({"source/": file}, {}, "", {})


@pytest.mark.parametrize("name", ESCAPES)
def test_an_archive_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ContainerFailed, match="asset source/ cannot be unpacked"):
        build(tmp_path / "container", image(tmp_path, *ESCAPES[name]))
    assert not list(tmp_path.rglob("outside"))


def test_an_absolute_path_is_taken_as_one_in_the_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    build(tmp_path / "made", image(tmp_path, member(f"{outside}")))
    assert not outside.exists()
    assert len(list((tmp_path / "made").rglob("outside"))) == 1


def test_an_archive_that_is_a_bomb_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "_MOST_BYTES", 1 << 20)
    large = member("zeros")
    large.size = (1 << 20) + 1
    with pytest.raises(ContainerFailed, match="unpacks to more than"):
        build(tmp_path / "container", image(tmp_path, large))
    assert not list(tmp_path.rglob("zeros"))


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "asset").write_bytes(gzip.compress(b"no archive"))
    with pytest.raises(ContainerFailed, match="cannot be unpacked"):
        build(tmp_path / "container", Image({"source/": tmp_path / "asset"}, {}, "", {}))


def test_a_gzip_bomb_is_one_message_of_the_command(
    home: Path, refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "RATIO_FROM", 1 << 20)
    file = tmp_path / "claims.csv.gz"
    file.write_bytes(gzip.compress(b"id,target\n" + b"1,0\n" * 1_000_000))
    for command in ("validate", "add"):
        said = refuse("data", command, file)
        assert f"{file} unpacks to more than 100 times its size: it is not read" in said
    assert not list(home.rglob("*.parquet"))


@pytest.mark.parametrize("path", ["model/../outside", "model/a/../../outside", "model//etc/x"])
def test_a_file_of_a_model_that_leads_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    assert _place("model/plots/lift.png", tmp_path) == tmp_path / "plots" / "lift.png"
    if ".." in path:
        with pytest.raises(PlatformError, match=f"{re.escape(path)} is no path of a file"):
            _place(path, tmp_path)
    else:
        assert _place(path, tmp_path).is_relative_to(tmp_path)


def test_nothing_that_is_shipped_unpacks_archives(root: Path) -> None:
    """Where that changes, the archive needs tests like those above."""
    opens = re.compile(r"\b(tarfile|zipfile|unpack_archive|pickle|joblib|marshal|shelve)\b")
    for package in ("insurance_claims", "ml_service", "azure_pipelines_local", "environment_setup"):
        for path in (root / package).rglob("*.py"):
            imports = [line for line in path.read_text().splitlines() if "import" in line]
            assert not [line for line in imports if opens.search(line)], path
