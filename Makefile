# The image that deploy, docker-* and build-installer are about.
IMG ?= ghcr.io/cpnp-dev/cpnp-operator:v0.1.0
CONTAINER_TOOL ?= docker
PLATFORMS ?= linux/amd64,linux/arm64
KUBECTL ?= kubectl
# More arguments for what a target runs: make test ARGS='-run TestX -v'
ARGS ?=
# The packages of make test: first those that take longest, which else would be waited for
# at the end.
LONGEST := leaving hosts system rollout modes stale calicowatch flood
PKG ?= $(LONGEST:%=./test/%) ./...

# Nothing here needs cgo. Without it everywhere, build, test and lint share
# one build cache. (make test ARGS=-race needs CGO_ENABLED=1 and a C compiler.)
export CGO_ENABLED ?= 0

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The tools have a module of their own, so that their dependencies are not the
# operator's. The go command builds them on first use and keeps them.
CONTROLLER_GEN := go tool -modfile=hack/tools/go.mod controller-gen
CRD_REF_DOCS := go tool -modfile=hack/tools/go.mod crd-ref-docs
HELM_UNITTEST := go tool -modfile=hack/helm-unittest/go.mod helm-unittest
HELM := go tool -modfile=hack/helm/go.mod helm
KUSTOMIZE := go tool -modfile=hack/tools/go.mod kustomize
GOLANGCI_LINT := bin/golangci-lint

# Prefix of a command that needs a control plane: the caller's, else the test bed.
WITH_CONTROLPLANE = assets="$${KUBEBUILDER_ASSETS:-$$(hack/testbed/build-controlplane.sh)}"; KUBEBUILDER_ASSETS="$$assets"
# The same for one that needs a Calico too.
WITH_TESTBED = calico="$${CPNP_CALICO_ASSETS:-$$(hack/testbed/build-calico.sh)}"; $(WITH_CONTROLPLANE) CPNP_CALICO_ASSETS="$$calico"

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN {FS = ":.*## "; print "Usage: make <target>\n"} \
		/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Try it

# The demo finds or builds the control plane itself, and Calico only where packets can
# be tried.
.PHONY: demo
demo: ## Show the operator at work on a real control plane, from nothing.
	@echo "Building the demo (a minute or two the first time)"
	@go run ./hack/demo $(ARGS)

##@ Develop

.PHONY: generate
generate: ## Generate code from the API types.
	$(CONTROLLER_GEN) object:headerFile=hack/boilerplate.go.txt paths=./api/...

.PHONY: manifests
manifests: ## Generate the CRDs, the operator's role, and what is made of them.
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:dir=config/crd/bases
	$(CONTROLLER_GEN) rbac:roleName=manager-role paths="./controllers/...;./internal/..." output:rbac:dir=config/rbac
	@$(MAKE) --no-print-directory dashboard
	@$(MAKE) --no-print-directory chart-files api-reference

.PHONY: api-reference
api-reference: ## Generate docs/api.md from the API types.
	@$(CRD_REF_DOCS) --source-path=api/v1alpha1 --config=hack/api-reference.yaml \
		--renderer=markdown --output-path=docs/api.md --log-level=ERROR

.PHONY: dashboard
dashboard: ## Generate the dashboard for Grafana.
	@go -C hack/dashboard run . ../../config/monitoring/dashboard.json

.PHONY: chart-files
chart-files: ## Take over into the Helm chart what config/ defines.
	go run ./hack/chart

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## Format the code.
	$(GOLANGCI_LINT) fmt

.PHONY: vet
vet: ## Run go vet.
	go vet ./...

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Check the house rules, and the API conventions in api/.
	@$(GOLANGCI_LINT) run || failed=yes; \
	$(GOLANGCI_LINT) run --config .golangci.api.yaml ./api/... || failed=yes; \
	[[ ! -v failed ]]

.PHONY: lint-fix
lint-fix: $(GOLANGCI_LINT) ## Mend what lint can mend by itself.
	$(GOLANGCI_LINT) run --fix

.PHONY: verify-generate
verify-generate: ## Fail if what is generated is not up to date.
	@before=$$(mktemp -d); trap 'rm -rf "$$before"' EXIT; cp -R api config charts docs "$$before"; \
	$(MAKE) --no-print-directory generate manifests; \
	for dir in api config charts docs; do diff -ruN "$$before/$$dir" "$$dir" || stale=yes; done; \
	if [[ -v stale ]]; then echo "Generated files were stale. They are up to date now: commit them." >&2; exit 1; fi

.PHONY: tidy-check
tidy-check: ## Fail if a go.mod or go.sum is not tidy.
	@find . -name go.mod | sort | while read -r file; do \
		echo "go -C $${file%/go.mod} mod tidy -diff"; go -C "$${file%/go.mod}" mod tidy -diff; done

##@ Test

# Three packages at a time: each starts control planes of its own, and more than half of the
# time is waiting, for Felix above all. More would keep packet tests from the processor for
# too long; the longest of the others give way to them (testbed.Options.GiveWay). The
# programs have memory to spare, and collecting garbage would take a quarter of their time.
# Lint does what go vet would do here.
.PHONY: test
test: ## Run every test, on a real control plane (ARGS, PKG).
	@go run ./test/testbed/packets
	@$(WITH_TESTBED) GOGC=400 go test -vet=off -p 3 -timeout 40m $(PKG) $(ARGS)

# Tests of other modules read files outside of their module, and the go command would not
# notice that these have changed: -count=1 runs the tests always.
.PHONY: test-gitops
test-gitops: ## Try on every state what Flux, Helm and Argo CD make of it (ARGS).
	@go -C test/gitops test -count=1 ./... $(ARGS)

