"""How the source is built: short functions, short files, and dicts only where JSON is read or written."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "freehold"
MOST_LINES, MOST_PARAMETERS, MOST_FILE_LINES = 60, 10, 700
MOST_DICT_LINES = 80
#: The Python form of a verb, whose parameters are its options, as on the command line.
WIDE = {"api.py:certify"}
#: Files that may use a dict with values of any type, written out or as JsonObject: each reads or writes JSON,
#: a library's own dicts, or rows of others. A record of Freehold's own is a dataclass.
DICT_FILES = [
    "api.py",
    "cli/show.py",
    "cli/verify.py",
    "core/cpu_load.py",
    "core/json_types.py",
    "core/option.py",
    "costs/energy.py",
    "costs/money.py",
    "data/rendering.py",
    "data/table.py",
    "data/templates.py",
    "evaluation/boxed/peer.py",
    "evaluation/boxed/tests_process.py",
    "evaluation/boxed/values.py",
    "evaluation/metrics.py",
    "hub/commit_rows.py",
    "hub/commits.py",
    "hub/discussions.py",
    "hub/front_matter.py",
    "hub/rebuild.py",
    "hub/scans.py",
    "hub/search_index.py",
    "hub/variants.py",
    "inference/batch_engine.py",
    "inference/grammar.py",
    "inference/interface.py",
    "inference/llama_api.py",
    "models/answer_form.py",
    "models/archive.py",
    "models/figures.py",
    "models/file_checks.py",
    "models/formats/decoders.py",
    "models/formats/gguf.py",
    "models/formats/peft.py",
    "models/formats/rotary.py",
    "models/formats/safetensors.py",
    "models/info.py",
    "models/lineage.py",
    "models/manifests.py",
    "models/store.py",
    "models/unpacking.py",
    "quantization/conversion.py",
    "servers/hub/api_discussions.py",
    "servers/hub/app.py",
    "servers/hub/commit_body.py",
    "servers/hub/json_answers.py",
    "servers/hub/repository_info.py",
    "servers/hub/tree_entries.py",
    "servers/inference/api_anthropic.py",
    "servers/inference/api_ollama.py",
    "servers/inference/api_openai.py",
    "servers/inference/api_responses.py",
    "servers/inference/chat_request.py",
    "servers/inference/fields.py",
    "servers/inference/openai_requests.py",
    "servers/inference/replicas.py",
    "servers/inference/responses_answers.py",
    "servers/inference/tool_calls.py",
    "sources/source.py",
    "training/library_backend.py",
    "trial/against_rival.py",
    "trial/arguments.py",
    "trial/charts.py",
    "trial/cluster.py",
    "trial/costs.py",
    "trial/evidence.py",
    "trial/jobs.py",
    "trial/json_form.py",
    "trial/options.py",
    "trial/planner.py",
    "trial/report.py",
    "trial/report_record.py",
    "trial/requirements.py",
    "trial/results.py",
    "trial/rival_dialect.py",
    "trial/rival_variant.py",
    "trial/run.py",
    "trial/served_check.py",
    "trial/steps.py",
    "trial/task.py",
    "trial/tuning.py",
    "trial/tuning_jobs.py",
    "trial/variant.py",
    "trial/waits.py",
    "trust/certificate.py",
    "trust/envelope.py",
    "trust/policy_file.py",
    "trust/provenance.py",
    "workflows/certify.py",
    "workflows/model_card.py",
    "workflows/rent.py",
]
_DICT = re.compile(r"dict\[str, Any\]|\bJsonObject\b")
#: A file that the documentation names: ``options.py`` or ``trial/options.py``.
_NAMED_FILE = re.compile(r"`((?:[\w-]+/)*[\w-]+\.(?:py|yaml|css|html))`")


def sources() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function but those of the command line, whose parameters are its options."""
    for path in sources():
        if path.parent.name == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(SOURCE)}:{node.name}", node


def test_no_function_is_longer_than_a_screen() -> None:
    lengths = {name: (node.end_lineno or node.lineno) - node.lineno + 1 for name, node in functions()}
    assert not {name: count for name, count in lengths.items() if count > MOST_LINES}


def test_no_function_takes_more_than_ten_parameters() -> None:
    counts = {
        name: len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs)
        for name, node in functions()
    }
    assert not {name: count for name, count in counts.items() if count > MOST_PARAMETERS and name not in WIDE}


def test_no_file_is_over_700_lines() -> None:
    counts = {str(path.relative_to(SOURCE)): path.read_text().count("\n") for path in sources()}
    assert not {name: count for name, count in counts.items() if count > MOST_FILE_LINES}


def test_dicts_of_any_value_are_few() -> None:
    assert sum(path.read_text().count("dict[str, Any]") for path in sources()) < MOST_DICT_LINES


def test_dicts_of_any_value_are_at_json_edges_only() -> None:
    users = {str(path.relative_to(SOURCE)) for path in sources() if _DICT.search(path.read_text())}
    assert users - set(DICT_FILES) == set()


def test_no_line_escapes_the_formatter() -> None:
    mark = "# fmt: " + "skip"
    for folder in ("src", "tests", "benchmarks", "examples", "docs"):
        for path in (ROOT / folder).rglob("*.py"):
            assert mark not in path.read_text(), path


def test_every_file_that_the_documentation_names_exists() -> None:
    folders = [ROOT / name for name in ("src", "tests", "benchmarks", "examples", "docs")]
    files = [str(path) for folder in folders for path in folder.rglob("*.*")]
    for document in sorted((ROOT / "docs").glob("*.md")):
        if document.name == "log.md":  # it tells of files as they were then
            continue
        for name in _NAMED_FILE.findall(document.read_text()):
            assert any(path.endswith(f"/{name}") for path in files) or name in EXAMPLES, (document.name, name)


#: Names of users' own files in the documentation.
EXAMPLES = {"llguidance.py", "task.yaml", "policy.yaml", "path.py", "cli/X.py", "workflows/X.py"}
