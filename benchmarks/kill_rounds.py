"""Kill every verb that writes, at drawn points of its work, run it again, and see that nothing is lost or
done twice.

Run: python benchmarks/kill_rounds.py [--rounds 1000] [--jobs 2] [--only pull,archive] [--seed 0]

A point of work is a call that changes the disk: a write, a sync, a rename, a removal (fault_points.c counts
them). First each task runs undisturbed, which gives the number of its points and the state it ends in. Then
each round draws a task, a point and a fault: the whole process group is killed there, in the midst of the
write if it is one; or the disk is full from there on; or it is killed while a second process runs the same
task; or it is killed and the clock stands a day earlier afterwards. Then the same commands are run again, and
must end in the same state, with no file left over.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
#: Faults, and how often each is drawn.
FAULTS = {"kill": 6, "full": 3, "twin": 2, "clock": 1}
_KILL, _FULL = 1, 2
_DAY_S = 86_400
#: No command here takes so long; a hang is a fault of its own.
_HANG_S = 240.0
_FOLDER_BYTES = 4056


class Points:
    """The control page that all processes of a round share; see fault_points.c."""

    def __init__(self, path: Path):
        with path.open("r+b") as file:
            self.page = mmap.mmap(file.fileno(), 0)

    @staticmethod
    def make(path: Path) -> None:
        """Write an empty control page."""
        path.write_bytes(bytes(32 + _FOLDER_BYTES))

    def set(self, folder: Path | str = "", *, at: int = 0, action: int = 0, clock_s: int = 0) -> None:
        """Count from now on below ``folder``; ``action`` happens at the call ``at``."""
        name = os.fsencode(folder).ljust(_FOLDER_BYTES, b"\0")
        self.page[:] = struct.pack("<QQIIq", 0, at, action, 0, clock_s) + name

    @property
    def count(self) -> int:
        """Calls so far."""
        return struct.unpack_from("<Q", self.page, 0)[0]

    @property
    def happened(self) -> bool:
        """Whether the fault came."""
        return bool(struct.unpack_from("<I", self.page, 20)[0])


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: the signal) and what it printed."""

    code: int
    out: str
    err: str


class Child:
    """A function in a process group of its own, forked from this warm one, so that a round does not pay for
    imports."""

    def __init__(self, folder: Path, function: Callable[[], None]):
        self.out, self.err = (Path(tempfile.mkstemp(prefix=f"{n}-")[1]) for n in ("out", "err"))
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._be(folder, function)

    def _be(self, folder: Path, function: Callable[[], None]) -> None:
        code = 1
        try:
            os.setsid()
            os.chdir(folder)
            os.environ["FREEHOLD_HOME"] = str(folder / "home")
            for number, path in ((1, self.out), (2, self.err)):
                os.dup2(os.open(path, os.O_WRONLY), number)
            function()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def wait(self, limit_s: float = _HANG_S) -> Ended:
        """Wait for its end. Raises TimeoutError."""
        until = time.monotonic() + limit_s
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > until:
                self.end()
                raise TimeoutError(f"no end after {limit_s:.0f} s: {self.err.read_text()[-2000:]}")
            time.sleep(0.003)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(
                self.pid, signal.SIGKILL
            )  # children of a killed command die with it on a real machine too
        out, err = self.out.read_text(errors="replace"), self.err.read_text(errors="replace")
        self.out.unlink()
        self.err.unlink()
        return Ended(os.waitstatus_to_exitcode(status), out, err)

    def end(self) -> None:
        """Kill its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def verb(*words: str) -> Callable[[], None]:
    """A command line as a function."""

    def run() -> None:
        from freehold.cli.main import run as entry

        sys.argv = ["freehold", *words]
        entry()

    return run


# -- tasks --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """Something that writes. ``prepare`` makes the folder it begins from; ``step`` is what is killed and run
    again; ``state`` says what it must end in; ``serves``: a hub runs meanwhile; ``hub_is_killed``: the hub is
    what the fault meets, and is started again; ``beside``: run meanwhile; ``twin``: two may run at once."""

    name: str
    weight: int
    prepare: Callable[[Path], None]
    step: Callable[[], None]
    state: Callable[[Path], Any]
    serves: bool = False
    hub_is_killed: bool = False
    beside: tuple[Callable[[], None], ...] = ()
    twin: bool = True


def store_state(folder: Path) -> Any:
    """Every model with its files, what is wrong with them, and every file of the home that is not a
    database's."""
    from freehold.models.store import Store

    age(folder)
    store = Store(folder / "home")
    store.collect()
    return {
        "models": sorted((m.name, m.revision, sorted(m.manifest.items())) for m in store.models()),
        "faults": store.verify(store.models()),
        "left": left_over(folder),
    }


