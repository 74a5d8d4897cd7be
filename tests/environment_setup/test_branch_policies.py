"""Branch policies as data, brought over HTTP to stand-ins of Azure DevOps and GitHub, which refuse as those do."""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml

from environment_setup.branch_policies.__main__ import main
from environment_setup.branch_policies.azure_devops import BUILD, COMMENTS, MERGE, OWNERS, REVIEWERS
from environment_setup.branch_policies.policies import FILE, PolicyError, load_policies
from tests.http_server import running

ROOT = Path(__file__).resolve().parents[2]
TOKEN = uuid.uuid4().hex
REPOSITORY = "5f3b8c1e-0000-4000-8000-000000000001"
TEAMS = {"data-owners": "team-1", "platform-owners": "team-2"}
SETTINGS = {
    REVIEWERS: {"minimumApproverCount", "creatorVoteCounts", "allowDownvotes", "resetOnSourcePush"},
    COMMENTS: set(),
    MERGE: {"allowSquash", "allowRebase", "allowNoFastForward", "allowRebaseMerge"},
    BUILD: {
        *("buildDefinitionId", "displayName", "queueOnSourceUpdateOnly", "manualQueueOnly"),
        *("validDuration", "filenamePatterns"),
    },
    OWNERS: {
        *("requiredReviewerIds", "minimumApproverCount", "creatorVoteCounts", "filenamePatterns"),
        "message",
    },
}
RULES = {
    "deletion": set(),
    "non_fast_forward": set(),
    "required_linear_history": set(),
    "pull_request": {
        *("required_approving_review_count", "dismiss_stale_reviews_on_push"),
        *("require_code_owner_review", "require_last_push_approval"),
        "required_review_thread_resolution",
    },
    "required_status_checks": {"strict_required_status_checks_policy", "required_status_checks"},
}


