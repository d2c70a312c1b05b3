"The glossary: terms are found where they stand, a report leads to what it uses, and docs/glossary.md is all of it."
import re
from pathlib import Path

import pandas as pd
import pytest

from causal_prompts import glossary
from causal_prompts.core import Finding
from causal_prompts.reporting import report

DETAILS = "Its ESS is 12, the propensities & placebos are fine, Holm's p is .2, tau-b +0.31; unobserved confounders stay."


def test_terms_are_found_in_the_plural_and_by_their_short_form_and_nowhere_inside_words():
    found = glossary.terms_in(DETAILS)
    assert {DETAILS[a:b] for a, b in found.values()} == {"ESS", "propensities", "placebos", "Holm", "tau-b", "unobserved confounders"}
    assert list(found) == sorted(found, key=lambda t: found[t]) and not glossary.terms_in("less holms-like powers-that-be")
    assert "DML" in glossary.terms_in("by DML") and "DML" not in glossary.terms_in("by dml"), "the route has this name in small letters"


def test_a_term_has_a_meaning_under_each_of_its_names_and_others_are_refused():
    assert glossary.meaning("ess") == glossary.meaning("Effective sample size") == glossary.TERMS["Effective sample size (ESS)"]
    assert glossary.meaning("Tau-b") == glossary.TERMS["Kendall's tau-b"]
    with pytest.raises(ValueError, match="got 'propensty'; near: Propensity"): glossary.meaning("propensty")
    with pytest.raises(ValueError, match="got 3; TERMS has all of them"): glossary.meaning(3)


def test_links_keep_the_text_and_lead_to_what_the_page_explains(tmp_path):
    assert re.sub("<.*?>", "", glossary.as_links("a <b> & ESS")) == "a &lt;b&gt; &amp; ESS"
    f = Finding("Did it work?", pd.DataFrame(dict(a=[1])), "ok", "It did.", "always", details=DETAILS)
    page = report([("All", f)], tmp_path/"r.html").read_text()
    asked, told = set(re.findall(r'href="#(t-[\w-]+)"', page)), set(re.findall(r'<dt id="(t-[\w-]+)"', page))
    assert asked == told and len(asked) >= 5 and page.count("What the words mean") == 1
    assert "What the words mean" not in report([("All", "No term.")], tmp_path/"s.html").read_text()


def test_every_term_stands_in_the_page_of_the_docs():
    text = (Path(__file__).parents[1]/"docs"/"glossary.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)", text, re.M) == sorted(glossary.TERMS, key=str.lower) and all(m in text for m in glossary.TERMS.values())
