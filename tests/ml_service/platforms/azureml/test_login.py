from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import requests

from ml_service.platforms.azureml.login import authentication, chosen_way
from ml_service.platforms.base import PlatformError
from ml_service.settings import AzureSettings, SettingsError
from tests.azureml_emulator.process import EmulatorProcess
from tests.azureml_emulator.services.login import EXCHANGE

if TYPE_CHECKING:
    from ml_service.platforms.azureml.workspace import AzureWorkspace

WORKSPACE = {
    "SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000000",
    "RESOURCE_GROUP": "group",
    "WORKSPACE_NAME": "workspace",
}
NO_SECRET = {"SP_APP_SECRET": ""}
GITHUB = {"ACTIONS_ID_TOKEN_REQUEST_URL": "http://x", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t"}
DEVOPS = {"SYSTEM_OIDCREQUESTURI": "http://x", "SYSTEM_ACCESSTOKEN": "t"}


def of(**variables: str) -> AzureSettings:
    """Settings of a workspace that is nowhere."""
    return AzureSettings.model_validate({**WORKSPACE, **variables})


def identity_token(audience: str = EXCHANGE, seconds: float = 600) -> str:
    """A token as the build agent's own issuer makes it."""
    return jwt.encode(
        {"iss": "https://issuer.test", "aud": audience, "exp": time.time() + seconds},
        "k" * 32,
        algorithm="HS256",
    )


@pytest.fixture
def no_secret(azure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a machine that has no secret."""
    monkeypatch.delenv("SP_APP_SECRET")


@pytest.fixture
def access_token(emulator: EmulatorProcess, azure: str) -> str:
    """A token that the emulator accepts, as ``az`` or a managed identity gets it."""
    variables = emulator.environment
    base = variables["ARM_CLOUD_METADATA_URL"].rpartition("/")[0]
    answer = requests.post(
        f"{base}/{variables['TENANT_ID']}/oauth2/v2.0/token",
        data={"client_id": variables["SP_APP_ID"], "client_secret": variables["SP_APP_SECRET"]},
        timeout=10,
    )
    return str(answer.json()["access_token"])


@pytest.fixture
def issuer() -> Iterator[Callable[[dict[str, Any]], str]]:
    """Starts a server that answers every request with one JSON document; gives its address."""
    servers: list[HTTPServer] = []

    def start(body: dict[str, Any]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/token"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("variables", "environ", "way"),
    [
        ({"SP_APP_ID": "a", "SP_APP_SECRET": "s"}, GITHUB, "service-principal"),
        ({"SP_APP_ID": "a"}, GITHUB, "federated"),
        ({"SP_APP_ID": "a"}, DEVOPS, "federated"),
        ({}, {"AZURE_CLIENT_ID": "a", "AZURE_FEDERATED_TOKEN_FILE": "f"}, "federated"),
        ({}, GITHUB, "cli"),
        ({}, {"IDENTITY_ENDPOINT": "http://x"}, "managed-identity"),
        ({}, {"MSI_ENDPOINT": "http://x"}, "managed-identity"),
        ({}, {}, "cli"),
        ({"SP_APP_SECRET": "s", "MLOPS_AZURE_LOGIN": "cli"}, {}, "cli"),
    ],
)
def test_the_first_way_that_is_there_is_taken(
    variables: dict[str, str], environ: dict[str, str], way: str
) -> None:
    assert chosen_way(of(**variables), environ) == way


@pytest.mark.parametrize(
    ("variables", "environ", "missing"),
    [
        ({"SP_APP_SECRET": "s"}, {}, ["TENANT_ID", "SP_APP_ID"]),
        (
            {"MLOPS_AZURE_LOGIN": "service-principal"},
            {},
            ["TENANT_ID", "SP_APP_ID", "SP_APP_SECRET"],
        ),
        ({"SP_APP_ID": "a"}, GITHUB, ["TENANT_ID"]),
        ({"SP_APP_ID": "a"}, DEVOPS, ["TENANT_ID", "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"]),
        (
            {"MLOPS_AZURE_LOGIN": "federated"},
            {},
            ["TENANT_ID", "SP_APP_ID", "AZURE_FEDERATED_TOKEN_FILE, or a token of the build agent"],
        ),
    ],
)
@pytest.mark.usefixtures("azure")
def test_all_that_a_login_lacks_is_listed_at_once(
    variables: dict[str, str],
    environ: dict[str, str],
    missing: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("TENANT_ID", "SP_APP_ID", "SP_APP_SECRET"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError) as caught:
        authentication(of(**variables), environ)
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        f"{name}: not set" for name in missing
    ]


def test_all_settings_that_are_missing_are_listed_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from ml_service.settings import azure_settings

    monkeypatch.chdir(tmp_path)
    for name in WORKSPACE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AML_CLUSTER_MAX_NODES", "many")
    azure_settings.cache_clear()
    with pytest.raises(SettingsError) as caught:
        azure_settings()
    for name in (*WORKSPACE, "AML_CLUSTER_MAX_NODES"):
        assert f"  {name}: " in str(caught.value)


def test_the_secret_is_in_no_repr() -> None:
    settings = of(SP_APP_ID="a", SP_APP_SECRET="hush-hush")
    assert "hush-hush" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_a_service_principal_logs_in(connect: Callable[..., AzureWorkspace], azure: str) -> None:
    assert connect().workspace.name == azure


def test_a_wrong_secret_says_so_and_is_not_shown(connect: Callable[..., AzureWorkspace]) -> None:
    with pytest.raises(
        PlatformError, match="SP_APP_SECRET is not this application's secret"
    ) as caught:
        _ = connect(SP_APP_SECRET="hush-hush").workspace
    assert "hush-hush" not in str(caught.value)


def test_an_expired_secret_says_so(
    connect: Callable[..., AzureWorkspace], fault: Callable[..., None]
) -> None:
    fault(kind="expired-secret")
    with pytest.raises(PlatformError, match="has expired: make a new one"):
        _ = connect().workspace


def test_an_unknown_application_says_so(connect: Callable[..., AzureWorkspace]) -> None:
    with pytest.raises(PlatformError, match="check SP_APP_ID and TENANT_ID"):
        _ = connect(SP_APP_ID="another").workspace


@pytest.mark.usefixtures("no_secret")
def test_a_token_in_a_file_logs_in(
    connect: Callable[..., AzureWorkspace],
    azure: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "token").write_text(identity_token())
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
    workspace = connect()
    assert workspace.workspace.name == azure
    assert workspace.workspace.compute_targets["aks"].type == "AKS"
    # azureml-mlflow asks for tokens in a way of its own.
    assert workspace.mlflow.tracking_uri.startswith("azureml://")
    token = workspace.workspace._auth.get_token("https://management.azure.com/.default")
    assert token.expires_on > time.time()


@pytest.mark.usefixtures("no_secret")
@pytest.mark.parametrize(
    ("token", "why"),
    [
        (identity_token(audience="api://other"), "its audience is another"),
        (identity_token(seconds=-60), "the identity token has expired"),
        ("no token", "malformed"),
    ],
)
def test_a_token_that_does_not_fit_is_refused(
    connect: Callable[..., AzureWorkspace],
    token: str,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "token").write_text(token)
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(PlatformError, match=why):
        _ = connect().workspace


@pytest.mark.usefixtures("no_secret")
def test_a_job_of_github_logs_in_without_a_secret(
    connect: Callable[..., AzureWorkspace],
    azure: str,
    issuer: Callable[[dict[str, Any]], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", issuer({"value": identity_token()}))
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of the job")
    assert connect().workspace.name == azure


@pytest.mark.usefixtures("no_secret")
def test_a_job_of_azure_devops_logs_in_without_a_secret(
    connect: Callable[..., AzureWorkspace],
    azure: str,
    issuer: Callable[[dict[str, Any]], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SYSTEM_OIDCREQUESTURI", issuer({"oidcToken": identity_token()}))
    monkeypatch.setenv("SYSTEM_ACCESSTOKEN", "of the job")
    monkeypatch.setenv("AZURESUBSCRIPTION_SERVICE_CONNECTION_ID", "connection")
    assert connect().workspace.name == azure


@pytest.mark.usefixtures("no_secret")
def test_a_managed_identity_logs_in(
    connect: Callable[..., AzureWorkspace],
    azure: str,
    access_token: str,
    issuer: Callable[[dict[str, Any]], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = {
        "access_token": access_token,
        "expires_on": str(int(time.time()) + 3600),
        "resource": "https://management.azure.com/",
        "token_type": "Bearer",
    }
    monkeypatch.setenv("IDENTITY_ENDPOINT", issuer(answer))
    monkeypatch.setenv("IDENTITY_HEADER", "of the machine")
    assert connect().workspace.name == azure


def install_az(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an ``az`` on the PATH."""
    program = folder / "az"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


@pytest.mark.usefixtures("no_secret")
def test_az_login_is_used_and_asked_once(
    connect: Callable[..., AzureWorkspace],
    azure: str,
    access_token: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = json.dumps({"accessToken": access_token, "expires_on": int(time.time()) + 3600})
    install_az(tmp_path, f"echo asked >> {tmp_path}/asked\necho '{answer}'", monkeypatch)
    workspace = connect()
    assert workspace.workspace.name == azure
    assert workspace.datastore.name == "workspaceblobstore"
    assert (tmp_path / "asked").read_text().split() == ["asked"]
    authentication_object = workspace.workspace._auth
    assert copy.deepcopy(authentication_object) is authentication_object


def test_a_machine_with_no_way_to_log_in_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SP_APP_SECRET.*az login"):
        authentication(of(MLOPS_AZURE_LOGIN="cli"), {"PATH": str(tmp_path)})


@pytest.mark.usefixtures("no_secret")
def test_without_az_login_it_says_what_to_do(
    connect: Callable[..., AzureWorkspace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_az(
        tmp_path, "echo \"Please run 'az login' to setup account.\" >&2; exit 1", monkeypatch
    )
    with pytest.raises(PlatformError, match="az login"):
        _ = connect().workspace


def test_an_unknown_tenant_is_asked_for_at_microsoft_alone(
    connect: Callable[..., AzureWorkspace], emulator: EmulatorProcess
) -> None:
    assert emulator.unknown() == []
    with pytest.raises(PlatformError, match="no answer from login.microsoftonline.com"):
        _ = connect(TENANT_ID="contoso.example").workspace
    calls, refused = emulator.calls()
    assert {call["status"] for call in calls} <= {200}
    assert set(refused) == {"login.microsoftonline.com:443"}
