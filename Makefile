# The dev profile throughout, so that the tests, the demo and the generator share one build.

helm = $$(hack/helm/build)
chart = charts/apitoken-operator

# One at a time, in one directory that is kept: each further job would build every dependency anew.
mutants = target/mutants
files = src/lifecycle/**

# A cluster that happens to be in the environment is nobody's test bed.
unexport KUBECONFIG

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## See the operator at work on a control plane of its own, or with KUBECONFIG=<path> on your cluster
	@hack/demo up $(if $(filter command line,$(origin KUBECONFIG)),"$(KUBECONFIG)")

.PHONY: demo-down
demo-down: ## End the demo and remove what it made
	@hack/demo down

.PHONY: test
test: check ## Run all checks and tests
	hack/controlplane/controlplane build
	hack/gitops/build
	for tool in buildah busybox caddy envoy image-base nginx prometheus; do hack/tools $$tool || exit; done
	$(helm) lint --strict $(chart)
	cargo test --locked --no-fail-fast

.PHONY: check
check: needs ## Check format and lints
	cargo fmt --check
	cargo clippy --locked --all-targets -- --deny warnings

.PHONY: bench
bench: needs ## Measure how fast tokens are issued and verified, each beside its floor; builds the release profile
	cargo bench --locked --bench issue
	cargo bench --locked --bench verify

.PHONY: mutants
mutants: needs ## Change the lifecycle in hundreds of ways and see that its unit tests notice each; files=<path> for fewer
	@mkdir -p $(mutants)
	tool=$$(hack/cargo-tool cargo-mutants 27.1.0) && \
	PROPTEST_CASES=60 PROPTEST_MAX_SHRINK_ITERS=0 CARGO_TARGET_DIR=$(CURDIR)/$(mutants)/build "$$tool" mutants --file '$(files)' --output $(mutants)

.PHONY: image
image: needs ## Make the image of the operator in target/image, without a daemon; builds the release profile
	program=$$(hack/release-program) && hack/image "$$program" target/image

.PHONY: sbom
sbom: needs ## List what the programs are made of in target/sbom.json (CycloneDX)
	@mkdir -p target
	tool=$$(hack/cargo-tool cargo-sbom 0.10.0) && "$$tool" --output-format cyclone_dx_json_1_6 >target/sbom.json

.PHONY: deny
deny: needs ## Check licences, sources and known vulnerabilities of what is built in; checks=<which> for fewer
	tool=$$(hack/cargo-tool cargo-deny 0.20.2) && "$$tool" --locked check $(checks)

.PHONY: model
model: needs ## Check the model of two operators within wider bounds than the tests do; builds the release profile
	APITOKEN_MODEL_WIDE=1 cargo test --locked --release --test model -- --nocapture --test-threads 1

# With the smallest of the tests: their libraries turn on features of ours, so that a build without them would share nothing with theirs.
.PHONY: build
build: needs ## Build the operator
	cargo test --locked --no-run --test model

.PHONY: generate
generate: needs ## Write what is made from the code: crds/, the chart's copies of them, its table of values, references in docs/
	APITOKEN_GENERATE=1 cargo test --locked --test integration generated::

.PHONY: pictures
pictures: needs ## Draw the pictures of docs/metrics.md from what a real Prometheus sees of the programs
	APITOKEN_GENERATE=1 cargo test --locked --test integration observability::a_real

# What all the rest stands on, asked for before anything is built.
.PHONY: needs
needs:
	@missing=0; \
	need() { $$1 >/dev/null 2>&1 || { echo "missing: $${1%% *} ($$2)" >&2; missing=1; }; }; \
	need 'cargo --version' 'https://rustup.rs'; \
	need 'cargo-fmt --version' 'rustup component add rustfmt'; \
	need 'cargo-clippy --version' 'rustup component add clippy'; \
	need 'cc --version' 'apt-get install gcc'; \
	need 'go version' 'https://go.dev/dl, 1.21 or newer'; \
	need 'openssl version' 'apt-get install openssl'; \
	need 'curl --version' 'apt-get install curl'; \
	need 'python3 -m pip --version' 'with pip: apt-get install python3-pip'; \
	exit $$missing
