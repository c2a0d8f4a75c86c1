"""What other programs use of the processor, beside real ones; a container's files are written by the
tests.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from freehold.core import cpu_load, settings
from freehold.core.cpu_load import Load, System

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counted on Linux only")


@contextmanager
def spinning(count: int = 1) -> Iterator[None]:
    """Other programs that use a processor each; they are not children of this process."""
    spin = "subprocess.Popen([sys.executable, '-c', 'while True: pass'], stdin=N, stdout=N, stderr=N)"
    code = f"import subprocess, sys; N = subprocess.DEVNULL; print({spin}.pid)"
    pids = [
        int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(count)
    ]
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, 9)


def test_another_program_is_noticed() -> None:
    with spinning(), cpu_load.others() as busy:
        time.sleep(0.8)
    assert busy.share is not None
    assert busy.share > 0.7 / busy.cores
    assert not busy.quiet
    assert busy.own < 0.3


def test_own_work_is_not_another_program_s() -> None:
    command = [sys.executable, "-c", "while True: pass"]
    children = [subprocess.Popen(command) for _ in range(int(cpu_load.System().cores))]
    try:
        time.sleep(0.3)
        with cpu_load.others() as busy:
            time.sleep(0.8)
    finally:
        for child in children:
            child.kill()
            child.wait()
    # all processors are used by these and by others, each of them counted once
    assert busy.own > 0.2
    assert busy.share is not None
    assert busy.share + busy.own / busy.cores == pytest.approx(1.0, abs=0.2)


def test_work_of_living_and_ended_children_is_own() -> None:
    command = [
        sys.executable,
        "-c",
        "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass",
    ]
    with cpu_load.others() as ended:
        subprocess.run(command, check=True)
    assert ended.own * ended.seconds > 0.4
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before = psutil.Process(child.pid).cpu_times()
        with cpu_load.others() as living:
            time.sleep(1.0)
        after = psutil.Process(child.pid).cpu_times()
        assert living.own * living.seconds == pytest.approx(after.user - before.user, abs=0.15)
        assert after.user > before.user
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize(
    ("busy", "sentence"),
    [
        (Load(1, 2, 0.62, 0.0, 0.0), "another program used 62% of the processor while waits were measured"),
        (
            Load(1, 2, 0.0, 0.3, 0.0),
            "the host of this virtual machine took 30% of the processor's time while waits were measured",
        ),
        (Load(1, 2, 0.02, 0.01, 0.0), ""),
        (
            Load(1, 2),
            "whether other programs used the processor while waits were measured is unknown on this system",
        ),
    ],
)
def test_it_is_said_in_a_sentence(busy: Load, sentence: str) -> None:
    assert busy.sentence("while waits were measured") == sentence
    assert busy.quiet == (sentence == "" or "unknown" in sentence)


def test_a_limit_used_up_by_others_is_no_quiet_but_an_own_use_of_it_is() -> None:
    assert not Load(1, 2, 0.0, 0.0, held=0.4, own=0.8).quiet
    assert Load(1, 2, 0.0, 0.0, held=0.4, own=2.0).quiet


def test_cores_that_others_leave_are_counted_whole() -> None:
    assert Load(1, 2, 0.5, 0.0).free_cores == 1
    assert Load(1, 2, 0.03, 0.0).free_cores == 2
    assert Load(1, 8, 0.5, 0.0).free_cores == 4
    assert Load(1, 2, 1.0, 0.0).free_cores == 1
    assert Load(1, 4).free_cores == 4


class Kernel:
    """The files of a kernel, written by a test."""

    def __init__(self, folder: Path, cgroup: str):
        self.system = System(folder / "proc", folder / "cgroup")
        (folder / "proc" / "self").mkdir(parents=True)
        (folder / "proc" / "self" / "cgroup").write_text(cgroup)
        self.stat(0, 0)

    def stat(self, busy_s: float, steal_s: float) -> None:
        """Each processor that this process may use has been busy for so many seconds."""
        tick = os.sysconf("SC_CLK_TCK")
        lines = ["cpu  1 2 3 4"]
        for number in self.system.processors:
            lines.append(f"cpu{number} {int(busy_s * tick)} 0 0 900 5 0 0 {int(steal_s * tick)} 0 0")
        (self.system.proc / "stat").write_text("\n".join(lines) + "\n")

    def group(self, path: str, **files: str) -> None:
        folder = self.system.groups / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(text)


@pytest.mark.parametrize(
    ("cgroup", "path", "files"),
    [
        ("0::/box/inner\n", "box", {"cpu__max": "50000 100000\n"}),
        ("0::/\n", "", {"cpu__max": "50000 100000\n"}),
        (
            "4:memory:/a\n3:cpu,cpuacct:/b\n",
            "cpu,cpuacct/b",
            {"cpu.cfs_quota_us": "50000\n", "cpu.cfs_period_us": "100000\n"},
        ),
    ],
)
def test_a_container_s_limit_is_what_may_be_used(
    tmp_path: Path, cgroup: str, path: str, files: dict[str, str]
) -> None:
    kernel = Kernel(tmp_path, cgroup)
    assert kernel.system.cores == len(kernel.system.processors)
    kernel.group(path, **files)
    assert kernel.system.cores == 0.5


def test_no_limit_is_all_processors(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "0::/\n")
    kernel.group("", cpu__max="max 100000\n")
    assert kernel.system.cores == len(kernel.system.processors)


def test_programs_on_processors_that_a_limit_keeps_away_do_not_disturb(tmp_path: Path) -> None:
    processors = len(System().processors)
    if processors < 2:
        pytest.skip("needs two processors")
    kernel = Kernel(tmp_path, "0::/\n")
    kernel.group("", cpu__max="100000 100000\n")
    with cpu_load.others(kernel.system) as beside:
        time.sleep(0.5)
        kernel.stat(0.5 * (processors - 1) / processors - 0.02, 0.0)
    assert beside.share is not None
    assert beside.share < 0.1
    with cpu_load.others(kernel.system) as over:
        time.sleep(0.5)
        kernel.stat(2 * 0.5, 0.0)
    assert over.share is not None
    assert over.share > 0.5


def test_time_taken_by_the_host_and_stops_by_a_limit_are_counted(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "0::/\n")
    kernel.group("", cpu__max="max 100000\n", cpu__stat="nr_throttled 1\nthrottled_usec 1000\n")
    with cpu_load.others(kernel.system) as span:
        time.sleep(0.5)
        kernel.stat(0.0, 0.25)
        kernel.group("", cpu__stat="nr_throttled 9\nthrottled_usec 251000\n")
    assert span.steal == pytest.approx(0.5, abs=0.1)
    assert span.held == pytest.approx(0.5, abs=0.1)
    assert not span.quiet


def test_a_system_that_tells_nothing_is_unknown_and_not_blamed(tmp_path: Path) -> None:
    with cpu_load.others(System(tmp_path, tmp_path)) as span:
        pass
    assert not span.known
    assert span.quiet
    assert span.as_dict()["share"] is None


def test_waiting_for_quiet_ends_in_time_and_tells_what_it_saw() -> None:
    said: list[Load] = []
    with spinning(os.cpu_count() or 1):
        started = time.monotonic()
        last = cpu_load.wait_until_quiet(1.0, said.append)
        assert 0.9 < time.monotonic() - started < 2.5
    assert not last.quiet
    assert said


def test_spans_count_by_their_seconds() -> None:
    whole = cpu_load.together([Load(3, 2, 0.0, 0.0, 0.0, 1.0), Load(1, 2, 0.8, 0.0, 0.0, 2.0)])
    assert whole.seconds == 4
    assert whole.share == pytest.approx(0.2)
    assert whole.own == pytest.approx(1.25)
    assert not cpu_load.together([Load(1, 2)]).known


def test_threads_that_wait_leave_the_processor_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    settings.share_processors()
    assert os.environ["GOMP_SPINCOUNT"] == settings.SPINS
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    settings.share_processors()
    assert os.environ["GOMP_SPINCOUNT"] == "7"


def test_how_a_person_wants_threads_to_wait_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    settings.share_processors()
    assert "GOMP_SPINCOUNT" not in os.environ
