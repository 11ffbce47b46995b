# metaflow-deployer. `make help` lists what there is to do.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

FUNCTIONS := $(notdir $(wildcard functions/*))
SOURCES   := $(shell find client cmd functions internal -name '*.go' -o -name prices.json -o -name needs.json -o -name '*.py') $(shell find internal/portal/dist -type f) go.mod go.sum
PAGE      := $(shell find internal/portal/web -type f)
VERSION   := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GOBUILD   := CGO_ENABLED=0 go build -trimpath -tags lambda.norpc -ldflags '-s -w -X main.version=$(VERSION)'
VENV      := .local/venv
CHROMIUM  ?= /usr/bin/chromium
PORT      ?= 8080
STACK     ?= metaflow-deployer
LONG      := ./tests/portal ./tests/metaflow ./tests/simulation ./tests/cli
RACED     := ./internal/workflow ./internal/httpapi ./internal/store/... ./internal/local/lambdapool ./internal/local/frontdoor

##@ Use

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-zA-Z_%-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: .local/bin/local $(FUNCTIONS:%=.local/functions/%/bootstrap) $(VENV)/.moto ## Start everything on this computer (PORT=8080, STRICT=1 for AWS's own unkindness)
	@PORT=$(PORT) exec .local/bin/local run

.PHONY: token
token: .local/bin/local ## Print a token for somebody else: make token TENANT=a ROLES=viewer PORT=8080
	@PORT=$(PORT) .local/bin/local token

##@ Develop

.PHONY: test
test: local-stack $(VENV)/.test .local/node/.installed .local/portal/.built chromium .local/bin/oasdiff .local/dynamodb/.libs .local/bin/golangci-lint .local/ministack/.installed ## Run every test, the emulated ones too (what CI runs)
	$(MAKE) --no-print-directory test-e2e
	$(MAKE) --no-print-directory --jobs 2 --output-sync=line test-go test-beside

# Dozens of worlds at once need the whole computer: whoever shares it with them is taken for an AWS that does not answer.
.PHONY: test-e2e
test-e2e:
	METAFLOW_DEPLOYER_VENV=$(CURDIR)/$(VENV) METAFLOW_DEPLOYER_LOCAL=$(CURDIR)/.local go test -timeout 40m ./tests/e2e

# The other tests against the emulator mostly wait, the longest of them first; what only computes runs beside them.
.PHONY: test-go test-beside
test-go:
	METAFLOW_DEPLOYER_VENV=$(CURDIR)/$(VENV) METAFLOW_DEPLOYER_LOCAL=$(CURDIR)/.local METAFLOW_DEPLOYER_CHROMIUM=$(CHROMIUM) \
	  METAFLOW_DEPLOYER_MINISTACK=$(CURDIR)/.local/ministack METAFLOW_DEPLOYER_PORTAL=$(CURDIR)/.local/portal go test -p 4 -timeout 30m $(LONG) $$(go list ./... | grep --invert-match --line-regexp --fixed-strings "$$(go list $(RACED) $(LONG) ./tests/e2e)")

test-beside: lint test-store
	go test -race $(RACED)

.PHONY: test-store
test-store: $(VENV)/.moto .local/dynamodb/.libs ## Run the store's suite on moto and on DynamoDB Local
	tests/dynamodb/run

.PHONY: unit
unit: ## Run the tests that need nothing but Go
	go test ./...

.PHONY: lint
lint: .local/bin/golangci-lint ## Run the linters, the room rule among them
	go vet ./...
	.local/bin/golangci-lint run

.PHONY: generate
generate: ## Write what is derived from the code: the state machine
	go run ./cmd/generate

.PHONY: prices
prices: ## Write AWS's prices anew from its public price list (REGIONS='eu-west-1 ...' adds Regions)
	go run ./cmd/prices $(REGIONS)

.PHONY: portal
portal: .local/portal/.built ## Build the page under /portal/ from internal/portal/web into internal/portal/dist
	rm -rf internal/portal/dist
	cp -r .local/portal/dist internal/portal/dist

.PHONY: test-portal
test-portal: local-stack .local/node/.installed chromium ## Try the page in Chromium; screenshots go to .local/screenshots
	METAFLOW_DEPLOYER_VENV=$(CURDIR)/$(VENV) METAFLOW_DEPLOYER_LOCAL=$(CURDIR)/.local METAFLOW_DEPLOYER_CHROMIUM=$(CHROMIUM) \
	  go test -count 1 -timeout 20m -v ./tests/portal

.PHONY: chromium
chromium:
	@tests/portal/chromium $(CHROMIUM)

.PHONY: build
build: $(FUNCTIONS:%=build/%/bootstrap) bin/metaflow-deployer ## Build the functions for AWS (arm64), and the command line for this computer

.PHONY: bench
bench: local-stack .local/node/.installed .local/dynamodb/.libs chromium ## Print the measurements, each as a ratio against a baseline of the same run
	METAFLOW_DEPLOYER_VENV=$(CURDIR)/$(VENV) METAFLOW_DEPLOYER_LOCAL=$(CURDIR)/.local METAFLOW_DEPLOYER_CHROMIUM=$(CHROMIUM) \
	  go test -run '^$$' -bench . -benchtime 1x -timeout 30m ./tests/bench

.PHONY: fuzz
fuzz: local-stack $(VENV)/.test ## Send 50,000 generated requests to the running API (REQUESTS=number), ten times what `make test` sends
	METAFLOW_DEPLOYER_VENV=$(CURDIR)/$(VENV) METAFLOW_DEPLOYER_LOCAL=$(CURDIR)/.local METAFLOW_DEPLOYER_FUZZ=$(or $(REQUESTS),50000) \
	  go test -count 1 -timeout 120m -v -run TestGeneratedRequests ./tests/e2e

.PHONY: ministack
ministack: .local/ministack/.installed local-stack ## Deploy the template and the example stack on MiniStack
	METAFLOW_DEPLOYER_MINISTACK=$(CURDIR)/.local/ministack METAFLOW_DEPLOYER_VENV=$(CURDIR)/$(VENV) METAFLOW_DEPLOYER_LOCAL=$(CURDIR)/.local \
	  go test -count 1 -timeout 30m -run 'TestTheTemplateDeploys|TestTheExampleStack' -v ./tests/template

.PHONY: mutate
mutate: ## Break the product's safety on purpose, one place at a time: every change must be caught by a test
	METAFLOW_DEPLOYER_MUTATE=1 go test -count 1 -timeout 90m -v -run TestMutationsAreCaught ./tests/mutation

.PHONY: simulate
simulate: ## Try every fault in every world, print worlds and violations (an hour or so; WORLDS=regexp for some of it, SHARD=2/8 for a part of that)
	METAFLOW_DEPLOYER_SIMULATE=all METAFLOW_DEPLOYER_SHARD=$(SHARD) go test -count 1 -timeout 180m -v -run '$(or $(WORLDS),.)' ./tests/simulation | grep -v '^=== '

.PHONY: local-stack
local-stack: .local/bin/local $(FUNCTIONS:%=.local/functions/%/bootstrap) $(VENV)/.moto

.PHONY: clean
clean: ## Remove what was built, downloaded and written
	rm -rf .local build bin

##@ AWS (written, not yet run against a real account)

.PHONY: deploy
deploy: build ## Deploy the stack with the SAM CLI: make deploy STACK=name PARAMS='OidcIssuer=https://... ...'
	sam deploy --template-file template.yaml --stack-name $(STACK) --resolve-s3 --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND \
	  --no-fail-on-empty-changeset $(if $(PARAMS),--parameter-overrides $(PARAMS))

.PHONY: smoke
smoke: ## Create and delete one deployment in a real account: make smoke URL=https://... TOKEN=...
	METAFLOW_DEPLOYER_URL=$(URL) METAFLOW_DEPLOYER_TOKEN=$(TOKEN) METAFLOW_DEPLOYER_SMOKE=1 go test -count 1 -timeout 90m -v -run TestSmoke ./tests/smoke

.PHONY: undeploy
undeploy: ## Remove the stack; the table with the records stays
	sam delete --stack-name $(STACK) --no-prompts

# --- How things are made ---------------------------------------------------------------------------------------------------------------------------

build/%/bootstrap: $(SOURCES)
	GOOS=linux GOARCH=arm64 $(GOBUILD) -o $@ ./functions/$*

.local/functions/%/bootstrap: $(SOURCES)
	$(GOBUILD) -o $@ ./functions/$*

bin/metaflow-deployer: $(SOURCES)
	$(GOBUILD) -o $@ ./cmd/metaflow-deployer

.local/bin/local: $(SOURCES)
	go build -o $@ ./cmd/local

$(VENV)/bin/python:
	python3 -m venv $(VENV)

$(VENV)/.moto: tests/requirements-run.txt | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(VENV)/.test: tests/requirements-test.txt $(VENV)/.moto
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

.local/ministack/.installed: tests/requirements-ministack.txt
	python3 -m venv .local/ministack
	.local/ministack/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

.local/dynamodb/.libs: tests/dynamodb/pom.xml
	mvn --quiet --file $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/.local/dynamodb/libs
	@touch $@

.local/node/.installed: tests/package.json
	mkdir -p .local/node
	cp tests/package.json .local/node/
	npm install --prefix .local/node --no-audit --no-fund --silent
	@touch $@

.local/portal/.installed: internal/portal/web/package-lock.json
	mkdir -p .local/portal
	cp internal/portal/web/package.json internal/portal/web/package-lock.json internal/portal/web/.npmrc .local/portal/
	npm ci --prefix .local/portal --no-audit --no-fund --silent
	@touch $@

.local/portal/.built: $(PAGE) .local/portal/.installed
	rm -rf .local/portal/src
	cp -r internal/portal/web/. .local/portal/
	npm run --prefix .local/portal --silent build
	@touch $@

.local/bin/oasdiff:
	GOBIN=$(CURDIR)/.local/bin go install github.com/oasdiff/oasdiff@v1.37.0

.local/bin/golangci-lint:
	GOBIN=$(CURDIR)/.local/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
