# The two commands to know: `make demo` and `make test`. Rust, Go and make are all that they need; the first time they build a
# control plane from source (minutes), which is then kept.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test verify bench assets generate lint fuzz needs-cargo needs-go

CARGO_DENY := 0.20.2
CARGO_FUZZ := 0.13.2
FUZZ_SECONDS ?= 60
SIZES ?= 1000 10000 100000

help: ## Says what can be made
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' Makefile | expand -t 12

demo: needs-cargo needs-go ## The operator at work, on a real API server and a simulated cloud. KEEP=1 leaves all running
	@tools/demo

test: needs-cargo needs-go ## All checks
	@assets=$$(tools/assets helm | tail -n 1); \
	export NO_PROXY=$${NO_PROXY:+$$NO_PROXY,}127.0.0.1; \
	KUBEBUILDER_ASSETS=$$assets RUST_TEST_THREADS=$${RUST_TEST_THREADS:-24} cargo test --locked --features failpoints

verify: needs-cargo needs-go ## More of the same: a million simulated histories, larger worlds for the model checker, all fates at all points
	VERIFY=1 HISTORIES=$${HISTORIES:-1000000} cargo test --locked --features failpoints --lib -- --nocapture --test-threads 2 model:: histories::whatever
	@assets=$$(tools/assets | tail -n 1); \
	for seed in {1..9}; do \
	  SEED=$$seed KUBEBUILDER_ASSETS=$$assets RUST_TEST_THREADS=8 cargo test --locked --features failpoints --test e2e -- killed frozen; \
	done

assets: needs-go ## Builds kube-apiserver, etcd and (where the machine has none) kubectl; prints the folder
	@tools/assets

generate: needs-cargo needs-go ## Makes again what is generated: crds/, and what is made of them and of the chart
	@tools/generate

lint: needs-cargo ## rustfmt, clippy, cargo-deny
	cargo fmt --check
	cargo clippy --locked --all-targets --features failpoints,benchmarks -- -D warnings
	cargo clippy --locked -- -D warnings # as it is released
	@cargo deny --version 2>/dev/null | grep -qF ' $(CARGO_DENY)' || cargo install --locked cargo-deny@$(CARGO_DENY)
	cargo deny check bans licenses sources

bench: needs-cargo needs-go ## What it costs, beside a plain controller-runtime manager (an hour; SIZES=10000 for less), and the micro-benchmarks
	cargo bench --locked --bench micro --features benchmarks
	go build -C benches/peer -o "$(CURDIR)/target/peer" .
	@assets=$$(tools/assets | tail -n 1); \
	export NO_PROXY=$${NO_PROXY:+$$NO_PROXY,}127.0.0.1; \
	KUBEBUILDER_ASSETS=$$assets PEER=$(CURDIR)/target/peer cargo bench --locked --bench scale -- $(SIZES)

fuzz: needs-cargo ## Fuzzes each reader of what outsiders write, for FUZZ_SECONDS=60; FUZZ_TARGET=name for just one
	@cargo fuzz --version 2>/dev/null | grep -qF ' $(CARGO_FUZZ)' || cargo install --locked cargo-fuzz@$(CARGO_FUZZ)
	@for target in $(or $(FUZZ_TARGET),$$(cargo fuzz list)); do \
	  mkdir -p fuzz/corpus/$$target; \
	  cargo fuzz run --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=10 -rss_limit_mb=256; \
	done

# What is missing is said at once, not after ten minutes of building something else. KUBEBUILDER_ASSETS makes Go unnecessary.
needs-cargo:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust with https://rustup.rs" >&2; exit 1; }

needs-go:
	@[ -n "$${KUBEBUILDER_ASSETS:-}" ] || command -v go >/dev/null || \
	  { echo "go is missing: Go 1.26 or newer builds the API server and etcd (https://go.dev/doc/install)" >&2; exit 1; }
