"A study of a log: effects where the truth is known, two prompts row by row, what is written out, which prompt is the baseline, exit codes."
import json, warnings

import numpy as np
import pandas as pd
import pytest

import causal_prompts as cp
from causal_prompts import cli, reporting, studies, study_cli, study_inputs, text_names
from causal_prompts.core import Finding, NotIdentifiedError
from causal_prompts.side_by_side import in_quotes, side_by_side, word_diff
from causal_prompts.studies import Study, study
from causal_prompts.study_inputs import baseline_of
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
    assert made.effects["effect"].is_monotonic_decreasing and set(made.effects["conclusion"]) <= {"better", "worse", "no effect could be shown"}
    assert made.baseline[:60] in repr(made) and "as asked" in repr(made) and made.answer.facts["baseline"] == made.baseline
    assert made.answer.facts["route"] == "within" and made.baseline[:40] in made.answer.reading
    assert made.answer.reading in repr(made)


def test_the_same_numbers_as_the_models_own(known):
    _, log, made = known
    own = made._models[1].average_effect().set_index("prompt")
    table = made.effects.set_index("prompt")
    assert table["effect"].to_numpy() == pytest.approx(own.loc[table.index, "effect"].to_numpy())
    wide = made._models[1].average_effect(alpha=.05 / len(table)).set_index("prompt").loc[table.index]
    assert list(table["conclusion"] == "better") == list(wide["lo"] > 0)


def test_what_is_costly_is_made_once_and_when_asked_for():
    heard = []
    made = study(log_frame(), encoder=Hashed(), say=heard.append)
    assert heard == [] and "answer" not in made.__dict__ and "Study: 180 rows" in repr(made)
    assert made.design is made.design and made._models is made._models and made.answer is made.answer and made.choices is made.choices
    assert heard == ["describing the design", "fitting both models to 126 rows", "fitting both models to the whole log", "ranking the prompts of 18 held-out queries"]
    list(made.sections()), made.effects
    searches = made.answer.facts["recommended"] is not None
    assert len(heard) == 4 + searches and heard[-1].startswith("searching") == searches


def test_choices_have_a_row_a_query(known):
    _, log, made = known
    assert list(made.choices["query_id"]) == list(log.queries["query_id"]) and set(made.choices["prompt"]) <= set(log.prompts["prompt"])
    assert list(made.choices["effect"]) == pytest.approx(list(made._models[1].best(list(log.queries["query"]))["effect"]))


def test_ranking_is_that_of_held_out_queries():
    made = study(log_frame(n=100), encoder=Hashed())
    train, test = made._split
    assert not set(train.frame["query"]) & set(test.frame["query"]) and made.ranking is made._held_out[1] and made.ranking.facts["queries"] == 30
    with pytest.raises(NotIdentifiedError, match="Nothing was held out to rank on: Fewer than 30 queries"): study(log_frame(n=20), encoder=Hashed()).ranking


def test_a_large_log_is_ranked_on_a_part_of_the_held_out_queries_and_refused_for_no_size(monkeypatch):
    frame = pd.DataFrame(dict(query=[f"query {i // 2}" for i in range(50_000)], prompt=[f"prompt {i % 9001}" for i in range(50_000)], score=np.arange(50_000) % 3 / 2))
    assert len(study(frame, encoder=Hashed()).log.prompts) * len(frame) > 4e8
    made = study(log_frame(n=1000), encoder=Hashed())
    assert made._tested is made._split[1]
    monkeypatch.setattr(study_inputs, "some_queries", lambda query, random_state: query < 50)
    part = study(log_frame(n=1000), encoder=Hashed())
    assert part._tested.queries["query"].tolist() == made._split[1].queries["query"][:50].tolist() and part.ranking.facts["queries"] == 50
    held_out = dict((section[0], section[1]) for section in part.sections())["How does the model rank new queries?"]
    assert "tested on 50 of 300 other queries, drawn at random, under" in held_out


def test_prompts_to_try_are_predicted():
    made = study(log_frame(n=100), encoder=Hashed(), prompts=["Solve it. Way 4, please.", "Sing."])
    assert list(made.proposed["prompt"]) == ["Solve it. Way 4, please.", "Sing."] and made.proposed["how"].str.startswith("not in the log").all()
    assert any(section[0] == "What would the prompts to try bring?" for section in made.sections())
    assert study(log_frame(), encoder=Hashed()).proposed.empty


