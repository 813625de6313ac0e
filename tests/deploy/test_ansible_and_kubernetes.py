"""The role and the manifests, as far as they lean on the rest of the tree; ``make deploy-check`` does the rest."""

from __future__ import annotations

import ipaddress
import re
import tomllib

import pytest
import yaml

from gcd.settings import load, variable


@pytest.fixture(scope="module")
def role(deploy):
    return deploy / "ansible" / "roles" / "gcd"


@pytest.fixture(scope="module")
def daemonset(deploy):
    return yaml.safe_load((deploy / "kubernetes" / "daemonset.yml").read_text())


@pytest.fixture
def settings_of(tmp_path, monkeypatch):
    def settings(text):
        (tmp_path / "gcd.toml").write_text(text)
        return load({}, directory=tmp_path).settings

    for key in ("root", "web.listen_address", "daemon.act", "scrub.every"):
        monkeypatch.delenv(variable(key), raising=False)
    return settings


def every_task(role):
    for path in sorted((role / "tasks").iterdir()):
        yield from yaml.safe_load(path.read_text())


def test_the_role_installs_the_units_that_there_are(role, deploy):
    copied = set()
    for task in every_task(role):
        source = task.get("ansible.builtin.copy", {}).get("src", "")
        if "gcd_units" in source:
            copied |= {source.replace("{{ item }}", item).rpartition("/")[2] for item in task.get("loop", [""])}

    assert copied == {
        path.name for path in (deploy / "systemd").iterdir() if path.suffix in {".service", ".timer", ".conf"}
    }


def test_the_role_installs_where_the_units_look(role, deploy):
    called = [task.get("ansible.builtin.command", {}).get("argv", [""])[0] for task in every_task(role)]
    places = {program.removesuffix("/bin/pip") for program in called if program.endswith("/pip")}
    started = re.findall(r"^ExecStart=(\S+)/bin/gcd", (deploy / "systemd" / "gcd.service").read_text(), re.MULTILINE)

    assert places == set(started) == {"/opt/gcd"}


@pytest.mark.parametrize("act", [True, False])
def test_the_settings_of_the_role_fit(role, settings_of, act):
    text = (role / "templates" / "gcd.toml.j2").read_text()
    said = {
        "ansible_managed": "x",
        "gcd_listen_address": ":9871",
        "gcd_act | bool | string | lower": str(act).lower(),
        "gcd_scrub_every": "0s",
    }
    for name, value in said.items():
        assert f"{{{{ {name} }}}}" in text
        text = text.replace(f"{{{{ {name} }}}}", value)

    assert settings_of(text).daemon.act is act
    assert not settings_of(text).scrub.every


def test_by_default_the_role_only_reports(role):
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())

    assert (defaults["gcd_act"], defaults["gcd_boot_guard"], defaults["gcd_policy"]) == (False, False, "")
    host, _, _ = defaults["gcd_listen_address"].rpartition(":")
    assert ipaddress.ip_address(host).is_loopback


def test_the_inventory_says_what_the_role_knows(role, deploy):
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())
    inventory = (deploy / "ansible" / "inventory.yml").read_text()
    policy = yaml.safe_load(inventory)["docker_hosts"]["children"]["canary"]["vars"]["gcd_policy"]

    assert set(re.findall(r"\bgcd_\w+", inventory)) <= defaults.keys()
    assert (deploy / "ansible" / policy).resolve().is_file()


def test_the_pods_only_read(daemonset):
    pod = daemonset["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    context = container["securityContext"]
    (root,) = [mount for mount in container["volumeMounts"] if mount["name"] == "root"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "root"]

    assert pod["hostPID"] is True
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["DAC_READ_SEARCH", "SYS_PTRACE"]}
    assert (context["privileged"], context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (
        False,
        False,
        True,
    )
    assert (root["readOnly"], root["mountPropagation"]) == (True, "HostToContainer")
    assert volume["hostPath"] == {"path": "/var/lib/docker", "type": "Directory"}
    assert not {"hostNetwork", "hostIPC"} & pod.keys()


def test_every_volume_is_mounted_and_every_mount_has_its_volume(daemonset):
    pod = daemonset["spec"]["template"]["spec"]

    assert [volume["name"] for volume in pod["volumes"]] == [m["name"] for m in pod["containers"][0]["volumeMounts"]]


def test_the_settings_of_the_pods_fit_the_manifest(deploy, daemonset, settings_of):
    text = (deploy / "kubernetes" / "gcd.toml").read_text()
    settings = settings_of(text)
    (container,) = daemonset["spec"]["template"]["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    (port,) = container["ports"]

    assert str(settings.root) == mounts["root"]
    assert str(settings.state_dir) == mounts["state"]
    assert settings.daemon.act is False
    assert tomllib.loads(text)["web"]["listen_address"] == f":{port['containerPort']}"
    annotations = daemonset["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(port["containerPort"])
    probes = {container[name]["httpGet"]["path"] for name in ("livenessProbe", "readinessProbe")}
    assert probes == {"/-/healthy", "/-/ready"}


def test_the_kustomization_names_every_manifest(deploy):
    folder = deploy / "kubernetes"
    text = (folder / "kustomization.yaml").read_text()
    kustomization = yaml.safe_load(text)
    offered = set(re.findall(r"^ *# - (\S+\.yml)$", text, re.MULTILINE))
    (generated,) = kustomization["configMapGenerator"]

    assert {*kustomization["resources"], *offered} == {path.name for path in folder.glob("*.yml")}
    assert generated["files"] == ["gcd.toml"]
    assert {image["name"] for image in kustomization["images"]} == {"gcd"}


def test_the_job_of_the_pods_is_the_one_that_the_alerts_are_about(deploy, daemonset):
    monitor = yaml.safe_load((deploy / "kubernetes" / "podmonitor.yml").read_text())
    labels = daemonset["spec"]["template"]["metadata"]["labels"]

    assert labels[monitor["spec"]["jobLabel"]] == "gcd"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == daemonset["spec"]["template"]["spec"]["containers"][0]["ports"][0]["name"]