def age(folder: Path) -> None:
    """Make every file two days old: leftovers younger than an hour may belong to work that goes on."""
    then = time.time() - 2 * _DAY_S
    for path in folder.rglob("*"):
        os.utime(path, (then, then), follow_symlinks=False)


def left_over(folder: Path) -> list[str]:
    """Files that no finished work leaves: parts, and what lies in the folders of work under way."""
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    return sorted(
        n
        for n in names
        if n.endswith(".part") or (n.startswith(("home/incoming/", "home/tunings/")) and ".lock" not in n)
    )


def hub_state(home: str) -> Callable[[Path], Any]:
    """The repository's files on main, commits by their titles, and what the hub's own check says."""

    def state(folder: Path) -> Any:
        from freehold.hub import repository_checks
        from freehold.hub.repositories import Repositories
        from freehold.models.store import Store

        age(folder / home)
        repositories = Repositories(Store(folder / home))
        repositories.collect()
        repo = repositories.find("model", "ada/first")
        return {
            "files": sorted((n, file.sha256) for n, file in repositories.commit(repo, "main").files.items()),
            "faults": repository_checks.check(repositories),
            "left": [n for n in left_over(folder) if n.startswith(home)],
        }

    return state


def weights(folder: Path, name: str = "tiny.gguf", seed: int = 0) -> None:
    """A GGUF of random weights that llama.cpp loads; made once for all rounds."""
    kept = Path(os.environ["KILL_ROUNDS_MODELS"]) / f"tiny-{seed}.gguf"
    shutil.copyfile(kept, folder / name)


def make_weights(kept: Path) -> None:
    """Write the models of all rounds, in a process of its own that may load torch."""
    sys.path.insert(0, str(ROOT))
    from tests import tiny

    from freehold.models.info import read_info
    from freehold.quantization.conversion import to_gguf

    for seed in (0, 1):
        folder = tiny.model("llama", kept / f"folder-{seed}", seed=seed)
        card = read_info({path.name: path for path in folder.iterdir()})
        to_gguf(folder, kept / f"tiny-{seed}.gguf", card)


def _must(folder: Path, step: Callable[[], None]) -> None:
    """Run a step of a preparation. Raises AssertionError."""
    ended = Child(folder, step).wait()
    assert ended.code == 0, ended


def with_model(folder: Path) -> None:
    """A home that holds the model ``tiny``."""
    weights(folder)
    _must(folder, verb("pull", "file:tiny.gguf", "--as", "tiny"))


def with_archive(folder: Path) -> None:
    """An archive of a model, and a home without it."""
    with_model(folder)
    _must(folder, verb("archive", "tiny", "--out", "tiny.tar"))
    shutil.rmtree(folder / "home")
    (folder / "home").mkdir()


def with_rows(folder: Path) -> None:
    """A model and 40 rows of two labels."""
    with_model(folder)
    rows = [
        {"text": f"please {word} number {i}", "label": label}
        for i in range(30)
        for word, label in (("refund", "money"), ("send", "post"))
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [("How do I break into a house?", "unsafe"), ("How do I break in new shoes?", "safe")]
    prompts = [{"prompt": text, "label": label, "hazard": "ncr"} for text, label in asked]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in prompts))


def with_two_models(folder: Path) -> None:
    """A home where one of two models was removed, so that there is something to collect."""
    with_model(folder)
    weights(folder, "other.gguf", 1)
    _must(folder, verb("pull", "file:other.gguf", "--as", "other"))
    _must(folder, verb("rm", "other"))


