# make run    serves the platform on http://localhost:8000 (PORT=… for another port)
# make test   runs all tests
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
TEST_PROCESSES ?= 3

# Files of checksums and examples, which look like secrets. A single line is excepted by `pragma: allowlist secret` in it.
NO_SECRETS := '^(static/vendor/|scripts/vendor.py|models_registry/catalogue.json|training/.*/model.json|.*\.env\.example$$)'

# What one process has compiled, the next one need not compile again, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run install test test-gpu check check-style check-types check-safety check-tests audit format vendor clean

run: $(VENV)/.installed
	@exec $(BIN)/python manage.py serve

# Installs what the tests and checks need.
install: $(VENV)/.installed-dev

# Three processes, each with a database and a server of its own, as many tests wait most of their time. A file's tests
# stay together, the long files come first.
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

# On a machine with a CUDA device: compares its results with the CPU's.
test-gpu: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m gpu $(PYTEST_ARGS)

check: check-style check-types check-safety check-tests

check-style: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

check-types: $(VENV)/.installed-dev
	PYTHONPATH=.:platform $(BIN)/mypy .

check-safety: $(VENV)/.installed-dev
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml .
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --disable-plugin KeywordDetector --exclude-files $(NO_SECRETS)

# All tests can be imported. It also compiles what they import, which their processes would do at the same time, each.
check-tests: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest --collect-only -qqq > $(VENV)/collected || { cat $(VENV)/collected; exit 1; }

# Known vulnerabilities of the pinned packages; needs the network.
audit: $(VENV)/.installed-dev
	for file in requirements*.txt; do $(BIN)/pip-audit --no-deps --disable-pip -r $$file || exit 1; done

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Fetches the dashboard's front-end parts at their pinned versions; what it writes is committed. Needs npm.
vendor:
	$(PYTHON) scripts/vendor.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

# pip compiles file by file; all cores do it in half the time. Compiled in a test, a package's odd escapes were errors.
# A few files are for other Pythons, and cannot be compiled.
$(VENV)/.installed-dev: requirements.txt requirements-torch.txt requirements-dev.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements-dev.txt
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@ $(VENV)/.installed
