# mcp-bridge. `make run` and `make test` need Python 3.11+, pip and make, and set up the rest.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := pyproject.toml $(shell find setup.py bridge entry transports validators -name '*.py' -o -path '*/static-files/*' 2>/dev/null)
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
PORT ?= 8808
# LOCKED=no installs the newest versions within the limits of pyproject.toml, for an index that lacks a version of requirements/.
LOCKED ?= yes
# $(call packages,FILE,GROUPS): what pip installs from a lock file, or without it.
packages = $(if $(filter no,$(LOCKED)),$(2),--require-hashes -r requirements/$(1).txt)
define INSTALL_FAILED
{ echo "make: the versions of requirements/$(1).txt could not be installed; with LOCKED=no the newest ones are used"; exit 1; }
endef

help:  ## print this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/ -/'

install: .venv/.installed  ## create .venv with the package: .venv/bin/mcp-bridge
.venv/.installed: $(SOURCES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ... names another"; exit 1; }
	@echo "setting up .venv with $$($(PYTHON) --version)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@# setuptools warns that build/ must stay; make clean removes both
	@PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --disable-pip-version-check --config-settings editable_mode=strict -e .
	@# pip does the same for wheels: no start compiles anything, also if Python may not write beside its sources
	@$(BIN)/python -m compileall -q build/__editable__*
	@touch $@

.venv/.test: .venv/.installed pyproject.toml requirements/test.txt
	@echo "installing what the tests need"
	@$(BIN)/pip install --quiet --disable-pip-version-check $(call packages,test,--group test) || $(call INSTALL_FAILED,test)
	@touch $@

.venv/.lint: .venv/.installed pyproject.toml requirements/lint.txt
	@echo "installing the linters and type checkers"
	@$(BIN)/pip install --quiet --disable-pip-version-check $(call packages,lint,--group lint --group test) || $(call INSTALL_FAILED,lint)
	@touch $@

URL := http://127.0.0.1:$(PORT)
BEARER := Authorization: Bearer $$(cat $(or $(XDG_STATE_HOME),$(HOME)/.local/state)/mcp-bridge/token)
define NEXT_STEPS
When it is ready, use it from another terminal. Ctrl-C stops it.

Claude Code:
  claude mcp add --transport http example $(URL)/mcp --header "$(BEARER)"
MCP Inspector:
  npx @modelcontextprotocol/inspector --cli $(URL)/mcp --transport http --header "$(BEARER)" --method tools/list
curl:
  curl $(URL)/mcp -H "$(BEARER)" -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' -d '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"curl","version":"1"}}}'
HTTP+SSE:  $(URL)/sse
WebSocket: ws://127.0.0.1:$(PORT)/ws

endef
export NEXT_STEPS
run: install  ## serve the bundled example server, and print how to use it (PORT=8808)
	@printf '%s\n' "$$NEXT_STEPS"
	@exec $(BIN)/mcp-bridge $(ROOT) --port $(PORT) --stdio -- $(abspath $(BIN)/python) $(abspath examples/server.py)

# The least coverage of lines and branches of the whole code by tests in one process (percent). Daemons that tests start are not measured.
COVERAGE_FLOOR := 88
test: .venv/.test  ## run all tests that need Python only, with coverage; writes the number of tests of each kind into build/tests
	@rm -f .coverage .coverage.*
	@$(BIN)/coverage run -m tests.suite.run
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --skip-covered --fail-under=$(COVERAGE_FLOOR)
	@echo "branch coverage of pure code must be 100 %:"
	@$(BIN)/coverage report --fail-under=100 --include='*/validators/*,*/bridge/core/*,*/bridge/eras/*,*/bridge/events/*,*/bridge/aggregate/merge.py,*/bridge/aggregate/uri_templates.py,*/bridge/aggregate/tool_names.py,*/bridge/aggregate/search_surface.py,*/bridge/config/aggregate_checks.py,*/bridge/config/import_*.py,*/bridge/config/json_edit.py,*/bridge/config/yaml_edit.py,*/bridge/commands/client_snippets.py,*/transports/process/lines.py,*/transports/endpoints/sse_codec.py'

