"The checkup: what applies runs, worst first; what does not says why; what breaks is not hidden; the page and the command carry it."
import re, warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

import causal_prompts as cp
from causal_prompts import cli, studies
from causal_prompts.checks import CHECKS
from causal_prompts.core import Finding, NotIdentifiedError
from causal_prompts.diagnostics import Checkup, checkup
from causal_prompts.reporting import report
from fakes import Words

FAST = ["power", "overlap", "balance", "naive gap"]


def fit(preset, n=300, seed=0, kind=cp.CausalReward, log_kwargs={}, **world):
    w = cp.World.preset(preset, **world)
    log = w.log(n_queries=n, n_prompts=12, seed=seed, **log_kwargs)
    settings = dict(learner="kernel", folds=0) if kind is cp.CausalReward else dict(learner="ridge")
    return kind(**settings, encoder=Words(), baseline=w.baseline).fit(log)


@pytest.fixture(scope="module")
def clean(): return checkup(fit("randomised"))


def test_everything_that_applies_runs_and_nothing_breaks(clean):
    ran, left = set(clean), set(clean.skipped["check"])
    assert ran | left == set(CHECKS) and not ran & left
    assert not clean.skipped["why"].str.startswith("FAILED").any(), clean.skipped
    assert {"fresh", "prompts", "thorough"} <= set(re.findall(r"(\w+)=", " ".join(clean.skipped["why"])))
    for name, f in clean.findings.items():
        assert isinstance(f, Finding) and f.threshold and f.reading.strip(), name
        assert f.advice or f.verdict in ("ok", "not shown"), f"{name}: what flags must say what to do next"
        Finding.from_dict(f.to_dict()).plot()

def test_a_clean_log_is_believed_by_nearly_all_checks(clean):
    assert sum(f.verdict in ("caution", "stop") for f in clean.findings.values()) <= 1, clean

def test_the_worst_comes_first():
    order = [f.verdict for f in checkup(fit("confounded-hidden", kind=cp.NaiveReward), only=[*FAST, "assignment", "within and between"]).findings.values()]
    rank = ["stop", "caution", "not shown", "ok"]
    assert order == sorted(order, key=rank.index) and order[0] != "ok"

def test_summary_counts_what_rang(clean):
    f = clean.summary.facts
    assert sum(len(f[v]) for v in ("stop", "caution", "not shown", "ok")) == len(clean) and str(len(clean)) in clean.summary.details

def test_a_check_that_breaks_is_said_and_the_rest_goes_on(monkeypatch):
    def broken(reward, random_state=0): raise ZeroDivisionError("by nothing")
    monkeypatch.setitem(CHECKS, "balance", replace(CHECKS["balance"], function=broken))
    with pytest.warns(UserWarning, match="'balance' broke and says nothing: ZeroDivisionError"): found = checkup(fit("randomised", 100), only=["power", "balance"])
    assert list(found) == ["power"] and found.summary.verdict != "ok" and "balance" in found.summary.facts["broken"]

def test_what_does_not_apply_gives_its_reason(monkeypatch):
    def never(reward, random_state=0): raise NotIdentifiedError("The moon is down.", "sleeping.")
    monkeypatch.setitem(CHECKS, "balance", replace(CHECKS["balance"], function=never))
    found = checkup(fit("randomised", 100), only=["balance", "power"])
    assert list(found.skipped["why"]) == ["does not apply: The moon is down."]

def test_proposals_and_fresh_queries_bring_their_checks():
    w = cp.World.preset("randomised")
    reward = fit("randomised")
    found = checkup(reward, fresh=w.log(n_queries=200, n_prompts=12, seed=9), prompts=[w.baseline, "Schreib ein Gedicht über den Mond und die See."], only=["extrapolation", "shift", "drift", "hard subset"])
    assert {"extrapolation", "shift"} <= set(found) and found["extrapolation"].verdict != "ok"

@pytest.mark.parametrize("call, error, match", [
    (lambda r: checkup(cp.CausalReward()), NotFittedError, "fitted"), (lambda r: checkup(r, only="blance"), ValueError, "blance"), (lambda r: checkup(r, skip=["nothing"]), ValueError, "nothing"),
    (lambda r: checkup(r, fresh=pd.DataFrame()), TypeError, "Triplets"), (lambda r: checkup(r, only=["power"])["overlap"], KeyError, "did not run")])
