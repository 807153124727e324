# The only commands that people and CI need. `make` lists them.
SHELL := /bin/bash
CARGO ?= cargo
# More arguments, for the targets whose help names ARGS: make bench ARGS=--quick
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: real-input stalls help setup run build test readme lint fmt bench torture clients fuzz differential clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'REDIS_SERVER=path runs and tests with another server; PORT=n is the first port that run tries.'

setup: ## Install what is missing (libclang, clang, redis-server) on Debian and Ubuntu
	@bash tests/setup.sh

run: build ## Start a redis-server with the module on a free port, data in ./data; ARGS go to it
	@bash tests/run.sh $(ARGS)

build: setup ## Build the module, target/release/libredis_persist.so, and the offline tool, target/release/redis-persist
	$(CARGO) build --release -p redis-persist -p redis-persist-cli

test: export WITH_PYTHON = 1
test: build ## Run every test, against a real redis-server; ARGS="--test NAME" for one
	@bash tests/clients/install.sh
	$(CARGO) test --workspace --no-fail-fast $(ARGS)

readme: setup ## Rewrite README.md's tables of settings and commands from their declarations
	UPDATE_README=1 $(CARGO) test --test readme

lint: setup ## Check formatting and clippy, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

fmt: ## Format the code
	$(CARGO) fmt --all

bench: build ## Compare with the host's own persistence; ARGS=--quick for a short form
	$(CARGO) run --release -p persist-tools --bin persist-bench -- $(ARGS)

torture: build ## Kill servers under load on fast and slow disks, again and again; long: make torture ROUNDS=200
	$(CARGO) test --release --test torture -- --nocapture $(ARGS)

clients: export WITH_PYTHON = 1
clients: build ## Run redis-py, rq and limits on routed keys through kill -9, with JOBS=2000 and KILLS=40 if not said
	@bash tests/clients/install.sh
	JOBS=$${JOBS:-2000} KILLS=$${KILLS:-40} $(CARGO) test --test clients -- --nocapture $(ARGS)

fuzz: ## Run the fuzzers, TIME=60 seconds each if not said; ARGS=name for one of tests/fuzz/corpus
	bash tests/fuzz/run.sh $(ARGS)

differential: build ## Compare every command with the host's own, COMMANDS=1000000 random ones a family if not said
	COMMANDS=$${COMMANDS:-1000000} $(CARGO) test --release --test commands -- --nocapture $(ARGS)

real-input: build ## Load 2M keys, save, rewrite, kill -9, restart, and check key by key; KEYS= for fewer
	$(CARGO) build --release -p persist-tools --bins
	bash tests/real_input.sh

stalls: build ## Measure the longest stalls: growth, a huge DEL, FLUSHALL
	$(CARGO) run --release -p persist-tools --bin persist-stalls -- $(ARGS)

clean: ## Remove what building made (not ./data)
	$(CARGO) clean
