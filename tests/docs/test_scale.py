"""The tables of docs/scale.md are what its script computes."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_holds_the_tables_that_the_script_computes() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks" / "scale.py"))
    page = (ROOT / "docs" / "scale.md").read_text()
    assert f"{script['BEGIN']}\n{script['text']()}\n{script['END']}" in page


def test_every_measured_constant_stands_where_it_says() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks" / "scale.py"))
    log, cards = ((ROOT / "docs" / name).read_text() for name in ("log.md", "devices.md"))
    figures = {
        "SPEED_32": ("299.6", log),
        "SPEED_SHARED": ("150.9", log),
        "ALONE": ("110.9", log),
        "DISK": ("2.84 GB", log),
        "SEARCH_P99": ("41.3", log),
        "COMMITS": ("2,508 commits", log),
        "CARD_SPEED": ("55,247", cards),
    }
    for name, (written, page) in figures.items():
        assert name in script
        assert written in page
