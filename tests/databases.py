"""A PostgreSQL server for the run, with a database for each store; modules that ask for ``each_database`` run
on it and on SQLite."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from freehold.models import catalogue


def _programs() -> Path | None:
    """The folder of PostgreSQL's programs; Debian keeps them out of the path."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    return next(
        (path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None
    )


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of this run's own, reached through a socket in its folder."""
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL on this machine: apt install postgresql")
    base = Path(
        subprocess.run(
            ["mktemp", "-d", "/tmp/fhpg.XXXXXX"], capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    # the server refuses to run as root
    other = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    if other:
        shutil.chown(base, "postgres")
    data = base / "data"
    subprocess.run(
        [
            *other,
            programs / "initdb",
            "-D",
            data,
            "-A",
            "trust",
            "-U",
            "freehold",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        ],
        check=True,
        capture_output=True,
        cwd="/",
    )
    options = (
        f"-c listen_addresses='' -c unix_socket_directories={base} -c fsync=off -c synchronous_commit=off -c"
        " max_connections=300"
    )
    subprocess.run(
        [*other, programs / "pg_ctl", "-D", data, "-o", options, "-l", base / "log", "-w", "start"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    yield f"postgresql+psycopg://freehold@/{{name}}?host={base}"
    subprocess.run(
        [*other, programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    shutil.rmtree(base)


_numbers = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def each_database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run the test twice: with each store's catalogue in SQLite, and in a PostgreSQL database of its own."""
    if request.param == "sqlite":
        yield "sqlite"
        return
    if request.node.get_closest_marker("long"):
        pytest.skip("long, and it asks nothing of the database that other tests do not")
    server = request.getfixturevalue("postgres")
    keeper = sa.create_engine(server.format(name="postgres"), isolation_level="AUTOCOMMIT")
    made: dict[Path, str] = {}
    engines: list[sa.Engine] = []

    def address(folder: Path) -> sa.URL:
        if folder not in made:
            made[folder] = f"store{next(_numbers)}"
            with keeper.connect() as connection:
                connection.exec_driver_sql(f"CREATE DATABASE {made[folder]}")
        return sa.make_url(server.format(name=made[folder]))

    plain = sa.create_engine

    def remembered(*values: object, **options: object) -> sa.Engine:
        engines.append(plain(*values, **options))  # type: ignore[arg-type]
        return engines[-1]

    monkeypatch.setattr(catalogue, "address", address)
    monkeypatch.setattr(sa, "create_engine", remembered)
    yield "postgresql"
    for engine in engines:
        engine.dispose()
    for name in made.values():
        with keeper.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    keeper.dispose()
