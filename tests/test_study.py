"A study of a log: effects where the truth is known, two prompts row by row, what is written out, which prompt is the baseline, exit codes."
import json, warnings

import numpy as np
import pandas as pd
import pytest

import causal_prompts as cp
from causal_prompts import cli, studies
from causal_prompts.core import Finding, NotIdentifiedError
from causal_prompts.side_by_side import side_by_side, word_diff
from causal_prompts.studies import Study, baseline_of, study
from causal_prompts.triplets import Triplets
from causal_prompts.worlds import World
from test_cli import Hashed, hashed, log_frame, ran


def small(rows, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore") # few queries
        return Triplets(pd.DataFrame(rows, columns=["query", "prompt", "score", *more.get("further", [])]))


# ---------------------------------------------------------------- a world with known truth

@pytest.fixture(scope="module")
def known():
    "The world of the demonstration: better prompts went to harder queries."
    world = World.preset("confounded-hidden", seed=1)
    log = world.log(300, prompts_per_query=6, n_prompts=10, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = study(log, world.baseline, encoder=Hashed(), random_state=1)
        made.effects
    return world, log, made


def test_effects_are_within_three_errors_and_the_naive_ones_are_not(known):
    world, log, made = known
    table = made.effects
    truth = world.effect(log.queries["query"], list(table["prompt"])).mean(0)
    error = (table["hi"] - table["lo"]) / (2 * 1.96)
    assert (np.abs(table["effect"] - truth) <= 3 * error).all()
    naive_error = (table["naive_hi"] - table["naive_lo"]) / (2 * 1.96)
    assert (np.abs(table["naive"] - truth) > 3 * naive_error).any() and (np.abs(table["naive"] - truth) > 2 * naive_error).mean() > .4
    assert np.corrcoef(table["effect"], truth)[0, 1] > .8 and np.corrcoef(table["naive"], truth)[0, 1] < 0


def test_the_baseline_has_no_row_and_is_named(known):
    world, log, made = known
    assert len(made.effects) == len(log.prompts) - 1 and world.baseline not in set(made.effects["prompt"])
    assert made.effects["effect"].is_monotonic_decreasing and set(made.effects["told"]) <= {"better", "worse", "no difference shown"}
    assert made.baseline[:60] in repr(made) and "as asked" in repr(made) and made.answer.facts["baseline"] == made.baseline
    assert made.answer.facts["route"] == "within" and made.baseline[:40] in made.answer.reading
    assert made.answer.reading in repr(made)


def test_the_same_numbers_as_the_models_own(known):
    _, log, made = known
    own = made.models[1].average_effect().set_index("prompt")
    table = made.effects.set_index("prompt")
    assert table["effect"].to_numpy() == pytest.approx(own.loc[table.index, "effect"].to_numpy())
    wide = made.models[1].average_effect(alpha=.05 / len(table)).set_index("prompt").loc[table.index]
    assert list(table["told"] == "better") == list(wide["lo"] > 0)


def test_what_is_costly_is_made_once_and_when_asked_for():
    heard = []
    made = study(log_frame(), encoder=Hashed(), say=heard.append)
    assert heard == [] and "answer" not in made.__dict__ and "Study: 180 rows" in repr(made)
    assert made.design is made.design and made.models is made.models and made.answer is made.answer and made.choices is made.choices
    assert heard == ["describing the design", "fitting both models to 126 rows", "fitting both models to the whole log", "ranking the prompts of 18 held-out queries"]
    list(made.sections()), made.effects
    assert len(heard) == 5 and heard[-1].startswith("searching")


def test_choices_have_a_row_a_query(known):
    _, log, made = known
    assert list(made.choices["query_id"]) == list(log.queries["query_id"]) and set(made.choices["prompt"]) <= set(log.prompts["prompt"])
    assert list(made.choices["effect"]) == pytest.approx(list(made.models[1].best(list(log.queries["query"]))["effect"]))


def test_ranking_is_that_of_held_out_queries():
    made = study(log_frame(n=100), encoder=Hashed())
    train, test = made.parts
    assert not set(train.frame["query"]) & set(test.frame["query"]) and made.ranking is made.held_out[1] and made.ranking.facts["queries"] == 30
    with pytest.raises(NotIdentifiedError, match="Nothing was held out to rank on: Fewer than 30 queries"): study(log_frame(n=20), encoder=Hashed()).ranking


def test_prompts_to_try_are_predicted():
    made = study(log_frame(n=100), encoder=Hashed(), prompts=["Solve it. Way 4, please.", "Sing."])
    assert list(made.proposed["prompt"]) == ["Solve it. Way 4, please.", "Sing."] and made.proposed["how"].str.startswith("not in the log").all()
    assert any(section[0] == "The prompts to try" for section in made.sections())
    assert study(log_frame(), encoder=Hashed()).proposed.empty


def test_nothing_that_links_a_prompt_with_the_baseline_is_said():
    frame = log_frame(n=60, prompts=2, k=2)
    apart = frame.assign(prompt=frame["prompt"].str.replace("Way", "Path"), query="Other: " + frame["query"])
    made = study(pd.concat([frame, apart]), "Solve it. Way 0, now.", encoder=Hashed())
    alone = made.effects[made.effects["told"] == "not comparable with the baseline"]
    assert len(alone) == 2 and alone["effect"].isna().all()


# ---------------------------------------------------------------- two prompts row by row

ROWS = [ # query, prompt, score, answer
    ("q1", "Answer it.", .5, "a1"), ("q1", "Answer it now.", 1, "b1"), ("q2", "Answer it.", 1, "a2"), ("q2", "Answer it now.", 0, "b2"),
    ("q3", "Answer it.", 1, "a3"), ("q3", "Answer it now.", 1, "b3"), ("q4", "Answer it.", 0, "a4"), ("q5", "Answer it now.", 1, "b5"),
    ("q6", "Answer it.", 0, "a6"), ("q6", "Answer it.", 1, "a6 again"), ("q6", "Answer it now.", .75, "b6"), ("q6", "Other.", 1, "c6")]


def test_rows_of_two_prompts():
    both = side_by_side(small(ROWS, further=["answer"]), "Answer it.", "Answer it now.")
    assert both.table[["query", "score_a", "score_b", "difference", "answer_a", "answer_b"]].values.tolist() == [
        ["q2", 1, 0, -1, "a2", "b2"], ["q1", .5, 1, .5, "a1", "b1"], ["q6", .5, .75, .25, "a6", "b6"]]
    assert len(both) == 3 and both.facts | dict(lo=0, hi=0) == dict(queries=4, better=2, worse=1, equal=1, mean=-.0625, lo=0, hi=0)
    assert both.diff == [("same", "Answer"), ("gone", "it."), ("new", "it now.")]
    assert "On the 4 queries that met both, b scored -0.062 over a" in both.reading and "higher on 2, lower on 1, equal on 1" in both.reading
    shown, text = both._repr_markdown_(), repr(both)
    assert "<del>it.</del> <ins>it now.</ins>" in shown and "| q2 |" in shown and "[-it.-] {+it now.+}" in text and "b6" in text


def test_rows_where_no_query_met_both_and_without_answers():
    both = side_by_side(small([("q1", "A", 1), ("q2", "B", 0)]), "A", "B")
    assert len(both) == 0 and "No query met both" in both.reading and "No query met both" in both._repr_markdown_() and "answer_a" not in both.table
    one = side_by_side(small([("q1", "A", 1), ("q1", "B", 0)]), "A", "B")
    assert "On the one query that met both, b scored -1.000 over a on average (raw means)" in one.reading


def test_a_query_is_compared_within_its_model_only():
    rows = [("q", "A", 1, "m1"), ("q", "B", 0, "m1"), ("q", "A", 0, "m2"), ("q", "B", 1, "m2"), ("q2", "A", 1, "m1"), ("q2", "B", 1, "m2")]
    both = side_by_side(small(rows, further=["model"]), "A", "B")
    assert both.shared[["query", "model", "difference"]].values.tolist() == [["q", "m1", -1], ["q", "m2", 1]]


def test_a_hostile_prompt_is_shown_and_not_run():
    both = side_by_side(small([("q", "A <script>x</script>", 1), ("q", "A $x$ \x1b[31m", 0)]), "A <script>x</script>", "A $x$ \x1b[31m")
    assert "<script>" not in both._repr_markdown_() and "\x1b" not in repr(both)


@pytest.mark.parametrize("a, b, said", [
    ("a b c", "a c", [("same", "a"), ("gone", "b"), ("same", "c")]), ("a", "b", [("gone", "a"), ("new", "b")]), ("a b", "a\n b", [("same", "a b")])])
def test_word_diff(a, b, said): assert word_diff(a, b) == said


def test_texts_that_differ_in_spaces_say_so():
    both = side_by_side(small([("q", "a b", 1), ("q", "a\nb", 0)]), "a b", "a\nb")
    assert "differ in spaces and line breaks only" in repr(both)


def test_rows_of_a_study_by_text_id_and_name():
    frame = log_frame().assign(prompt_id=lambda t: t["prompt"].str.extract(r"Way (\d)")[0].radd("w"))
    made = study(frame, "w0", encoder=Hashed())
    name = made.names["Solve it. Way 4, now."]
    for asked in ("Solve it. Way 4, now.", "w4", name):
        both = made.rows("w0", asked)
        assert both.a == "Solve it. Way 0, now." and both.b == "Solve it. Way 4, now." and both.names[0].startswith("the baseline ")
    at = {(q, p): s for q, p, s in frame[["query", "prompt", "score"]].itertuples(index=False)}
    assert len(both) and all(at[r.query, both.b] - at[r.query, both.a] == r.difference != 0 for r in both.table.itertuples())
    assert both.table["difference"].abs().is_monotonic_decreasing
    with pytest.raises(ValueError, match="a and b must be two different prompts"): made.rows("w0", "Solve it. Way 0, now.")
    with pytest.raises(ValueError, match="b must be a prompt of the log, or its prompt_id, got 'Way 9'; the nearest is"): made.rows("w0", "Way 9")


# ---------------------------------------------------------------- the baseline

def test_the_rule_of_the_baseline():
    frame = log_frame(n=200, prompts=4, k=2)
    frame = pd.concat([frame, frame[frame["prompt"].str.contains("Way 3")].assign(query=lambda t: "Again: " + t["query"])])
    ids = {p: f"v{i}" for i, p in enumerate(sorted(frame["prompt"].unique()))}
    plain = frame.assign(prompt_id=frame["prompt"].map(ids))
    assert baseline_of(Triplets(plain)) == ("Solve it. Way 3, please.", "the prompt logged most often")
    named = lambda *names: Triplets(plain.assign(prompt_id=plain["prompt_id"].replace(dict(zip(ids.values(), names)))))
    assert baseline_of(named("v0", "the_baseline", "v2", "v3")) == ("Solve it. Way 1, please.", "its name says so")
    assert baseline_of(named("Baseline-1", "v1", "v2", "baseline-2"))[0] == "Solve it. Way 3, please."
    assert baseline_of(named("baselines", "v1", "v2", "v3"))[1] == "the prompt logged most often"
    assert baseline_of(named("v0", "baseline", "v2", "v3"), "v2") == ("Solve it. Way 2, now.", "as asked")


def test_a_prompt_that_is_a_bare_name_may_be_called_baseline_and_a_sentence_may_not():
    names = pd.DataFrame([(f"query {i}", p, i % 2) for i in range(20) for p in ("v2", "v3", "baseline_v1")][:-1], columns=["query", "prompt", "score"])
    assert baseline_of(Triplets(names)) == ("baseline_v1", "its name says so")
    said = names.assign(prompt=names["prompt"].replace("baseline_v1", "Name the baseline."))
    assert baseline_of(Triplets(said)) == ("v2", "the prompt logged most often")


def test_the_baseline_is_named_in_what_is_printed(tmp_path, capsys, hashed):
    log_frame(n=150).to_csv(tmp_path/"log.csv", index=False)
    code, out, _ = ran(capsys, "run", tmp_path/"log.csv", "--baseline", "Solve it. Way 0, now.", "--out", tmp_path)
    told = " ".join(out.split())
    assert code == 0 and "Gains are measured against the baseline 'Solve it. Way 0, now.' (as asked)." in told
    assert "are better than the baseline 'Solve it. Way 0, now.'" in told


# ---------------------------------------------------------------- in and out

def test_a_log_may_be_a_path_a_table_or_a_log(tmp_path, capsys, hashed):
    frame = log_frame().assign(after=range(180))
    frame.to_csv(tmp_path/"log.csv", index=False)
    made = [study(source, encoder=Hashed()) for source in (tmp_path/"log.csv", str(tmp_path/"log.csv"), frame, Triplets(log_frame()))]
    assert all(m.effects.equals(made[0].effects) for m in made) and made[0].about == "log.csv." and made[2].about == "" and made[2].log.covariates == []
    _, out, _ = ran(capsys, "run", tmp_path/"log.csv", "--out", tmp_path)
    assert " ".join(made[0].answer.reading.split()) in " ".join(out.split())


@pytest.mark.parametrize("log, error, said", [
    (7, TypeError, "log must be a Triplets, a DataFrame or the path of a log, got int"), (None, TypeError, "got NoneType"), ("no_such_log.csv", FileNotFoundError, "no such file"),
    (log_frame().assign(score=1.), ValueError, "does not vary")])
def test_what_is_no_log_is_refused(log, error, said):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error, match=said): study(log, encoder=Hashed())


@pytest.mark.parametrize("given, error, said", [
    (dict(baseline="zzz"), ValueError, "baseline must be a prompt of the log, or its prompt_id, got 'zzz'; the nearest is"), (dict(baseline=3), TypeError, "baseline must be a text, got int"),
    (dict(fresh=3), TypeError, "fresh must be a Triplets, a DataFrame or the path of a log, got int"), (dict(prompts=[""]), ValueError, r"prompts\[0\] must be a text"), (dict(prompts=[1]), TypeError, r"prompts\[0\] must be a text")])
def test_slips_are_answered(given, error, said):
    with pytest.raises(error, match=said): study(log_frame(), encoder=Hashed(), **given)


def test_export_and_back(tmp_path):
    made = study(log_frame(n=100), encoder=Hashed())
    folder = made.export(tmp_path/"deep"/"study")
    assert sorted(p.name for p in folder.iterdir()) == ["choices.csv", "effects.csv", "findings.csv", "study.json"]
    pd.testing.assert_frame_equal(pd.read_csv(folder/"effects.csv"), made.effects, check_dtype=False)
    pd.testing.assert_frame_equal(pd.read_csv(folder/"choices.csv", dtype=dict(query_id=str)), made.choices.astype(dict(query_id=str)), check_dtype=False)
    whole = json.loads((folder/"study.json").read_text(encoding="utf-8"))
    pd.testing.assert_frame_equal(pd.DataFrame(whole["effects"]), made.effects, check_dtype=False)
    assert whole["baseline"] == made.baseline and len(whole["choices"]) == 100 and whole["causal_prompts"] == cp.__version__
    findings = made.findings()
    assert list(whole["findings"]) == list(findings) == list(pd.read_csv(folder/"findings.csv")["name"])
    for name, found in findings.items():
        again = Finding.from_dict(whole["findings"][name])
        assert (again.verdict, again.reading, again.question) == (found.verdict, found.reading, found.question) and list(again.table) == list(found.table)
    (tmp_path/"file").write_text("x")
    with pytest.raises(ValueError, match="folder must be a folder, got the file"): made.export(tmp_path/"file")


def test_missing_numbers_are_null(tmp_path):
    made = study(log_frame(n=60, k=1), encoder=Hashed())
    assert json.loads((made.export(tmp_path)/"study.json").read_text())["effects"][0]["prompt"]
    table = pd.DataFrame(dict(a=[1, np.nan], b=["x", None], c=np.array([1, 2])))
    assert studies._plain_rows(table) == [dict(a=1., b="x", c=1), dict(a=None, b=None, c=2)]


def test_report_and_checkup(tmp_path):
    made = study(log_frame(n=60), encoder=Hashed())
    short = made.report(tmp_path/"a.html").read_text()
    assert made.answer.reading.split(";")[0][:60].replace("'", "&#x27;") in short and "Can this be believed?" not in short
    found = made.checkup()
    assert found is made.checkup() and "power" in found and found.findings["power"].verdict in ("ok", "caution", "stop")
    whole = made.report(tmp_path/"b.html", checkup=True).read_text()
    assert found["power"].question in whole and found["power"].question not in short
    assert "checkup: power" in made.findings(checkup=True) and "checkup: power" not in made.findings()


def test_it_is_reached_through_the_package_and_shows_itself(known):
    assert cp.study is study and isinstance(known[2], Study)
    shown = known[2]._repr_markdown_()
    assert known[2].answer.question in shown and "| name | n | effect |" in shown and shown.count("\n| ") >= len(known[2].effects)


# ---------------------------------------------------------------- exit codes

@pytest.mark.parametrize("verb", ["run", "checkup"])
@pytest.mark.parametrize("verdict, code", [("ok", 0), ("caution", 3), ("stop", 4)])
def test_strict_exit_codes(tmp_path, capsys, hashed, monkeypatch, verb, verdict, code):
    log_frame().to_csv(tmp_path/"log.csv", index=False)
    end = Finding("q", pd.DataFrame(dict(a=[1])), verdict, "r")
    for name in ("sections", "checkup_sections"): monkeypatch.setattr(Study, name, lambda self: iter([("The log", "x"), ("In one sentence", end)]))
    assert ran(capsys, verb, tmp_path/"log.csv", "--out", tmp_path, "--strict")[0] == code
    assert ran(capsys, verb, tmp_path/"log.csv", "--out", tmp_path)[0] == 0
    assert cli.main([verb, str(tmp_path/"none.csv"), "--out", str(tmp_path), "--strict"]) == 2


def test_strict_follows_the_verdict_that_is_printed(tmp_path, capsys, hashed):
    log_frame(effect=0., seed=1).to_csv(tmp_path/"log.csv", index=False)
    code, out, _ = ran(capsys, "run", tmp_path/"log.csv", "--out", tmp_path, "--strict")
    verdict = out[:out.index("What does this log say?")].rsplit("[", 1)[1].split("]")[0]
    assert code == dict(ok=0, caution=3, stop=4)[verdict] != 0
