"""What a step on a cluster is sent: every file that its arguments name, and nothing else."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from freehold.trial import cluster
from freehold.trial.arguments import Arguments, ModelArguments, ShrinkArguments, Subject
from freehold.trial.jobs import JOBS

#: Free texts that name no file of the step.
OTHER_TEXTS = {"place", "title", "device", "store"}


@pytest.mark.parametrize("arguments", [job.arguments for job in JOBS.values()], ids=list(JOBS))
def test_every_free_text_of_arguments_is_known_to_name_a_file_or_not(arguments: type[Arguments[Any]]) -> None:
    texts = {f.name for f in fields(arguments) if "free" in f.metadata and isinstance(f.default, str)}
    assert texts <= {*cluster.FILE_FIELDS, *OTHER_TEXTS}


def shrink(folder: Path) -> ShrinkArguments:
    """A step with weights, a task and a merged model."""
    for name in ("model.gguf", "task.json", "tuned/adapter/adapter_config.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    subject = Subject({}, None, "", "rev", "m", plain=False, weights=str(folder / "model.gguf"))
    source = str(folder / "tuned" / "merged-f16.gguf")
    return ShrinkArguments(subject, task=str(folder / "task.json"), tuned="t", types=("Q8_0",), source=source)


def test_weights_task_and_merged_model_are_sent(tmp_path: Path) -> None:
    arguments = shrink(tmp_path)
    Path(arguments.source).write_text("merged")
    inputs = cluster._inputs(arguments)
    assert {field: (list(each.files), each.name) for field, each in inputs.items()} == {
        "task": (["task.json"], "task.json"),
        "source": (["merged-f16.gguf"], "merged-f16.gguf"),
        "weights": (["model.gguf"], "model.gguf"),
    }


def test_the_adapter_is_sent_where_an_ended_run_removed_the_merged_model(tmp_path: Path) -> None:
    source = cluster._inputs(shrink(tmp_path))["source"]
    assert list(source.files) == ["adapter/adapter_config.json"]
    assert source.name == "merged-f16.gguf"


def test_a_folder_of_weights_is_sent_whole(tmp_path: Path) -> None:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "deep" / "weights.safetensors").write_text("w")
    each = cluster._input(tmp_path / "model")
    assert (sorted(each.files), each.name) == (["config.json", "deep/weights.safetensors"], "")


def test_arguments_get_the_paths_of_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "node"))
    arguments = shrink(tmp_path)
    request = cluster.StepRequest(
        "job",
        "shrink-1",
        "shrink",
        arguments,
        {},
        {"task": {}, "weights": {}},
        {"task": "task.json"},
        0.0,
        "engine 1",
    )
    there = cluster._with_paths(request)
    assert isinstance(there, ModelArguments)
    root = tmp_path / "node" / "cluster" / "job" / "folders"
    assert Path(there.task).is_relative_to(root)
    assert Path(there.task).name == "task.json"
    assert there.weights.is_relative_to(root)
    assert there.inputs() == arguments.inputs()


def test_a_node_without_the_trials_text_engine_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "node"))
    request = cluster.StepRequest("job", "shrink-1", "shrink", shrink(tmp_path), {}, {}, {}, 0.0, "engine 1")
    outcome = cluster.run_step(request)
    assert outcome.error is not None
    assert outcome.value is None
    assert "does not have the text engine that this trial uses (engine 1)" in outcome.error["message"]
