# Everything that a fresh clone needs; `make` alone lists the targets.
# PYTHON, CORES, PIP_FLAGS, PYTEST_ARGS, TEST_PROCESSES, BUDGETS and FIGURES can be set on the command line.

# Asked for only when an environment is made. Each candidate is run: a version manager's shim may exist and not start.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3,$(shell $(p) -c '' 2>/dev/null && echo $(p))) python3)
CORES ?= all
PIP_FLAGS ?=
PYTEST_ARGS ?=
TEST_PROCESSES ?= 2

# Many containers keep no bytecode; every call of pip and every test process would compile again what it imports.
export PYTHONDONTWRITEBYTECODE :=

# The environment's programs first, so that Snakemake's jobs find them too.
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH"
# Bytecode is compiled at first import, for the small part that is imported at all. Building with the locked setuptools
# spares a download for each source package.
PIP := python -m pip --disable-pip-version-check install --quiet --no-compile --no-build-isolation $(PIP_FLAGS)
# These come first: they install the others.
INSTALLERS := ^(pip|setuptools)==

.DEFAULT_GOAL := help
.PHONY: help env fig8 report smoke test check bench mutations kills pull publish lock conda

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: .venv/.installed  ## make or update .venv from requirements.lock

fig8: env  ## reproduce Fig. 8: results/fig8.pdf (CORES=all)
	$(RUN) snakemake --cores $(CORES) results/fig8.pdf

REPORTED := results/fig8.pdf results/laptop/tables/gains_fig8.html

report: env  ## Fig. 8 as one page, with gains, runtimes and the settings of every run: results/report.html
	$(RUN) snakemake --cores $(CORES) $(REPORTED)
	$(RUN) snakemake --report results/report.html --report-stylesheet workflow/report/report.css $(REPORTED)

smoke: env  ## the whole workflow in miniature, to results/smoke/
	$(RUN) snakemake --cores $(CORES) results/smoke/figures/fig8.pdf --config budget=smoke

test: env  ## all tests (PYTEST_ARGS="-m 'not slow'" for the quick ones)
	$(RUN) python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: env  ## linters, formatters and types
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) snakefmt --check Snakefile rules
	$(RUN) snakemake --lint

bench: env  ## measure speed against the machine's own limits, to results/bench.json
	$(RUN) python -m benchmarks

mutations: env  ## use 1,000 damaged or wrong inputs: no traceback, nothing lost, nothing taken for sound
	$(RUN) python -m studies.mutations

kills: env  ## disturb workflows 500 times: the same results (hours)
	$(RUN) python -m studies.kills

pull: env  ## fetch published results; the next snakemake takes them as made
	$(RUN) python -m inril pull

publish: env  ## put complete results into published/ (BUDGETS="laptop workstation", FIGURES=fig8; default: all)
	$(RUN) python -m inril publish $(BUDGETS) $(if $(FIGURES),--figures $(FIGURES))

# The stamps are written last: without one there is nothing, or an install that was cut short, whose halves pip would
# take for whole packages. So everything starts over, also when the lock changed and packages left it.
.venv/.packages: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null || { \
	    echo "error: PYTHON=$(PYTHON): expected Python 3.11 or 3.12, got" \
	        "$$($(PYTHON) --version 2>&1 | head -1). Name one: make env PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	.venv/bin/$(PIP) $$(grep -E '$(INSTALLERS)' requirements.lock)
	.venv/bin/$(PIP) --no-deps -r requirements.lock
	@# Does nothing for a CPU build of torch; a CUDA build gets its libraries, which differ between platforms.
	.venv/bin/$(PIP) -c requirements.lock torch
	@touch $@

.venv/.installed: .venv/.packages pyproject.toml
	.venv/bin/$(PIP) --no-deps --editable .
	@touch $@

# Resolves requirements.in in an environment of its own. torch's local build label and the libraries of its CUDA builds
# depend on the machine and stay out.
lock:  ## renew requirements.lock from requirements.in
	$(PYTHON) -m venv --clear build/lock
	grep -v '# no-deps' requirements.in >build/resolved.in
	grep '# no-deps' requirements.in >build/no-deps.in
	build/lock/bin/$(PIP) $$(grep -E '$(INSTALLERS)' requirements.in)
	build/lock/bin/$(PIP) -r build/resolved.in
	build/lock/bin/$(PIP) --no-deps -r build/no-deps.in
	{ echo '# Made by `make lock` from requirements.in. Complete: install it with `pip install --no-deps -r`.'; \
	  build/lock/bin/python -m pip freeze --all | grep -Ev '^(nvidia-.*|cuda-.*|triton)==' | sed 's/+c[pu][0-9u]*$$//'; \
	} >requirements.lock
	rm -rf build/lock build/resolved.in build/no-deps.in

conda:  ## the same environment as a conda one, named inril
	conda env create --file environment.yml
	INRIL_BASE="$(CURDIR)" conda run --name inril bash environment.post-deploy.sh