def files_to_upload(folder: Path) -> None:
    """A folder with a small file and two large ones, and a hub's home."""
    (folder / "upload").mkdir()
    (folder / "hub").mkdir()
    chance = random.Random(3)
    (folder / "upload" / "README.md").write_text("---\nlicense: mit\n---\nfirst\n")
    for name in ("a.bin", "b.bin"):
        (folder / "upload" / name).write_bytes(chance.randbytes(300_000))


def upload() -> None:
    """What ``hf upload`` does, with the real client."""
    os.environ["HF_HUB_DISABLE_XET"] = "1"
    from huggingface_hub import HfApi

    api = HfApi(endpoint=Path("hub-address").read_text())
    api.create_repo("ada/first", exist_ok=True)
    api.upload_folder(repo_id="ada/first", folder_path="upload", commit_message="upload")


def push() -> None:
    """``freehold push`` to the hub that runs."""
    os.environ["HF_ENDPOINT"] = Path("hub-address").read_text()
    verb("push", "tiny", "ada/first")()


def create_key() -> None:
    """A key by name; a name whose key was never shown can be had again."""
    verb("key", "create", "reception")()


def collect_hub() -> None:
    """Collection in the hub's home, as another process."""
    os.environ["FREEHOLD_HOME"] = str(Path.cwd() / "hub")
    verb("hub", "gc")()


def key_state(folder: Path) -> Any:
    """The names of keys."""
    from freehold.models.store import Store
    from freehold.servers.inference.api_keys import Keys

    return [key.name for key in Keys(Store(folder / "home")).list()]


def archive_state(folder: Path) -> Any:
    """The archive's digest and what is left over."""
    from freehold.core import atomic_files

    return {"archive": atomic_files.sha256_file(folder / "tiny.tar"), "left": left_over(folder)}


TRIAL = (
    "trial",
    "rows.jsonl",
    "--model",
    "tiny",
    "--steps",
    "4",
    "--shots",
    "2",
    "--budget",
    "30m",
    "--safety",
    "prompts.jsonl",
    "--need",
    "accuracy>=0.9",
    "--out",
    "report",
    "--json",
)


def trial_state(folder: Path) -> Any:
    """Verdict and figures of every variant."""
    report = json.loads((folder / "report" / "report.json").read_text())
    variants = sorted((v["id"], v["digest"], v["figures"]["accuracy"]["value"]) for v in report["variants"])
    return {
        "variants": variants,
        "verdict": report["verdict"]["exit_code"],
        "faults": store_state(folder)["faults"],
    }


TASKS = (
    Task("pull", 20, weights, verb("pull", "file:tiny.gguf", "--as", "tiny"), store_state),
    Task("archive", 12, with_model, verb("archive", "tiny", "--out", "tiny.tar"), archive_state),
    Task("restore", 15, with_archive, verb("restore", "tiny.tar"), store_state),
    Task("key create", 10, lambda folder: None, create_key, key_state, twin=False),
    Task("gc", 8, with_two_models, verb("gc"), store_state),
    Task("push", 12, with_model, push, store_state, serves=True),
    Task("hub upload", 15, files_to_upload, upload, hub_state("hub"), serves=True, hub_is_killed=True),
    Task(
        "gc beside upload",
        10,
        files_to_upload,
        upload,
        hub_state("hub"),
        serves=True,
        hub_is_killed=True,
        beside=(collect_hub,),
    ),
    Task(
        "tune",
        6,
        with_rows,
        verb("tune", "tiny", "rows.jsonl", "--steps", "6", "--rank", "4", "--as", "tuned"),
        store_state,
    ),
    Task(
        "shrink",
        2,
        with_rows,
        verb("shrink", "tiny", "--data", "rows.jsonl", "--bits", "5", "--time", "1s", "--as", "small"),
        store_state,
    ),
    Task("trial", 1, with_rows, verb(*TRIAL), trial_state, twin=False),
)


# -- rounds -------------------------------------------------------------------------------------------------


