"""The documentation site is built from the folder docs, with every link checked, and asks no other site for
anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. A link that leads nowhere ends the build."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_every_document_has_a_page(site: Path) -> None:
    pages = {
        str(path.relative_to(ROOT / "docs").with_suffix(".html")) for path in (ROOT / "docs").rglob("*.md")
    }
    assert pages <= {str(path.relative_to(site)) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_no_page_asks_another_site(site: Path) -> None:
    asked = re.compile(r'<(?:script|img|iframe|link)[^>]*(?:src|href)="(https?://[^"]+)"')
    assert {address for page in site.rglob("*.html") for address in asked.findall(page.read_text())} == set()


@pytest.mark.slow
def test_the_code_of_the_example_plugin_is_shown(site: Path) -> None:
    page = (site / "plugins.html").read_text()
    for name in ("metric", "source", "scanner"):
        code = (ROOT / f"examples/plugin/src/freehold_example/{name}.py").read_text()
        definition = re.search(r"^(?:def|class) (\w+)", code, re.MULTILINE)
        assert definition is not None
        assert f">{definition[1]}<" in page, name