def test_nothing_that_links_a_prompt_with_the_baseline_is_said():
    frame = log_frame(n=60, prompts=2, k=2)
    apart = frame.assign(prompt=frame["prompt"].str.replace("Way", "Path"), query="Other: " + frame["query"])
    made = study(pd.concat([frame, apart]), "Solve it. Way 0, now.", encoder=Hashed())
    alone = made.effects[made.effects["conclusion"] == "not comparable with the baseline"]
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
    assert "On the 4 queries that received both, b scored -0.062 over a" in both.reading and "higher on 2, lower on 1, equal on 1" in both.reading
    shown, text = both._repr_markdown_(), repr(both)
    assert "<del>it.</del> <ins>it now.</ins>" in shown and "| q2 |" in shown and "[-it.-] {+it now.+}" in text and "b6" in text


def test_rows_where_no_query_met_both_and_without_answers():
    both = side_by_side(small([("q1", "A", 1), ("q2", "B", 0)]), "A", "B")
    assert len(both) == 0 and "No query received both" in both.reading and "No query received both" in both._repr_markdown_() and "answer_a" not in both.table
    one = side_by_side(small([("q1", "A", 1), ("q1", "B", 0)]), "A", "B")
    assert "On the one query that received both, b scored -1.000 over a on average (raw means)" in one.reading


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
    name = made._names["Solve it. Way 4, now."]
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
    assert all(m.effects.equals(made[0].effects) for m in made) and made[0]._about == "log.csv." and made[2]._about == "" and made[2].log.covariates == []
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
    assert sorted(p.name for p in folder.iterdir()) == ["choices.csv", "effects.csv", "findings.csv", "parts.csv", "study.json"]
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
    assert reporting.plain_rows(table) == [dict(a=1., b="x", c=1), dict(a=None, b=None, c=2)]


def test_report_and_checkup(tmp_path):
    made = study(log_frame(n=60), encoder=Hashed())
    short = made.report(tmp_path/"a.html").read_text()
    assert made.answer.reading.split(";")[0][:60].replace("'", "&#x27;") in short and "Can this be believed?" not in short
    found = made.checkup()
    assert found is made.checkup() and "power" in found and found.findings["power"].verdict in ("ok", "not shown", "caution", "stop")
    whole = made.report(tmp_path/"b.html", checkup=True).read_text()
    assert found["power"].question in whole and found["power"].question not in short
    assert "checkup: power" in made.findings(checkup=True) and "checkup: power" not in made.findings()


def test_it_is_reached_through_the_package_and_shows_itself(known):
    assert cp.study is study and isinstance(known[2], Study)
    shown = known[2]._repr_markdown_()
    assert known[2].answer.question in shown and "| name | n | effect |" in shown and shown.count("\n| ") >= len(known[2].effects)


# ---------------------------------------------------------------- exit codes

@pytest.mark.parametrize("verb", ["run", "checkup"])
@pytest.mark.parametrize("verdict, code", [("ok", 0), ("caution", 3), ("not shown", 4), ("stop", 4)])
def test_strict_exit_codes(tmp_path, capsys, hashed, monkeypatch, verb, verdict, code):
    log_frame().to_csv(tmp_path/"log.csv", index=False)
    end = Finding("q", pd.DataFrame(dict(a=[1])), verdict, "r")
    for where, name in ((Study, "sections"), (study_cli, "checkup_sections")):
        monkeypatch.setattr(where, name, lambda made: iter([("The log", "x"), ("The answer", end)]))
    assert ran(capsys, verb, tmp_path/"log.csv", "--out", tmp_path, "--strict")[0] == code
    assert ran(capsys, verb, tmp_path/"log.csv", "--out", tmp_path)[0] == 0
    assert cli.main([verb, str(tmp_path/"none.csv"), "--out", str(tmp_path), "--strict"]) == 2


def test_strict_follows_the_verdict_that_is_printed(tmp_path, capsys, hashed):
    log_frame(effect=0., seed=1).to_csv(tmp_path/"log.csv", index=False)
    code, out, _ = ran(capsys, "run", tmp_path/"log.csv", "--out", tmp_path, "--strict")
    verdict = out[:out.index("What does this log say?")].rsplit("[", 1)[1].split("]")[0]
    assert verdict == "not shown" and code == 4


