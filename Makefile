# Isthmus: `make demo` moves a machine between two clouds on this computer; `make test` runs the tests.
# Both set everything up first (Debian 12, root). See README.md.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON := .venv/bin/python
# Two files beside each other, in the usual order: most tests wait more than they compute.
PYTEST := $(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder
export ISTHMUS_CACHE ?= /var/lib/isthmus/cache

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

.PHONY: setup
setup: ## Install the system packages and the virtual environment
	@scripts/setup

.PHONY: setup-tests
setup-tests: ## Install what tests alone want, too
	@scripts/setup packaging/debian-ceph.txt packaging/debian-browser.txt
	@scripts/setup-openstack-lab

.PHONY: lab-openstack
lab-openstack: ## Run a whole OpenStack cloud, to try Isthmus with, until Ctrl-C
	@scripts/setup-openstack-lab
	@$(PYTHON) -m lab.openstack_cloud

.PHONY: setup-peer
setup-peer: ## Install what the comparison with Manila wants, too
	@scripts/setup packaging/manila-peer.debian.txt

.PHONY: demo
demo: setup ## Move a running machine to another cloud and home again, and prove it
	@$(PYTHON) -m lab.demo

.PHONY: lint
lint: setup ## Check formatting, style, types and the layer order
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

.PHONY: test
test: setup-tests lint ## Check everything once: what CI runs
	$(PYTEST) -m "not nightly"

.PHONY: test-unit
test-unit: setup ## Only the pure tests: seconds
	$(PYTHON) -m pytest tests/unit

.PHONY: test-all
test-all: setup-tests lint ## The nightly run: every test, however slow
	$(PYTEST)

.PHONY: setup-bench
setup-bench: setup-peer ## Install what the benchmark of whole machines wants, too
	@scripts/setup packaging/virt-v2v-peer.debian.txt

.PHONY: conformance-shares
conformance-shares: setup ## Run OpenStack's own suite for shares against Isthmus, on dummy back ends and on btrfs
	@status=0; for back_end in dummy btrfs-nfs btrfs-cifs; do \
		$(PYTHON) -m conformance.shares --on $$back_end || status=1; done; exit $$status

.PHONY: bench-shares
bench-shares: setup-peer ## Compare the shares service with Manila, its services and RabbitMQ beside ours
	$(PYTHON) -m benchmarks.shares

.PHONY: chaos
chaos: setup ## Kill every process at seeded moments of migrations (100 kills), share operations and attaching
	@$(PYTHON) -m lab.chaos
	@$(PYTHON) -m lab.share_chaos
	@$(PYTHON) -m lab.attach_chaos

.PHONY: bench
bench: setup-bench bench-shares ## Compare disks with nbdcopy and qemu-img, shares with Manila, containers with Kuryr, machines with virt-v2v; time the control plane
	$(PYTHON) -m benchmarks.disk_copy
	$(PYTHON) -m benchmarks.up
	$(PYTHON) -m benchmarks.containers
	$(PYTHON) -m benchmarks.migration

.PHONY: bench-migration
bench-migration: setup-bench ## Measure the migration service: control plane, many disks, whole machines beside virt-v2v
	$(PYTHON) -m benchmarks.migration

.PHONY: lock
lock: setup ## Resolve pyproject.toml into requirements.lock again
	@packaging/lock

.PHONY: sanitize
sanitize: setup ## Run the disk engine's tests with its native part under the compiler's sanitizers
	$(PYTHON) -m lab.sanitized

.PHONY: clean
clean: ## Remove what the build made (not the caches outside the checkout)
	rm -rf build .venv .mypy_cache .ruff_cache .pytest_cache
