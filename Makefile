# make reproduce   search, train, restore and report on the embedded photographs; the page is results/smoke/index.html
# make test        the theorem tests        make test-numbers   the numerical ones, rounded as elsewhere
# make lab         JupyterLab on the notebooks      make site    pages of what is committed, in site/
# make lint        what CI asks of the sources      make format   puts most of it right
# make lock        resolves requirements.lock anew  make clean    removes .venv and caches, never results
#
# CPU only, on Linux: make reproduce TORCH_INDEX=https://download.pytorch.org/whl/cpu
PYTHON ?= python3
PROFILE ?= smoke
WORKERS ?= $(shell getconf _NPROCESSORS_ONLN)
TORCH_INDEX ?=
LAB_FLAGS ?=
PYTEST_FLAGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALLED := .venv/installed
PYTEST = $(BIN)/pytest -n $(WORKERS) --dist loadfile $(PYTEST_FLAGS)
NOTEBOOKS = $(wildcard notebooks/*.ipynb)
STRIP := nbstripout --keep-id --extra-keys "metadata.papermill cell.metadata.papermill"
PAGE := results/$(PROFILE)/index.html
# The tests of numbers, and the settings that let this processor round as others do: MKL's matrix products as on a CPU
# with AVX2 only, torch's own kernels as on one without. Compiling and training for long teach nothing about rounding.
NUMBERS := comparators data_batches data_degrade decode deformable denoisers evaluate frozen_numbers kernels latency losses \
	metrics network protocol search supercell supernet train upscalers
ROUNDED := MKL_CBWR=AVX2 ATEN_CPU_CAPABILITY=default
LONG := compiled or exported or lower_the_loss or lowers_the_loss or trained_scored

.PHONY: reproduce test test-numbers lab site lint format lock clean
.DELETE_ON_ERROR:

reproduce: $(INSTALLED)
	$(BIN)/hinas-nb run all --profile $(PROFILE) --workers $(WORKERS)
	$(BIN)/hinas-nb report --profile $(PROFILE)
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] && command -v xdg-open >/dev/null; then xdg-open $(PAGE); \
	elif [ "$$(uname)" = Darwin ] && [ -z "$$CI" ]; then open $(PAGE); \
	else echo "Open in a browser: $(CURDIR)/$(PAGE)"; fi

test: $(INSTALLED)
	$(PYTEST)

test-numbers: $(INSTALLED)
	$(ROUNDED) $(PYTEST) -k "not ($(LONG))" $(NUMBERS:%=tests/test_%.py)

lab: $(INSTALLED)
	$(BIN)/jupyter lab $(LAB_FLAGS) notebooks

site: $(INSTALLED)
	$(BIN)/python -m hinas_nb.reporting.site

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/ty check
	$(if $(NOTEBOOKS),$(BIN)/$(STRIP) --verify $(NOTEBOOKS))

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(if $(NOTEBOOKS),$(BIN)/$(STRIP) $(NOTEBOOKS))

# torch comes first and alone from TORCH_INDEX, so that everything else keeps coming from the usual place.
$(INSTALLED): requirements.lock constraints.txt
	@$(PYTHON) -c 'import sys, platform as p; sys.version_info >= (3, 11) or sys.exit("PYTHON must be 3.11 or newer, got " + p.python_version() + "; name another: make PYTHON=python3.12")'
	@echo "Installing the locked packages into .venv: about a minute once they are downloaded"
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(if $(TORCH_INDEX),$(PIP) install --quiet --no-deps --index-url $(TORCH_INDEX) "$$(grep '^torch==' requirements.lock)")
	@$(PIP) install --quiet -c constraints.txt -r requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@$(PIP) check
	@touch $@

# What is left out: pip itself, and what torch's build for one kind of GPU brings along (pinned by torch).
lock:
	@clean=$$(mktemp -d) && trap 'rm -rf "$$clean"' EXIT && $(PYTHON) -m venv $$clean && \
	$$clean/bin/python -m pip install --quiet --upgrade setuptools && \
	$$clean/bin/python -m pip install --quiet -c constraints.txt -e '.[notebooks,export,cluster,dev]' && \
	$$clean/bin/python -m pip freeze --all --exclude pip --exclude-editable > $$clean/found && \
	{ grep '^#' requirements.lock; sed 's/+[a-z0-9.]*$$//' $$clean/found | grep -Eiv '^(nvidia|cuda|triton)'; } > $$clean/lock && \
	cp $$clean/lock requirements.lock

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build hinas_nb.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name .ipynb_checkpoints -prune -exec rm -rf {} +
