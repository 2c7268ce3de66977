# `make demo` and `make test` are all a newcomer needs; both say what they are doing.

PYTHON ?= python3
TORCH  ?= 2.13.0
VENV   ?= .venv
IMAGE  ?= model-eval:local
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
SAY    := @printf '\n==> %s\n'
# Two processes of tests must not each take every core.
THREADS := OMP_NUM_THREADS=1
PEERS   := torchmetrics lightning pytorch-ignite torcheval scikit-learn scipy confidenceinterval

.PHONY: help demo test lint format bench bench-loading bench-statistics schemas lock wheels image clean

help:  ## list these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 18

demo: $(VENV)/.program  ## install into $(VENV) and judge the digits example
	$(SAY) "judging examples/digits (expected: pass)"
	$(BIN)/model-eval run examples/digits/model-eval.yaml --output out/demo
	$(SAY) "the three files it wrote are in out/demo"
	@ls -l out/demo
	$(SAY) "to call model-eval yourself: . $(BIN)/activate"

test: $(VENV)/.test  ## install what tests need and run them all
	$(SAY) "running the tests (what needs Docker or Node.js and finds none is skipped, and says so)"
	$(THREADS) $(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST)

lint: $(VENV)/.lint  ## style, types, layers, manifests, shell, Dockerfile, workflow security
	$(SAY) "ruff"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(SAY) "mypy"
	$(BIN)/mypy
	$(SAY) "layers"
	$(BIN)/lint-imports
	$(SAY) "action.yml and workflows against their schemas"
	$(BIN)/check-jsonschema --builtin-schema vendor.github-actions action.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --check-metaschema schemas/*.json
	$(SAY) "shellcheck"
	shellcheck entrypoint/host/*.sh .ci/run wheels/*.sh
	$(SAY) "hadolint"
	$(BIN)/hadolint Dockerfile
	$(SAY) "zizmor"
	$(BIN)/zizmor --offline --quiet action.yml .github/workflows

format: $(VENV)/.lint  ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv-bench/.installed $(VENV)/.program  ## measure speed, memory, start-up and loading beside the peers
	$(SAY) "speed beside the peers (more than an hour; BENCH=--quick takes some minutes and means nothing)"
	.venv-bench/bin/python -m benchmarks.speed $(BENCH) --program $(abspath $(BIN)/python)
	$(if $(BENCH),,$(MAKE) bench-loading)

bench-loading: $(VENV)/.program  ## measure a 2 GB checkpoint, and a set of four times the memory limit (in the image $(IMAGE))
	$(SAY) "a checkpoint beside its peers (some minutes, 8 GB of temporary files)"
	$(BIN)/python -m benchmarks.loading.checkpoint
	$(SAY) "4 GB of Parquet in a container of 1 GB"
	@if docker image inspect $(IMAGE) >/dev/null 2>&1; \
	then $(BIN)/python -m benchmarks.loading.memory --image $(IMAGE); \
	else echo "SKIPPED: there is no image $(IMAGE); make image, first"; fi

bench-statistics: .venv-bench/.installed $(VENV)/.program  ## measure what intervals and verdicts promise, beside their peers
	$(SAY) "coverage, power, verdicts and speed (a quarter of an hour; STATISTICS=--quick takes a few minutes)"
	$(THREADS) .venv-bench/bin/python -m benchmarks.stats $(STATISTICS)
	$(if $(STATISTICS),,$(THREADS) $(BIN)/python benchmarks/stop_early.py --output benchmarks/results/stop_early.json)

schemas: $(VENV)/.program  ## write schemas/report.schema.json from types.Report
	$(BIN)/python -m model_eval.report.schema > schemas/report.schema.json

wheels:  ## fill wheels/ so that the image can be built without a network
	wheels/fill.sh

lock: $(VENV)/.lint  ## pin the image's dependencies again, with hashes
	PATH="$(abspath $(BIN)):$$PATH" wheels/lock.sh

image:  ## build the CPU image as $(IMAGE), from wheels/ where it is filled
	docker build --tag $(IMAGE) .

clean:  ## remove what these targets made
	rm -rf $(VENV) .venv-bench out dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	$(SAY) "making a virtual environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip

# torch first and pinned: left to choose, pip takes gigabytes of CUDA packages.
$(VENV)/.program: pyproject.toml | $(BIN)/python
	$(SAY) "installing torch $(TORCH) and model-eval (a few minutes the first time)"
	$(PIP) install --quiet torch==$(TORCH)
	$(PIP) install --quiet --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.program
	$(SAY) "installing what the tests need"
	$(PIP) install --quiet --group test
	@touch $@

$(VENV)/.lint: $(VENV)/.program
	$(SAY) "installing the linters"
	$(PIP) install --quiet --group lint
	@touch $@

# The peers are no dependencies of ours, and stay out of $(VENV). One command, so that torch stays pinned.
.venv-bench/.installed: pyproject.toml Makefile
	$(SAY) "installing torch $(TORCH), model-eval and the peers into .venv-bench"
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip --disable-pip-version-check install --quiet torch==$(TORCH) --editable . $(PEERS)
	@touch $@
