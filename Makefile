# Everything a developer types. Each target sets up what it needs: nothing has to be installed or edited before.

.DEFAULT_GOAL := help
.PHONY: help environment servers test test-next demo chaos lint types unit clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  make test REQUIRE_SERVERS=1     a missing server is a failure, not a remark'
	@echo '  make demo ONCE=1                ends by itself; exit status 0 only if every mail was taken exactly once'
	@echo '  make chaos SEED=7 MINUTES=60    for so long, from that seed on; SCENARIO=name plays only that one,'
	@echo '                                  WITHOUT=name all but that one'
	@echo '  PYTHON=/path/to/python make … use this interpreter (3.10 to 3.14)'

environment: ## the virtual environment in .venv, made or brought up to date
	@scripts/environment

servers: environment ## the real servers of the tests (Debian packages, as root)
	@scripts/servers install

test: ## everything: style, types, import contracts, and all tests with real servers and a real Airflow
	@REQUIRE_SERVERS='$(REQUIRE_SERVERS)' scripts/check lint types tests

test-next: ## the tests that need Airflow, with the newest pre-release of it on the package index
	@REQUIRE_SERVERS='$(REQUIRE_SERVERS)' scripts/test-next

demo: environment ## Airflow with a mailbox of its own: watch mails start DAG runs
	@ONCE='$(ONCE)' .venv/bin/python -m scripts.demo

chaos: servers ## the fault suite: SEED=… SEEDS=… or MINUTES=…, SCENARIO=…; exit status 1 if a mail is lost or taken twice
	@.venv/bin/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) \
		$(if $(MINUTES),--minutes $(MINUTES)) $(foreach name,$(SCENARIO),--scenario $(name)) \
		$(foreach name,$(WITHOUT),--without $(name)) $(if $(KEEP),--keep $(KEEP))

lint: ## style only
	@scripts/check lint

types: ## strict types and import contracts only
	@scripts/check types

unit: ## the tests that need no Airflow processes and no real servers
	@scripts/check unit

clean: ## forget the virtual environment, demos and caches
	@scripts/clean
