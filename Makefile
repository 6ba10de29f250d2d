# Everything a newcomer needs: `make demo` shows the model at work, `make test` checks the whole project.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help

# The first of these that runs and is new enough; `make PYTHON=/path/to/python …` chooses another.
PYTHON ?= $(firstword $(foreach p,python3.11 python3 python3.12 python3.13,$(shell $(p) -c 'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))
BIN := .venv/bin
READY := .venv/.ready
CORPUS := spectro_dreamer/corpus

export OMP_NUM_THREADS := 1
export MPLBACKEND := Agg
export IPYTHONDIR := $(CURDIR)/.venv/ipython

FLAGS ?=
STEPS ?= 20

WEB := build/web
SITE := _docs

.PHONY: help env demo test chapter data train smoke export docs site-demo clean

help:  ## list these targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

env: $(READY)  ## make the virtual environment .venv with the pinned dependencies

$(READY): constraints.txt settings.ini setup.py
	@"$(or $(PYTHON),false)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or newer is needed: install it, or name it with make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Making .venv with $(PYTHON)"; $(PYTHON) -m venv .venv; }
	@echo "Installing the pinned dependencies into .venv (a few minutes the first time)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@for p in pesq pycodec2; do $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt $$p >/dev/null 2>&1 || \
	  echo "$$p was not installed (it needs a C compiler here): it is left out, and its tests skip" >&2; done
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt --no-deps Resemblyzer >/dev/null 2>&1 || \
	  echo "Resemblyzer was not installed: voices are not compared, and their tests skip" >&2
	@touch $@

demo: env  ## run the main job on the bundled corpus: clean, prepare, train, infer, evaluate, imagine
	@$(BIN)/spectro_demo

test: env  ## check notebooks, library, site and wheel; ends with "N passed, N failed"
	@$(BIN)/python tools/run_tests.py

chapter: env  ## export, lint, run and test one chapter: make chapter N=21
	@$(BIN)/python tools/chapter.py $(or $(N),--)

data: data/dataset.h5  ## clean and prepare the bundled corpus into data/

data/dataset.h5: $(CORPUS)/validated.tsv | $(READY)
	$(BIN)/spectro_clean --metadata-file $(CORPUS)/validated.tsv --clips-dir $(CORPUS)/clips --output-dir data/clean --min-votes 2
	$(BIN)/spectro_prepare --input-dir data/clean --output-file $@

train: data/dataset.h5  ## train on data/dataset.h5: make train FLAGS="--preset dreamer --epochs 5"
	$(BIN)/spectro_train --dataset-path data/dataset.h5 $(FLAGS)

smoke: data/dataset.h5  ## train twenty steps of a small model, to see that training works
	$(BIN)/spectro_train --dataset-path data/dataset.h5 --preset dreamer --steps $(STEPS) --device cpu --no-mlflow $(FLAGS)

export: env  ## write the library, README.md and the API pages from the notebooks, and clean the notebooks
	@$(BIN)/python tools/export_library.py
	@$(BIN)/nbdev_clean
	@$(BIN)/python tools/site/make_readme.py
	@$(BIN)/python tools/site/make_pages.py

docs: env  ## render the site into _docs (needs Quarto)
	@command -v quarto >/dev/null || { echo "make docs needs Quarto, which is not installed (see quarto.org)" >&2; exit 1; }
	@touch README.md # or nbdev, finding it older than the index, writes one of its own over it
	@PATH="$(CURDIR)/$(BIN):$$PATH" nbdev_docs
	@$(BIN)/python tools/site/finish_pages.py _docs

site-demo: env  ## write the live panel, in which mini and speak run in a browser, to _docs/live (needs npm)
	@command -v npm >/dev/null || { echo "make site-demo needs npm, which is not installed (see nodejs.org)" >&2; exit 1; }
	@test -d $(WEB)/node_modules/onnxruntime-web || \
	  npm install --prefix $(WEB) --no-save --no-audit --no-fund --ignore-scripts --loglevel=error onnxruntime-web@1.30.0
	@$(BIN)/spectro_export --checkpoint mini --says speak --web $(SITE)/live

clean:  ## remove what was built; keeps .venv, data/ and runs/
	@rm -rf build dist *.egg-info _proc _docs nbs/nbdev.yml .ipynb_checkpoints nbs/.ipynb_checkpoints
	@find nbs tools experiments spectro_dreamer -name __pycache__ -prune -exec rm -rf {} +
