# One gate, one fixer. `make help` lists the targets; CONTRIBUTING.md says when to use which.

CARGO ?= cargo
SERVE_ARGS ?=

.PHONY: help run test check fix bench screenshots setup

help: ## what each target does
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/'

run: ## build and start a broker (SERVE_ARGS="--listen 127.0.0.1:9090 --data /tmp/w" to change the defaults)
	$(CARGO) run --locked --release -- serve $(SERVE_ARGS)

# Whimbrel's own code is lightly optimised for the tests: the exhaustive and the random ones do a lot of work, and
# debug assertions and overflow checks stay on. The crates it depends on already are (Cargo.toml, profile.dev).
test: export CARGO_PROFILE_DEV_OPT_LEVEL = 1
test: setup check ## everything that has to pass before a merge
	$(CARGO) test --locked
	$(CARGO) test --locked --features seeded-bugs,otlp --lib --test model --test otlp -- seeded_bug is_a_span

check: setup ## format, lints and documentation; never edits a file
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --features seeded-bugs,otlp --lib --bins --test model --test otlp -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --lib

fix: setup ## what can be repaired without thinking
	$(CARGO) clippy --locked --all-targets --fix --allow-dirty --allow-staged
	$(CARGO) fmt

bench: ## speed, as ratios to the ceilings measured in the same run (docs/PERFORMANCE.md); wants an idle machine
	$(CARGO) build --locked --release
	$(CARGO) bench --locked --bench ceilings

# A minimal toolchain comes without the formatter and the linter. The tests run the examples and drive the dashboard in a real
# browser: bash, curl, Python, Node and Chromium are installed where that needs no question (root, apt). Of the languages what
# is missing then, and Go, Java or PHP, is skipped and said so; without Chromium the tests of the dashboard fail and name the
# command that installs it. With all in place this does nothing.
setup:
	@$(CARGO) fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy
	@missing=; \
	for tool in bash:bash curl:curl python3:python3 node:nodejs; do \
		command -v $${tool%:*} >/dev/null 2>&1 || missing="$$missing $${tool#*:}"; \
	done; \
	browser=$$WHIMBREL_CHROMIUM; \
	for name in chromium chromium-browser google-chrome google-chrome-stable chromium-headless-shell; do \
		test -n "$$browser" || browser=$$(command -v $$name); \
	done; \
	test -n "$$browser" || missing="$$missing chromium"; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing \
			|| echo "not installed:$$missing; of the tests that need it, the examples are skipped and the dashboard's fail"; \
	fi

screenshots: setup ## pictures of every page of the dashboard, light, dark and as on a phone, in target/screenshots/
	$(CARGO) test --locked --test pages screenshots -- --ignored --nocapture