.PHONY: test-snapshot
test-snapshot: ## Try snapshots of etcd on a real etcd, and restore them (ARGS).
	@$(WITH_CONTROLPLANE) go test ./test/etcdsnapshot $(ARGS)

# Builds Prometheus, once, which takes more than ten minutes on a slow machine. The operator
# that is scraped runs on the control plane.
.PHONY: test-monitoring
test-monitoring: ## Try metrics, alerts and the dashboard on a real Prometheus (ARGS).
	@go -C hack/dashboard test -count=1 ./...
	@$(WITH_CONTROLPLANE) go -C test/monitoring test -timeout 40m -count=1 ./... $(ARGS)

.PHONY: test-unit
test-unit: ## Run the tests that need no control plane (ARGS).
	@go test $(ARGS) ./api/... ./internal/...

.PHONY: test-site
test-site: ## Try the site of the documentation: every link and anchor.
	@go -C hack/site test -count=1 ./... $(ARGS)

.PHONY: chart-test
chart-test: ## Test what the Helm chart renders.
	@$(HELM_UNITTEST) charts/cpnp-operator

.PHONY: bench
bench: ## Measure the operator on a real control plane (ARGS).
	@$(WITH_CONTROLPLANE) go run ./test/bench $(ARGS)
	go test -run '^$$' -bench . ./test/bench ./internal/tlsprobe ./internal/posture

.PHONY: testbed
testbed: ## Build the control plane that the tests run on; print its folder.
	@hack/testbed/build-controlplane.sh

.PHONY: testbed-calico
testbed-calico: ## Build the Calico that the packet tests run on; print its folder.
	@hack/testbed/build-calico.sh

##@ Build

.PHONY: build
build: ## Build bin/manager.
	go build -trimpath -o bin/manager .

.PHONY: run
run: ## Run the operator here, against the cluster of the current kubeconfig (ARGS).
	go run . $(ARGS)

.PHONY: docker-build
docker-build: ## Build the image IMG.
	$(CONTAINER_TOOL) build --tag $(IMG) .

# For several platforms at once, which only a registry can hold.
.PHONY: docker-buildx
docker-buildx: ## Build the image IMG for PLATFORMS, and push it.
	$(CONTAINER_TOOL) buildx build --push --platform $(PLATFORMS) --tag $(IMG) .

.PHONY: docker-push
docker-push: ## Push the image IMG.
	$(CONTAINER_TOOL) push $(IMG)

.PHONY: chart
chart: chart-files ## Write the Helm chart to dist/.
	mkdir -p dist
	$(HELM) package charts/cpnp-operator --destination dist

.PHONY: site
site: ## Write the documentation as a site to dist/site.
	rm -rf dist/site
	go -C hack/site run . ../.. ../../dist/site

.PHONY: build-installer
build-installer: set-image ## Write dist/install.yaml, everything that deploy applies.
	mkdir -p dist
	$(KUSTOMIZE) build config/default > dist/install.yaml

##@ Deploy

# Server-side, because a CRD outgrows the annotation of a client-side apply.

.PHONY: install
install: ## Install the CRDs into the cluster of the current kubeconfig.
	$(KUSTOMIZE) build config/crd | $(KUBECTL) apply --server-side -f -

.PHONY: uninstall
uninstall: ## Remove the CRDs, and with them every policy.
	$(KUSTOMIZE) build config/crd | $(KUBECTL) delete --ignore-not-found -f -

.PHONY: deploy
deploy: set-image ## Install the CRDs and the operator, with the image IMG.
	$(KUSTOMIZE) build config/default | $(KUBECTL) apply --server-side -f -

.PHONY: undeploy
undeploy: ## Remove the policies, which reverts them; then the operator and the CRDs.
	@kinds=$$($(KUBECTL) get crd controlplanenetworkpolicies.cpnp.dev --ignore-not-found -o name); \
	[[ -z $$kinds ]] || $(KUBECTL) delete controlplanenetworkpolicies.cpnp.dev --all
	$(KUSTOMIZE) build config/default | $(KUBECTL) delete --ignore-not-found -f -

.PHONY: deploy-probe
deploy-probe: set-image ## Install the observers on nodes, with the image IMG.
	$(KUSTOMIZE) build config/probe | $(KUBECTL) apply --server-side -f -

.PHONY: undeploy-probe
undeploy-probe: ## Remove the observers on nodes.
	$(KUSTOMIZE) build config/probe | $(KUBECTL) delete --ignore-not-found -f -

.PHONY: deploy-etcd-snapshot
deploy-etcd-snapshot: set-image ## Install regular snapshots of etcd, with the image IMG.
	$(KUSTOMIZE) build config/etcd-snapshot | $(KUBECTL) apply --server-side -f -

.PHONY: undeploy-etcd-snapshot
undeploy-etcd-snapshot: ## Remove regular snapshots of etcd; the snapshots stay.
	$(KUSTOMIZE) build config/etcd-snapshot | $(KUBECTL) delete --ignore-not-found -f -

.PHONY: set-image
set-image:
	cd config/manager && go tool -modfile=../../hack/tools/go.mod kustomize edit set image controller=$(IMG)
	cd config/probe && go tool -modfile=../../hack/tools/go.mod kustomize edit set image controller=$(IMG)
	cd config/etcd-snapshot && go tool -modfile=../../hack/tools/go.mod kustomize edit set image controller=$(IMG)

# golangci-lint with kube-api-linter in it is a program of our own.
$(GOLANGCI_LINT): hack/lint/main.go hack/lint/go.mod hack/lint/go.sum
	@echo "Building golangci-lint (about a minute and a half the first time)"
	go -C hack/lint build -trimpath -buildvcs=false -ldflags '-s -w' -o ../../$@ .
