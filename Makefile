# The two commands of the README are `make demo` and `make test`; each sets up what it needs.
BIN := .venv/bin
READY := .venv/.ready
BENCH := build/bench
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
	@$(BIN)/python -m pip install --quiet -c requirements/constraints.txt -e '.[bench]'
	@mkdir -p $(BENCH)
	$(BIN)/python benchmarks/embeddings.py --sets digits fashion --rows 2000 --seeds 1 --out $(BENCH)/embeddings.jsonl
	$(BIN)/python benchmarks/embeddings.py --table $(BENCH)/embeddings.jsonl
	$(BIN)/python benchmarks/detection.py --suite cpu --out $(BENCH)/detection.jsonl
	$(BIN)/python benchmarks/detection.py --table $(BENCH)/detection.jsonl
	$(BIN)/python benchmarks/false_alarms.py --runs 10 --others 2 --out $(BENCH)/false_alarms.jsonl
	$(BIN)/python benchmarks/false_alarms.py --table $(BENCH)/false_alarms.jsonl
	$(BIN)/python benchmarks/screen_speed.py --out $(BENCH)/screen_speed.jsonl
	$(BIN)/python benchmarks/tables.py
	$(BIN)/python benchmarks/profiles.py
	$(BIN)/python benchmarks/statistics.py
	$(BIN)/python benchmarks/contracts.py --out $(BENCH)/contracts.jsonl
	$(BIN)/python benchmarks/contracts.py --table $(BENCH)/contracts.jsonl

clean:
	rm -rf .venv demo .dagster build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
