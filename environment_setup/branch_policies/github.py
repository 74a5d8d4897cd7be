"""Branch policies on GitHub: one ruleset, which is ours as a whole.

Source of the calls: GitHub REST API, Repositories, Rules.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from environment_setup.branch_policies.policies import Policies, PolicyError, Step, differences
from environment_setup.branch_policies.rest import Api, token

TOKENS = ("GITHUB_TOKEN",)
_PAGE = 100


def github() -> Api:
    """The API of GitHub, or of the GitHub Enterprise server that GITHUB_API_URL names.

    Raises:
        PolicyError: there is no token, or the address would give it away.
    """
    headers = {
        "Authorization": f"Bearer {token(TOKENS)}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
    }
    return Api(os.environ.get("GITHUB_API_URL") or "https://api.github.com", headers)


def plan(api: Api, repository: str, policies: Policies) -> list[Step]:
    """What it takes to have the policies.

    Args:
        api: GitHub's.
        repository: OWNER/NAME.
        policies: what has to hold.

    Raises:
        PolicyError: there is no such repository, or GitHub refuses.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise PolicyError(f"{repository!r} is no repository: OWNER/NAME")
    path = f"/repos/{repository}/rulesets"
    wanted = _ruleset(policies)
    what = f"ruleset {wanted['name']!r}"
    for item in _rulesets(api, path):
        if item["name"] == wanted["name"] and item["target"] == "branch":
            there, _ = api.call("GET", f"{path}/{item['id']}")
            wrong = tuple(differences(_by_type(wanted), _by_type(there)))
            wrong += tuple(
                f"rules.{kind}: removed"
                for kind in _by_type(there)["rules"].keys() - _by_type(wanted)["rules"].keys()
            )
            put = partial(api.call, "PUT", f"{path}/{item['id']}", wanted)
            return [Step(what, "update" if wrong else "nothing", wrong, put)]
    return [Step(what, "create", (), partial(api.call, "POST", path, wanted))]


def _ruleset(policies: Policies) -> dict[str, Any]:
    rules: list[dict[str, Any]] = [{"type": "deletion"}, {"type": "non_fast_forward"}]
    if policies.linear_history:
        rules.append({"type": "required_linear_history"})
    checks = [{"context": item.check} for item in policies.validations if item.check]
    reviewers = policies.reviewers
    pull_request = {
        "required_approving_review_count": reviewers.minimum,
        "dismiss_stale_reviews_on_push": reviewers.reset_on_push,
        "require_code_owner_review": bool(policies.owners),
        "require_last_push_approval": True,
        "required_review_thread_resolution": policies.comments_resolved,
    }
    rules.append({"type": "pull_request", "parameters": pull_request})
    if checks:
        status = {"strict_required_status_checks_policy": True, "required_status_checks": checks}
        rules.append({"type": "required_status_checks", "parameters": status})
    return {
        "name": f"policies of {policies.branch}",
        "target": "branch",
        "enforcement": "active",
        "bypass_actors": [],
        "conditions": {"ref_name": {"include": [f"refs/heads/{policies.branch}"], "exclude": []}},
        "rules": rules,
    }


def _rulesets(api: Api, path: str) -> Iterator[Mapping[str, Any]]:
    page = 1
    while True:
        found, _ = api.call("GET", f"{path}?includes_parents=false&per_page={_PAGE}&page={page}")
        yield from found
        if len(found) < _PAGE:
            return
        page += 1


def _by_type(ruleset: Mapping[str, Any]) -> dict[str, Any]:
    """A ruleset whose rules can be compared: their order means nothing."""
    rules = {rule["type"]: rule.get("parameters", {}) for rule in ruleset["rules"]}
    return {**ruleset, "rules": rules}
