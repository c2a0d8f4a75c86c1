import freehold


def test_the_public_names_are_these_and_all_exist() -> None:
    names = ["FreeholdError", "Model", "Options", "Store", "Trial", "export", "load", "pull", "restore"]
    assert freehold.__all__ == names
    for name in freehold.__all__:
        assert getattr(freehold, name).__name__ == name


def test_importing_freehold_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    program = (
        "import freehold, freehold.cli.main, sys; print([m for m in ('torch', 'transformers', 'llama_cpp',"
        " 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
