"""What is in deploy/ is what its tools accept, and asks Freehold for commands that exist.

No image is built here and no cluster is started: this is what can be checked without them.
"""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml  # noqa: TID251 (our own files; merged keys, which Freehold's reader refuses)
from compose_spec import PyCompose
from helm_python import Chart, lint
from typer.testing import CliRunner

from freehold.cli.main import app

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "freehold"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
KUBERNETES = "1.31"


def _options_exist(words: list[str]) -> None:
    """Fails where a verb or an option is not Freehold's."""
    verb = words[: 2 if words[0] == "hub" else 1]
    shown = CliRunner().invoke(app, [*verb, "--help"]).output
    assert "Usage:" in shown, verb
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in shown, word


def test_the_containerfile_passes_its_linter() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    result = subprocess.run([hadolint, DEPLOY / "Containerfile"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_container_runs_without_root_and_is_asked_for_its_health() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    assert re.search(r"^USER 10001", text, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*freehold-health", text, re.MULTILINE)
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        for name in [word for word in line.split()[:-1] if not word.startswith("--")]:
            assert (ROOT / name).exists(), name


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_follows_the_server(status: int, code: int) -> None:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = os.environ | {"FREEHOLD_PORT": str(server.server_port), "no_proxy": "*"}
        result = subprocess.run([sys.executable, DEPLOY / "health.py"], env=environment, check=False)
        server.shutdown()
    assert result.returncode == code


def test_the_compose_file_is_valid_and_its_commands_exist() -> None:
    # its parser knows no merged keys, so they are merged before
    whole = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = whole["services"]
    assert sorted(PyCompose.from_json(json.dumps(whole)).service_names()) == sorted(services)
    for name in ("hub", "server"):
        service = services[name]
        _options_exist(service["command"])
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    for service in services.values():
        for needed in service.get("depends_on", {}):
            assert needed in services


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_the_units_pass_systemds_check_and_are_hardened(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed here")
    text = unit.read_text()
    command = re.search(r"^ExecStart=/opt/freehold/bin/freehold (.*)$", text, re.MULTILINE)
    assert command
    _options_exist([word for word in command[1].split() if not word.startswith("$")])
    copy = tmp_path / unit.name  # with a program that is there
    copy.write_text(text.replace("/opt/freehold/bin/freehold", "/bin/true"))
    result = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    exposure = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=25", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert exposure.returncode == 0, exposure.stdout[-400:]


def _rendered(values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The manifests of the chart."""
    with Chart.load(CHART) as chart:
        files = chart.render(values or {}, name="mine")
    texts = [part for text in files.values() for part in text.split("\n---\n") if part.strip()]
    return [manifest for text in texts if (manifest := yaml.safe_load(text))]


def test_the_chart_passes_helms_linter() -> None:
    report = lint(str(CHART), strict=True)
    assert report["total_charts_linted"] == 1
    assert not report["errors"]
    assert not [message for message in report["messages"] if message["severity"] >= 2]


def test_the_charts_manifests_are_those_of_kubernetes() -> None:
    manifests = _rendered()
    assert sorted((m["kind"], m["metadata"]["name"]) for m in manifests) == sorted(
        (kind, f"mine-{name}")
        for kind in ("Deployment", "PersistentVolumeClaim", "Service")
        for name in ("hub", "server")
    )
    for manifest in manifests:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_the_charts_pods_have_no_rights_and_run_commands_that_exist() -> None:
    for manifest in (
        m for m in _rendered({"hub": {"allowHosts": ["hub.example.org"]}}) if m["kind"] == "Deployment"
    ):
        pod = manifest["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["readOnlyRootFilesystem"]
        _options_exist(pod["containers"][0]["args"])


def test_a_part_that_is_not_wanted_is_left_out() -> None:
    assert {m["metadata"]["name"] for m in _rendered({"hub": {"enabled": False}})} == {"mine-server"}


@pytest.mark.parametrize(
    "values",
    [{"hub": {"bucket": "freehold"}}, {"server": {"models": [{"name": "a", "source": "pypi:x; rm -r /"}]}}],
    ids=["no address of a bucket", "a source that is a command"],
)
def test_the_chart_refuses_wrong_values(values: dict[str, Any]) -> None:
    with Chart.load(CHART) as chart, pytest.raises(Exception, match="pattern"):
        chart.validate_schema(values)
