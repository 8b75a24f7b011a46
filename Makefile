# The two commands of the README are `make demo` and `make test`; each sets up what it needs.
BIN := .venv/bin
READY := .venv/.ready
BENCH := build/bench
export GX_ANALYTICS_ENABLED := false
export DAGSTER_DISABLE_TELEMETRY := yes

.PHONY: help setup peers demo test fuzz ui lint format bench clean

help:
	@echo "make demo   play the whole story on real data and write the pages under demo/"
	@echo "make test   run the tests"
	@echo "make fuzz   let atheris look for bytes that break a parser; SECONDS_EACH=60, on Linux"
	@echo "make ui     open the Dagster UI on the same samples"
	@echo "make lint   ruff and mypy"
	@echo "make peers  install other people's tools, which tests of interoperation then run beside ours"
	@echo "make bench  print the tables that the figures in the docs come from"

setup: $(READY)

$(READY): pyproject.toml requirements/constraints.txt requirements/setup.sh
	@./requirements/setup.sh

peers: .venv-peers/.ready

.venv-peers/.ready: requirements/peers.txt
	@python3 -m venv .venv-peers
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/peers.txt
	@date > .venv-peers/.ready

demo: $(READY)
	@$(BIN)/toadstone demo

test: $(READY)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# One find does not end the others; what was found lies in build/fuzz.
SECONDS_EACH ?= 60
fuzz: $(READY)
	@$(BIN)/python -m pip install --quiet 'atheris==3.0.0'
	@failed=; for target in $$($(BIN)/python tests/fuzzing/fuzz.py --list); do \
	  echo "== $$target"; \
	  $(BIN)/python tests/fuzzing/fuzz.py $$target -max_total_time=$(SECONDS_EACH) -timeout=10 \
	    -artifact_prefix=build/fuzz/$$target- || failed="$$failed $$target"; \
	done; [ -z "$$failed" ] || { echo "found:$$failed"; exit 1; }

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
	$(BIN)/python benchmarks/ledger.py
	$(BIN)/python benchmarks/tables.py
	$(BIN)/python benchmarks/profiles.py
	$(BIN)/python benchmarks/statistics.py
	$(BIN)/python benchmarks/contracts.py --out $(BENCH)/contracts.jsonl
	$(BIN)/python benchmarks/contracts.py --table $(BENCH)/contracts.jsonl

clean:
	rm -rf .venv .venv-peers demo .dagster build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