# ---------------------------------------------------------------- the answer, on logs of many kinds

def covariate_log(named, n=240):
    "Harder queries received the later prompts; a prompt adds .15 to the one before it."
    r = np.random.default_rng(0)
    prompts = [f"Solve it. Way {i}, now." for i in range(3)]
    rows = [(f"How many apples are {i}?", prompts[min(2, int(r.random() * 2 + hard))], hard) for i, hard in enumerate(r.random(n))]
    frame = pd.DataFrame(rows, columns=["query", "prompt", "hard"])
    right = .6 - .4 * frame["hard"] + .15 * frame["prompt"].map(prompts.index)
    frame["score"] = (r.random(n) < right).astype(float)
    return Triplets(frame if named else frame.drop(columns="hard"), covariates=["hard"] if named else [])


def recorded_log():
    "A randomised log that says with which propensity each prompt was chosen."
    return Triplets(log_frame(n=200, k=1).assign(propensity=.2))


def misrecorded_log():
    "Two prompts at random, recorded as one for nine."
    frame = log_frame(n=300, prompts=2, k=1)
    return Triplets(frame.assign(propensity=np.where(frame["prompt"].str.contains("Way 0"), .9, .1)))


def apart_log():
    frame = log_frame(n=60, prompts=2, k=2)
    return Triplets(pd.concat([frame, frame.assign(prompt=frame["prompt"].str.replace("Way", "Path"), query="Other: " + frame["query"])]))


def unlinked_log():
    "No query received the baseline and another prompt."
    frame = log_frame(n=60, prompts=3, k=3)
    first = frame["prompt"].str.contains("Way 0")
    return Triplets(frame.assign(query=frame["query"].where(~first, "Other: " + frame["query"])))


def long_log():
    "Long prompts, scores between 0 and 100."
    frame = log_frame(n=120)
    frame["prompt"] = "You are a careful assistant that counts things and never guesses. " + frame["prompt"] + " I am in a bit of a hurry so go on as far as it is of use."
    return Triplets(frame.assign(score=100 * frame["score"]), score_range=(0, 100))


def world_log(name): return World.preset(name, seed=1).log(120, prompts_per_query=6, n_prompts=8, seed=1)


LOGS = { # kind -> (log, baseline, what the answer may begin with)
    "clear winner": (lambda: Triplets(log_frame(n=150)), "Solve it. Way 0, now.", "Use"), "null": (lambda: Triplets(log_frame(effect=0.)), None, "Keep"),
    "the baseline is best": (lambda: Triplets(log_frame(n=150)), "Solve it. Way 4, now.", "Keep"), "one prompt a query": (lambda: Triplets(log_frame(n=200, k=1)), None, "Try|Keep"),
    "covariate named": (lambda: covariate_log(True), None, "Try|Keep"), "covariate missing": (lambda: covariate_log(False), None, "Try|Keep"),
    "propensities": (recorded_log, "Solve it. Way 0, now.", "Use"), "false propensities": (misrecorded_log, "Solve it. Way 0, now.", "Keep"),
    "two prompts": (lambda: Triplets(log_frame(n=100, prompts=2, k=2)), "Solve it. Way 0, now.", "Use"), "two prompts, the better is the baseline": (lambda: Triplets(log_frame(n=100, prompts=2, k=2)), "Solve it. Way 1, please.", "Keep"),
    "two prompts, null": (lambda: Triplets(log_frame(n=100, prompts=2, k=2, effect=0.)), None, "Keep"), "hidden confounding": (lambda: world_log("confounded-hidden"), None, "Keep|Use"),
    "randomised world": (lambda: world_log("randomised"), None, "Keep|Use"), "few rows": (lambda: Triplets(log_frame(n=20)), None, "Keep"), "partly linked": (apart_log, "Solve it. Way 0, now.", "Use"),
    "nothing linked": (unlinked_log, "Solve it. Way 0, now.", "Keep|Try"), "long prompts, score of 100": (long_log, None, "Keep|Use")}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", LOGS)
