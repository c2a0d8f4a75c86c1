"""Every source module with logic has a test module: of its own name, or named here.

``tests/ROOM/test_X.py`` is the test module of ``src/freehold/ROOM/X.py``. Where a test module is about what
several modules do together, :data:`TOGETHER` names them. A new module without either fails here.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.cli.test_faults import WORDS

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "freehold"

#: Test module -> the source modules that it is about, besides the one of its own name.
TOGETHER: dict[str, tuple[str, ...]] = {
    "cli/test_faults.py": ("cli/main.py", "cli/output.py"),
    "cli/test_help.py": ("cli/verbs.py",),
    "cli/test_needs.py": ("cli/options.py",),
    "cli/test_usage.py": ("costs/usage.py",),
    "core/statistics/test_means.py": ("core/statistics/bounded.py", "core/statistics/interval.py"),
    "core/statistics/test_pairs.py": ("core/statistics/multiple.py",),
    "core/statistics/test_power.py": ("core/statistics/looks.py", "core/statistics/quantiles.py"),
    "core/test_option.py": (
        "data/row_settings.py",
        "trial/settings.py",
        "workflows/quantize_settings.py",
        "workflows/tune_settings.py",
    ),
    "data/test_bombs.py": ("data/bounds.py",),
    "data/test_columns.py": ("data/guess.py", "data/names.py", "data/profile.py"),
    "data/test_duplicates.py": (
        "data/alike.py",
        "data/alphabets.py",
        "data/candidates.py",
        "data/small_words.py",
        "data/words.py",
    ),
    "data/test_examples.py": ("data/reading.py", "data/shapes.py", "data/values.py"),
    "data/test_front_door.py": (
        "data/choices.py",
        "data/exports.py",
        "data/fasttext.py",
        "data/label_columns.py",
        "data/messages.py",
    ),
    "data/test_groups.py": ("data/belonging.py",),
    "data/test_readers.py": (
        "data/columnar.py",
        "data/delimited.py",
        "data/draft.py",
        "data/encodings.py",
        "data/json_rows.py",
        "data/queries.py",
    ),
    "docs/test_python_api.py": ("api.py",),
    "e2e/test_api_clients.py": (
        "servers/inference/api_anthropic.py",
        "servers/inference/api_ollama.py",
        "servers/inference/api_openai.py",
    ),
    "e2e/test_chat_page.py": ("servers/inference/pages.py",),
    "e2e/test_hub_pages.py": ("servers/hub/pages_lists.py",),
    "e2e/test_responses.py": ("servers/inference/api_responses.py",),
    "evaluation/test_adversarial.py": ("evaluation/task_kinds.py",),
    "evaluation/test_reading.py": ("evaluation/answer_reading.py",),
    "evaluation/test_sandbox.py": (
        "evaluation/boxed/answer_process.py",
        "evaluation/boxed/limits.py",
        "evaluation/boxed/peer.py",
        "evaluation/boxed/tests_process.py",
    ),
    "hub/test_damaged.py": ("hub/damage.py",),
    "hub/test_hostile_hubs.py": ("core/net.py", "hub/client.py"),
    "hub/test_rebuild.py": ("models/catalogue.py", "models/integrity.py", "models/manifests.py"),
    "hub/test_repositories.py": (
        "hub/commit_rows.py",
        "hub/commits.py",
        "hub/reachability.py",
        "hub/repository_checks.py",
        "hub/users.py",
    ),
    "hub/test_search_index.py": ("hub/search_table.py",),
    "hub/test_storage_backends.py": ("hub/blob_store.py",),
    "inference/test_batch_engine.py": ("inference/running.py", "inference/sequence_memory.py"),
    "inference/test_engines.py": ("inference/llama.py", "inference/transformers_engine.py"),
    "inference/test_isolation.py": ("inference/request.py",),
    "inference/test_llama_engine.py": ("inference/observe.py",),
    "inference/test_shortest.py": ("inference/shortest_tokens.py",),
    "models/test_archive.py": ("models/unpacking.py", "workflows/restore.py"),
    "models/test_file_checks.py": (
        "inference/load_check.py",
        "models/formats/architectures.py",
        "models/formats/peft.py",
        "sources/bases.py",
        "sources/fetch.py",
        "sources/split_gguf.py",
    ),
    "models/test_headers.py": ("models/formats/safetensors.py", "models/info.py"),
    "models/test_store.py": ("models/intake.py", "sources/file.py", "sources/ollama.py", "sources/pypi.py"),
    "e2e/test_served.py": ("models/archive_runtime.py",),
    "quantization/test_allocation.py": ("quantization/sensitivity.py",),
    "quantization/test_conversion.py": ("models/formats/decoders.py", "quantization/converter_process.py"),
    "quantization/test_rounding.py": ("inference/ggml.py", "quantization/gptq.py"),
    "runtime/test_gguf_form.py": ("inference/loading.py", "runtime/loading.py"),
    "servers/hub/test_awkward_requests.py": ("servers/hub/json_answers.py",),
    "servers/hub/test_discussions.py": ("hub/discussions.py", "servers/hub/api_discussions.py"),
    "servers/hub/test_limits.py": ("servers/hub/lfs_parts.py",),
    "servers/hub/test_lineage_picture.py": ("servers/hub/lineage_graph.py",),
    "servers/hub/test_pages.py": (
        "servers/hub/api_access.py",
        "servers/hub/differences.py",
        "servers/hub/page_templates.py",
        "servers/hub/pages_files.py",
        "servers/hub/pages_repository.py",
    ),
    "servers/hub/test_protocol.py": (
        "servers/hub/api_commits.py",
        "servers/hub/api_error.py",
        "servers/hub/api_lfs.py",
        "servers/hub/api_repositories.py",
        "servers/hub/middleware.py",
        "servers/hub/session.py",
    ),
    "servers/hub/test_repository_info.py": ("servers/hub/api_info.py",),
    "servers/hub/test_rights.py": (
        "servers/hub/api_files.py",
        "servers/hub/api_history.py",
        "servers/hub/api_refs.py",
        "servers/hub/api_trees.py",
        "servers/hub/tree_entries.py",
    ),
    "servers/hub/test_variants.py": ("hub/variants.py",),
    "servers/hub/test_xet_rights.py": ("servers/hub/api_xet.py",),
    "servers/inference/test_answer_form.py": ("inference/prompt_encoder.py",),
    "servers/inference/test_documents.py": (
        "inference/embeddings.py",
        "servers/inference/api_documents.py",
        "servers/inference/api_embeddings.py",
        "servers/inference/documents/passages.py",
        "servers/inference/documents/store.py",
    ),
    "servers/inference/test_grammars.py": (
        "inference/grammar.py",
        "inference/grammar_process.py",
        "servers/inference/grammar_compiler.py",
    ),
    "servers/inference/test_metrics.py": ("servers/inference/engine_metrics.py",),
    "servers/inference/test_pdf.py": ("servers/inference/documents/pdf.py",),
    "servers/inference/test_permission.py": ("servers/inference/access.py",),
    "servers/inference/test_service.py": (
        "servers/inference/api_errors.py",
        "servers/inference/api_keys.py",
        "servers/inference/tool_calls.py",
    ),
    "servers/inference/test_supervision.py": ("servers/inference/api_health.py",),
    "servers/web/test_answers.py": ("servers/web/gate.py",),
    "servers/web/test_connections.py": ("servers/listening.py",),
    "servers/web/test_origins.py": ("servers/web/site.py",),
    "sources/test_hf_source.py": ("sources/hf.py",),
    "sources/test_known.py": ("sources/packages.py",),
    "training/test_device.py": ("core/device.py", "training/packed_batches.py"),
    "training/test_families.py": ("models/formats/families.py", "models/formats/rotary.py"),
    "training/test_library_backend.py": ("training/backends.py",),
    "training/test_loop.py": ("training/adapter.py",),
    "training/test_lora.py": ("training/activations.py", "training/frozen_weights.py"),
    "training/test_options.py": ("training/weights.py",),
    "training/test_run.py": ("training/recipe_search.py",),
    "trial/test_leaks.py": ("trial/ceiling.py", "trial/sections.py"),
    "trial/test_main_job.py": ("trial/options.py", "trial/run.py", "trial/summary.py", "trial/timing.py"),
    "trial/test_report.py": ("trial/report_record.py", "trial/report_schema.py"),
    "trial/test_rival.py": ("trial/rival_client.py", "trial/rival_dialect.py"),
    "trial/test_steps.py": ("trial/worker.py",),
    "trial/test_tiny_trial.py": (
        "quantization/mix.py",
        "quantization/quantize.py",
        "training/tuned_files.py",
        "trial/jobs.py",
        "trial/prepare.py",
        "trial/tuning.py",
    ),
    "trial/test_verdict.py": ("trial/results.py", "trial/variant.py"),
    "trust/test_certificate_binds.py": ("trust/certificate.py", "trust/envelope.py"),
    "trust/test_grades.py": ("trust/hazards.py",),
    "trust/test_hub_scans.py": ("hub/commit_check.py", "hub/scans.py"),
    "trust/test_keys_revoked.py": ("trust/key_files.py",),
    "trust/test_licence.py": ("trust/obligations.py",),
    "trust/test_licence_pairs.py": ("trust/licence_compatibility.py", "trust/licence_expression.py"),
    "trust/test_personal.py": (
        "trust/personal_names.py",
        "trust/personal_numbers.py",
        "trust/personal_rules.py",
        "trust/personal_words.py",
    ),
    "trust/test_policy.py": ("trust/bom.py", "trust/policy_file.py"),
    "trust/test_privacy.py": (
        "trust/distinct.py",
        "trust/extraction.py",
        "trust/membership.py",
        "trust/probing.py",
        "workflows/privacy.py",
    ),
    "trust/test_refusals.py": ("trust/evaluator.py",),
    "trust/test_scanners.py": ("trust/finding.py",),
    "trust/test_signature.py": ("trust/keys.py",),
    "workflows/test_certify_safety.py": ("workflows/certify.py",),
    "workflows/test_export_paths.py": ("workflows/export.py",),
    "workflows/test_find.py": ("trial/evidence.py",),
    "workflows/test_guards.py": ("workflows/pull.py", "workflows/push.py"),
}

#: Modules without logic of their own, and why.
NO_LOGIC: dict[str, str] = {
    "cli/listening.py": "options that serve and hub serve share",
    "cli/permission.py": "options that several verbs share",
    "core/json_types.py": "the type of JSON",
    "data/plan.py": "types that guess and reading exchange",
    "data/table.py": "types that the readers make",
    "inference/engine_options.py": "a record of options",
    "inference/session.py": "opens an engine with a model's template; its parts are tested",
    "servers/hub/app.py": "lists the routers",
    "servers/hub/state.py": "holds the parts of a hub, which are tested",
    "servers/inference/app.py": "lists the routers; test_permission.py has a table of every route",
    "servers/inference/dependencies.py": "hands the service to the routes",
    "servers/inference/options.py": "a record of options",
    "sources/hub.py": "asks the hub's client, which is tested",
}


def modules() -> list[str]:
    return sorted(
        path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if path.name != "__init__.py"
    )


def name_of_tests(module: str) -> str:
    """Where the tests of a source module are by its name."""
    return str(Path(module).parent / f"test_{Path(module).stem}.py")


COVERED = {module for several in TOGETHER.values() for module in several}
#: A verb's module parses, calls and prints: the tests of every verb are made from a table of all of them.
VERBS = {f"cli/{words.split()[0]}.py" for words in WORDS}


def exists(test_module: str) -> bool:
    return (ROOT / "tests" / test_module).exists()


@pytest.mark.parametrize("module", modules())
def test_a_module_has_a_test_module(module: str) -> None:
    own = exists(name_of_tests(module))
    assert own or module in COVERED | VERBS | NO_LOGIC.keys(), (
        f"write tests/{name_of_tests(module)}, or name its test module in tests/test_modules.py"
    )


@pytest.mark.parametrize("test_module", sorted(TOGETHER))
def test_a_test_module_that_is_named_is_there_and_tests_something(test_module: str) -> None:
    if not exists(test_module):
        assert not any((SOURCE / module).exists() for module in TOGETHER[test_module]), test_module
        return
    tree = ast.parse((ROOT / "tests" / test_module).read_text())
    assert any(isinstance(node, ast.FunctionDef) and node.name.startswith("test_") for node in tree.body)


def test_every_module_is_in_one_table_at_most() -> None:
    listed = [module for several in TOGETHER.values() for module in several]
    assert sorted(listed) == sorted(set(listed))
    assert not COVERED & NO_LOGIC.keys()
    assert all(NO_LOGIC.values())
