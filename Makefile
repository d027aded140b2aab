# Everything from a fresh clone; needs Python 3.11 or newer, make and git.
PYTHON ?= python3

# What is run: make report DATASET=tiny-imagenet-200 FRACTION=0.1 EPOCHS=5 SEEDS="0 1"
DATASET ?= shapes
FRACTION ?=
EPOCHS ?=
SEEDS ?= 0
VARIANTS ?=
JOBS ?=
PARAMS ?=
MINUTES ?=
RETRIES ?=
PROFILE ?=

# Whose report it is
TITLE ?=
SUBTITLE ?=
COURSE ?=
AUTHOR ?=
STUDENT_NUMBER ?=
DATE ?=
FORMATS ?= html pdf docx
REPORT_OPTIONS ?=

# Where JupyterLab listens: make lab PORT=8888 ADDRESS=0.0.0.0
PORT ?=
ADDRESS ?=

TEST_JOBS ?= 2
QUICK ?=

BIN := .venv/bin
INSTALLED := .venv/.installed
DEVELOPED := .venv/.developed
CLUSTERED := .venv/.clustered
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

# Values go through the environment: no shell and no make reads their quotes, dollars and backticks.
GIVEN := DATASET FRACTION EPOCHS SEEDS VARIANTS JOBS PARAMS MINUTES RETRIES PROFILE \
	TITLE SUBTITLE COURSE AUTHOR STUDENT_NUMBER DATE FORMATS REPORT_OPTIONS PORT ADDRESS TEST_JOBS
$(foreach name,$(GIVEN),$(eval export LABCNN_$(name) = $$(value $(name))))

# A variable that is misspelt must not run the default.
KNOWN := $(GIVEN) PYTHON QUICK SHELL
UNKNOWN := $(filter-out $(KNOWN),$(foreach name,$(.VARIABLES),\
	$(if $(filter command,$(firstword $(origin $(name)))),$(name))))
$(if $(UNKNOWN),$(error unknown variable $(firstword $(UNKNOWN)); valid: $(KNOWN)))

# An option with a variable's value, and the words of a variable; empty where it is.
option = $(if $(strip $(value $(1))),$(2)"$$LABCNN_$(1)")
several = $(if $(strip $(value $(1))),$$LABCNN_$(1))
RUNS = $(call option,DATASET,dataset=) $(call option,FRACTION,fraction=) \
	$(call option,EPOCHS,epochs=) $(call several,PARAMS) \
	$(call option,SEEDS,--seeds=) $(call option,VARIANTS,--variants=)
HOW = $(call option,JOBS,--jobs=) $(call option,MINUTES,--minutes=) \
	$(call option,RETRIES,--retries=) $(call option,PROFILE,--profile=)

.DEFAULT_GOAL := help
.PHONY: help setup develop report sweep plan runs test bench lint lab clean

help: ## what there is (this)
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  With report, sweep and plan (empty: the default):'
	@echo '    DATASET=shapes|tiny-imagenet-200|cifar10|FOLDER   FRACTION=0.1   EPOCHS=5   SEEDS="0 1"'
	@echo '    VARIANTS="short_all long_all" (the 13 of the report)'
	@echo '    JOBS=2 (one per GPU, else per core)   MINUTES=90 (time limit of a run: none)'
	@echo '    RETRIES=1   PROFILE=slurm (this machine)'
	@echo '    PARAMS="learning_rate=0.02 width=16": any other parameter of notebooks/train.ipynb'
	@echo '  With report: TITLE, SUBTITLE, COURSE, AUTHOR, STUDENT_NUMBER, DATE, FORMATS="html pdf docx"'
	@echo '    REPORT_OPTIONS="--columns 2 --no-images --tuned EXPERIMENT"'
	@echo '  With lab: PORT=8888   ADDRESS=0.0.0.0 (for a browser on another machine)'

setup: $(INSTALLED) ## create .venv with what runs, reports and JupyterLab need (again when its lock has changed)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'labcnn needs Python 3.11 or newer, and $(PYTHON) is not; name one:' \
			'make PYTHON=python3.12 setup' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[train,report,lab]'
	@touch $@

# What only tests, checks and benchmarks need.
$(DEVELOPED): $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# What Snakemake needs for Slurm.
$(CLUSTERED): $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[cluster]'
	@touch $@

develop: $(DEVELOPED) ## add what tests, checks and benchmarks need (they do it themselves)

# A sweep exits with 1 when runs failed: the report is built without them, names them and exits
# with 1 too. Anything else (a wrong parameter, Ctrl-C) ends here.
report: setup $(if $(strip $(value PROFILE)),$(CLUSTERED)) ## run what has no result or a stale one, then export the report to report/
	@set -f; $(BIN)/labcnn sweep $(RUNS) $(HOW) || [ $$? -eq 1 ]
	@set -f; $(BIN)/labcnn report $(RUNS) $(call option,FORMATS,--formats=) $(call several,REPORT_OPTIONS)

sweep: setup $(if $(strip $(value PROFILE)),$(CLUSTERED)) ## run what has no result, or one that is out of date
	@set -f; $(BIN)/labcnn sweep $(RUNS) $(HOW)

plan: setup ## say what a sweep would run, and how long it should take
	@set -f; $(BIN)/labcnn plan $(RUNS) $(call option,JOBS,--jobs=)

runs: setup ## list all runs with their state, and why one is out of date
	@$(BIN)/labcnn runs

# Files go to workers whole, so that what a file's tests share is made once. QUICK=1 leaves out
# what needs processes of its own, a browser, LibreOffice, Slurm, npm or a whole sweep.
test: develop $(if $(QUICK),,tests/web/node_modules) ## run the tests (QUICK=1: those of a minute or two)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n "$$LABCNN_TEST_JOBS" --dist loadfile $(if $(QUICK),-m "not system")

# What checks the report's HTML from outside; its node comes with the virtual environment.
tests/web/node_modules: tests/web/package-lock.json | develop
	PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --prefix tests/web --no-audit --no-fund
	@touch $@

bench: develop ## measure everything in benchmarks/ (QUICK=1: in 3 minutes)
	$(BIN)/python benchmarks/bench.py $(if $(QUICK),--quick)

lint: develop ## check style, types, which package imports which, and that notebooks have no output
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(if $(NOTEBOOKS),$(BIN)/nbstripout --keep-id --verify $(NOTEBOOKS))

# JupyterLab runs as root, as in a container, only when it is told that this is meant.
lab: setup ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks $(call option,PORT,--port=) \
		$(call option,ADDRESS,--no-browser --ip=) $(if $(filter 0,$(shell id -u)),--allow-root)

clean: ## remove caches and what the report was exported from; reports, results, data and .venv stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .snakemake build dist
	rm -f report/*/report.ipynb report/*/.report.sha256
	find labcnn labsweep labreport tests workflow -type d -name __pycache__ -prune -exec rm -rf {} +
