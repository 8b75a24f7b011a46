# The two commands of the README are `make demo` and `make test`; each sets up what it needs.
BIN := .venv/bin
READY := .venv/.ready
export GX_ANALYTICS_ENABLED := false
export DAGSTER_DISABLE_TELEMETRY := yes

.PHONY: help setup demo test ui lint format bench clean

help:
	@echo "make demo   play the whole story on real data and write the pages under demo/"
	@echo "make test   run the tests"
	@echo "make ui     open the Dagster UI on the same samples"
	@echo "make lint   ruff and mypy"
	@echo "make bench  print the tables that the figures in the docs come from"

setup: $(READY)

$(READY): pyproject.toml requirements/constraints.txt requirements/setup.sh
	@./requirements/setup.sh

demo: $(READY)
	@$(BIN)/toadstone demo

test: $(READY)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

ui: $(READY)
	@$(BIN)/python -m pipelines.ui

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY)
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv demo .dagster build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
