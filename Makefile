# Every command a person or CI runs. `make help` prints itself.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CLUSTER ?= lab
# With CLUSTER=current: a registry and prefix that the demo may push its images to.
IMAGES ?=
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# What `make image` makes, and by what; BUILD_FLAGS are more of the builder's own.
IMAGE ?= rollback-operator:$(VERSION)
BASE_IMAGE ?=
BUILD_FLAGS ?=
BUILDER ?= $(shell if docker info > /dev/null 2>&1; then echo docker; else command -v buildah; fi)
# Both builders can give all that they make the time of the commit.
COMMITTED = $(shell git log -1 --format=%ct)
# What the pure rooms are covered by: their own tables, and whole passes where only they lead there.
PURE := model stats evidence judge remedies releases decide rollback report advise
OF_PURE := $(addprefix tests/unit/,$(PURE)) $(addprefix tests/unit/test_,approval.py manual.py telling.py)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.PHONY: help install image chart demo demo-down demo-shell test unit sample integration hostile e2e e2e-long lint fmt types rights generate verify bench bench-race bench-standing bench-pages bench-detection bench-faults bench-undo simulate bench-handover bench-scale clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## make .venv with the operator and everything that tests need

$(STAMP): pyproject.toml
	@echo "== installing the Python packages into $(VENV) (about a minute)"
	@test -n "$(PYTHON)" || { echo "Python 3.11 is missing: install it, or pass PYTHON="; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) \
		|| { apt-get install --yes --quiet python3-venv && $(PYTHON) -m venv --clear $(VENV); }
	@$(BIN)/pip install --quiet --editable '.[cli,dev]'
	@touch $(STAMP)

image: ## build the operator's image with Docker or buildah (IMAGE=registry/name:tag, BASE_IMAGE= with Python 3.11)
	@test -n "$(BUILDER)" || { echo "make image needs Docker, running, or buildah, and finds neither: install one"; exit 1; }
	@echo "== building $(IMAGE) with $(notdir $(BUILDER))"
	@SOURCE_DATE_EPOCH=$(COMMITTED) $(BUILDER) build $(BUILD_FLAGS) --tag $(IMAGE) \
		$(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) \
		$(if $(filter buildah podman,$(notdir $(BUILDER))),--timestamp $(COMMITTED)) .
	@echo "== built $(IMAGE); next: $(notdir $(BUILDER)) push $(IMAGE)"

chart: install ## package the chart -> dist/rollback-operator-VERSION.tgz
	@$(BIN)/python tools/generate.py --check
	@mkdir -p dist
	@$(BIN)/python -c 'import helm_python; print(helm_python.package("deploy/helm/rollback-operator", destination="dist"))'

demo: install ## watch a bad release being taken back, on a cluster made for it or one of yours (CLUSTER=lab|kind|current)
	@$(BIN)/python -m lab.demo --cluster $(CLUSTER) $(addprefix --images ,$(IMAGES))

demo-down: ## remove all that the demo has made (CLUSTER as for demo)
	@$(PYTHON) -m lab.demo.down --cluster $(CLUSTER)

demo-shell: ## a shell with kubectl set up for the demo's cluster (CLUSTER=lab)
	@$(PYTHON) -m lab shell demo || true

test: install lint unit sample integration e2e ## everything: lint, unit, integration, e2e

unit: install ## tables over the pure rooms and passes with swapped ports; no server
	@$(BIN)/python -m pytest tests/unit $(addprefix --ignore ,$(OF_PURE)) -n 2 --timeout 120
	@rm -f .coverage.unit*
	@COVERAGE_FILE=.coverage.unit $(BIN)/python -m coverage run -m pytest $(OF_PURE) -n 2 --timeout 240
	@COVERAGE_FILE=.coverage.unit $(BIN)/python -m coverage combine --quiet
	@COVERAGE_FILE=.coverage.unit $(BIN)/python -m coverage report --fail-under=95