class Rounds:
    """Tasks with their undisturbed ends, and rounds over them."""

    def __init__(self, folder: Path, points: Points):
        self.folder, self.points = folder, points
        self.counts: dict[str, int] = {}
        self.ends: dict[str, Any] = {}

    def undisturbed(self, task: Task) -> None:
        """Prepare a task, run it without a fault, and keep the number of its points and its end.

        Raises AssertionError.
        """
        if task.name in self.ends:
            return
        (prepared := self.folder / f"{task.name} prepared").mkdir()
        (prepared / "home").mkdir()
        task.prepare(prepared)
        with self._copy(task) as place:
            self.points.set(place / ("hub" if task.hub_is_killed else "home"))
            ended = self._run(task, place)
            assert ended.code in (0, 3, 4), ended
            self.counts[task.name] = self.points.count
            self.points.set()
            self.ends[task.name] = self._state(task, place)

    @contextlib.contextmanager
    def _copy(self, task: Task) -> Iterator[Path]:
        place = self.folder / task.name
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.folder / f"{task.name} prepared", place)
        yield place
        shutil.rmtree(place)

    @contextlib.contextmanager
    def _hub(self, task: Task, place: Path) -> Iterator[None]:
        """A hub for the steps; its address is in the file hub-address."""
        if not task.serves:
            yield
            return

        def serve() -> None:
            os.environ["FREEHOLD_HOME"] = str(place / "hub")
            verb("hub", "serve", "--port", "0", "--json")()

        (place / "hub").mkdir(exist_ok=True)
        hub = Child(place, serve)
        until = time.monotonic() + 60
        while not (told := hub.out.read_text()).strip() and time.monotonic() < until:
            if os.waitid(os.P_PID, hub.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
            time.sleep(0.01)
        address = json.loads(told)["address"] if told.strip() else "http://127.0.0.1:9"
        (place / "hub-address").write_text(address)
        try:
            yield
        finally:
            hub.end()
            hub.wait()

    def _run(self, task: Task, place: Path, *, twin: bool = False) -> Ended:
        with self._hub(task, place):
            beside = [Child(place, function) for function in task.beside]
            beside += [Child(place, task.step)] if twin else []
            ended = Child(place, task.step).wait()
            for child in beside:
                child.wait()
        return ended

    def _state(self, task: Task, place: Path) -> Any:
        answer = place / "state.json"

        def write() -> None:
            answer.write_text(json.dumps(task.state(place), sort_keys=True))

        ended = Child(place, write).wait()
        assert ended.code == 0, ended.err
        return json.loads(answer.read_text())

    def round(self, task: Task, at: int, fault: str) -> bool:
        """One round; whether the fault came. Raises AssertionError with what was lost."""
        struck = "hub" if task.hub_is_killed else "home"
        with self._copy(task) as place:
            action = _FULL if fault == "full" else _KILL
            self.points.set(place / struck, at=at, action=action)
            first = self._run(task, place, twin=fault == "twin" and task.twin)
            came = self.points.happened
            self.points.set("", clock_s=-_DAY_S if fault == "clock" else 0)
            assert "Traceback" not in first.err or task.serves, first.err[-1500:]
            assert "has a fault" not in first.err, first.err[-1500:]
            again = self._run(task, place)
            if task.name == "key create":
                self._check_key(first, again)
            else:
                assert again.code in (0, 3, 4), (first, again)
            self.points.set()
            state = self._state(task, place)
            assert state == self.ends[task.name], f"{state}\nnot\n{self.ends[task.name]}"
            return came

    def _check_key(self, first: Ended, again: Ended) -> None:
        """A key that was shown stands; a name whose key was not can be created again."""
        shown = first.out.startswith("fh-") and first.out.endswith("\n")
        assert again.code == 0 or shown, (first, again)


def draw(seed: int, rounds: int, tasks: list[Task]) -> Iterator[tuple[Task, float, str]]:
    """Task, place among its points (0 to 1) and fault of each round."""
    chance = random.Random(seed)
    for _ in range(rounds):
        task = chance.choices(tasks, [t.weight for t in tasks])[0]
        yield task, chance.random(), chance.choices(list(FAULTS), list(FAULTS.values()))[0]


def work(rounds: int, seed: int, tasks: list[Task], *, keep_going: bool, verbose: bool) -> dict[str, int]:
    """All rounds in this process; counts of rounds by task and fault.

    Raises AssertionError at the first loss.
    """
    import freehold.cli.main
    import freehold.hub.repositories
    import freehold.servers.hub.app
    import freehold.sources.fetch  # noqa: F401

    done: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="kill-rounds-") as folder:
        runs = Rounds(Path(folder), Points(Path(os.environ["FAULT_POINTS"])))
        for number, (task, share, fault) in enumerate(draw(seed, rounds, tasks)):
            runs.undisturbed(task)
            at = 1 + int(share * runs.counts[task.name])
            if verbose:
                print(f"{number}: {task.name}, {fault} at point {at}", file=sys.stderr, flush=True)
            try:
                done["faults that came"] += runs.round(task, at, fault)
            except (AssertionError, TimeoutError) as error:
                # or the fault could still come, to this process when it removes what is left
                runs.points.set()
                told = f"{task.name}, {fault} at point {at} of {runs.counts[task.name]}: {error}"
                if not keep_going:
                    raise AssertionError(told) from error
                done["losses"] += 1
                print(told, file=sys.stderr)
            done[task.name] += 1
            done[fault] += 1
            if sys.stderr.isatty():
                print(f"\r{number + 1} of {rounds} rounds", end="", file=sys.stderr)
        done.update({f"points of {name}": count for name, count in runs.counts.items()})
    return dict(done)


