# Two commands matter: `make demo` and `make test`. Both make .venv first.
VENV   := .venv
PY     := $(VENV)/bin/python
PYTHON ?= python3
# Tests wait more than they compute, so two processes a processor; JOBS=0 runs them in one (tests/spread.py).
JOBS   ?= $(shell expr 2 \* $$(nproc))
SPREAD  = -n $(JOBS) --dist loadscope --no-loadscope-reorder

# A pytest in a fresh clone compiles hundreds of files, and so does each that a test starts, where none of it is kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check quick coverage docs browser picture bare lint wheels release-check lock bench bench-check mutants clean

# For a person at a terminal the console follows, until Enter; MAKE_TERMOUT is set where make writes to a terminal.
LOOK = $(if $(findstring --keep,$(ARGS)),,$(if $(MAKE_TERMOUT),$(shell test -t 0 && echo --console --allow-writes)))
demo: $(VENV)/.run
	$(VENV)/bin/popbox demo $(LOOK) $(ARGS)
	@$(if $(findstring --keep,$(ARGS))$(LOOK),:,echo "To see each message's way in a browser: $(VENV)/bin/popbox demo --console, and open its link")

test: $(VENV)/.dev
	$(PY) -m pytest $(SPREAD) $(ARGS)

# Minutes of measuring; each prints ratios against what it is compared with, in the same run.
bench: $(VENV)/.dev
	$(PY) -m pytest tests/bench -s -q
	$(PY) tests/bench/pop3/run.py
	$(PY) tests/bench/standin/bench.py --rounds 3

# What this tree costs against an earlier one, in ratios of CPU (tests/bench/check/README.md); BASE=wheel, tag or commit.
bench-check: $(VENV)/.dev
	$(PY) -m tests.bench.check.run $(if $(BASE),--base $(BASE)) $(ARGS)

# Nightly, an hour at nice 10: changes of the code that no test notices (tests/mutants/README.md). MINUTES=10 is shorter.
mutants: $(VENV)/.dev
	$(PY) tests/mutants/mutate.py --minutes $(or $(MINUTES),60) $(ARGS)

# In a minute: lint, types, and the tests of what is pure: rules, grammars, files, texts.
check: lint quick

QUICK = tests/test_bare.py tests/test_imports.py tests/test_needs.py tests/test_words.py tests/docs tests/mailhost/accounts tests/mailhost/qmail \
    tests/mailhost/pop3/protocol/test_session.py tests/mailhost/pop3/protocol/test_golden.py tests/popbox/hosts/test_choose.py tests/popbox/clients/test_clients.py \
    tests/popbox/ledger/test_rules.py tests/popbox/report/test_report.py tests/popbox/scenario/test_load.py tests/popbox/scenario/test_schema.py \
    tests/popbox/hosts/test_state.py tests/popbox/scenario/test_transcript.py
quick: $(VENV)/.dev
	$(PY) -m pytest $(SPREAD) -q -m "not slow and not quiet" $(QUICK) $(ARGS)

# Which lines no test runs, in child processes too; ARGS="tests/mailhost/pop3" measures by some tests.
coverage: $(VENV)/.dev
	$(PY) tests/coverage_run.py $(SPREAD) $(ARGS)

# The site and the man pages: `man -M report/man mailhost`. A link that leads nowhere fails it.
docs: $(VENV)/.docs
	$(PY) -m docs.reference report/man
	$(PY) -m docs.site report/docs
$(VENV)/.docs: harness/docs/requirements.txt $(VENV)/.dev
	$(PY) -m pip install --quiet --require-hashes -r harness/docs/requirements.txt
	@touch $@

# What the tests of the console in a browser need beside Debian's chromium: Playwright and axe, about 60 MB.
BROWSER = tests/popbox/serve/browser/requirements
browser: $(VENV)/.browser
$(VENV)/.browser: $(BROWSER).txt $(VENV)/.dev
	$(PY) -m pip install --quiet --require-hashes -r $(BROWSER).txt
	@touch $@

# README's picture of the console.
picture: $(VENV)/.browser
	$(PY) -m tests.popbox.serve.browser.picture .github/console.png

# README's two commands on machines as users have them, in containers; .ci/machines lists them.
bare:
	.ci/engine trixie
	.ci/bare $(MACHINES)

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "popbox needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Set PYTHON=..."; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	    { echo "This Python cannot make a virtual environment: apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# One after the other: a popbox of before the programs of the mail host were a distribution of their own takes them away.
$(VENV)/.run: requirements.txt pyproject.toml images/mailhost/pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --require-hashes -r requirements.txt
	$(PY) -m pip install --quiet --no-deps --no-build-isolation -e .
	$(PY) -m pip install --quiet --no-deps --no-build-isolation -e images/mailhost
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	$(PY) -m pip install --quiet --require-hashes -r requirements-dev.txt
	@touch $@

# What `pip install dist/*.whl` installs: popbox, and popbox-mailhost, which is all that a mail host needs.
wheels: $(VENV)/.run
	rm -rf dist
	$(PY) -m pip wheel --quiet --no-deps --no-build-isolation -w dist . ./images/mailhost
	@ls dist/*.whl

# All of a release but its upload, into report/release: wheels, their tests, images, what is in them (.ci/release).
release-check: $(VENV)/.sbom
	$(PY) .ci/release
$(VENV)/.sbom: .ci/sbom.txt $(VENV)/.dev
	$(PY) -m pip install --quiet --require-hashes -r .ci/sbom.txt
	@touch $@

# Makes the hash-pinned requirement files; needs `uv` on PATH (its own lock file would record index addresses).
LOCK = uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
    --no-emit-package popbox-mailhost
MAILHOST = images/mailhost/pyproject.toml
lock:
	$(LOCK) pyproject.toml --extra build --extra serve -o requirements.txt
	$(LOCK) pyproject.toml --extra build --extra serve --extra load --extra dev -o requirements-dev.txt -c requirements.txt
	$(LOCK) $(MAILHOST) -o images/mailhost/requirements.txt -c requirements.txt
	$(LOCK) $(MAILHOST) --extra standin -o images/mailhost/requirements-standin.txt -c requirements.txt
	$(LOCK) images/mailhost/requirements-box.in -o images/mailhost/requirements-box.txt -c requirements-dev.txt
	$(LOCK) harness/docs/requirements.in -o harness/docs/requirements.txt -c requirements-dev.txt
	$(LOCK) .ci/sbom.in -o .ci/sbom.txt -c requirements-dev.txt
	$(LOCK) $(BROWSER).in -o $(BROWSER).txt -c requirements-dev.txt

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis report
