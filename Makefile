# What the project can do; `make` alone lists it.
GO   ?= go
LINT  = $(GO) tool -modfile=tools/golangci-lint/go.mod golangci-lint
FUZZTIME ?= 10s

RUNS ?= 200
SEED ?= 1

.PHONY: help build test lint bench canary-table chaos demo shop story fuzz golden jenkins-test elastic-test tidy clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/gatewarden
	$(GO) build -trimpath -o bin/gatewarden ./cmd/gatewarden

test: ## everything, with the race detector
	$(GO) vet ./...
	$(GO) test -race -timeout 30m ./...
	cd test/prometheus && $(GO) test -timeout 10m ./...
	cd test/compose && $(GO) test -timeout 10m ./...
	cd test/helm && $(GO) test -timeout 10m ./...
	cd test/jaeger && $(GO) test -timeout 10m ./...

lint: ## the pinned linters (the first run builds them)
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not gofmt-clean:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(LINT) run ./...

bench: ## the tables: decode, ingest, detection, replay, weight, judge
	$(GO) test -run "^$$" -bench "Decode" -benchtime 2s ./collector
	$(GO) test -run "^$$" -bench "Tick" -benchtime 300x -cpu 1 ./app
	$(GO) test ./analyzers/burnrate -run "Month|LowTrafficPages|OutageIsFound|Ramp|PageComes" -table -v -timeout 30m
	$(GO) run ./internal/bench

chaos: ## the real program through RUNS (200) runs of random faults, from SEED (1) on; KONG=URL of the Admin API for a real Kong
	GATEWARDEN_CHAOS_KONG=$(KONG) $(GO) test ./cmd/gatewarden -count 1 -run '^TestChaos$$' -seed $(SEED) -runs $(RUNS) -parallel 8 -timeout 4h -v

canary-table: ## the canary judge beside oracles and today's tools, simulated
	$(GO) run ./internal/canarysim

demo: ## the whole story on this machine
	$(GO) run ./cmd/gatewarden demo

shop: ## shop, customers and guard without Docker; ARGS=--story breaks v2, follows it and ends
	$(GO) build -o bin/gatewarden ./cmd/gatewarden
	$(GO) run ./examples/shop local --gatewarden bin/gatewarden $(ARGS)

story: ## the same story on the containers of docker-compose.yml
	docker compose up --detach --build --wait
	docker compose run --rm story

fuzz: ## every fuzz target for FUZZTIME (10s)
	@$(GO) list ./... | while read -r pkg; do \
	  for f in $$($(GO) test -list '^Fuzz' "$$pkg" | grep '^Fuzz'); do \
	    echo "== $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x "$$pkg" || exit 1; \
	  done; done

golden: ## write the golden files anew; look at the diff
	@grep -rlE --include='*_test.go' 'flag\.Bool\("update"' . | xargs -n1 dirname | sort -u | while read -r pkg; do \
	  $(GO) test "$$pkg" -update || exit 1; done

jenkins-test: ## the Jenkins library and its examples, with Jenkins' Groovy (needs Maven and Java 17)
	cd jenkins && mvn -q -B test

elastic-test: ## the Elasticsearch source and export before real servers (needs Maven and Java 17; minutes)
	cd test/elasticsearch && $(GO) test -timeout 30m ./...

tidy: ## go.mod as it should be
	$(GO) mod tidy
	cd test/prometheus && $(GO) mod tidy
	cd test/compose && $(GO) mod tidy
	cd test/helm && $(GO) mod tidy
	cd test/elasticsearch && $(GO) mod tidy
	cd test/jaeger && $(GO) mod tidy
	cd test/jaeger/server && $(GO) mod tidy

clean: ## remove what was built
	rm -rf bin
