# The commands of this project. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help install run test suite postgres chaos browser coverage lint check format migrations rig clean

PY := .venv/bin/python
# How many pytest processes share a suite, and how many suites run at once: killing and pausing workers is mostly waiting.
JOBS ?= 2
AT_ONCE ?= 2

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: ## Create .venv and install the pinned packages
	@sh deploy/install.sh $(if $(filter install,$(MAKECMDGOALS)),--again)

run: install ## Start Gatehouse on this machine (HOST and PORT are honoured)
	@exec $(PY) manage.py up

test: install rig ## Run every check and every test, as CI does
	@echo "Running $(AT_ONCE) parts at once; what a part prints appears when it ends."
	@$(MAKE) --no-print-directory --keep-going --jobs=$(AT_ONCE) --output-sync=target chaos suite browser postgres lint check

suite: install rig ## The ordinary tests, on SQLite
	$(PY) -m pytest -q -n $(JOBS) -m "not browser and not chaos and not gpu"

postgres: install rig ## The tests that hold on both databases, on PostgreSQL
	$(PY) -m pytest -q -n $(JOBS) --database=postgres -m "postgres and not browser and not chaos and not gpu"

chaos: install rig ## The tests that kill and pause real processes
	$(PY) -m pytest -q -m "chaos and not gpu"

browser: install rig ## The tests in a real Chromium
	$(PY) -m pytest -q -m "browser and not gpu"

# What nobody may get past has no line and no branch that no test has taken.
WHOLE := governance/services/ledger/*,governance/services/approvals/*,governance/services/access.py,training/services/jobs/*,portal/gateway/metering/*

coverage: install rig ## Measure which lines and branches the ordinary tests and those on PostgreSQL take; fails below the figures
	@rm -f .coverage .coverage.*
	$(PY) -m coverage run -m pytest -q -n $(JOBS) -m "not browser and not chaos and not gpu"
	$(PY) -m coverage run -m pytest -q -n $(JOBS) --database=postgres -m "postgres and not browser and not chaos and not gpu"
	@$(PY) -m coverage combine -q
	$(PY) -m coverage report --fail-under=100 --include="$(WHOLE)"
	$(PY) -m coverage report --fail-under=95 --omit="$(WHOLE),*/migrations/*"

lint: install ## Check format, style, types, import directions and templates
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	DEBUG=1 $(PY) -m mypy
	.venv/bin/lint-imports
	$(PY) -m djlint templates --lint --quiet

check: install ## Run Django's checks and look for missing migrations
	DATABASE_URL=sqlite://:memory: $(PY) manage.py check --fail-level WARNING
	DATABASE_URL=sqlite://:memory: $(PY) manage.py makemigrations --check --dry-run

format: install ## Rewrite Python files in the house format and order their imports
	$(PY) -m ruff check --select I --fix --quiet .
	$(PY) -m ruff format .

migrations: install ## Write migrations for changed models (name them: make migrations NAME=add_risk_tier)
	$(PY) manage.py makemigrations $(if $(NAME),--name $(NAME))

rig: install ## Find or fetch what tests drive: Chromium (from Debian's packages), Redis, older clients of the Hub
	@$(PY) -m tests.rig.redis
	@$(PY) -m tests.rig.chromium
	@$(PY) -m tests.rig.hub_clients

clean: ## Remove caches and test leftovers; keeps .venv and var/
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis htmlcov test-results .coverage .coverage.*
	find . -name __pycache__ -type d -not -path './.venv/*' -not -path './var/*' -prune -exec rm -rf {} +
