# Two commands: `make run` installs Shotboard and runs the benchmark, `make test` the checks.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed

# Each command and test starts processes that import Prefect, Ray, MLflow and torch: where nothing
# keeps what Python compiles, as in many images, each import takes three times as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-served test-portable test-fuzz soak lint install clean

run: $(INSTALLED)
	$(BIN)/shotboard run

test: lint
	$(BIN)/python -m pytest -m "not served and not browser and not data"

# Tests of what `shotboard up` serves, of its nights, of whole runs that are killed, of pages in
# Chromium, and of real datasets where they are; some minutes more.
test-served: $(INSTALLED)
	$(BIN)/python -m pytest -m "served or browser or data" --ignore tests/cluster
	# By themselves: a page that loads while a network of hosts comes or goes is broken off.
	$(BIN)/python -m pytest -m served tests/cluster

# Tests that hold results to equal bits, as a processor with AVX2 and nothing newer rounds them.
test-portable: $(INSTALLED)
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 \
		$(BIN)/python -m pytest -n 0 -m bits tests/operators

# Bad input as it is drawn, a thousand examples a test and others each time, on all cores.
test-fuzz: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --hypothesis-profile=long --timeout 3600 tests/*/test_bad_input.py

# Runs of which parts are killed at random moments, for SOAK_MINUTES (20): nothing may be lost.
soak: $(INSTALLED)
	$(BIN)/python benchmarks/soak.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

install: $(INSTALLED)

# The lock names every package but those that a CUDA build of torch brings along.
$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/shotboard methods > /dev/null  # reads the cards once; they are kept beside the code
	touch $(INSTALLED)

clean:
	rm -rf .venv .shotboard