# Make .deps/GROUP with the packages of a dependency group. The second argument says what is done.
define environment
@echo "$(2)"
@test -x .deps/$(1)/bin/pip || $(PYTHON) -m venv .deps/$(1)
@.deps/$(1)/bin/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
@.deps/$(1)/bin/pip install --quiet --disable-pip-version-check $(call packages,$(1),--group $(1)) || $(call INSTALL_FAILED,$(1))
@touch .deps/$(1)/.installed
endef

# The tools of the gates contradict the tests in their dependencies, so they have an environment of their own.
.deps/security/.installed: pyproject.toml requirements/security.txt
	$(call environment,security,installing the tools of the security gates)

# The fuzzer has an environment of its own, which also finds what the tests have: atheris has no packages for some machines.
.deps/fuzz/.installed: .venv/.test requirements/fuzz.txt
	@echo "installing the fuzzer"
	@test -x .deps/fuzz/bin/pip || $(PYTHON) -m venv .deps/fuzz
	@.deps/fuzz/bin/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -c 'import site; print(f"import site; site.addsitedir({site.getsitepackages()[0]!r})")' >"$$(.deps/fuzz/bin/python -c 'import site; print(site.getsitepackages()[0])')/tests.pth"
	@if .deps/fuzz/bin/pip install --quiet --disable-pip-version-check --only-binary :all: $(call packages,fuzz,--group fuzz); then touch $@; \
	else echo "make: the versions of requirements/fuzz.txt could not be installed; with LOCKED=no the newest ones are used"; fi

FUZZ_SECONDS ?= 60
FUZZ := .deps/fuzz/bin/python -m tests.fuzz.run
fuzz: .deps/fuzz/.installed  ## fuzz the parsers for FUZZ_SECONDS, guided by coverage; exits with 1 for a finding (input in build/fuzz), with 77 and NOT RUN without atheris
	$(FUZZ) --seconds $(FUZZ_SECONDS) $(FUZZ_TARGETS)

fuzz-self-test: .deps/fuzz/.installed  ## plant faults in the parsers, and check that the fuzzer finds each
	$(FUZZ) --self-test

# The mutants are made in an environment of their own, because the library for them needs much that nothing else needs.
.deps/mutation/.installed: pyproject.toml requirements/mutation.txt
	$(call environment,mutation,installing what makes mutants)

MUTANTS ?= 1500
MUTATION_SEED ?= 1
MUTATION := PYTHONHASHSEED=0 $(BIN)/python -m tests.mutation.run
mutation: .venv/.test .deps/mutation/.installed  ## change pure code in MUTANTS places, and see that tests fail for 85 % of them; writes docs/MUTATION.md (MODULES=validators/bearer.py: of some modules)
	$(MUTATION) --mutants $(MUTANTS) --seed $(MUTATION_SEED) $(MODULES)

mutation-self-test: .venv/.test .deps/mutation/.installed  ## weaken a test in a copy, and check that mutants survive there
	PYTHONHASHSEED=0 $(BIN)/python -m tests.mutation.self_test

WALK_STEPS ?= 1000000
WALKS := tests/bridge/eras/test_walks_*.py tests/bridge/core/test_walks_*.py tests/bridge/core/test_legacy_session.py
walks: .venv/.test  ## make WALK_STEPS random steps of the state machines of sessions, processes and eras, with the same seeds each time
	CI=true WALK_STEPS=$(WALK_STEPS) $(BIN)/python -m pytest --quiet -p no:cacheprovider -k 'walk or TestMachine or Life or a_message_reaches or each_message_reaches' $(WALKS)

lint: .venv/.lint  ## run ruff, mypy, pyright and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

format: .venv/.lint  ## apply ruff's formatter and its safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

QUICK := tests/validators tests/bridge/core tests/bridge/config tests/bridge/aggregate tests/test_documents.py
# The time that `make quick` may take (seconds); a slow machine needs more.
QUICK_SECONDS ?= 90
QUICK_STEPS := quick-steps
quick: .venv/.lint  ## lint, and run the tests of pure code, in about a minute; fails after QUICK_SECONDS
	@$(BIN)/python -m tests.suite.budget $(QUICK_SECONDS) $(MAKE) --no-print-directory $(QUICK_STEPS)

