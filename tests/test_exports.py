import importlib.metadata
import subprocess
import sys

import pytest

import freehold


def test_the_public_names_are_these_and_all_exist() -> None:
    assert freehold.__all__ == [
        "Certificate",
        "FreeholdError",
        "Loaded",
        "Model",
        "Quantized",
        "Report",
        "Server",
        "Store",
        "StoredTuning",
        "__version__",
        "certify",
        "export",
        "load",
        "pull",
        "quantize",
        "restore",
        "serve",
        "trial",
        "tune",
    ]
    for name in set(freehold.__all__) - {"__version__", "trial"}:
        assert getattr(freehold, name).__name__ == name
    assert set(freehold.__all__) <= set(dir(freehold))


def test_the_version_is_the_packages() -> None:
    assert freehold.__version__ == importlib.metadata.version("freehold")


@pytest.mark.parametrize(
    "program",
    [
        "import freehold; call = freehold.trial; import freehold.trial.settings as m",
        "import freehold.trial.settings as m; import freehold; call = freehold.trial",
        "from freehold.trial import settings as m; from freehold import trial as call",
        "import freehold.api; import freehold.trial.settings as m; call = freehold.trial",
    ],
)
def test_trial_is_a_function_and_a_package_whatever_is_imported_first(program: str) -> None:
    program += (
        "; from freehold.core.errors import UsageError\n"
        "assert m.TrialSettings\n"
        "try:\n    call('rows.jsonl', budget='45')\n"
        "except UsageError as error:\n    print(error.message)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "'45' is a duration without a unit" in done.stdout


def test_importing_freehold_imports_nothing_heavy() -> None:
    program = (
        "import freehold, freehold.cli.main, sys\n"
        "heavy = ('torch', 'transformers', 'llama_cpp', 'sqlalchemy')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
