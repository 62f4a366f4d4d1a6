# make lab    opens JupyterLab at the welcome notebook
# make test   checks the style, the rooms, the notebooks and runs the tests
#
# Both create .venv and install what is missing the first time (some minutes), and start at once afterwards.
#   PYTHON=…     the Python 3.11, 3.12 or 3.13 to build .venv with
#   LAB_FLAGS=…  more arguments for "jupyter lab", e.g. LAB_FLAGS="--no-browser --port=9000"
#   PIP_FLAGS=…  more arguments for "pip install", e.g. an index or folder that holds a CPU build of torch

SHELL     := /bin/sh
VENV      ?= .venv
PYTHON    ?=
LAB_FLAGS ?=
PIP_FLAGS ?=

python := $(VENV)/bin/python
# JupyterLab without questions: no news, no update check, no package index behind the extension manager.
quiet  := --LabApp.app_settings_dir="$(CURDIR)/binder/settings" --LabApp.news_url=None \
          --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate --LabApp.extension_manager=readonly

.PHONY: lab test
.DELETE_ON_ERROR:

# Worker processes are found by name, so the environment's bin comes first on the PATH.
lab: $(VENV)/.installed-lab
	PATH="$(abspath $(VENV))/bin:$$PATH" $(python) -m jupyterlab --allow-root $(quiet) \
	    --LabApp.default_url=/lab/tree/notebooks/00_welcome.ipynb $(LAB_FLAGS)

test: $(VENV)/.installed-test
	$(python) -m ruff check .
	PATH="$(abspath $(VENV))/bin:$$PATH" lint-imports
	$(python) -m nbstripout --verify --keep-id $$(find notebooks -name '*.ipynb' -not -path '*/.*')
	@# Three files at a time: the tests of engines, kernels and clusters mostly wait for processes to start and to die.
	PATH="$(abspath $(VENV))/bin:$$PATH" $(python) -m pytest tests --ignore=tests/browser --ignore=tests/benchmarks \
	    --numprocesses=3 --dist=loadfile --no-loadscope-reorder

# A stamp is newer than what it was installed from, or the install runs again.
$(VENV)/.installed-lab: extras :=
$(VENV)/.installed-test: extras := [test]
$(VENV)/.installed-lab $(VENV)/.installed-test: pyproject.toml constraints.txt | $(python)
	@echo "Installing what is missing into $(VENV); the first time this takes some minutes."
	$(python) -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.$(extras)'
	@# Its metadata asks for pydantic 1, which spaCy and ProxyStore rule out; what it imports is in pyproject.toml.
	$(python) -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) --no-deps doccano-client==1.2.8
	@touch $@

suits := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

$(python):
	@for each in "$(PYTHON)" python3.11 python3.12 python3.13 python3 python; do \
	    if test -n "$$each" && "$$each" -c '$(suits)' >/dev/null 2>&1; then found=$$each; break; fi; \
	    if test -n "$(PYTHON)" && test "$$each" = "$(PYTHON)"; then break; fi; \
	done; \
	if test -z "$$found"; then \
	    echo "scilab needs Python 3.11, 3.12 or 3.13 with its venv module, and found none$(if $(PYTHON), at $(PYTHON))." >&2; \
	    echo "Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.12)," >&2; \
	    echo "or name one: make lab PYTHON=/path/to/python3.12" >&2; \
	    exit 1; \
	fi; \
	echo "Creating $(VENV) with $$found"; \
	"$$found" -m venv --clear $(VENV)
