# Postern's commands for people. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO_BUILD := CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)"
# CLUSTER=existing uses the present kubectl context in place of a cluster made here. CLUSTER=none ends the demo after the act that
# needs no cluster.
CLUSTER ?=
export CLUSTER

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

##@ The two commands of the README

.PHONY: demo
demo: ## Show request by request what Postern does: as one process, then on a cluster made here
	@hack/demo/demo.sh

.PHONY: demo-down
demo-down: ## Remove everything that the demo made
	@hack/demo/down.sh

.PHONY: test
test: unit e2e ## Run every test, cluster tests included

##@ Development

.PHONY: build
build: ## Build the commands into bin/
	$(GO_BUILD) -o bin/ ./cmd/...

.PHONY: generate
generate: ## Generate deep copies, CRDs, RBAC and the policy reference
	go tool controller-gen object paths=./api/v1alpha1
	go tool controller-gen crd paths=./api/v1alpha1 output:crd:dir=config/crd/bases
	go run ./hack/crddefaults
	go tool controller-gen rbac:roleName=postern-operator paths=./controllers/... output:rbac:dir=config/rbac
	go run ./hack/reference > docs/reference.md
	go run ./hack/chartcrds

.PHONY: lint
lint: ## Vet, staticcheck, format, shell scripts, JSON
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt would change:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet -tags e2e ./...
	go build -tags nocluster -o /dev/null ./cmd/postern
	go tool staticcheck -tags e2e ./...
	hack/lint.sh

.PHONY: verify
verify: ## Generate, refuse a difference, lint, test
	$(MAKE) generate
	@git diff --exit-code || { echo "generated files differ: commit what make generate wrote"; exit 1; }
	$(MAKE) lint
	$(MAKE) test

.PHONY: tools
tools: ## Install packages and build the cluster's binaries, where missing
	@hack/cluster/packages.sh
	@hack/cluster/build.sh

.PHONY: unit
unit: tools ## Run the tests that need no cluster: units, real Redis, PostgreSQL, Vault and API server, with the race detector; fuzz the HTTP/1.1 parser
	@hack/cluster/build.sh vault
	@eval "$$(hack/cluster/env.sh)"; go test -race -timeout 20m ./...
	@FUZZTIME=10s hack/fuzz.sh ./sidecar/conn/http1/...

.PHONY: e2e
e2e: tools ## Run the tests on a real node
	@test/e2e/run.sh

.PHONY: bench
bench: ## Measure the cost of a request beside nginx, HAProxy and others, revocation, logins, audit and the operator; BENCH=-quick for a first look
	@hack/cluster/packages.sh bench
	@hack/cluster/build.sh oauth2-proxy
	@hack/cluster/build.sh envtest
	@eval "$$(hack/cluster/env.sh)"; go run ./test/bench $(BENCH)

.PHONY: attack
attack: ## Flood a sidecar on this machine for ATTACK_TIME (default 10m) beside honest clients, and print how they fare
	@go test -tags attack -count 1 -timeout 1h -v -run 'Long|Costs' ./test/attack

.PHONY: soak
soak: ## Run a sidecar for SOAK_TIME (default 10m) under mixed traffic with reloads, restarts, rotations and outages, and check that nothing fails or grows
	@hack/cluster/packages.sh
	@SOAK_TIME=$${SOAK_TIME:-10m} go test -count 1 -timeout 24h -v ./test/soak

.PHONY: differential
differential: ## Compare the request path with the app itself and with the previous path, on the standard library, with several thousand requests
	@go test -count 1 ./test/differential

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME each (default 30s)
	@hack/fuzz.sh

.PHONY: images
images: ## Build the images as tarballs into dist/, without a container engine
	go run ./hack/images -out dist operator sidecar audit sample-app redis