def test_the_answer_is_short_names_the_baseline_and_is_no_surer_than_the_numbers(kind):
    make, baseline, begins = LOGS[kind]
    made = study(make(), baseline, encoder=Hashed())
    answer, table = made.answer, made.effects
    do, sure, after = answer.reading.splitlines()
    assert len(answer.reading.split()) <= 40 and do.split()[0] in begins.split("|") and after.startswith("Next: ")
    assert "the baseline '" in do and (len(made.baseline) > 36 or repr(made.baseline) in do)
    keeps = do.startswith("Keep the baseline")
    assert keeps == (answer.facts["recommended"] is None) and not (keeps and "better" in answer.reading)
    if (table["conclusion"] == "no effect could be shown").any() and keeps: assert "no effect could be shown" in do
    if answer.verdict == "not shown": assert keeps and "no effect could be shown" in do
    if not keeps:
        row = table.set_index("prompt").loc[answer.facts["recommended"]["prompt"]]
        assert row["conclusion"] == "better" and row["simultaneous_lo"] > 0 and made.baseline != row.name
        digits = 1 if made.log.score_range == (0, 100) else 3
        assert f" {row['effect']:+.{digits}f} over " in do and f"{row['simultaneous_lo']:+.{digits}f} to {row['simultaneous_hi']:+.{digits}f}" in sure
        assert (answer.verdict == "caution") == ("assuming no unobserved confounder" in sure) == do.startswith("Try")
    assert ("widened for" in sure) <= (len(table) > 1) and made.baseline not in set(answer.table["prompt"])
    assert all(isinstance(text, str) and text.endswith(".") for text in answer.facts["details"])


@pytest.mark.parametrize("n, worse", [(1, 0), (1, 1), (20, 0), (20, 3), (20, 20)])
@pytest.mark.parametrize("assumed", [True, False])
@pytest.mark.parametrize("wins", [True, False])
def test_the_answer_keeps_to_forty_words_whatever_the_prompts_are(n, worse, assumed, wins):
    from causal_prompts.conclusions import _lines_of
    best = dict(prompt="a b c d e f", effect=-.1234, lo=-.2, hi=.1, simultaneous_lo=-.3, simultaneous_hi=.3)
    for baseline in ("f e d c b a", "x y " * 99, "a b c d e f" + " g" * 50, 'Don\'t say "no".'):
        facts = dict(causal=best, recommended=best if wins else None, prompts=n, significant_below=worse, alpha=.05, base=text_names.name_among(baseline, ["a b c d e f", "some other"], 36))
        lines, verdict = _lines_of(facts, baseline, dict(said="score -1 to 1", digits=3), assumed, True)
        assert len(lines) == 3 and len(" ".join(lines).split()) <= 40
        assert ("better" in " ".join(lines)) is False and (verdict != "stop" or lines[0].startswith("Keep"))


def test_false_propensities_stop_the_answer():
    answer = study(misrecorded_log(), "Solve it. Way 0, now.", encoder=Hashed()).answer
    assert answer.verdict == "stop" and "The propensities recorded in this log do not hold." in answer.reading


def test_the_prompt_that_is_recommended_is_one_whose_widened_interval_decides():
    from causal_prompts.gains import gains_finding
    table = pd.DataFrame(dict(prompt=list("abc"), text=list("abc"), n=[100, 90, 90], naive=[0., .1, .3], causal=[0., .2, .3], significant=[0, 1, 0], simultaneous_lo=[0, .1, -.2], simultaneous_hi=[0, .3, .8]))
    for model in ("naive", "causal"): table = table.assign(**{f"{model}_lo": table[model] - .1, f"{model}_hi": table[model] + .1})
    facts = gains_finding(table, "a").facts
    assert facts["causal"]["prompt"] == "c" and facts["recommended"]["prompt"] == "b"
    assert gains_finding(table.assign(significant=0), "a").facts["recommended"] is None


def test_the_page_opens_with_the_answer_and_its_effects(tmp_path, known):
    source = known[2].report(tmp_path/"a.html").read_text(encoding="utf-8")
    body = source[source.index("<body>"):]
    assert body.index('class="lead') < body.index("<img") < body.index('class="fold"') < body.index("<h2")
    for line in known[2].answer.reading.splitlines(): assert line.replace("'", "&#x27;") in body[:body.index("<img")]
    assert known[2].answer.facts["details"][0][:60] in body.replace("&#x27;", "'")


# ---------------------------------------------------------------- what a user sees

