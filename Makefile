# Two commands do everything, each with its own set-up: `make demo` and `make test`, as root.
SHELL := /bin/bash
export PATH := $(PATH):/usr/sbin:/sbin
RUN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help demo test lint format types unit lab-test wheels lock clean run-setup dev-setup

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: run-setup ## Boot the pair in a lab, cut its power, read the report (root)
	@$(RUN)/natpair lab demo && echo "(natpair is $(RUN)/natpair in this clone)"

test: lint types ## Everything: lint, types, all tests; a skipped test is a failure (root)
	@scripts/run-tests

lint: dev-setup ## ruff and shellcheck
	@$(RUN)/ruff check
	@$(RUN)/ruff format --check
	@$(RUN)/shellcheck --external-sources scripts/setup scripts/system-packages scripts/run-tests scripts/lock scripts/wheels scripts/common.sh .ci/run src/natpair/cloud/install.sh lab/src/natpair_lab/testbed/classic/etc/*

format: dev-setup ## Let ruff format the tree
	@$(RUN)/ruff format

types: dev-setup ## mypy --strict
	@$(RUN)/mypy

unit: dev-setup ## Tests that need neither root nor a lab
	@$(RUN)/pytest -m "not root and not lab"

lab-test: dev-setup ## Tests with the real daemons (root)
	@scripts/run-tests -m "root or lab"

wheels: dev-setup ## Build both wheels into dist: natpair for a gateway, natpair-lab for the proof
	@scripts/wheels

lock: ## Pin the dependencies anew, by hash
	@scripts/lock

clean: ## Remove what the other targets made in this clone
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

run-setup:
	@scripts/setup run

dev-setup:
	@scripts/setup dev
