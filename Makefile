# make run    install into .venv, train a network on the embedded data set, test it forward only
# make test   install into .venv, run the tests
# make lint   ruff and mypy
PYTHON ?= python3
EXTRAS ?= dev,tune
VENV := .venv
INSTALLED := $(VENV)/installed-$(EXTRAS)

.PHONY: run test test-slow lint clean

run: $(INSTALLED)
	$(VENV)/bin/python train.py cifar10-74 --data synthetic --epochs 8 --output runs/first --overwrite
	$(VENV)/bin/python evaluate.py runs/first

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS)

test-slow: $(INSTALLED)
	$(VENV)/bin/python -m pytest -m slow $(PYTEST_ARGS)

lint: $(INSTALLED)
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m mypy

$(INSTALLED): setup.cfg pyproject.toml
	$(VENV)/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || rm -rf $(VENV)  # of a try with an older Python
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
