"No text, however odd, keeps a reader busy: 20,000 characters of any unit are read well within the time of an alarm."
import signal

import pandas as pd
import pytest

from causal_prompts import answers, core, covariates, dabench, formulas, from_promptfoo, graders, identity, importers, messages, naming, part_families, pieces, pools, same_parts
from causal_prompts import tabular, world_answers

UNITS = ["a", " ", "\n", "1", "{", "<", "$", "\\(", "\\[", "\\", "*", "_", "`", "~", "#", "\"", "=", ",", ".", "-", "€", "@a[", "a.", "a ", "1 ", "1,", "1.", "1/",
    "1,111 ", "sk-", "Bearer ", "<a>", "{{", "{{_", "{{ ", "{{a|", "{%", "<<", "answer ", "\nthe ", "\nmy", "\n ", "<answer>", "\\boxed{", "not the ", "A or ", "\nA) ", "score: 1\n",
    "\\frac{", "sqrt(", "1 1/", "0.\\overline", "~~~\n", "<prompt ", "data:", "12:", "UTC", "[PASS] (1", "$1", " x "]
FRAMES = ["{}!", "1{}2", "A {}B"]

def texts(n=20_000):
    return [f.format((u * n)[:n]) for u in UNITS for f in FRAMES] + [a + b * n for a in ("answer: ", "[PASS] (", "{{a", "x\n") for b in (" ", "1", "\n")]

def graded(grader, reference):
    return lambda t: grader(t, dict(reference=reference, options=["alpha one", "beta two", "gamma"]))

def matched(template): return lambda t: importers.matched(t, [template])

def stamps(text): return covariates._stamps(pd.Series([text, "2020-01-01 10:00"]))

READERS = {
    "exact": graded(graders.exact(), "x"), "label": graded(graders.label(["positive", "negative"]), "positive"), "choice": graded(graders.choice(), "A"),
    "number": graded(graders.number(), "3"), "sequence": graded(graders.sequence(), "a b"), "formula": formulas.formula_answer, "key of a formula": lambda t: formulas.formula_key(t[:5000]),
    "two numbers": formulas._TWO.fullmatch, "final answer": answers.final_answer, "plain": answers.plain_characters,
    "keys in errors": lambda t: identity.blot(t, guess=True), "pictures": identity.media_hashed, "role": lambda t: world_answers.role_of([dict(role="user", content=t)]),
    "markdown": core.as_markdown, "dates": stamps, "spans": covariates._DURATION.fullmatch,
    "one query": matched("Q: {query} A:"), "a query twice": matched("{query} {query}"), "other fields": matched("{x} b {query} c {y}"), "fields in a row": matched("{x}{y}{query}"),
    "options": lambda t: importers.without_options(t, ["a", "1", "(A)"]), "variables": importers.variables_left, "holes": messages.holes_of, "own hole": lambda t: messages.mark_hole(t, "a"),
    "status": from_promptfoo.has_status, "named answers": dabench.named_answers, "value": lambda t: dabench.same_value(t, "34.65"), "digits": lambda t: dabench.decimals_asked("a", t),
    "pieces": pieces.cut, "same words": lambda t: same_parts.same_words.__wrapped__(t), "conflict": lambda t: same_parts.conflict(t, t + "."), "families": part_families.family_of, "labels": part_families.parse_family,
    "program": tabular.code_in, "placeholders": lambda t: pieces.PLACEHOLDER.sub("", t), "ends of sentences": pieces._NO_END.search, "words": pools._word_list, "names": naming.bare_name}

@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarm on this system")
@pytest.mark.parametrize("name", READERS)
def test_no_text_keeps_a_reader_busy(name):
    def ring(*_): raise TimeoutError
    was, late = signal.signal(signal.SIGALRM, ring), []
    try:
        for t in texts():
            signal.setitimer(signal.ITIMER_REAL, 10)
            try: READERS[name](t)
            except TimeoutError: late.append(t[:20])
            except ValueError: pass # refused is read
            finally: signal.setitimer(signal.ITIMER_REAL, 0)
            if late: break
    finally: signal.signal(signal.SIGALRM, was)
    assert not late, f"{name} is still busy after 10 seconds with {late}"

def test_bounds_leave_short_texts_as_they_were():
    two = formulas._TWO.fullmatch
    assert all(map(two, [" or ", ", ", " dollars to $", " - ", "% and "])) and not two(" is more than ")
    assert formulas.formula_key("hello world")[1] and not formulas.formula_key("abc")[1] and not formulas.formula_key("x1 with words")[1]
    assert formulas.tidy_formula(r"0.1\overline{3}") == r"\frac{2}{15}" and identity.blot("got sk-abcdefghijklmnop1", guess=True) == "got [key]"
    assert messages.holes_of("{{ a }} {{- b | c -}} {{d.e}}") == {"a", "b", "d"}
    assert messages.mark_hole("{{ a }} {{a.b | f }} {{- a -}} {{ab}}", "a") == "{query} {query} {query} {{ab}}"
    assert importers.matched("Q:  two\nwords \nA:", ["Q: {query}\nA:"]) == ("Q: {query}\nA:", "two\nwords")
    assert importers.matched("ctx\nQ: one\nagain: one", ["{c}\nQ: {query}\nagain: {query}"])[1] == "one"
    assert importers.matched("B one A", ["A {query} B"]) is None
    assert tabular.code_in("~~~~python\nprint(1)\n~~~~") == "print(1)" and world_answers._WRITES.search("write 12 prompts now")
    assert covariates._one_spelling(pd.Series(["2020-01-01 10:00  (UTC)", "2020-01-01 10:00 Z"])).tolist() == ["2020-01-01 10:00Z"] * 2