quick-steps:
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet .
	@changed=$$(git diff --name-only HEAD -- bridge transports validators; git ls-files --others --exclude-standard -- bridge transports validators); \
	case "$$changed" in *.py*) $(BIN)/mypy && $(BIN)/lint-imports --no-logo ;; esac
	$(BIN)/python -m pytest --quiet -p no:cacheprovider $(QUICK)
	@$(GATES) secrets source_rules

size: .venv/.test  ## print the lines of each package and the size of what an installation needs; writes build/size.txt
	@$(BIN)/python -m tests.suite.size

schemas: .venv/.test  ## write the types of validate = "strict" from the official JSON Schemas in tests/specification
	$(BIN)/python -m tests.specification.generate

conformance: .venv/.test  ## run the official conformance suite and the official TypeScript clients (needs Node 20+)
	tests/conformance/install.sh
	$(BIN)/python tests/conformance/run.py
	$(BIN)/python tests/conformance/client_scenarios.py

conformance-small: .venv/.test  ## run a part of `make conformance` that takes a minute (needs Node 20+)
	tests/conformance/install.sh
	$(BIN)/python tests/conformance/run.py --small

conformance-reference: .venv/.test  ## run the client scenarios with the official SDK alone, which sets their floors (needs Node 20+)
	tests/conformance/install.sh
	$(BIN)/python tests/conformance/client_scenarios.py --way direct

isolation: .venv/.test  ## make 10,000 calls of 4 to 32 clients of one process with equal ids, and check whose each message is
	ISOLATION_CALLS=10000 $(BIN)/python -m pytest --quiet -p no:cacheprovider tests/cases/test_shared_isolation.py

matrix: .venv/.test  ## run every official client with real servers; writes docs/COMPATIBILITY.md (needs Node 20+)
	tests/matrix/install.sh
	$(BIN)/python tests/matrix/run.py

proxies: .venv/.test  ## run official clients through nginx, HAProxy and Caddy, if installed; writes its section of docs/COMPATIBILITY.md (needs Node 20+)
	tests/proxies/install.sh
	$(BIN)/python tests/proxies/proxies.py

clients: .venv/.test  ## connect agent clients to a daemon, and exchange their files; writes its sections of docs/COMPATIBILITY.md (needs Node 20+)
	tests/clients/install.sh
	$(BIN)/python tests/clients/clients.py
	$(BIN)/python tests/clients/files.py

import-table: .venv/.test  ## import files of the shapes of each client; writes docs/CLIENTS.md
	$(BIN)/python tests/clients/import_table.py

restarts: .venv/.test  ## run official clients over connect during restarts and reloads of the daemon; writes its section of docs/COMPATIBILITY.md (needs Node 20+)
	tests/conformance/install.sh
	$(BIN)/python tests/clients/restarts.py

remote: .venv/.test  ## run official clients through connect and a daemon to remote servers, and log in at a real authorization server; writes its section of docs/COMPATIBILITY.md (needs Node 20+ and nginx)
	tests/remote/install.sh
	$(BIN)/python tests/remote/login.py
	$(BIN)/python tests/remote/protected.py
	$(BIN)/python tests/remote/jwt_clients.py
	$(BIN)/python tests/remote/run.py --self-test
	$(BIN)/python tests/remote/run.py

protected: .venv/.test  ## log in at a real authorization server and use the bridge as a protected resource, with official clients (needs Node 20+)
	tests/remote/install.sh
	$(BIN)/python tests/remote/protected.py
	$(BIN)/python tests/remote/jwt_clients.py

remote-faults: .venv/.test  ## make 10,000 calls in each pair of era and carrier through a proxy that breaks exchanges
	REMOTE_CALLS=10000 $(BIN)/python -m pytest --quiet -p no:cacheprovider -rP tests/chaos/test_remote_faults.py