class Refused(Exception):
    """The server's answer to what it does not take."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def need(condition: object, message: str, status: int = 400) -> None:
    if not condition:
        raise Refused(status, message)


class Service:
    """State of a server, and what it answers."""

    login: str
    not_logged_in: int

    def __init__(self) -> None:
        self.kept: dict[int, Any] = {}
        self.writes = 0
        self.forbidden = False
        self.url = ""

    def answer(self, method: str, url: str, body: Any) -> tuple[Any, dict[str, str]]:
        raise NotImplementedError

    def keep(self, number: int | None, content: Any) -> Any:
        need(not self.forbidden, "You need the permission to edit policies", 403)
        self.writes += 1
        number = number or len(self.kept) + 1
        self.kept[number] = {**content, "id": number, "_links": {}, "url": "https://..."}
        return self.kept[number]


class AzureDevOps(Service):
    """One repository, its pipelines, its teams, and its policies."""

    login = "Basic " + base64.b64encode(f":{TOKEN}".encode()).decode()
    not_logged_in = 203

    def __init__(self) -> None:
        super().__init__()
        self.pipelines = {"pr": 11, "data-ci": 12}

    def answer(self, method: str, url: str, body: Any) -> tuple[Any, dict[str, str]]:
        parts = urlsplit(url)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        need(query.get("api-version") == "7.1", "No api-version was supplied")
        path = unquote(parts.path)
        if method == "GET" and path == "/My Project/_apis/git/repositories/claims":
            return {"id": REPOSITORY, "name": "claims"}, {}
        if method == "GET" and path == "/My Project/_apis/build/definitions":
            # As a pattern, as Azure DevOps does: pr finds pr-2 as well.
            found = [i for i in self.pipelines if i.startswith(query["name"])]
            return {"value": [{"id": self.pipelines[i], "name": i} for i in found]}, {}
        if team := re.fullmatch("/_apis/projects/My Project/teams/(.*)", path):
            need(team[1] in TEAMS, f"The team with id '{team[1]}' does not exist.", 404)
            return {"id": TEAMS[team[1]], "name": team[1]}, {}
        match = re.fullmatch("/My Project/_apis/policy/configurations(?:/(\\d+))?", path)
        need(match, f"TF200016: {path} does not exist.", 404)
        assert match is not None
        if method == "GET":
            first = int(query.get("continuationToken", 0))
            page = list(self.kept.values())[first : first + 3]
            more = {"x-ms-continuationtoken": str(first + 3)} if first + 3 < len(self.kept) else {}
            return {"count": len(page), "value": page}, more
        need((method == "PUT") == (match[1] is not None), "TF400898", 405)
        self.check(body)
        settings = dict(body["settings"])
        if not settings.get("filenamePatterns", True):
            del settings["filenamePatterns"]
        return self.keep(int(match[1]) if match[1] else None, {**body, "settings": settings}), {}

    def check(self, body: Any) -> None:
        kind = body["type"]["id"]
        need(kind in SETTINGS, f"The policy type {kind} does not exist.", 404)
        need(body["isEnabled"] is True and body["isBlocking"] is True, "isBlocking")
        settings = dict(body["settings"])
        scope = {"repositoryId": REPOSITORY, "refName": "refs/heads/main", "matchKind": "Exact"}
        need(settings.pop("scope") == [scope], "scope")
        need(settings.keys() - {"kept"} == SETTINGS[kind], f"settings: {sorted(settings)}")
        if kind == BUILD:
            need(settings["buildDefinitionId"] in self.pipelines.values(), "buildDefinitionId")
        if kind == OWNERS:
            need(set(settings["requiredReviewerIds"]) <= set(TEAMS.values()), "requiredReviewerIds")


class GitHub(Service):
    """One repository and its rulesets."""

    login = f"Bearer {TOKEN}"
    not_logged_in = 401

    def answer(self, method: str, url: str, body: Any) -> tuple[Any, dict[str, str]]:
        parts = urlsplit(url)
        match = re.fullmatch(r"/repos/someone/claims/rulesets(?:/(\d+))?", parts.path)
        need(match, "Not Found", 404)
        assert match is not None
        number = int(match[1]) if match[1] else None
        if method == "GET" and number is not None:
            return self.kept[number], {}
        if method == "GET":
            query = {
                key: int(value[0]) for key, value in parse_qs(parts.query).items() if "page" in key
            }
            first = (query["page"] - 1) * query["per_page"]
            brief = [
                {key: item[key] for key in ("id", "name", "target", "enforcement")}
                for item in self.kept.values()
            ]
            return brief[first : first + query["per_page"]], {}
        need(method == ("PUT" if number else "POST"), "Not Found", 404)
        names = {item["name"] for key, item in self.kept.items() if key != number}
        need(body["name"] not in names, "Name must be unique", 422)
        need(body["target"] == "branch" and body["enforcement"] == "active", "enforcement", 422)
        need(body["conditions"]["ref_name"]["include"] == ["refs/heads/main"], "conditions", 422)
        for rule in body["rules"]:
            kind = rule["type"]
            need(
                RULES.get(kind) == rule.get("parameters", {}).keys(), f"Invalid rule '{kind}'", 422
            )
            if kind == "pull_request":
                rule["parameters"]["allowed_merge_methods"] = ["merge", "squash", "rebase"]
        return self.keep(number, body), {}


@pytest.fixture(params=[AzureDevOps, GitHub])
def service(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """Each of the two servers, and the token for it."""
    state: Service = request.param()

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(size)) if size else None
            headers: dict[str, str] = {}
            try:
                need(self.headers["Authorization"] == state.login, "Sign in", state.not_logged_in)
                content, headers = state.answer(self.command, self.path, body)
                status = 200
            except Refused as refused:
                status, content = refused.status, {"message": str(refused)}
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        do_GET = do_POST = do_PUT = respond  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with running(Handler) as state.url:
        monkeypatch.setenv("GITHUB_API_URL", state.url)
        for name in ("AZURE_DEVOPS_EXT_PAT", "GITHUB_TOKEN"):
            monkeypatch.setenv(name, TOKEN)
        yield state


def arguments(service: Service, repository: str = "claims") -> list[str]:
    if isinstance(service, GitHub):
        return ["--github", f"someone/{repository}"]
    return ["--azure-devops", service.url, "--project", "My Project", "--repository", repository]


def test_what_would_change_is_shown_and_nothing_is_changed(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(service)) == 0
    assert service.writes == 0
    said = capsys.readouterr().out
    assert "to be made" in said
    assert "--apply does it" in said
    assert TOKEN not in said


def test_a_second_time_there_is_nothing_to_change(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(service), "--apply"]) == 0
    made, kept = service.writes, json.dumps(service.kept)
    assert made == len(service.kept) > 0
    capsys.readouterr()
    assert main([*arguments(service), "--apply"]) == 0
    assert (service.writes, json.dumps(service.kept)) == (made, kept)
    said = capsys.readouterr().out
    assert "to be" not in said.replace("as it has to be", "")


def test_what_was_loosened_is_tightened_again(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loose = tmp_path / "policies.yml"
    loose.write_text(FILE.read_text().replace("reset_on_push: true", "reset_on_push: false"))
    assert main([*arguments(service), "--apply", "--policies", str(loose)]) == 0
    before = service.writes
    capsys.readouterr()
    assert main([*arguments(service), "--apply"]) == 0
    assert service.writes == before + 1
    said = capsys.readouterr().out
    assert re.search(r"(resetOnSourcePush|dismiss_stale_reviews_on_push): False -> True", said)


def test_a_policy_of_another_branch_is_left_alone(service: Service) -> None:
    scope = [{"repositoryId": REPOSITORY, "refName": "refs/heads/other", "matchKind": "Exact"}]
    other = {"name": "policies of other", "target": "branch", "enforcement": "active"}
    service.kept[1] = {**other, "id": 1, "type": {"id": COMMENTS}, "settings": {"scope": scope}}
    before = json.dumps(service.kept[1])
    assert main([*arguments(service), "--apply"]) == 0
    assert json.dumps(service.kept[1]) == before
    assert service.writes == len(service.kept) - 1


@pytest.mark.parametrize("token", ["", "wrong"])
def test_without_a_token_nothing_is_done(
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    token: str,
) -> None:
    for name in ("AZURE_DEVOPS_EXT_PAT", "SYSTEM_ACCESSTOKEN", "GITHUB_TOKEN"):
        monkeypatch.setenv(name, token)
    assert main([*arguments(service), "--apply"]) == 1
    assert (
        "is not accepted" if token else "set the environment variable"
    ) in capsys.readouterr().err
    assert service.writes == 0


def test_a_token_that_may_not_change_policies_is_one_line(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    service.forbidden = True
    assert main(arguments(service)) == 0
    assert main([*arguments(service), "--apply"]) == 1
    error = capsys.readouterr().err
    assert "You need the permission" in error
    assert error.count("\n") == 1
    assert TOKEN not in error


def test_an_unknown_repository_is_one_line(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(service, "nowhere"), "--apply"]) == 1
    error = capsys.readouterr().err
    assert "there is no such thing" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("service", [AzureDevOps], indirect=True)
def test_what_azure_devops_adds_to_a_policy_stays(service: Service) -> None:
    assert main([*arguments(service), "--apply"]) == 0
    [number] = [key for key, item in service.kept.items() if item["type"]["id"] == REVIEWERS]
    service.kept[number]["settings"] |= {"kept": 1, "minimumApproverCount": 0}
    assert main([*arguments(service), "--apply"]) == 0
    settings = service.kept[number]["settings"]
    assert (settings["kept"], settings["minimumApproverCount"]) == (1, 1)


@pytest.mark.parametrize("service", [AzureDevOps], indirect=True)
def test_each_pipeline_and_team_has_a_policy_on_its_paths(service: Service) -> None:
    assert main([*arguments(service), "--apply"]) == 0
    of = {
        kind: [item["settings"] for item in service.kept.values() if item["type"]["id"] == kind]
        for kind in SETTINGS
    }
    paths = {item["buildDefinitionId"]: item.get("filenamePatterns", []) for item in of[BUILD]}
    assert paths[11] == []
    assert "/notebooks/*" in paths[12]
    assert {item["requiredReviewerIds"][0] for item in of[OWNERS]} == set(TEAMS.values())
    assert len(of[REVIEWERS]) == len(of[COMMENTS]) == len(of[MERGE]) == 1


@pytest.mark.parametrize("service", [AzureDevOps], indirect=True)
@pytest.mark.parametrize("missing", ["pipeline", "team"])
def test_nothing_is_changed_where_a_name_leads_nowhere(
    service: AzureDevOps, tmp_path: Path, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    changed = tmp_path / "policies.yml"
    changed.write_text(FILE.read_text().replace("team: platform-owners", "team: nobody"))
    if missing == "pipeline":
        service.pipelines = {"pr": 11, "data-ci-2": 12}
        changed = FILE
    assert main([*arguments(service), "--apply", "--policies", str(changed)]) == 1
    reason = "0 pipelines data-ci, not one" if missing == "pipeline" else "'nobody' does not exist"
    assert reason in capsys.readouterr().err
    assert service.writes == 0


@pytest.mark.parametrize("service", [GitHub], indirect=True)
def test_a_rule_that_somebody_took_away_or_added_is_seen(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 101):
        other = {
            "id": number,
            "name": f"other {number}",
            "target": "branch",
            "enforcement": "active",
        }
        service.kept[number] = other
    assert main([*arguments(service), "--apply"]) == 0
    ours = service.kept[101]
    ours["rules"] = [i for i in ours["rules"] if i["type"] != "non_fast_forward"]
    ours["rules"].append({"type": "required_signatures"})
    capsys.readouterr()
    assert main(arguments(service)) == 0
    said = capsys.readouterr().out
    assert "rules.non_fast_forward: None -> {}" in said
    assert "rules.required_signatures: removed" in said


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["--azure-devops", "http://dev.azure.com/x"], "has to begin with https://"),
        (["--azure-devops", f"https://someone:{TOKEN}@dev.azure.com/x"], "carries a secret"),
        (["--azure-devops", "http://127.0.0.1:9"], "no answer"),
        (["--github", "claims"], "'claims' is no repository: OWNER/NAME"),
    ],
)
def test_addresses_that_cannot_be_used(
    given: list[str],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("AZURE_DEVOPS_EXT_PAT", "GITHUB_TOKEN"):
        monkeypatch.setenv(name, TOKEN)
    if given[0] == "--azure-devops":
        given = [*given, "--project", "p", "--repository", "r"]
    assert main(given) == 1
    error = capsys.readouterr().err
    assert reason in error
    assert TOKEN not in error


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["--github", "a/b", "--azure-devops", "https://dev.azure.com/x"],
        ["--azure-devops", "https://dev.azure.com/x", "--project", "p"],
        ["--github", "a/b", "--repository", "b"],
        ["--github", "a/b", "--token", TOKEN],
    ],
)
def test_wrong_use(given: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(given)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("minimum: 1 ", "minimum: 0 ", "reviewers.minimum"),
        ("minimum: 1 ", 'minimum: "1" ', "reviewers.minimum"),
        ("comments_resolved: true", "comment_resolved: true", "comment_resolved"),
        ("linear_history: true", "", "linear_history"),
        ("- /data/*", "- data/*", "owners.0.paths.0"),
        ("team: data-owners", "team: ''", "owners.0.team"),
        ("branch: main", "branch: refs heads", "branch"),
        ("branch: main", "[", "not YAML"),
    ],
)
def test_policies_that_are_none_are_refused(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    file = tmp_path / "policies.yml"
    text = FILE.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(PolicyError, match=re.escape(reason)):
        load_policies(file)


def place(pattern: str) -> Path:
    return ROOT / pattern.lstrip("/").removesuffix("*")


def test_every_path_and_pipeline_of_the_policies_exists() -> None:
    policies = load_policies()
    paths = [path for item in policies.validations for path in item.paths]
    paths += [path for item in policies.owners for path in item.paths]
    assert [path for path in paths if not place(path).exists()] == []
    for item in policies.validations:
        pipeline = yaml.safe_load((ROOT / ".pipelines" / f"{item.pipeline}.yml").read_text())
        runs_on = [f"/{path}/" for path in pipeline["pr"].get("paths", {}).get("include", [])]
        # A pipeline that is required where its own filter leaves it out never runs.
        assert all(path.startswith(tuple(runs_on)) for path in item.paths if runs_on)


def test_the_checks_that_github_waits_for_run_for_every_pull_request() -> None:
    always = set()
    for file in (ROOT / ".github" / "workflows").glob("*.yml"):
        # YAML reads the key `on` as true.
        content = yaml.safe_load(file.read_text())
        started = content[True]
        if isinstance(started, dict) and "pull_request" in started:
            if not {"paths", "paths-ignore"} & (started["pull_request"] or {}).keys():
                always |= {job.get("name", key) for key, job in content["jobs"].items()}
    assert always >= {item.check for item in load_policies().validations if item.check}


def test_code_owners_are_those_of_the_policies() -> None:
    lines = (ROOT / ".github" / "CODEOWNERS").read_text().splitlines()
    entries = [line.split() for line in lines if line and not line.startswith("#")]
    assert [path for path, _ in entries if not place(path).exists()] == []
    assert all(
        path.startswith("/") and path.endswith("/") == place(path).is_dir() for path, _ in entries
    )
    wanted = [
        [path.removesuffix("*"), f"@ORG/{owners.team}"]
        for owners in load_policies().owners
        for path in owners.paths
    ]
    assert entries == wanted
