# Everything that a fresh clone needs; `make` alone lists the targets.
# PYTHON, CORES, PIP_FLAGS, PYTEST_ARGS, TEST_PROCESSES, BUDGETS and FIGURES can be set on the command line.
# Called from another folder, with `make --file CHECKOUT/Makefile`, it writes nothing to the checkout: the environment,
# results and caches lie in that folder.

# Asked for only when an environment is made. Each candidate is run: a version manager's shim may exist and not start.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3,$(shell $(p) -c '' 2>/dev/null && echo $(p))) python3)
CORES ?= all
PIP_FLAGS ?=
PYTEST_ARGS ?=
TEST_PROCESSES ?= 2

# The checkout, and whether this is called from another folder.
HERE := $(shell dirname "$(strip $(MAKEFILE_LIST))")
ELSEWHERE := $(filter-out .,$(HERE))

# Bytecode is compiled at first import, for the small part that is imported at all, also where the caller keeps none: else
# every start of pip, of Snakemake and of a job compiles again, which takes longer than all that it does.
export PYTHONDONTWRITEBYTECODE :=

# The environment's programs first, so that Snakemake's jobs find them too.
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH"
SNAKEMAKE := $(RUN) snakemake$(if $(ELSEWHERE), --snakefile "$(HERE)/Snakefile")
# What takes its modules from the checkout and writes to the working directory.
MODULE := $(if $(ELSEWHERE),PYTHONPATH="$(HERE)") $(RUN) python -m
# What works on the checkout itself, and keeps its notes in the working directory.
NOTES := RUFF_CACHE_DIR="$(CURDIR)/.ruff_cache" MYPY_CACHE_DIR="$(CURDIR)/.mypy_cache"
ON_CHECKOUT := $(if $(ELSEWHERE),cd "$(HERE)" && $(NOTES)) $(RUN)
PYTEST := $(ON_CHECKOUT) python -m pytest$(if $(ELSEWHERE), -o cache_dir="$(CURDIR)/.pytest_cache")

# Building with the locked backends spares a download for each source package.
PIP := python -m pip --disable-pip-version-check install --quiet --no-compile --no-build-isolation $(PIP_FLAGS)
# These come first: they install the others.
INSTALLERS := ^(pip|setuptools|flit_core)==

.DEFAULT_GOAL := help
.PHONY: help env writable in_checkout fig8 report smoke test check bench mutations kills pull publish lock conda

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' "$(HERE)/Makefile"
	@echo "From a folder of your own, leaving this one untouched: make --file CHECKOUT/Makefile TARGET"

env: writable .venv/.installed  ## make or update .venv from requirements.lock

fig8: env  ## reproduce Fig. 8: results/fig8.pdf (CORES=all)
	$(SNAKEMAKE) --cores $(CORES) results/fig8.pdf

REPORTED := results/fig8.pdf results/laptop/tables/gains_fig8.html

report: env  ## Fig. 8 as one page, with gains, runtimes and the settings of every run: results/report.html
	$(SNAKEMAKE) --cores $(CORES) $(REPORTED)
	$(SNAKEMAKE) --report results/report.html --report-stylesheet "$(HERE)/workflow/report/report.css" $(REPORTED)

smoke: env  ## the whole workflow in miniature, to results/smoke/
	$(SNAKEMAKE) --cores $(CORES) results/smoke/figures/fig8.pdf --config budget=smoke

test: env  ## all tests (PYTEST_ARGS="-m 'not slow'" for the quick ones)
	$(PYTEST) -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: env  ## linters, formatters and types
	$(ON_CHECKOUT) ruff check .
	$(ON_CHECKOUT) ruff format --check .
	$(ON_CHECKOUT) mypy
	$(ON_CHECKOUT) snakefmt --check Snakefile rules
	$(SNAKEMAKE) --lint

bench: env  ## measure speed against the machine's own limits, to results/bench.json
	$(MODULE) benchmarks

mutations: env  ## use 1,000 damaged or wrong inputs: no traceback, nothing lost, nothing taken for sound
	$(MODULE) studies.mutations

kills: env  ## disturb workflows 500 times: the same results (hours)
	$(MODULE) studies.kills

pull: in_checkout env  ## fetch published results; the next snakemake takes them as made
	$(RUN) python -m inril pull

publish: in_checkout env  ## put complete results into published/ (BUDGETS="laptop workstation", FIGURES=fig8; default: all)
	$(RUN) python -m inril publish $(BUDGETS) $(if $(FIGURES),--figures $(FIGURES))

writable:
	@test -w . || { \
	    echo "error: $(CURDIR): expected a folder that you can write to, got one that you cannot. Call it from one of" \
	        "your own: mkdir -p ~/inril && cd ~/inril && make --file $$(cd "$(HERE)" && pwd)/Makefile" \
	        "$(MAKECMDGOALS)" >&2; exit 1; }

in_checkout:
	@test -z "$(ELSEWHERE)" || { \
	    echo "error: make $(MAKECMDGOALS): expected to be called in a checkout, got $(CURDIR). Make one of your own:" \
	        "git clone $$(cd "$(HERE)" && pwd)" >&2; exit 1; }

# The stamps are written last: without one there is nothing, or an install that was cut short, whose halves pip would
# take for whole packages. So everything starts over, also when the lock changed and packages left it.
.venv/.packages: $(HERE)/requirements.lock | writable
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null || { \
	    echo "error: PYTHON=$(PYTHON): expected Python 3.11 or 3.12, got" \
	        "$$($(PYTHON) --version 2>&1 | head -1). Name one: make env PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	.venv/bin/$(PIP) $$(grep -E '$(INSTALLERS)' "$(HERE)/requirements.lock")
	.venv/bin/$(PIP) --no-deps -r "$(HERE)/requirements.lock"
	@# Does nothing for a CPU build of torch; a CUDA build gets its libraries, which differ between platforms.
	.venv/bin/$(PIP) -c "$(HERE)/requirements.lock" torch
	@touch $@

.venv/.installed: .venv/.packages $(HERE)/pyproject.toml
	.venv/bin/$(PIP) --no-deps --editable "$(HERE)"
	@touch $@

# Resolves requirements.in in an environment of its own. torch's local build label and the libraries of its CUDA builds
# depend on the machine and stay out.
lock: in_checkout  ## renew requirements.lock from requirements.in
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
	conda env create --file "$(HERE)/environment.yml"
	INRIL_BASE="$(HERE)" conda run --name inril bash "$(HERE)/environment.post-deploy.sh"
