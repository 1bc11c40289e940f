# make demo        a whole study on simulated patients: cohort, features, scores, models, SHAP, card, scored cohort
# make test        everything that CI checks
# make test-slow   statistical self-tests of minutes
# make coverage    the daily checks under coverage, and the gate of docs/reliability/coverage.md
# make bench       ratios of time against other programs, docs/benchmarks.md
# make repro       the simulated experiments under DVC: only what a change touches is done again
# make docs        the documentation as a site, out/site/index.html
# make format      rewrite the sources in the house style
# make lock        renew the lock files (needs uv)

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: demo test test-slow coverage bench repro docs check format lock clean

demo: .venv/ready
	$(BIN)/crlm demo --out out/demo

test: check
	$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

test-slow: .venv/ready
	$(BIN)/python -m pytest -m slow -n 2 --dist loadgroup --no-loadscope-reorder

coverage: .venv/ready
	rm -rf out/coverage && mkdir -p out/coverage
	$(BIN)/python -m coverage run -m pytest -n 2 --dist loadgroup --no-loadscope-reorder
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage json --quiet -o out/coverage/coverage.json
	$(BIN)/python tests/coverage_gate.py out/coverage/coverage.json

bench: .venv/ready
	$(BIN)/python benchmarks/table.py --to docs/benchmarks.md

repro: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro

docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:
	for minor in 11 12 13; do uv pip compile --quiet --upgrade --python-version 3.$$minor --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --group dev pyproject.toml \
		--output-file requirements/py3$$minor.txt && \
		uv pip compile --quiet --python-version 3.$$minor --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-header --constraint requirements/py3$$minor.txt pyproject.toml \
		--output-file requirements/runtime-py3$$minor.txt || exit 1; done

clean:
	rm -rf .venv out

# The environment comes from the lock of the Python that is used; hashes are required.
.venv/ready: pyproject.toml $(wildcard requirements/*.txt)
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed and none was found"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python lacks venv; on Debian: apt-get install python3-venv python3-dev"; exit 1; }
	rm -rf .venv
	$(PYTHON) -m venv .venv
	lock=requirements/py3$$($(PYTHON) -c 'import sys; print(sys.version_info[1])').txt; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $$lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch .venv/ready
