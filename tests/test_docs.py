"The reference of the site: every public name has an entry, and an entry says what the page says. That the site builds is `make site`, and the workflow that publishes it."
import importlib.util, json, sys
from pathlib import Path

import pytest

import causal_prompts as cp

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def ci():
    "The scripts by name, as they see each other."
    sys.path.insert(0, str(ROOT/".ci"))
    load = lambda name: importlib.util.module_from_spec(importlib.util.spec_from_file_location(name, ROOT/".ci"/f"{name}.py"))
    found = {}
    for name in ("readme", "reference", "docs"):
        found[name] = sys.modules[name] = load(name)
        found[name].__spec__.loader.exec_module(found[name])
    yield found
    sys.path.remove(str(ROOT/".ci"))
    for name in found: del sys.modules[name]


@pytest.fixture(scope="module")
def entries(ci): return ci["reference"].entries()


def test_every_public_name_has_an_entry(entries):
    assert set(entries) == set(cp.__all__)
    assert [name for name, text in entries.items() if not text.strip()] == []
    assert [m for m in cp._MODULES if not entries[m].startswith(f"# {m}\n")] == []


def test_every_name_of_a_module_stands_on_its_page(ci, entries):
    absent = [f"{m}.{n}" for m in cp._MODULES for n in ci["reference"].module(m).__all__ if f"}} {cp.__name__}.{m}.{n}" not in entries[m]]
    assert absent == []


def test_an_entry_holds_signature_types_defaults_and_meanings(entries):
    text = entries["study"]
    assert "{py:function} causal_prompts.studies.study(log, baseline=None," in text
    assert "| `baseline` | `str \\| None` = `None` | of the log, or its id;" in text and "random_state=0" in text
    assert "{py:method} average_effect(" in entries["CausalReward"] and "{py:property} identification_" in entries["CausalReward"]


def test_what_only_the_machine_reads_is_not_shown(ci):
    cell = lambda source, kind="code": dict(cell_type=kind, source=source, metadata={}, outputs=[])
    shown = lambda source, kind="code": [c["source"] for c in ci["docs"].as_read(cell(source, kind))]
    assert shown("#| hide\nimport nbdev") == shown("#| default_exp core") == []
    assert shown("#| export\nx = 1\n") == ["x = 1"]
    assert shown("[a](b.ipynb#What-it-does)", "markdown") == ["[a](b.ipynb#what-it-does)"]
    assert ci["docs"].as_read(cell("#| echo: false\nx"))[0]["metadata"] == dict(tags=["remove-input"])


def test_a_picture_of_the_readme_needs_its_text(ci):
    from nbformat.v4 import new_code_cell, new_output
    drawn = new_output("display_data", data={"image/png": "x"})
    assert ci["readme"].alt(new_code_cell("#| alt: a line\nplot()", outputs=[drawn])) == ["a line"]
    with pytest.raises(ValueError, match="once a picture, got 1 pictures"): ci["readme"].alt(new_code_cell("plot()", outputs=[drawn]))


def test_the_readme_is_short():
    assert len((ROOT/"README.md").read_text(encoding="utf-8").splitlines()) <= 120
