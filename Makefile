# Every command a person or CI runs. `make help` prints itself.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CLUSTER ?= lab
# With CLUSTER=current: a registry and prefix that the demo may push its images to.
IMAGES ?=
# What `make takeover` takes over from.
FROM ?=
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# The migration tools whose histories `make histories` makes; empty: all.
TOOLS ?=
# What `make image` makes, and by what; BUILD_FLAGS are more of the builder's own.
IMAGE ?= rollback-operator:$(VERSION)
BASE_IMAGE ?=
BUILD_FLAGS ?=
BUILDER ?= $(shell if docker info > /dev/null 2>&1; then echo docker; else command -v buildah; fi)
# A line that says which tier begins, and when: tools/test_times.py reads it.
MARK = @echo "== $@ $$(date -u +%Y-%m-%dT%H:%M:%SZ)"
# Both builders can give all that they make the time of the commit.
COMMITTED = $(shell git log -1 --format=%ct)
# What the pure rooms are covered by: their own tables, and whole passes where only they lead there.
PURE := model stats evidence judge remedies releases decide rollback report advise
OF_PURE := $(addprefix tests/unit/,$(PURE)) $(addprefix tests/unit/test_,approval.py manual.py telling.py)
INTEGRATION = $(BIN)/python -m pytest tests/lab tests/integration tests/hostile -n 3 --dist loadgroup --timeout 600
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# Set in many containers: each of hundreds of processes of the tests would compile its whole program.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install image chart demo demo-compose demo-down demo-shell test test-all unit unit-all sample integration integration-all e2e e2e-all runbook takeover hostile e2e-long lint fmt types rights histories generate verify bench bench-race bench-standing bench-pages bench-detection bench-ablation bench-compose bench-faults bench-undo fuzz simulate bench-handover bench-scale clean

##@ use
help: ## show this list
	@awk -F ':.*## ' '/^##@ /{group = substr($$0, 5); next} \
		/^[a-z0-9-]+:.*## /{lines[group] = lines[group] sprintf("  make %-16s %s\n", $$1, $$2)} \
		END{count = split("use,test,lint,image and chart,benchmarks", order, ","); \
			for (at = 1; at <= count; at++) printf "%s\n%s", order[at], lines[order[at]]}' $(MAKEFILE_LIST)

install: $(STAMP) ## create .venv with the operator and the test dependencies

$(STAMP): pyproject.toml
	@echo "== installing the Python packages into $(VENV) (about a minute)"
	@test -n "$(PYTHON)" || { echo "Python 3.11 is missing: install it, or pass PYTHON="; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) \
		|| { apt-get install --yes --quiet python3-venv && $(PYTHON) -m venv --clear $(VENV); }
	@$(BIN)/pip install --quiet --editable '.[cli,plot,dev]'
	@touch $(STAMP)

##@ image and chart
image: ## build the operator's image (IMAGE=registry/name:tag, BASE_IMAGE= with Python 3.11)
	@test -n "$(BUILDER)" || { echo "make image needs a running Docker, or buildah: install one"; exit 1; }
	@echo "== building $(IMAGE) with $(notdir $(BUILDER))"
	@SOURCE_DATE_EPOCH=$(COMMITTED) $(BUILDER) build $(BUILD_FLAGS) --tag $(IMAGE) \
		$(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) \
		$(if $(filter buildah podman,$(notdir $(BUILDER))),--timestamp $(COMMITTED)) .
	@echo "== built $(IMAGE); next: $(notdir $(BUILDER)) push $(IMAGE)"

chart: install ## package the chart -> dist/rollback-operator-VERSION.tgz
	@$(BIN)/python tools/generate.py --check
	@mkdir -p dist
	@$(BIN)/python -c 'import helm_python; print(helm_python.package("deploy/helm/rollback-operator", destination="dist"))'

##@ use
demo: install ## roll back a bad release on a real cluster (CLUSTER=lab|kind|current)
	@$(BIN)/python -m lab.demo --cluster $(CLUSTER) $(addprefix --images ,$(IMAGES))

demo-compose: install ## roll back a bad image of a Docker Compose service (root; installs Debian's Docker)
	@$(BIN)/python -m lab.demo.compose

demo-down: ## remove everything that the demo created (CLUSTER as for demo)
	@$(PYTHON) -m lab.demo.down --cluster $(CLUSTER)

demo-shell: ## open a shell with kubectl set up for the demo's cluster (CLUSTER=lab)
	@$(PYTHON) -m lab shell demo || true

##@ test
test: install lint unit sample integration e2e ## what every change has to pass: the tiers below, in this order
	$(MARK)

test-all: install lint unit-all sample integration-all e2e-all hostile e2e-long ## all of it, extended and long: before a release
	$(MARK)

unit: install ## tables over the pure rooms, passes with swapped ports; no server
	$(MARK)
	@$(BIN)/python -m pytest tests/unit -n 2 --dist worksteal --timeout 120 -m 'not extended'

unit-all: install ## the same with more examples of each law, and branch coverage of the pure rooms
	$(MARK)
	@HYPOTHESIS_PROFILE=extended $(BIN)/python -m pytest tests/unit $(addprefix --ignore ,$(OF_PURE)) -n 2 --dist worksteal --timeout 600
	@rm -f .coverage.unit*
	@HYPOTHESIS_PROFILE=extended COVERAGE_FILE=.coverage.unit $(BIN)/python -m coverage run -m pytest $(OF_PURE) -n 2 --dist worksteal --timeout 600
	@COVERAGE_FILE=.coverage.unit $(BIN)/python -m coverage combine --quiet
	@COVERAGE_FILE=.coverage.unit $(BIN)/python -m coverage report --fail-under=95

