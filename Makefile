# Two commands matter: `make demo` and `make test`. Both set up what they need, without root.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV ?= .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check -q

.PHONY: demo test check bench fuzz mosquitto sound browser listen lock clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       set up, then one warning through a simulated county, visibly"
	@echo "make test       set up, then the tests"
	@echo "make check      lint, strict types, import rules"
	@echo "make bench      the numbers of benchmarks/, as tables"
	@echo "make fuzz       every parser for ten minutes each: hours; FUZZ='--only cap --minutes 1' for less"
	@echo "make mosquitto  install the production broker (Debian, needs root)"
	@echo "make sound      install PortAudio, PulseAudio and PyAudio: a real sound card's way (Debian, needs root)"
	@echo "make browser    install Chromium and a Chinese font: the sheets are looked at as a person sees them (Debian, needs root)"
	@echo "make listen     install the recogniser that hears whether a voice says what it should; m4a and Opus"
	@echo "make lock       write the hash-locked dependency files again (needs uv)"

# Every byte is hash-checked, jieba's build tools (it ships only as source) included.
$(VENV)/.run: requirements.lock requirements-build.lock pyproject.toml
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes --only-binary :all: -r requirements-build.lock
	$(PIP) install --require-hashes --no-build-isolation --only-binary :all: --no-binary jieba -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	$(PIP) install --require-hashes --no-build-isolation --only-binary :all: --no-binary jieba -r requirements-dev.lock
	touch $@

demo: $(VENV)/.run
	$(VENV)/bin/fenghuo demo

test: $(VENV)/.dev
	$(PY) -m pytest -n 2 --dist loadfile -m "not sound"
	$(PY) -m pytest -m sound

check: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(VENV)/.dev
	$(PY) -m benchmarks

fuzz: $(VENV)/.dev
	PYTHONPATH=tests $(PY) -m fuzz $(or $(FUZZ),--minutes 10)

mosquitto:
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends mosquitto

sound: $(VENV)/.run
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends gcc portaudio19-dev pulseaudio pulseaudio-utils libasound2-plugins
	$(PIP) install --require-hashes --no-deps -r requirements-sound.lock

browser:
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends chromium fonts-wqy-microhei

# Without its dependencies' own locks: those it shares with the program stay as they are.
listen: $(VENV)/.run
	$(PIP) install --require-hashes --only-binary :all: --no-binary jieba --no-build-isolation -r requirements-listen.lock

# The locks name no registry host: --no-emit-index-url, and no header with the command line.
LOCK = uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --no-annotate -q
lock:
	$(LOCK) pyproject.toml --extra controller -o requirements.lock
	$(LOCK) pyproject.toml --extra controller --group dev -o requirements-dev.lock
	$(LOCK) pyproject.toml --extra controller --extra check --extra audio-more -o requirements-listen.lock
	$(LOCK) pyproject.toml --extra terminal -o requirements-terminal.lock
	printf 'pyaudio>=0.2.14\n' | $(LOCK) - -o requirements-sound.lock
	printf 'setuptools\nwheel\nhatchling\neditables\n' | $(LOCK) - -o requirements-build.lock

clean:
	rm -rf $(VENV) build dist demo-out
