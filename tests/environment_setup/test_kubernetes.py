"""The Kubernetes manifests: rendered, they keep Kubernetes' schemas, fit together, and may do little.

Every check also meets resources that it must refuse.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from environment_setup.check import dockerfile, kubernetes
from environment_setup.check.kustomize import (
    FILE,
    KustomizeError,
    Resource,
    apply,
    containers,
    render,
)
from environment_setup.check.route import route_problems, weights

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "environment_setup" / "kubernetes"
OVERLAYS = ("staging", "production", "canary", "shadow")
SERVICES = {("insurance-claims-stable", 80), ("insurance-claims-canary", 80)}


def overlay(name: str) -> list[Resource]:
    return render(MANIFESTS / "overlays" / name)


def one(resources: list[Resource], kind: str, name: str) -> Resource:
    [found] = [
        item for item in resources if (item["kind"], item["metadata"]["name"]) == (kind, name)
    ]
    return found


def by_name(resources: list[Resource]) -> list[Resource]:
    return sorted(resources, key=lambda item: (item["kind"], item["metadata"]["name"]))


def test_every_overlay_is_checked() -> None:
    assert {path.name for path in (MANIFESTS / "overlays").iterdir()} == set(OVERLAYS)


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_is_sound(name: str) -> None:
    assert kubernetes.problems(overlay(name)) == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_kubectl_renders_the_same(name: str) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed: overlays are rendered by environment_setup alone")
    command = [kubectl, "kustomize", str(MANIFESTS / "overlays" / name)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert by_name(list(yaml.safe_load_all(result.stdout))) == by_name(overlay(name))


POD = "/spec/template/spec"
CONTAINER = f"{POD}/containers/0"


@pytest.mark.parametrize(
    ("kind", "name", "path", "value", "reason"),
    [
        ("Deployment", "stable", f"{CONTAINER}/imagePullPolcy", "Always", "imagePullPolcy"),
        ("Deployment", "stable", "/spec/template/metadata/labels/track", "other", "own pods"),
        ("Deployment", "stable", f"{POD}/serviceAccountName", "admin", "account admin does not"),
        ("Deployment", "stable", f"{POD}/automountServiceAccountToken", True, "to be false"),
        ("Deployment", "stable", f"{POD}/securityContext/runAsNonRoot", False, "runAsNonRoot"),
        ("Deployment", "stable", f"{POD}/securityContext/seccompProfile/type", "Unconfined", "sec"),
        ("Deployment", "stable", f"{POD}/volumes/0/name", "other", "temporary does not exist"),
        ("Deployment", "stable", f"{CONTAINER}/image", "registry/model", "is not pinned"),
        ("Deployment", "stable", f"{CONTAINER}/image", "registry/model:latest", "is not pinned"),
        ("Deployment", "stable", f"{CONTAINER}/startupProbe/httpGet/port", "web", "startupProbe"),
        ("Deployment", "canary", f"{CONTAINER}/resources/limits", {"cpu": "1"}, "much memory"),
        (
            *("Deployment", "canary", f"{CONTAINER}/securityContext/readOnlyRootFilesystem"),
            *(False, "readOnlyRootFilesystem"),
        ),
        (
            *("Deployment", "canary", f"{CONTAINER}/securityContext/capabilities/drop"),
            *(["NET_RAW"], "capabilities"),
        ),
        ("Service", "canary", "/spec/selector/track", "canry", "and selects those of nothing"),
        ("Service", "canary", "/spec/selector", {"app": "x"}, "and selects those of nothing"),
        ("Service", "canary", "/spec/ports/0/targetPort", "web", "port web is none of"),
        ("PodDisruptionBudget", "canary", "/spec/selector/matchLabels/track", "x", "nothing"),
        ("HorizontalPodAutoscaler", "canary", "/spec/scaleTargetRef/name", "x", "x does not exist"),
        ("HorizontalPodAutoscaler", "canary", "/spec/minReplicas", 11, "above maxReplicas"),
        ("HorizontalPodAutoscaler", "canary", "/metadata/namespace", "else", "namespace else"),
        ("Service", "canary", "/metadata/name", "insurance-claims-stable", "is there twice"),
        ("NetworkPolicy", "", "/spec/podSelector/matchLabels", {"app": "x"}, "limits its ingress"),
        ("NetworkPolicy", "", "/spec/policyTypes", ["Ingress"], "limits its egress"),
        ("NetworkPolicy", "", "/spec/ingress/0/from", [], "lets everybody in"),
        ("NetworkPolicy", "", "/spec/ingress/0/ports/0/port", 8080, "8080 is none of the pods'"),
        ("HTTPRoute", "", "/spec/rules/0/backendRefs/1/name", "canary", "no Service canary"),
        ("HTTPRoute", "", "/spec/rules/0/backendRefs/1/port", 5001, "with port 5001"),
        ("HTTPRoute", "", "/spec/rules/0/backendRefs/1/weight", 20, "sum to 100, not 110"),
    ],
)
def test_resources_that_do_not_fit_are_refused(
    kind: str, name: str, path: str, value: Any, reason: str
) -> None:
    resources = overlay("canary")
    full = f"insurance-claims-{name}" if name else "insurance-claims"
    operation = {"op": "add", "path": path, "value": value}
    if path.rsplit("/", 1)[1].isdecimal():
        operation["op"] = "replace"
    apply(one(resources, kind, full), operation)
    assert reason in "; ".join(kubernetes.problems(resources))


def test_a_kind_that_kubernetes_does_not_have_is_refused() -> None:
    resources = overlay("staging")
    one(resources, "Deployment", "insurance-claims-stable")["apiVersion"] = "apps/v1beta1"
    assert "has no apps/v1beta1 Deployment" in "; ".join(kubernetes.problems(resources))


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("/apiVersion", "gateway.networking.k8s.io/v1alpha2", "apiVersion"),
        ("/spec/parentRef", [], "spec has no parentRef"),
        ("/spec/parentRefs", [{}], "do not name a gateway"),
        ("/spec/rules", [], "there are no rules"),
        ("/spec/rules/0/backendRef", [], "a rule has no backendRef"),
        ("/spec/rules/0/backendRefs/0/weigth", 1, "a backend has no weigth"),
        ("/spec/rules/0/backendRefs/0/weight", 90.0, "needs a weight that is a whole number"),
        ("/spec/rules/0/matches/0/path/type", "Prefix", "is no path"),
        ("/spec/rules/0/matches/0/methods", ["POST"], "a match has no methods"),
        ("/spec/rules/0/timeouts/request", "35 seconds", "is no duration"),
        ("/spec/rules/0/filters", [{"type": "RequestMirorr"}], "RequestMirorr is not known"),
        (
            "/spec/rules/0/filters",
            [
                {
                    "type": "RequestMirror",
                    "requestMirror": {
                        "backendRef": {"name": "insurance-claims-canary", "port": 80}
                    },
                }
            ],
            "cannot answer requests and get copies too",
        ),
    ],
)
def test_a_route_that_cannot_be_is_refused(path: str, value: Any, reason: str) -> None:
    route = one(overlay("canary"), "HTTPRoute", "insurance-claims")
    assert list(route_problems(route, SERVICES)) == []
    apply(route, {"op": "add", "path": path, "value": value})
    assert reason in "; ".join(route_problems(route, SERVICES))


def test_who_answers_in_which_overlay() -> None:
    routes = {name: one(overlay(name), "HTTPRoute", "insurance-claims") for name in OVERLAYS}
    stable, canary = "insurance-claims-stable", "insurance-claims-canary"
    assert {name: weights(route) for name, route in routes.items()} == {
        "staging": {stable: 100},
        "production": {stable: 100},
        "canary": {stable: 90, canary: 10},
        "shadow": {stable: 100},
    }
    [mirror] = routes["shadow"]["spec"]["rules"][0]["filters"]
    assert mirror["requestMirror"]["backendRef"]["name"] == canary


def test_stable_and_canary_serve_models_of_their_own() -> None:
    images = {
        item["metadata"]["name"]: item["spec"]["template"]["spec"]["containers"][0]["image"]
        for item in overlay("canary")
        if item["kind"] == "Deployment"
    }
    assert len(set(images.values())) == 2


def test_the_pods_fit_the_image() -> None:
    stage = dockerfile.last_stage(
        dockerfile.instructions(
            (ROOT / "environment_setup/images/scoring.Dockerfile").read_text(encoding="utf-8")
        )
    )
    text = {item.keyword: item.text for item in stage}
    words = dockerfile.command(text["CMD"])
    graceful = int(words[words.index("--graceful-timeout") + 1])
    pod = one(overlay("staging"), "Deployment", "insurance-claims-stable")["spec"]["template"][
        "spec"
    ]
    [server] = containers(overlay("staging"))
    user, group = map(int, text["USER"].split(":"))
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == (
        user,
        group,
    )
    assert [port["containerPort"] for port in server["ports"]] == [int(text["EXPOSE"])]
    waits = server["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > graceful + waits
    # A server that works on the longest request allowed is not dead.
    seconds = int(dockerfile.environment(stage)["SCORING_TIMEOUT_MS"]) / 1000
    assert server["livenessProbe"]["timeoutSeconds"] > seconds
    assert {mount["mountPath"] for mount in server["volumeMounts"]} == {
        dockerfile.environment(stage)["HOME"]
    }


def documented_patches() -> list[list[dict[str, Any]]]:
    """The patches of the route that the document tells people to apply."""
    text = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^kubectl .*patch httproute insurance-claims .*$", text, re.MULTILINE)
    commands = [shlex.split(line) for line in lines]
    return [yaml.safe_load(words[words.index("--patch") + 1]) for words in commands]


def test_the_documented_patches_move_the_weights() -> None:
    moved = []
    for operations in documented_patches():
        resources = overlay("canary")
        route = one(resources, "HTTPRoute", "insurance-claims")
        for operation in operations:
            apply(route, operation)
        assert kubernetes.problems(resources) == []
        moved.append(tuple(weights(route).values()))
    assert moved == [(50, 50), (100, 0)]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("nameSuffix:", "namePrefix:", "namePrefix is not known here"),
        ("../version", "../nowhere", "cannot be read"),
        ("includeSelectors: true", "includeSelectors: false", "labels without includeSelectors"),
        ("resources:\n", "resources: [\n", "cannot be read"),
    ],
)
def test_what_cannot_be_rendered_is_refused(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    shutil.copytree(MANIFESTS, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "stable" / FILE
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(KustomizeError, match=re.escape(reason)):
        render(tmp_path / "stable")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("name: insurance-claims-stable\n", "name: nobody\n", "nobody, which is not there"),
        ("path: /spec/minReplicas", "path: /spec/scale/min", "does not fit"),
        ("path: /spec/minReplicas", "path: /spec/minReplica", "does not fit"),
        ("op: replace", "op: test", "does not fit"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    shutil.copytree(MANIFESTS, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "overlays" / "staging" / FILE
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(KustomizeError, match=reason):
        render(file.parent)