sample: install ## the tests of the sample service and of the load generator
	$(MARK)
	@cd lab/loadgen && CGO_ENABLED=0 go test ./...
	@$(PYTHON) -c 'from lab import packages; packages.ensure(packages.POSTGRES)'
	@cd lab/ticket-service && npm ci --silent --no-audit --no-fund && npm test --silent

integration: install ## real API server, Prometheus and PostgreSQL; hostile tenants; no containers
	$(MARK)
	@$(PYTHON) -m lab build
	@$(INTEGRATION) -m 'not long and not extended'

integration-all: install ## the same, and each crash, storm and attack
	$(MARK)
	@$(PYTHON) -m lab build
	@$(INTEGRATION) -m 'not long'

e2e: install ## the whole operator on a real node with real pods
	$(MARK)
	@$(BIN)/python -m lab.e2e -m 'not long and not extended'

e2e-all: install ## the same, and the scenarios that the integration tests cover, too
	$(MARK)
	@$(BIN)/python -m lab.e2e -m 'not long'

runbook: install ## run the tests that docs/runbook.md names, and fail if any is skipped
	@$(PYTHON) -m lab build
	@$(BIN)/python -m pytest $$($(BIN)/python tools/runbook.py --tests integration) -n 3 --dist loadgroup --timeout 600 --junitxml .runbook-integration.xml
	@$(BIN)/python -m lab.e2e -m '' -k "$$($(BIN)/python tools/runbook.py --names e2e)" --junitxml .runbook-e2e.xml
	@$(BIN)/python tools/runbook.py --report .runbook-integration.xml .runbook-e2e.xml

takeover: install ## an operator takes over from another build's (FROM=commit), and back
	@test -n "$(FROM)" || { echo "make takeover needs FROM=, a commit of the other build, such as the last release"; exit 1; }
	@$(PYTHON) -m lab build
	@$(BIN)/python -m tools.takeover $(FROM)

hostile: install ## every attack that admission lets through, against the real operator
	$(MARK)
	@$(BIN)/python -m pytest tests/hostile tests/integration/test_large_objects.py -n 0 -m long

e2e-long: install ## the e2e scenarios that take many minutes each
	$(MARK)
	@$(BIN)/python -m lab.e2e -m long

##@ lint
lint: install ## ruff, mypy strict, import contracts, generated files, words, spelling
	$(MARK)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache > .lint-imports.log || { cat .lint-imports.log; exit 1; }
	@$(BIN)/python tools/generate.py --check
	@$(BIN)/python tools/runbook.py --check
	@$(BIN)/python tools/words.py --check
	@$(BIN)/codespell

rights: install ## compare the permissions that the operator uses with those of the chart
	@$(BIN)/python -m tools.rights

histories: install ## run each migration tool on a real PostgreSQL -> tests/integration/histories
	@$(BIN)/python -m lab.histories $(TOOLS)

types: install ## mypy strict
	@$(BIN)/mypy

fmt: install ## format, and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

generate: install ## write the CRDs and docs/api.md from the models, docs/runbook.md from its table
	@$(BIN)/python tools/generate.py
	@$(BIN)/python tools/runbook.py

verify: generate ## fail if a generated file is not committed
	@git diff --exit-code -- deploy/crds deploy/helm/rollback-operator/files/crds docs/api.md docs/runbook.md

##@ benchmarks
bench: bench-race bench-standing bench-detection ## the benchmarks of speed and of right and wrong verdicts

bench-standing: install ## releases that must not be rolled back (25 minutes)
	@$(BIN)/python -m bench.standing

bench-race: install ## time from the first failed request to the undo (45 minutes)
	@$(BIN)/python -m bench.reaction --source prometheus
	@$(BIN)/python -m bench.reaction --source pods
	@$(BIN)/python -m bench.reaction --source stage

bench-pages: install ## the cost of reading the metrics pages of pods
	@$(BIN)/python -m bench.pages

bench-handover: install ## time without a leader after one ends or is killed
	@$(BIN)/python -m bench.handover

bench-detection: install ## right and wrong verdicts on 12,000 seeded releases (hours)
	@$(BIN)/python -m bench.detection run

bench-ablation: install ## what each rule of the judge buys on development releases (an hour)
	@$(BIN)/python -m bench.detection ablate

bench-scale: install ## the cost of ten thousand policies (an hour)
	@$(PYTHON) -m lab build
	@$(BIN)/python -m bench.scale

bench-undo: install ## time of an undo by hand while Prometheus fails (15 minutes)
	@$(PYTHON) -m lab build
	@$(BIN)/python -m bench.undo_latency

bench-compose: install ## failed requests and seconds of a bad image under Docker Compose (root)
	@$(BIN)/python -m bench.compose

bench-faults: install ## undos lost or doubled under connection faults (an hour)
	@$(PYTHON) -m lab build
	@$(BIN)/python -m bench.faults

##@ test
fuzz: install ## manifests drawn from the CRDs, on a real API server (half an hour)
	@$(PYTHON) -m lab build
	@$(BIN)/python -m tests.hostile.fuzz

simulate: install ## whole operators on virtual time with seeded faults (half an hour)
	@$(BIN)/python -m bench.simulation run --steps 1000000

##@ use
clean: demo-down ## remove what make created here; keeps the lab's builds in ~/.cache
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* .lint-imports.log .runbook-*.xml dist