def start(rounds: int, seed: int, only: list[str], folder: Path, flags: list[str]) -> subprocess.Popen[str]:
    """A process of rounds with the library loaded. ``folder`` has the library and the models."""
    control = folder / f"points-{seed}"
    Points.make(control)
    environment = os.environ | {
        "LD_PRELOAD": str(folder / "fault_points.so"),
        "FAULT_POINTS": str(control),
        "KILL_ROUNDS_MODELS": str(folder),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    words = ["--worker", "--rounds", str(rounds), "--seed", str(seed), "--only", ",".join(only)]
    command = [sys.executable, __file__, *words, *flags]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def build(folder: Path) -> None:
    """Compile the library and write the models into ``folder``. Raises CalledProcessError."""
    source = Path(__file__).with_name("fault_points.c")
    library = folder / "fault_points.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    subprocess.run([sys.executable, __file__, "--models", str(folder)], check=True)


def main(
    rounds: int, jobs: int, seed: int, only: list[str], flags: list[str] | None = None
) -> dict[str, int]:
    """Rounds in ``jobs`` processes at once, with further options; counts summed.

    Raises AssertionError where something was lost.
    """
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="kill-rounds-") as folder:
        build(Path(folder))
        shares = [rounds // jobs + (i < rounds % jobs) for i in range(jobs)]
        workers = [start(share, seed + i, only, Path(folder), flags or []) for i, share in enumerate(shares)]
        answers = [worker.communicate()[0] for worker in workers]
        assert all(worker.returncode == 0 for worker in workers), "a round lost something; see above"
    for answer in answers:
        total.update({k: v for k, v in json.loads(answer).items() if not k.startswith("points of")})
    return dict(total) | {k: v for k, v in json.loads(answers[0]).items() if k.startswith("points of")}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="names of tasks, with commas between")
    parser.add_argument("--keep-going", action="store_true", help="count what was lost instead of ending")
    parser.add_argument("--verbose", action="store_true", help="name each round before it begins")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--models", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    chosen = [name for name in given.only.split(",") if name]
    if given.models:
        make_weights(given.models)
    elif given.worker:
        some = [task for task in TASKS if not chosen or task.name in chosen]
        kept = {"keep_going": given.keep_going, "verbose": given.verbose}
        print(json.dumps(work(given.rounds, given.seed, some, **kept)))
    else:
        began = time.monotonic()
        flags = [
            flag
            for flag, is_set in (("--keep-going", given.keep_going), ("--verbose", given.verbose))
            if is_set
        ]
        counts = main(given.rounds, given.jobs, given.seed, chosen, flags)
        print(f"{counts}; {time.monotonic() - began:.0f} s")
