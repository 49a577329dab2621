"""The files for Kubernetes: what can be held without a cluster, and against our own command line.

The RayCluster was held against the schema of KubeRay's own definition (its `ray.io_rayclusters`,
v1) when it was written.
"""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "cluster"


@pytest.fixture(scope="module")
def manifests():
    found = yaml.safe_load_all((FOLDER / "raycluster.yaml").read_text())
    return {each["kind"]: each for each in found}


@pytest.fixture(scope="module")
def pods(manifests):
    """Specification of each pod of the cluster, by what it is."""
    spec = manifests["RayCluster"]["spec"]
    workers = {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    groups = {"head": spec["headGroupSpec"], **workers}
    return {name: group["template"]["spec"] for name, group in groups.items()}


def container(spec):
    (only,) = spec["containers"]
    return only


def job(manifests):
    return manifests["CronJob"]["spec"]["jobTemplate"]["spec"]


def test_the_cluster_has_the_ray_of_the_lock(manifests):
    spec = manifests["RayCluster"]["spec"]
    assert manifests["RayCluster"]["apiVersion"] == "ray.io/v1"
    assert f"ray=={spec['rayVersion']}" in (ROOT / "requirements.lock").read_text().split()
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_all_pods_have_one_image_one_environment_and_room(manifests, pods):
    run = job(manifests)["template"]["spec"]
    images = {container(spec)["image"] for spec in (*pods.values(), run)}
    assert len(images) == 1
    for spec in pods.values():
        mounted = {mount["name"] for mount in container(spec)["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}
        assert container(spec)["resources"]["requests"].keys() == {"cpu", "memory"}
        named = [next(iter(each.values()))["name"] for each in container(spec)["envFrom"]]
        assert named == ["shotboard", "shotboard-store"]
    assert manifests["ConfigMap"]["metadata"]["name"] == "shotboard"
    assert all(isinstance(value, str) for value in manifests["ConfigMap"]["data"].values())


def test_ray_has_a_token_and_no_secret_stands_in_the_file(manifests):
    cluster = manifests["RayCluster"]
    assert cluster["spec"]["authOptions"] == {"mode": "token"}
    env = {each["name"]: each for each in container(job(manifests)["template"]["spec"])["env"]}
    # KubeRay makes a Secret that is called as the cluster is.
    secret = {"name": cluster["metadata"]["name"], "key": "auth_token"}
    assert env["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"] == secret
    assert env["RAY_AUTH_MODE"]["value"] == "token"
    assert not [name for name in manifests["ConfigMap"]["data"] if "SECRET" in name]


def test_the_nightly_is_a_command_of_ours_one_at_a_time(manifests, shotboard_help):
    spec = manifests["CronJob"]["spec"]
    asked = container(job(manifests)["template"]["spec"])
    assert asked["command"] == ["ray", "job", "submit"]
    address, dashes, *words = asked["args"]
    head = f"{manifests['RayCluster']['metadata']['name']}-head-svc"  # as KubeRay calls it
    assert (address, dashes) == (f"--address=http://{head}:8265", "--")
    assert words[:3] == ["shotboard", "run", "nightly"]
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert options <= set(re.findall(r"--[a-z-]+", shotboard_help))
    assert spec["concurrencyPolicy"] == "Forbid"
    assert job(manifests)["template"]["spec"]["restartPolicy"] == "Never"


def test_the_image_is_built_of_files_that_are_there():
    text = (FOLDER / "Dockerfile").read_text()
    copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY")]
    assert copied
    assert all((ROOT / path).exists() for paths in copied for path in paths)
    assert "USER ray" in text
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().split()
    assert {".git", ".venv", ".shotboard"} <= set(ignored)


@pytest.fixture(scope="module")
def shotboard_help():
    from typer.testing import CliRunner

    from flows.cli.app import app

    return CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200"}).stdout