def test_completion_shows_what_a_user_is_meant_to_use(known):
    shown = [name for name in dir(known[2]) if not name.startswith("_")]
    assert shown == ["answer", "baseline", "checkup", "choices", "design", "effects", "export", "findings", "log", "parts", "plot", "proposed", "ranking", "report", "rows", "sections"]
    for text in (repr(known[2]), known[2]._repr_markdown_()):
        assert ".choices" in text and ".rows(a, b)" in text and ".export(folder)" in text
    assert all(getattr(Study, name).__doc__ for name in shown if name not in ("log", "baseline"))


@pytest.mark.parametrize("text, quoted", [("plain", "'plain'"), ("don't", '"don\'t"'), ('say "yes"', "'say \"yes\"'"), ("don't say \"no\"", "“don't say \"no\"”"), ("‘'\"“”", "«‘'\"“”»")])
def test_quotation_marks_do_not_nest(text, quoted): assert in_quotes(text) == quoted


def test_rows_quote_a_prompt_that_holds_a_quotation_mark():
    frame = log_frame(prompts=2, k=2)
    frame["prompt"] = frame["prompt"].map({"Solve it. Way 0, now.": "Don't guess.", "Solve it. Way 1, please.": "Say 'yes' or \"no\"."})
    both = study(frame, "Don't guess.", encoder=Hashed()).rows("Don't guess.", "Say 'yes' or \"no\".")
    assert both.names == ('the baseline "Don\'t guess."', "“Say 'yes' or \"no\".”") and both.names[0] in both.reading


def test_choices_say_why_an_interval_is_missing(monkeypatch):
    made = study(log_frame(n=150), "Solve it. Way 2, now.", encoder=Hashed())
    assert made._models[1].learner_ == "kernel"
    # a learner without intervals
    monkeypatch.setattr("causal_prompts.gains.CausalReward", lambda **how: cp.CausalReward(**how | dict(learner="ranker")))
    without = study(log_frame(effect=0.), encoder=Hashed())
    assert without._models[1].learner_ == "ranker" and without.choices[["lo", "hi"]].isna().all().all()
    for one in (without, made):
        chosen = one.choices
        assert list(chosen) == ["query_id", "query", "prompt", "name", "effect", "lo", "hi", "inside", "no_interval"]
        assert (chosen["no_interval"].notna() == chosen["lo"].isna()).all() and chosen.loc[chosen["prompt"] == one.baseline, "lo"].isna().all()
    assert "the learner ranker gives none for single queries" in without.findings()["choices"].details and made.choices["lo"].notna().any()


def test_the_baseline_is_not_a_prompt_to_try():
    made = study(log_frame(n=60), "Solve it. Way 0, now.", encoder=Hashed(), prompts=["Solve it. Way 0, now.", "Sing."])
    assert list(made.proposed["prompt"]) == ["Sing."]


@pytest.mark.filterwarnings("ignore")
def test_exported_files_open_in_pandas_and_a_spreadsheet(tmp_path):
    frame = log_frame(n=60)
    frame["prompt"] = frame["prompt"].str.replace("Way 4", 'Größe, "vier"\nund;Ende')
    made = study(frame, "Solve it. Way 0, now.", encoder=Hashed())
    folder = made.export(tmp_path)
    columns = dict(effects=["prompt", "name", "n", "effect", "lo", "hi", "simultaneous_lo", "simultaneous_hi", "conclusion", "naive", "naive_lo", "naive_hi"],
                   choices=["query_id", "query", "prompt", "name", "effect", "lo", "hi", "inside", "no_interval"], findings=["name", "question", "verdict", "reading", "advice", "details", "threshold"])
    for name, names in columns.items():
        raw = (folder/f"{name}.csv").read_bytes()
        assert raw.startswith(b"\xef\xbb\xbf") and raw.decode("utf-8-sig")
        table = pd.read_csv(folder/f"{name}.csv")
        assert list(table) == names
        assert not any(str(cell).lstrip().startswith(("{", "[")) for cell in table.to_numpy().ravel())
    assert set(pd.read_csv(folder/"effects.csv")["prompt"]) == set(made.effects["prompt"]) and any("Größe" in p for p in made.effects["prompt"])
    whole = json.loads((folder/"study.json").read_text(encoding="utf-8"))
    assert list(whole["effects"][0]) == columns["effects"] and list(whole["choices"][0]) == columns["choices"]
    assert whole["findings"]["answer"]["facts"]["details"] == made.answer.facts["details"]
