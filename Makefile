# Everything a person or CI does here. `make help` lists it.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

NODE := node_modules/.bin/node
TOOLS := node_modules/.bin
STAMPS := .cache/make
# Programs that only root can use are not asked for from others.
IF_ROOT := [ "$$(id -u)" -ne 0 ] ||
# The tools run on the pinned Node as well, whatever Node the machine has.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
SOURCES := $(shell find api net operator dataplane standalone cli -name '*.ts' 2>/dev/null)
NATIVE_SOURCES := $(wildcard dataplane/native/*.cc dataplane/native/*.h dataplane/native/binding.gyp)

.PHONY: help build run demo test lint format generate interop fuzz image fuzz-native bench bench-scale soak clean

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

build: $(STAMPS)/packages $(STAMPS)/npm $(STAMPS)/native $(STAMPS)/dist ## Installs what building needs, builds the addon, compiles to dist/

$(STAMPS)/packages: .ci/packages
	@sh .ci/packages build
	@mkdir -p $(STAMPS) && touch $@

# Only our own addon and the netlink library's system-call helper are compiled, with the headers of the pinned Node.
$(STAMPS)/npm: package.json package-lock.json .npmrc .ci/npm | $(STAMPS)/packages
	sh .ci/npm
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/native: $(STAMPS)/npm $(NATIVE_SOURCES)
	@command -v g++ >/dev/null || { echo "No C++ compiler. Install one: apt-get install --no-install-recommends g++ make python3" >&2; exit 1; }
	npm run --silent build:native
	@touch $@

$(STAMPS)/dist: $(STAMPS)/npm tsconfig.json tsconfig.build.json $(SOURCES)
	$(TOOLS)/tsc -p tsconfig.build.json
	@touch $@

run: build ## Serves examples/quickstart from ./.state and says how to connect (root)
	@$(IF_ROOT) sh .ci/packages run
	@$(NODE) standalone/quickstart.ts

demo: build ## Shows a real client, an allowed and a refused address and a live rule edit, in namespaces (root)
	@$(IF_ROOT) sh .ci/packages run test
	@$(NODE) test/demo/demo.ts

test: build lint ## Everything: architecture, unit, golden, simulation, fuzz, real client
	@$(IF_ROOT) sh .ci/packages run test || echo "Going on without them; what needs them is skipped."
	@$(NODE) test/run.ts

lint: $(STAMPS)/npm ## Types, lint, format
	$(TOOLS)/tsc -p tsconfig.json
	$(TOOLS)/oxlint --type-aware --deny-warnings --report-unused-disable-directives
	$(TOOLS)/prettier --check --log-level warn .

format: $(STAMPS)/npm ## Formats every file
	$(TOOLS)/prettier --write --log-level warn .

generate: $(STAMPS)/npm ## Writes the types of api/v1alpha1 from crds/
	npm run --silent generate

interop: build ## Only the tests with the real OpenVPN client (root); ONLY=part-of-file-name picks some
	@$(IF_ROOT) sh .ci/packages run test
	@$(NODE) test/run.ts interop $(ONLY)

fuzz: build ## Seeded fuzzing; FUZZ_SECONDS=60 for each target, or FUZZ_ITERATIONS=N; TEST_SEED=N repeats a run
	@$(NODE) test/run.ts fuzz $(ONLY)

# Leaks are not looked for: Node frees little at its end. The library must come first, since Node is not built with it.
fuzz-native: build ## The addon's tests and its fuzzing under AddressSanitizer and UndefinedBehaviorSanitizer
	npm run --silent build:native:sanitize
	@LD_PRELOAD="$$($${CXX:-g++} -print-file-name=libasan.so)" CLIENTVPN_ADDON_BUILD=Debug \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	  $(NODE) --test test/unit/dataplane/native/*.test.ts test/fuzz/native.test.ts test/fuzz/tls.test.ts
	@sh test/fuzz/native/run.sh

image: build ## Builds the container image as an OCI archive in .cache/image, without Docker (root)
	@sh .ci/packages image
	@.ci/image

bench: build ## Our server beside OpenVPN's and wireguard-go, in namespaces (root); BENCH_ONLY, BENCH_RUNS=5, BENCH_SECONDS=5
	@sh .ci/packages run test bench
	@$(NODE) test/bench/throughput.ts

bench-scale: build ## Thousands of clients on one gateway, in namespaces (root); BENCH_CLIENTS=2000, BENCH_HOLD_SECONDS=60
	@sh .ci/packages run test bench
	@$(NODE) test/bench/scale.ts

soak: build ## Full speed, logins, renewals and rule edits for SOAK_SECONDS (1800): is memory flat, is a session lost?
	@sh .ci/packages run test
	@$(NODE) test/soak/soak.ts

clean: ## Removes what build made
	rm -rf dist $(STAMPS) dataplane/native/build
