# One vocabulary for people and for the continuous integration. Needs Python 3.11 with venv and pip, nothing else.
PYTHON ?= python3.11
BIN := .venv/bin
EXPERIMENT := tweet-sentiment
DATA ?= sample
PORT ?= 5001

.DEFAULT_GOAL := help
.PHONY: help run test image-test check serve ui runs bench load evidence notebooks report article article-figures bundle lock clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 19

.venv/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.version_info[:2] == (3, 11) or sys.exit(f"Python 3.11 is needed, $(PYTHON) is {sys.version.split()[0]}; use make PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

run: .venv/.installed  ## prepare the sample, train every family, compare, register, promote
	PATH="$(CURDIR)/$(BIN):$$PATH" mlflow run . --env-manager local --experiment-name $(EXPERIMENT)

test: .venv/.installed  ## the whole test suite, a file at a time on each core
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

image-test: .venv/.installed  ## build the image of the bundled model with podman, as root, run it and deploy it (IMAGE_BASE=published: on the published base)
	$(BIN)/python -m pytest -m image -s tests/image

check: .venv/.installed  ## ruff and mypy
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

serve: .venv/.installed  ## the champion's endpoint, on port 5001 (PORT=..., FLAGS="--workers 2")
	$(BIN)/python -m steps.serve --port $(PORT) $(FLAGS)

ui: .venv/.installed  ## a page to try the model that make serve serves, on port 8501 (FLAGS="--endpoint http://...")
	$(BIN)/python -m steps.ui $(FLAGS)

runs: .venv/.installed  ## MLflow's page of runs and models, on port 5000
	$(BIN)/mlflow ui --port 5000

bench: .venv/.installed  ## speed as ratios measured in one run
	$(BIN)/python tests/bench.py --data "$(DATA)" --flags "$(FLAGS)"
	$(BIN)/python tests/bench_networks.py --data "$(DATA)" --flags "$(FLAGS)"
	$(BIN)/python tests/bench_bert.py --data "$(DATA)" --flags "$(FLAGS)"
	$(BIN)/python tests/bench_compare.py --data "$(DATA)" --flags "$(FLAGS)"
	$(BIN)/python tests/bench_serve.py
	$(BIN)/python tests/bench_monitor.py
	$(BIN)/python tests/bench_ui.py

load: .venv/.installed  ## ten minutes of load on the endpoint while the champion is switched (FLAGS="--workers 2")
	$(BIN)/python tests/load_serve.py $(FLAGS)

evidence: .venv/.installed  ## export what the finished runs on real data proved to docs/results/
	$(BIN)/python -m steps.evidence

notebooks: .venv/.installed  ## run docs/notebooks/ on real data and store them with their figures
	$(BIN)/python -m steps.notebooks $(FLAGS)

report: .venv/.installed  ## slides of the results in docs/report/, as Markdown, HTML and (with Chromium) PDF
	$(BIN)/python -m steps.report

article: .venv/.installed  ## the articles on monitoring in docs/blog/, from their recorded figures
	$(BIN)/python -m steps.article

article-figures: .venv/.installed  ## record those figures anew from real runs (node and npm; ten minutes)
	$(BIN)/python tests/record_article.py

bundle: .venv/.installed  ## put the champion of real data into data/champion/, so that it comes with the project
	$(BIN)/python -m steps.bundle

lock: .venv/.installed  ## requirements.txt anew from conda.yaml (needs uv)
	$(BIN)/python -c 'import yaml; print("\n".join(yaml.safe_load(open("conda.yaml"))["dependencies"][-1]["pip"]))' \
	| uv pip compile - --upgrade --python-platform linux --python-version 3.11 --quiet --no-header --no-annotate \
	| grep -vE '^(nvidia|cuda|triton)' > requirements.new && mv requirements.new requirements.txt

clean:  ## remove the caches of the tools
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis bench.json
