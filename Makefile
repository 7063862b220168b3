# Holdfast: the commands people type. Everything that is built lies in build/.
SHELL := /bin/bash
BUILD ?= build
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
export HOLDFAST_BED_CACHE ?= $(abspath $(BUILD))/bed-cache

.PHONY: all demo test bench soak docs clean deps quick coverage fuzz proof

all: $(BUILD)/a/build.ninja
	ninja -C $(BUILD)/a

# Debian packages, once. tests/packages.txt and tests/bed/packages.txt name them.
deps: $(BUILD)/.deps
$(BUILD)/.deps: $(wildcard tests/packages.txt tests/*/packages.txt)
	@mkdir -p $(BUILD)
	@missing=$$(cat $^ | grep -v '^\#' | xargs -n1 sh -c 'dpkg -s "$$0" >/dev/null 2>&1 || echo "$$0"'); \
	if [ -n "$$missing" ]; then \
		echo "installing:" $$missing; \
		$(SUDO) apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing >$(BUILD)/apt.log 2>&1 \
			|| { tail -n 5 $(BUILD)/apt.log; echo "make: packages could not be installed; see $(BUILD)/apt.log"; exit 1; }; \
	fi
	@touch $@

# The pair of builds: b is a newer one, with level 2 and one changed reply.
$(BUILD)/a/build.ninja: $(BUILD)/.deps
	meson setup $(BUILD)/a -Dvariant=a >/dev/null
$(BUILD)/b/build.ninja: $(BUILD)/.deps
	meson setup $(BUILD)/b -Dvariant=b >/dev/null
$(BUILD)/sabotage/build.ninja: $(BUILD)/.deps
	meson setup $(BUILD)/sabotage -Dvariant=a -Dsabotage=true >/dev/null

# The main job: a stock Debian guest, its paravisor replaced and killed under load.
demo: $(BUILD)/a/build.ninja $(BUILD)/b/build.ninja $(if $(DEMO_SABOTAGE),$(BUILD)/sabotage/build.ninja)
	@ninja --quiet -C $(BUILD)/a
	@ninja --quiet -C $(BUILD)/b
	@$(if $(DEMO_SABOTAGE),ninja --quiet -C $(BUILD)/sabotage)
	@tests/bed/demo.sh --build-a $(BUILD)/$(if $(DEMO_SABOTAGE),sabotage,a) --build-b $(BUILD)/b --out $(BUILD)/demo

test: $(BUILD)/.deps
	@BUILD=$(BUILD) tests/run-tests.sh

# What a developer runs between two edits: one build, unit tests.
quick: all
	@meson test -C $(BUILD)/a --no-rebuild --print-errorlogs

bench: $(BUILD)/a/build.ninja $(BUILD)/b/build.ninja
	@ninja --quiet -C $(BUILD)/a
	@ninja --quiet -C $(BUILD)/b
	@tests/bench/bench.sh $(BUILD)/a $(BUILD)/b $(BUILD)/bench.json

$(BUILD)/soak/build.ninja: $(BUILD)/.deps
	CC=clang meson setup $(BUILD)/soak -Dvariant=a -Dcoverage=true -Db_sanitize=address,undefined -Db_lundef=false >/dev/null
soak: $(foreach d,a b sabotage soak,$(BUILD)/$(d)/build.ninja)
	@$(foreach d,a b sabotage soak,ninja --quiet -C $(BUILD)/$(d) && )true
	@tests/soak/soak.sh $(BUILD)/a $(BUILD)/b tests/soak

# Which rows, answers, lines and branches were taken; GUEST: a state directory or
# an archive whose log is counted too. COVERAGE_ONLY: sources, by commas.
$(BUILD)/coverage-a/build.ninja: $(BUILD)/.deps
	meson setup $(BUILD)/coverage-a -Dvariant=a -Dcoverage=true -Db_coverage=true -Dbuildtype=debug -Dwerror=false >/dev/null
$(BUILD)/coverage-b/build.ninja: $(BUILD)/.deps
	meson setup $(BUILD)/coverage-b -Dvariant=b -Dcoverage=true -Db_coverage=true -Dbuildtype=debug -Dwerror=false >/dev/null
coverage: $(BUILD)/coverage-a/build.ninja $(BUILD)/coverage-b/build.ninja
	@ninja --quiet -C $(BUILD)/coverage-a
	@ninja --quiet -C $(BUILD)/coverage-b
	@python3 tests/coverage/coverage.py $(BUILD)/coverage-a $(BUILD)/coverage-b $(BUILD)/coverage \
		$(if $(COVERAGE_ONLY),--only $(COVERAGE_ONLY)) $(foreach g,$(GUEST),--guest $(g))

# Pictures and pages of the machines, and the command line, from the tables.
docs: all
	$(BUILD)/a/holdfast machines --doc docs/machines
	$(BUILD)/a/holdfast help --markdown >docs/cli.md

clean:
	rm -rf $(BUILD)
