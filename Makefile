# Everything runs in one virtual environment, made on first use; uv is taken if it is there.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	&& echo $$p && break; done)
VENV ?= .venv
RUN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: help native demo docs test check bench nightly release-check clean
help:
	@echo "make demo     train a spiking transformer on handwriting, prove it, see what it costs (3 min)"
	@echo "make docs     the site of the documentation, in build/docs"
	@echo "make test     the tests (half an hour on 2 cores)"
	@echo "make check    ruff and mypy --strict"
	@echo "make native   the C++ libraries anew, after a change there (CMake, a C++ compiler)"
	@echo "make bench    every measured number of the docs (hours: some are trainings, which want"
	@echo "              camvid/, events/, cifar10-train.tar here, Debian's dataset-fashion-mnist)"
	@echo "make release-check  builds the wheel, installs it alone (5 GB) and tries it (15 min)"
	@echo "make nightly  the slow tests, then the fast ones as a processor with AVX2 alone runs them"

$(READY): pyproject.toml constraints.txt $(shell find native -type f)
	@test -n "$(PYTHON)" || { echo "spikesight needs Python 3.11, 3.12 or 3.13; pass PYTHON=..."; exit 1; }
	@if command -v uv >/dev/null; then \
		uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
		uv pip install --python $(RUN)/python --constraint constraints.txt --editable '.[dev]'; \
	else \
		$(PYTHON) -m venv $(VENV) && \
		$(RUN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'; \
	fi
	@touch $(READY)

native:
	@cmake --log-level=WARNING -S native -B build/native
	@env -u MAKEFLAGS -u MAKELEVEL cmake --build build/native --parallel $(shell nproc 2>/dev/null || echo 4)

demo: $(READY)
	$(RUN)/spikesight demo

docs: $(READY)
	$(RUN)/python -m sphinx --fail-on-warning --keep-going --quiet docs build/docs
	@echo "build/docs/index.html"

test: $(READY)
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -n auto

check: $(READY)
	$(RUN)/ruff check
	$(RUN)/ruff format --check
	$(RUN)/mypy

$(READY)-bench: $(READY)
	@if command -v uv >/dev/null; then uv pip install --python $(RUN)/python --editable '.[bench]'; \
	else $(RUN)/python -m pip install --disable-pip-version-check --editable '.[bench]'; fi
	@touch $@

bench: $(READY)-bench
	@failed=; for script in benchmarks/*.py; do \
		echo "== $$script"; $(RUN)/python $$script || failed="$$failed $$script"; \
	done; \
	test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

# The second run of the fast tests has one machine act as another, without AVX-512, VNNI and AMX.
nightly: $(READY)
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -n auto -m nightly --timeout=0
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 OMP_NUM_THREADS=1 \
		$(RUN)/python -m pytest -n auto

release-check: $(READY)
	$(RUN)/python tests/release_check.py $(PYTHON)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis spikesight-demo
