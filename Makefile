# Verbs only: what they do stands in CMakePresets.json and in the scripts they call. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
DISKS := ./data/disk{1..6}
ROUNDS ?= 200
SECONDS ?= 3600
MINUTES ?= 10
TARGET ?= all

.PHONY: help install build serve cluster test unit check asan tsan fuzz clients clients-cluster differential timing durability soak chaos planted bench deb clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

install: ## install the Debian packages that building needs (says which)
	@tools/install.sh build

build: ## build build/release/cairn; installs nothing
	@tools/build.sh release cairn

serve: install build ## install, build, start an S3 server on six directories under ./data
	@mkdir -p $(DISKS)
	@exec build/release/cairn server $(DISKS)

cluster: install build ## install, build, start a cluster on loopback: 3 voters, 6 nodes of 2 disks, 2 gateways in 3 zones
	@deploy/local-cluster up

test: ## install, build, run every test (about a quarter of an hour on two cores)
	@tools/install.sh build test clients
	@tests/run_all.sh

unit: ## unit tests and replays of the fuzz corpora, under AddressSanitizer
	@tests/run_unit.sh asan

asan: unit ## the same as unit

tsan: ## the tests with threads, under ThreadSanitizer
	@tests/run_unit.sh tsan

check: ## layers, banned functions, hosts and paths, names, headers alone, packages
	@tools/check/run_checks.sh

fuzz: ## fuzz each parser for MINUTES=10 of CPU time, or one: TARGET=name
	@tools/install.sh build test
	@tests/run_fuzz.sh $(TARGET) $(MINUTES)

clients: build ## real S3 clients against a server of their own
	@tests/clients/run_clients.py

clients-cluster: build ## the same against a cluster with two gateways behind haproxy
	@tests/clients/run_clients.py --cluster

differential: ## a million requests signed by botocore, and most of them changed, against our check of signatures
	@tools/build.sh release sigv4_verify
	@tests/clients/sigv4_differential.py build/release/tests/sigv4_verify 1000000

timing: ## does the time of a refused signature depend on how much of it was right?
	@tools/build.sh release auth_timing
	@build/release/tests/auth_timing

durability: build ## kill -9, lost disks, full disks, flipped bits, failed system calls: the short run
	@tests/durability/run_durability.py

soak: build ## the long run of the same: ROUNDS=200 kills
	@tests/durability/run_durability.py --kill-rounds $(ROUNDS) --long

chaos: build ## a cluster under load while it is broken on purpose: SECONDS=3600, one hour
	@tests/chaos/run_chaos.py --seconds $(SECONDS)

planted: ## which defects, put in on purpose, the simulator, the crash tests and chaos find (long)
	@tests/sim/run_planted.sh

bench: build ## measure, and write docs/PERFORMANCE.md
	@tools/bench/run_bench.py

deb: build ## a Debian package in build/deb
	@tools/package_deb.sh

clean: ## remove what was built; ./data stays
	@rm -rf build
