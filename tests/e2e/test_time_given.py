"""A trial shows its plan first, keeps to it, says what it left out, and goes on when it is given more
time."""

from __future__ import annotations

import csv
import json
import random
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import FREEHOLD
from tests.e2e.test_journey import fresh_home

pytestmark = pytest.mark.slow

AREAS = {
    "Rechnung": [
        "The invoice is wrong",
        "I was charged twice",
        "Please refund the fee",
        "The VAT is missing",
    ],
    "Zugang": ["I cannot sign in", "The reset link expired", "My code is not accepted", "I am locked out"],
    "Versand": ["The parcel is late", "The box is damaged", "Where is my order", "The address is wrong"],
    "Fehler": ["The export crashes", "The page stays blank", "The search finds nothing", "The app freezes"],
    "Wunsch": [
        "Please add dark mode",
        "A weekly summary would help",
        "Can you export to Excel",
        "Sort the list",
    ],
    "Kündigung": ["Please close my account", "End the contract", "Stop the plan", "Do not renew us"],
}


@pytest.fixture(scope="module")
def tickets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 support tickets as a German Excel saves them: semicolons, the Windows encoding, a subject and a
    body."""
    draw = random.Random(4)
    path = tmp_path_factory.mktemp("tickets") / "tickets.csv"
    with path.open("w", encoding="cp1252", newline="") as file:
        rows = csv.writer(file, delimiter=";", lineterminator="\r\n")
        rows.writerow(["ticket_id", "created", "subject", "body", "category"])
        for number in range(300):
            area = list(AREAS)[number % 6]
            words = " ".join(
                draw.choice(
                    [
                        "today",
                        "since",
                        "Monday",
                        "again",
                        "on",
                        "my",
                        "phone",
                        "at",
                        "work",
                        "with",
                        "Größe",
                        "€20",
                    ]
                )
                for _ in range(8)
            )
            body = f"{draw.choice(AREAS[area])}, {words}, case {draw.randint(100, 99999)}."
            date = f"2026-0{draw.randint(1, 9)}-{draw.randint(10, 28)}"
            rows.writerow(
                [f"T{10000 + number}", date, draw.choice(["Frage", "Hello", "Dringend"]), body, area]
            )
    return path


def trial(path: Path, environment: dict[str, str], *flags: str) -> subprocess.CompletedProcess[str]:
    command = [
        *FREEHOLD,
        "trial",
        str(path),
        "--model",
        "smollm2",
        "--need",
        "accuracy>=0.97",
        *flags,
        "--json",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_a_budget_too_small_for_anything_stops_before_it_measures(
    home: Path, tickets: Path, tmp_path: Path
) -> None:
    done = trial(tickets, fresh_home(home, tmp_path), "--budget", "2s")
    assert done.returncode == 9
    assert "2 s is too short for a result here" in done.stderr
    assert "pass --budget" in done.stderr
    assert "smollm2, zero-shot" not in done.stderr


@pytest.mark.parametrize(
    ("way", "said"), [("row", "1 row was left out for all models"), ("model", "smollm2 was left out")]
)
def test_a_row_too_long_for_a_model_is_left_out_or_the_model_is(
    home: Path, tickets: Path, tmp_path: Path, way: str, said: str
) -> None:
    long = tmp_path / "long.csv"
    body = " ".join(f"word{number}" for number in range(9000))
    long.write_bytes(tickets.read_bytes() + f"T1;2026-01-01;Frage;{body};Fehler\r\n".encode("cp1252"))
    done = trial(long, fresh_home(home, tmp_path), "--budget", "2s", "--too-long", way)
    assert done.returncode == 9
    assert said in done.stderr


@pytest.mark.minutes
def test_a_trial_shows_its_plan_first_and_goes_on_with_more_time(
    home: Path, tickets: Path, tmp_path: Path
) -> None:
    """Without tuning 210 rows are test rows.

    The first budget is little more than the least, so what this machine is like decides it.
    """
    environment, flags = fresh_home(home, tmp_path), ("--no-tune", "--safety", "none")
    refused = re.search(r"pass --budget (\d+)s", trial(tickets, environment, *flags, "--budget", "2s").stderr)
    assert refused
    budget = round(int(refused[1]) * 1.2)
    done = trial(tickets, environment, *flags, "--budget", f"{budget}s")
    assert done.returncode in (3, 4), done.stderr
    said = done.stderr
    assert 'cp1252, the Windows encoding of Western Europe ("' in said
    assert "separated by semicolons" in said
    assert '"subject" and "body" together' in said
    assert "not used: created" in said
    assert said.index("plan for") < said.index("smollm2, zero-shot  0 of")
    first = json.loads(done.stdout)
    assert "safety was not tested, as asked" in first["verdict"]["sentence"]
    assert not any("safety" in variant for variant in first["variants"])
    assert any("linear classifier" in one["title"] for one in first["baselines"])
    assert first["variants"][0]["rows"] >= 20

    steps = Path(environment["FREEHOLD_HOME"]) / "trials" / first["id"] / "steps"
    answers = {path: path.read_text() for path in steps.glob("measure-*/answers.jsonl")}
    assert answers
    second = json.loads(trial(tickets, environment, *flags, "--budget", f"{2 * budget}s").stdout)
    assert second["id"] == first["id"]
    for path, kept in answers.items():
        assert path.read_text().startswith(kept)
    rows = {variant["id"]: variant["rows"] for variant in second["variants"]}
    assert sum(rows.values()) > sum(variant["rows"] for variant in first["variants"])
    assert all(rows[variant["id"]] >= variant["rows"] for variant in first["variants"])