chaos: .venv/.test  ## break disks, clocks, processes and connections under calls, and check what was lost; writes docs/CHAOS.md
	$(BIN)/python -m tests.chaos.table

leaks: .venv/.test  ## open, use and close 100,000 sessions over HTTP and over WebSocket, and see that memory does not grow
	CHAOS_CYCLES=2000 CHAOS_SESSIONS=100000 $(BIN)/python -m pytest --quiet -p no:cacheprovider -rP tests/chaos/test_cycles.py

differential: .venv/.test  ## compare messages on a bare pipe with those over each transport; writes its section of docs/COMPATIBILITY.md
	$(BIN)/python tests/differential/run.py --self-test
	$(BIN)/python tests/differential/run.py --document

workstation: .venv/.test  ## run ten real servers in one daemon; writes docs/WORKSTATION.md (needs Node 20+)
	tests/matrix/install.sh
	$(BIN)/python tests/matrix/workstation.py

sandbox: .venv/.test  ## run six real servers at each step of the sandbox and try to leave it; writes docs/SANDBOX.md (needs Node 20+, bubblewrap)
	tests/matrix/install.sh
	$(BIN)/python tests/sandbox/run.py --self-test
	$(BIN)/python tests/sandbox/run.py

zoo: .venv/.test  ## compare real servers of many SDKs, byte for byte, with and without the bridge (needs Node 20+)
	tests/zoo/install.sh
	$(BIN)/python tests/zoo/run.py --self-test
	$(BIN)/python tests/zoo/run.py
	$(BIN)/python tests/zoo/run.py --share principal

zoo-small: .venv/.test  ## run a part of `make zoo` that takes a minute (needs Node 20+)
	tests/zoo/install.sh small
	$(BIN)/python tests/zoo/run.py --small
	$(BIN)/python tests/zoo/run.py --small --share principal

BASE ?=
container: .venv/.test  ## build the container image and run it with podman (BASE=IMAGE, or mmdebstrap); exit code 77 and NOT RUN without the tools
	@$(BIN)/python tests/container/build.py $(if $(BASE),--base $(BASE)) >build/container-image; code=$$?; \
	if [ $$code -eq 0 ]; then MCP_BRIDGE_IMAGE=$$(cat build/container-image) $(BIN)/python -m pytest --quiet -p no:cacheprovider tests/container/test_image.py; else exit $$code; fi

.deps/container-lint/.installed: tests/container/lint-requirements.txt
	@test -x .deps/container-lint/bin/pip || $(PYTHON) -m venv .deps/container-lint
	@.deps/container-lint/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

container-lint: .venv/.test .deps/container-lint/.installed  ## check the Containerfile and the examples with hadolint, trivy and schemas; exit code 77 and NOT RUN without a tool
	@$(BIN)/python tests/container/lint.py
	@$(BIN)/python tests/container/lint.py --self-test

replicas: .venv/.test  ## run official clients of both eras with two daemons behind nginx and HAProxy; exit code 77 and NOT RUN without them
	@for program in nginx haproxy; do command -v $$program >/dev/null || { echo "replicas: NOT RUN: there is no program $$program"; exit 77; }; done
	$(BIN)/python -m pytest --quiet -p no:cacheprovider tests/replicas

session: .venv/.test  ## record a terminal session with tmux, from an empty home to a call; writes docs/SESSION.md
	tests/session/install.sh
	$(BIN)/python tests/session/record.py

page: .venv/.test  ## run the page at /admin in a headless Chromium; writes docs/images (needs Node 20.19+)
	tests/page/install.sh
	$(BIN)/python -m pytest --quiet -p no:cacheprovider tests/page

lint-web: web-lint
web-lint:  ## check the page at /admin with eslint, stylelint and htmlhint (needs Node 20.19+)
	tests/page/lint.sh

metrics: .venv/.test  ## check /metrics and the alert rules with promtool (of the Debian package prometheus)
	tests/prometheus/install.sh
	$(BIN)/python tests/prometheus/check.py

posture: .venv/.test  ## check that the proof of each security claim exists; writes docs/POSTURE.md
	$(BIN)/python -m tests.posture.table

