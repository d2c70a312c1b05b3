"What people read, over ten kinds of logs: short, in plain words, and no part against another."
import warnings

import pytest

from causal_prompts.core import Finding, VERDICTS
from causal_prompts.reporting import report
from causal_prompts.studies import study
from kinds_of_logs import LOGS, made
from test_cli import Hashed
from test_report import Page

HOUSE_WORDS = ("unseen cause", "hidden cause", "told apart", "what is left", " dealt", " met ", " ring ", " rings ", " rang ", "left over", "in the air", "by lot")


@pytest.fixture(scope="module", params=list(LOGS))
def read(request):
    "A study of one of the logs, and every finding that was made on the way."
    log, seen, before = made(request.param), [], Finding.__post_init__
    def kept(self): before(self); seen.append(self)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore") # few queries
        patch.setattr(Finding, "__post_init__", kept)
        whole = study(log, encoder=Hashed(), prompts=["Please solve it with care. " + log.prompts["prompt"][0]])
        whole.findings(checkup=True), list(whole.sections())
        whole.checkup().summary
    return whole, seen


def test_the_answer_is_three_lines_of_at_most_forty_words(read):
    answer = read[0].answer
    do, sure, after = answer.reading.splitlines()
    assert len(answer.reading.split()) <= 40 and after.startswith("Next: ") and do.split()[0] in ("Use", "Try", "Keep")
    assert ("the baseline" in do) and (answer.verdict in ("ok", "caution")) >= ("Keep" not in do)


def test_a_reading_is_one_sentence_of_at_most_thirty_words(read):
    whole, seen = read
    others = [f for f in seen if f.question != whole.answer.question]
    assert len(others) > 20
    for f in others:
        assert 3 <= len(f.reading.split()) <= 30 and "\n" not in f.reading and f.reading[-1] == ".", f.reading
        assert "p = " not in f.reading and "p <= " not in f.reading and " interval" not in f.reading.replace("intervals", ""), f.reading
        assert f.threshold not in f.reading or not f.threshold


def test_readings_are_in_the_terms_of_the_field(read):
    for f in read[1]: assert not [w for w in HOUSE_WORDS if w in f" {f.reading.lower()} "], f.reading


def test_a_null_effect_is_no_ok(read):
    for f in read[1]:
        if f.reading.startswith(("No effect could be shown", "No effect of")) and "explained away" not in f.reading: assert f.verdict != "ok", f.reading
        assert f.verdict in VERDICTS


def test_no_part_speaks_against_the_answer(read):
    whole, seen = read
    kept, told = whole.answer.facts["recommended"] is None, whole.findings()
    better = (whole.effects["conclusion"] == "better").sum()
    assert kept == whole.answer.reading.startswith("Keep the baseline") == (better == 0)
    assert ("search" in told) <= (not kept) and told["effects"].facts["significant_above"] == better
    assert (told["effects"].verdict == "not shown") == ((whole.effects["conclusion"] == "no effect could be shown") | (whole.effects["conclusion"] == "not comparable with the baseline")).all()
    if whole.answer.verdict == "not shown": assert told["effects"].reading.startswith("No effect could be shown")
    if kept:
        assert "better" not in whole.answer.reading and " gains " not in told["effects"].reading
        assert not [h for h, *_ in whole.sections() if "better prompt" in h]


def test_the_report_opens_with_the_answer_and_folds_the_rest(read, tmp_path):
    whole, _ = read
    page = Page(whole.report(tmp_path/"report.html"))
    open_images = [a for a, up in page.all("img") if not any(t == "details" for t, _ in up)]
    assert 1 <= len(open_images) <= 2 and all(a["alt"].strip() for a, _ in page.all("img"))
    folds = [a for a, _ in page.all("details") if a.get("class") == "fold"]
    assert len(folds) >= 5 and page.open == [] and page.source.index('class="lead') < page.source.index("<img") < page.source.index('class="fold"')
    if whole.answer.facts["recommended"] is None: assert "better" not in page.source[page.source.index('class="lead'):page.source.index("<img")]


def test_a_report_without_an_answer_is_open(tmp_path):
    page = Page(report([("One", "Prose."), ("Two", "More.")], tmp_path/"report.html"))
    assert not page.all("details") and page.text.index("One") < page.text.index("Prose.")
