"""``tune``, ``shrink`` and ``fit`` as a person types them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from freehold.inference.session import NO_FORM, open_session
from freehold.models.answer_form import of_model
from freehold.models.intake import made_here
from freehold.models.store import Store
from tests.conftest import FREEHOLD
from tests.layers import first_layers
from tests.servers.inference.serving import server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """A home of its own and 80 rows of two kinds."""
    folder = tmp_path_factory.mktemp("verbs")
    shutil.copytree(home, folder / "home")
    rows = [
        {"text": f"Please {verb} number {i} at once", "label": label}
        for i in range(40)
        for verb, label in (("refund", "money"), ("send", "post"))
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {**os.environ, "FREEHOLD_HOME": str(folder / "home")}, folder


def run(place: tuple[dict[str, str], Path], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FREEHOLD, *words], capture_output=True, text=True, check=False, env=place[0], cwd=place[1]
    )


TUNE = ("tune", "smollm2", "rows.jsonl", "--steps", "12", "--rank", "8", "--json")


@pytest.fixture(scope="module")
def unbroken(place: tuple[dict[str, str], Path]) -> subprocess.CompletedProcess[str]:
    """A tuning that nothing stopped; its model is "whole"."""
    done = run(place, *TUNE, "--as", "whole")
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.minutes
def test_a_killed_tuning_ends_as_an_unbroken_one(
    place: tuple[dict[str, str], Path], unbroken: subprocess.CompletedProcess[str]
) -> None:
    value = json.loads(unbroken.stdout)
    assert value["train_curve"][-1][1] < value["train_curve"][0][1]
    assert "memory: about" in unbroken.stderr
    for _ in range(2):
        process = subprocess.Popen(
            [*FREEHOLD, *TUNE, "--as", "broken"],
            env=place[0],
            cwd=place[1],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(7)
        process.send_signal(signal.SIGKILL)
        process.wait()
    again = run(place, *TUNE, "--as", "broken")
    assert json.loads(again.stdout)["digest"] == value["digest"]
    assert not any((place[1] / "home" / "tunings").iterdir())


@pytest.mark.minutes
@pytest.mark.usefixtures("unbroken")
def test_a_tuned_model_is_served_as_an_adapter_beside_its_base(place: tuple[dict[str, str], Path]) -> None:
    store = Store(place[1] / "home")
    base, tuned = store.find("smollm2"), store.find("whole")
    question = [{"role": "user", "content": "Please refund number 7 at once"}]

    def asked(address: str, name: str) -> str:
        body = {"model": name, "messages": question, "max_tokens": 3}
        return httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60).json()["choices"][0][
            "message"
        ]["content"]

    with server(place[1] / "home", "--adapter", "whole", "--states", "0B") as address:
        with ThreadPoolExecutor(8) as pool:  # both in the same steps
            found = list(pool.map(lambda name: asked(address, name), ["smollm2", "whole"] * 4))
        assert {one["id"] for one in httpx.get(f"{address}/v1/models").json()["data"]} == {"smollm2", "whole"}
    assert len(set(found[::2])) == len(set(found[1::2])) == 1
    for name, adapter in (("smollm2", None), ("whole", store.file(tuned, "adapter.lora"))):
        session = open_session(store, "smollm2", adapter=adapter)
        session.form = of_model(store, store.find(name)) or NO_FORM
        alone = session.answer((("user", question[0]["content"]),), max_tokens=3)
        session.close()
        assert alone.text == found[name == "whole"]
    assert found[0] != found[1]
    refused = run(place, "serve", "whole", "--adapter", "whole")
    assert (refused.returncode, "which is not served" in refused.stderr) == (8, True)
    assert base.digest != tuned.digest


@pytest.mark.minutes
def test_rows_with_a_rejected_answer_are_learnt_from_by_preference(
    place: tuple[dict[str, str], Path],
) -> None:
    rows = [
        {"prompt": f"May I pay {i} euros?", "chosen": "Yes, you may.", "rejected": "Go away."}
        for i in range(30)
    ]
    (place[1] / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run(place, "tune", "smollm2", "pairs.jsonl", "--steps", "6", "--as", "polite", "--json")
    assert done.returncode == 0, done.stderr
    assert "preference tuning (DPO)" in done.stderr
    value = json.loads(done.stdout)
    assert value["train_curve"][0][1] == pytest.approx(0.693, abs=0.01)
    assert value["valid_curve"][-1][1] < 0.693
    (place[1] / "mixed.jsonl").write_text(
        json.dumps({"prompt": "Hello?", "chosen": "Yes."}) + "\n" + (place[1] / "pairs.jsonl").read_text()
    )
    mixed = run(place, "tune", "smollm2", "mixed.jsonl", "--on-bad-row", "stop")
    assert mixed.returncode == 5
    assert 'mixed.jsonl, line 1, column "rejected": no value' in mixed.stderr


def test_a_limit_that_nothing_fits_is_refused_before_it_costs(place: tuple[dict[str, str], Path]) -> None:
    done = run(place, *TUNE, "--memory", "200MiB")
    assert done.returncode == 9
    assert "tuning needs at least" in done.stderr
    assert "raise --memory to" in done.stderr


def test_a_search_shows_what_it_tried(place: tuple[dict[str, str], Path]) -> None:
    short = run(place, *TUNE, "--search", "2s")
    assert short.returncode == 9
    assert "a search in 2 s would train" in short.stderr


@pytest.mark.minutes
def test_a_model_is_shrunk_and_answers(place: tuple[dict[str, str], Path]) -> None:
    (place[1] / "few.jsonl").write_text(
        "".join((place[1] / "rows.jsonl").read_text().splitlines(keepends=True)[:24])
    )
    store = Store(place[1] / "home")
    store.add(
        "short",
        made_here(
            {"short.gguf": first_layers(store.weights(store.find("smollm2")), place[1] / "short.gguf", 6)}
        ),
        {"source": "tests"},
    )
    done = run(
        place,
        "shrink",
        "short",
        "--bits",
        "5.5",
        "--time",
        "20s",
        "--data",
        "few.jsonl",
        "--as",
        "small",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    points = {point["name"]: point for point in json.loads(done.stdout)["points"]}
    assert set(points) == {"ours", "Q8_0", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K"}
    assert points["ours"]["bits_per_weight"] <= 5.5
    assert points["ours"]["loss"]["kl_mean"] > points["Q8_0"]["loss"]["kl_mean"] > 0
    assert "writing Q4_K_M" in done.stderr
    model = store.find("small")
    assert model.info.quantization == "mixed"
    assert model.info.size_bytes == points["ours"]["size_bytes"]
    assert run(place, "run", "small", "What is 2 plus 2?").returncode == 0


def test_too_few_bits_are_refused(place: tuple[dict[str, str], Path]) -> None:
    done = run(place, "shrink", "smollm2", "--memory", "100MiB", "--data", "rows.jsonl")
    assert done.returncode == 9
    assert "beside the weights" in done.stderr


@pytest.mark.minutes
def test_fit_says_what_runs_and_checks_itself(place: tuple[dict[str, str], Path]) -> None:
    done = run(place, "fit", "--memory", "4GiB", "--check", "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    verdicts = {(f["name"], f["kind"]): f["verdict"] for f in value["fits"]}
    assert verdicts["smollm2", "Q4_1"] == "ideal"
    assert verdicts["Llama-3.1-8B", "Q8_0"] == "won't fit"
    assert value["checked"][0]["measured_tokens_per_second"] > 0
    assert "measured here" in value["speeds"]