# STRICT=1 also fails for a gate that needs a network or a program that is not there.
GATES := $(BIN)/python -m tests.security.run $(if $(STRICT),--strict)
security-tools: .venv/.lint .deps/security/.installed .deps/supply/.installed .deps/fuzz/.installed .deps/mutation/.installed

security: security-tools  ## run the fast security gates
	@$(GATES) --fast

security-all: security-tools  ## run all security gates; exits with 1 for findings, and with 3 if one could not run
	@$(GATES) --all

security-report: security-tools  ## run all security gates; writes report.md, report.json and report.sarif into build/security
	@$(GATES) --report

security-self-test: security-tools  ## plant faults in a copy of the sources, and check that the gates report them
	@$(GATES) --self-test

security-fix: security-tools  ## repair what the security gates can repair without a change of meaning
	@$(GATES) --fix

security-list: .venv/.lint  ## print the security gates with their planted faults; writes docs/SECURITY-GATES.md
	@$(GATES) --list

pre-commit: quick security  ## run what the hooks of .pre-commit-config.yaml run

# Named after tools: each runs the gates that do the work of the tool, and says which (docs/SECURITY-GATES.md).
SECURITY_TOOLS := actionlint audit bandit black check-manifest codespell deptry dlint dockle dodgy fawltydeps flake8 gitleaks grype-scan hadolint importchecker interrogate isort jsonlint mandoc markdownlint nodejsscan osv-scan pip-audit prospector pycodestyle pydocstyle pylint pyroma pyupgrade radon sast sbom sca semgrep shellcheck spellcheck tomllint trivy unimport vulture yamllint zizmor
$(SECURITY_TOOLS): security-tools
	@$(GATES) --target $@

plants: .venv/.test  ## break one gate after the other in a copy, and see its test fail; writes docs/PLANTED-FAULTS.md
	$(BIN)/python -m tests.posture.plants

attack: .venv/.test  ## attack running daemons with malformed, oversized, forged and slow requests
	$(BIN)/python -m pytest --quiet -p no:cacheprovider tests/hostile

bench: .venv/.test  ## measure against the floor and other bridges (needs Node 20+ and a C compiler)
	benchmarks/peers.sh
	$(BIN)/python benchmarks/run.py

# The tools that check dependencies and packages have an environment of their own.
SUPPLY := .deps/supply/bin
.deps/supply/.installed: pyproject.toml requirements/supply.txt
	$(call environment,supply,installing what the checks of dependencies and packages need)

deps-update: .deps/supply/.installed  ## write requirements/ with the newest versions and their hashes
	$(SUPPLY)/python -m tests.supply_chain.lock update

pythons: .deps/supply/.installed  ## run tests with each version of Python that is installed, and name those that are not
	$(SUPPLY)/python -m tests.supply_chain.pythons

release-check: .deps/supply/.installed  ## check what must be true before a version is published
	$(SUPPLY)/python -m tests.supply_chain.lock check
	$(SUPPLY)/python -m tests.supply_chain.metadata --release

lowest: .deps/supply/.installed  ## run the pure tests and calls of an official client with the lowest versions that pyproject.toml permits
	$(SUPPLY)/python -m tests.supply_chain.lowest $(PYTHON)