def test_bad_input_is_refused(call, error, match):
    with pytest.raises(error, match=match): call(fit("randomised", 60))

def test_page_text_and_markdown_hold_every_check(clean, tmp_path):
    page = report(clean.sections(), tmp_path/"report.html", lead=clean.summary).read_text()
    for name, f in clean.findings.items(): assert name in str(clean) and name in clean._repr_markdown_()
    assert page.count("<img") >= len(clean) - 2 and not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?https?:", page)
    assert all(w in page for w in clean.skipped["check"])

def test_the_command_checks_a_log(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(studies, "default_encoder", Words)
    w = cp.World.preset("confounded-visible")
    w.log(n_queries=150, n_prompts=8, prompts_per_query=3).write(tmp_path/"log.parquet")
    w.log(n_queries=80, n_prompts=8, prompts_per_query=3, seed=5).write(tmp_path/"fresh.parquet")
    code = cli.main(["checkup", str(tmp_path/"log.parquet"), "--baseline", w.baseline, "--fresh", str(tmp_path/"fresh.parquet"), "--out", str(tmp_path)])
    out = capsys.readouterr().out
    assert code == 0 and "Can this be believed?" in out and "In one sentence" in out and (tmp_path/"report.html").stat().st_size > 50_000
    assert "Traceback" not in out and "FAILED" not in out

def test_the_commands_refusals_speak_its_own_words(tmp_path, capsys):
    pd.DataFrame(dict(query=["a"], prompt=["b"], score=[7])).to_csv(tmp_path/"log.csv", index=False)
    assert cli.main(["checkup", str(tmp_path/"log.csv"), "--out", str(tmp_path)]) == 2
    assert "--score-range 1,10 " in capsys.readouterr().err

SLIPS = [ # (form, table) of a finding, what is said of it
    (("bars", dict(label="prompt", value="querys")), "the form 'bars' must be given columns of the table, got value='querys'; there are ['prompt', 'queries']"),
    (("bars", {}), "got label='label', value='value'; there are"), (("stars", {}), "form must be one of ['bars'"),
    (("bars", dict(lable="prompt")), "the form 'bars' takes ['label', 'value', 'lo', 'hi', 'mark', 'xlabel', 'title', 'level']: got an unexpected keyword argument 'lable'"),
    (("points", dict(x="queries")), "the form 'points' takes .*: missing a required argument: 'y'")]

@pytest.mark.parametrize("form, match", SLIPS)
def test_a_picture_that_a_table_does_not_give_is_said_by_the_checkup_and_by_plot(form, match, monkeypatch):
    from causal_prompts import checks
    found = Finding("Is it so?", pd.DataFrame(dict(prompt=["a"], queries=[3])), "ok", "3.", "none", form=form)
    with pytest.raises((ValueError, TypeError), match=match.replace("[", r"\[").replace("(", r"\(")): found.plot()
    monkeypatch.setitem(checks.CHECKS, "sketch", checks.Check("sketch", lambda reward: found, "nothing"))
    with pytest.warns(UserWarning, match="the check 'sketch' broke and says nothing"): made = checkup(fit("randomised", 60), only=["sketch"])
    assert re.search(match.replace("[", r"\["), made.skipped["why"].iloc[0])

@pytest.mark.parametrize("form, also", [("hist", dict(value="queries", mark=2.5)), ("bars", dict(label="prompt", value="queries", mark="big"))])
def test_a_mark_is_a_column_of_bars_and_a_number_of_a_histogram(form, also):
    assert Finding("Is it so?", pd.DataFrame(dict(prompt=["a", "b"], queries=[3, 4], big=[True, False])), "ok", "3.", form=(form, also)).plot().axes

def test_a_check_that_gives_no_finding_is_named(clean, monkeypatch):
    from causal_prompts import checks
    monkeypatch.setitem(checks.CHECKS, "idle", checks.Check("idle", lambda reward: (1, 2), "nothing"))
    reward = fit("randomised", 60)
    with pytest.warns(UserWarning): found = checkup(reward, only=["idle"])
    assert "the check 'idle' must return a Finding, got tuple" in found.skipped["why"].iloc[0]
