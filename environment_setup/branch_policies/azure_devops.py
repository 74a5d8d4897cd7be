"""Branch policies in Azure DevOps.

Source of the calls and of the ids of policy types: Azure DevOps Services REST API 7.1, Policy, Configurations.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from environment_setup.branch_policies.policies import Policies, PolicyError, Step, differences
from environment_setup.branch_policies.rest import Api, token

TOKENS = ("AZURE_DEVOPS_EXT_PAT", "SYSTEM_ACCESSTOKEN")
REVIEWERS = "fa4e907d-c16b-4a4c-9dfa-4906e5d171dd"
COMMENTS = "c6a1889d-b943-4856-b76f-9e46bb6b0df2"
MERGE = "fa4e907d-c16b-4a4c-9dfa-4916e5d171ab"
BUILD = "0609b952-1397-4640-95ec-e00a01b2c241"
OWNERS = "fd2167ab-b0be-447a-8ec8-39368250530e"
_API = "api-version=7.1"
_SAME = {BUILD: "buildDefinitionId", OWNERS: "requiredReviewerIds"}
"""Types of which a branch has several: two are the same where this setting is."""


def azure_devops(url: str) -> Api:
    """The API of an organization, ``https://dev.azure.com/NAME``.

    Raises:
        PolicyError: there is no token, or the address would give it away.
    """
    encoded = base64.b64encode(f":{token(TOKENS)}".encode()).decode()
    return Api(url, {"Authorization": f"Basic {encoded}", "Accept": "application/json"})


def plan(api: Api, project: str, repository: str, policies: Policies) -> list[Step]:
    """What it takes to have the policies.

    Raises:
        PolicyError: the repository, a pipeline or a team is not there, or Azure DevOps refuses.
    """
    home = f"/{quote(project, safe='')}/_apis"
    found, _ = api.call("GET", f"{home}/git/repositories/{quote(repository, safe='')}?{_API}")
    scope = {
        "repositoryId": found["id"],
        "refName": f"refs/heads/{policies.branch}",
        "matchKind": "Exact",
    }
    there = [item for item in _configurations(api, home) if _holds(item, scope)]
    return [
        _step(api, home, what, kind, {**settings, "scope": [scope]}, there)
        for what, kind, settings in _wanted(api, project, home, policies)
    ]


def _wanted(
    api: Api, project: str, home: str, policies: Policies
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    reviewers = policies.reviewers
    yield (
        f"at least {reviewers.minimum} reviewers",
        REVIEWERS,
        {
            "minimumApproverCount": reviewers.minimum,
            "creatorVoteCounts": False,
            "allowDownvotes": False,
            "resetOnSourcePush": reviewers.reset_on_push,
        },
    )
    if policies.comments_resolved:
        yield "comments are resolved", COMMENTS, {}
    if policies.linear_history:
        yield (
            "linear history",
            MERGE,
            {
                "allowSquash": True,
                "allowRebase": True,
                "allowNoFastForward": False,
                "allowRebaseMerge": False,
            },
        )
    for item in policies.validations:
        yield (
            f"build validation {item.pipeline}",
            BUILD,
            {
                "buildDefinitionId": _pipeline(api, home, item.pipeline),
                "displayName": item.pipeline,
                "queueOnSourceUpdateOnly": True,
                "manualQueueOnly": False,
                "validDuration": item.valid_hours * 60,
                "filenamePatterns": item.paths,
            },
        )
    for owners in policies.owners:
        path = f"/_apis/projects/{quote(project, safe='')}/teams/{quote(owners.team, safe='')}"
        team, _ = api.call("GET", f"{path}?{_API}")
        yield (
            f"approval of {owners.team}",
            OWNERS,
            {
                "requiredReviewerIds": [team["id"]],
                "minimumApproverCount": 1,
                "creatorVoteCounts": False,
                "filenamePatterns": owners.paths,
                "message": f"{owners.team} own these files",
            },
        )


def _pipeline(api: Api, home: str, name: str) -> int:
    answer, _ = api.call("GET", f"{home}/build/definitions?name={quote(name, safe='')}&{_API}")
    ids = [int(item["id"]) for item in answer["value"] if item["name"] == name]
    if len(ids) != 1:
        raise PolicyError(
            f"the project has {len(ids)} pipelines {name}, not one: make it from .pipelines/{name}.yml"
        )
    return ids[0]


def _configurations(api: Api, home: str) -> Iterator[Mapping[str, Any]]:
    following: str | None = ""
    while following is not None:
        more = f"&continuationToken={quote(following, safe='')}" if following else ""
        answer, headers = api.call("GET", f"{home}/policy/configurations?{_API}{more}")
        yield from answer["value"]
        following = headers.get("x-ms-continuationtoken")


def _holds(item: Mapping[str, Any], scope: Mapping[str, Any]) -> bool:
    """Whether a policy is of this branch, and not deleted."""
    scopes = item["settings"].get("scope", [])
    ours = any(
        (place.get("repositoryId"), place.get("refName"))
        == (scope["repositoryId"], scope["refName"])
        for place in scopes
    )
    return ours and not item.get("isDeleted", False)


def _step(
    api: Api,
    home: str,
    what: str,
    kind: str,
    settings: dict[str, Any],
    there: list[Mapping[str, Any]],
) -> Step:
    path = f"{home}/policy/configurations"
    body = {"isEnabled": True, "isBlocking": True, "type": {"id": kind}, "settings": settings}
    same = _SAME.get(kind)
    for item in there:
        if item["type"]["id"] != kind:
            continue
        if same and item["settings"].get(same) != settings[same]:
            continue
        # Azure leaves out what is empty.
        known = {"filenamePatterns": [], **item["settings"]}
        wrong = tuple(differences(body, {**item, "settings": known}))
        # What policies.yml does not speak of stays.
        body["settings"] = {**item["settings"], **settings}
        put = partial(api.call, "PUT", f"{path}/{item['id']}?{_API}", body)
        return Step(what, "update" if wrong else "nothing", wrong, put)
    return Step(what, "create", (), partial(api.call, "POST", f"{path}?{_API}", body))