# Calls of an official client through `serve`, the aggregate and `connect`.
CALLS := tests/e2e/test_aggregate.py::test_an_official_client_in_front_of_all tests/e2e/test_connect.py::test_an_official_client_over_stdio
wheel: .venv/.test .deps/supply/.installed  ## build sdist and wheel twice with the same bytes, and make real calls through the wheel in an empty environment
	@rm -rf dist
	$(SUPPLY)/python -m tests.supply_chain.build dist --twice
	$(SUPPLY)/python -m tests.supply_chain.contents dist/*.tar.gz dist/*.whl
	@rm -rf build/wheel-venv && $(PYTHON) -m venv build/wheel-venv
	@build/wheel-venv/bin/pip install --quiet --disable-pip-version-check dist/*.whl
	build/wheel-venv/bin/mcp-bridge --version
	build/wheel-venv/bin/mcpbridged --version
	build/wheel-venv/bin/python -m mcpbridged --version
	$(SUPPLY)/python -m tests.supply_chain.start_time build/wheel-venv/bin/mcp-bridge
	MCP_BRIDGE=build/wheel-venv/bin/mcp-bridge $(BIN)/python -m pytest --quiet -p no:cacheprovider $(CALLS)
	@ls dist

package-test: wheel  ## what wheel does, and install from the sdist on an empty machine and run tests there
	$(SUPPLY)/python -m tests.supply_chain.metadata
	$(SUPPLY)/python -m tests.supply_chain.empty_machine dist/*.tar.gz

# Directories of a user's programs, units, manuals and completions (XDG Base Directory, systemd.unit(5), file-hierarchy(7)).
HERE := $(or $(XDG_DATA_HOME),$(HOME)/.local/share)
UNITS := $(or $(XDG_CONFIG_HOME),$(HOME)/.config)/systemd/user
LINK := $(HOME)/.local/bin/mcp-bridge

install-user:  ## install for this user: program, systemd units, manual pages and completions
	@echo "installing into $(HERE)/mcp-bridge"
	@mkdir -p $(HERE)/mcp-bridge $(HOME)/.local/bin $(UNITS) $(HERE)/man/man1 $(HERE)/man/man5
	@mkdir -p $(HERE)/bash-completion/completions $(HERE)/zsh/site-functions $(HERE)/fish/vendor_completions.d
	@$(PYTHON) -m venv $(HERE)/mcp-bridge/venv
	@$(HERE)/mcp-bridge/venv/bin/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(HERE)/mcp-bridge/venv/bin/pip install --quiet --disable-pip-version-check --force-reinstall .
	@ln -sf $(HERE)/mcp-bridge/venv/bin/mcp-bridge $(LINK)
	@install -m 644 systemd/mcp-bridge.service systemd/mcp-bridge.socket systemd/mcp-bridge-check.service systemd/mcp-bridge-check.timer $(UNITS)
	@install -m 644 man/mcp-bridge.1 man/mcp-bridge-connect.1 $(HERE)/man/man1
	@install -m 644 man/mcp-bridge.toml.5 $(HERE)/man/man5
	@install -m 644 completions/mcp-bridge $(HERE)/bash-completion/completions
	@install -m 644 completions/_mcp-bridge $(HERE)/zsh/site-functions
	@install -m 644 completions/mcp-bridge.fish $(HERE)/fish/vendor_completions.d
	@$(LINK) --version
	@echo "next: mcp-bridge add NAME -- COMMAND ARGS..., then mcp-bridge service install"

uninstall-user:  ## remove what install-user installed; the configuration stays
	rm -rf $(HERE)/mcp-bridge/venv $(LINK) $(UNITS)/mcp-bridge.service $(UNITS)/mcp-bridge.socket $(UNITS)/mcp-bridge-check.service $(UNITS)/mcp-bridge-check.timer
	rm -f $(HERE)/man/man1/mcp-bridge.1 $(HERE)/man/man1/mcp-bridge-connect.1 $(HERE)/man/man5/mcp-bridge.toml.5 $(HERE)/bash-completion/completions/mcp-bridge
	rm -f $(HERE)/zsh/site-functions/_mcp-bridge $(HERE)/fish/vendor_completions.d/mcp-bridge.fish
	@rmdir $(HERE)/mcp-bridge 2>/dev/null || test ! -d $(HERE)/mcp-bridge || echo "$(HERE)/mcp-bridge is not empty"

clean:  ## remove everything that the other targets created
	rm -rf .venv .deps build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis ./*.egg-info

.PHONY: help install run test size quick-steps fuzz fuzz-self-test mutation mutation-self-test walks lint format quick conformance conformance-small isolation remote remote-faults matrix differential proxies clients import-table restarts workstation sandbox zoo zoo-small session page web-lint metrics posture plants attack bench wheel install-user uninstall-user clean container lint-web $(SECURITY_TOOLS) pre-commit security security-all security-fix security-list security-report security-self-test security-tools deps-update lowest release-check package-test protected container-lint replicas pythons chaos leaks