integration: install ## against a real API server, Prometheus and PostgreSQL, without containers; what hostile tenants try
	@$(PYTHON) -m lab build
	@$(BIN)/python -m pytest tests/lab tests/integration tests/hostile -n 2 --dist loadgroup --timeout 300 -m 'not long'

sample: install ## the sample service's and the load generator's own tests
	@cd lab/loadgen && CGO_ENABLED=0 go test ./...
	@$(PYTHON) -c 'from lab import packages; packages.ensure(packages.POSTGRES)'
	@cd lab/ticket-service && npm ci --silent --no-audit --no-fund && npm test --silent

hostile: install ## every attack that admission lets through, used by the real operator (many minutes)
	@$(BIN)/python -m pytest tests/hostile tests/integration/test_large_objects.py -n 0 -m long

e2e: install ## the whole operator on a real node with real pods
	@$(BIN)/python -m lab.e2e

e2e-long: install ## the scenarios of e2e that take many minutes each
	@$(BIN)/python -m lab.e2e -m long

lint: install ## ruff, mypy strict, import contracts, generated files
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache > .lint-imports.log || { cat .lint-imports.log; exit 1; }
	@$(BIN)/python tools/generate.py --check

rights: install ## what the operator's account uses on a real API server, against what the chart gives it
	@$(BIN)/python -m tools.rights

types: install ## mypy strict
	@$(BIN)/mypy

fmt: install ## format, and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

generate: install ## write the CRDs and docs/api.md from the models
	@$(BIN)/python tools/generate.py

verify: generate ## fail if a generated file was not committed
	@git diff --exit-code -- deploy/crds deploy/helm/rollback-operator/files/crds docs/api.md

bench: bench-race bench-standing bench-detection ## all benchmarks

bench-standing: install ## good releases, errors that were there before, an outage: none is to be rolled back -> bench/results/standing.json (25 minutes; resumes)
	@$(BIN)/python -m bench.standing

bench-race: install ## first failed request -> undo sent, with Prometheus alone, with pod metrics, and staged -> bench/results/race.json (45 minutes; resumes)
	@$(BIN)/python -m bench.reaction --source prometheus
	@$(BIN)/python -m bench.reaction --source pods
	@$(BIN)/python -m bench.reaction --source stage

bench-pages: install ## what reading pods' own metrics pages costs, per page and per look
	@$(BIN)/python -m bench.pages

bench-handover: install ## how long nobody acts when a leader ends, in good order or killed -> bench/results/handover.json
	@$(BIN)/python -m bench.handover

bench-detection: install ## right and wrong verdicts on 12,000 seeded releases -> bench/results/detection.json (hours; resumes)
	@$(BIN)/python -m bench.detection run

bench-scale: install ## what one operator costs with ten thousand policies (about an hour)
	@$(PYTHON) -m lab build
	@$(BIN)/python -m bench.scale

bench-undo: install ## how long an undo by hand takes while Prometheus hangs, is slow, refuses or is well -> bench/results/undo_latency.json (15 minutes; resumes)
	@$(PYTHON) -m lab build
	@$(BIN)/python -m bench.undo_latency

bench-faults: install ## undos lost and double under faults on real connections -> bench/results/faults.json (an hour; resumes)
	@$(PYTHON) -m lab build
	@$(BIN)/python -m bench.faults

fuzz: install ## manifests drawn from the CRDs, admitted by a real API server, and passes over them -> bench/results/fuzz.json (half an hour)
	@$(PYTHON) -m lab build
	@$(BIN)/python -m tests.hostile.fuzz

simulate: install ## whole operators on virtual time, faults drawn from seeds: a million steps -> bench/results/simulation.json (half an hour; resumes)
	@$(BIN)/python -m bench.simulation run --steps 1000000

clean: demo-down ## remove what make has made here; the lab's builds in ~/.cache stay
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* .lint-imports.log dist
