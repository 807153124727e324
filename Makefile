# The only commands that people and CI need. `make` lists them.
SHELL := /bin/bash
CARGO ?= cargo
# More arguments, for the targets whose help names ARGS: make bench ARGS=--quick
ARGS ?=
# One of the servers that `make hosts` fetches: make test HOST=valkey-9.1
HOST ?=
ifneq ($(HOST),)
export REDIS_SERVER := $(CURDIR)/.cache/hosts/$(HOST)/$(firstword $(subst -, ,$(HOST)))-server
endif

.DEFAULT_GOAL := help
.PHONY: always hosts test-matrix test-docker image up down real-input stalls help setup run build test readme lint deny fmt bench torture clients fuzz differential clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'REDIS_SERVER=path runs and tests with another server, HOST=name with one that make hosts fetches; PORT=n is the first port that run tries.'

setup: ## Install what is missing (libclang, clang, redis-server) on Debian and Ubuntu
	@$(if $(HOST),bash tests/hosts.sh $(HOST))
	@bash tests/setup.sh

hosts: ## Fetch the servers that the module is tested on into .cache/hosts: redis-7.0 redis-8.0 valkey-8.1 valkey-9.1
	@bash tests/hosts.sh $(HOST)

run: build ## Start a redis-server with the module on a free port, data in ./data; ARGS go to it
	@bash tests/run.sh $(ARGS)

build: setup ## Build the module, target/release/libredis_persist.so, and the offline tool, target/release/redis-persist
	$(CARGO) build --release -p redis-persist -p redis-persist-cli

test: export WITH_PYTHON = 1
test: build ## Run every test, against a real redis-server, and in Docker where an engine answers; ARGS="--test NAME" for one
	@bash tests/clients/install.sh
	$(CARGO) test --workspace --no-fail-fast $(ARGS)
	@$(if $(ARGS),,bash docker/test.sh --if-any)

test-docker: build ## Run the tests of the image in a Docker engine
	@bash docker/test.sh $(ARGS)

test-matrix: export WITH_PYTHON = 1
test-matrix: build ## Run the tests on each host that make hosts fetches, with io-threads 1 and 4; ARGS="--part valkey-9.1" for less
	@bash tests/clients/install.sh
	@bash tests/matrix.sh $(ARGS)

readme: setup ## Rewrite README.md's tables of settings and commands from their declarations
	UPDATE_README=1 $(CARGO) test --test readme

lint: setup ## Check formatting, clippy and links in the documentation; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy --test docker --test advisories -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links -A rustdoc::invalid-html-tags" $(CARGO) doc --quiet --workspace --no-deps --document-private-items

deny: setup ## Check licences, origins and advisories of all dependencies
	@bash tests/deny.sh

image: ## Build the image redis-persist:redis-8; HOST_IMAGE=valkey/valkey:9 for one on Valkey
	@bash docker/image.sh

up: image ## Start a cache with durable carts in Docker, and show what survives a kill
	@bash docker/up.sh

down: ## End it; ARGS=--volumes removes the carts, too
	@bash docker/up.sh down $(ARGS)

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

always: build ## Measure who waits for a slow disk under appendfsync always, against the host's own log
	bash tests/always.sh

stalls: build ## Measure the longest stalls: growth, a huge DEL, FLUSHALL, ended fields, a huge ADOPT and RELEASE
	$(CARGO) run --release -p persist-tools --bin persist-stalls -- $(ARGS)

clean: ## Remove what building made (not ./data)
	$(CARGO) clean
