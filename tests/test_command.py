"What the command says: flags to paste, what was probably meant, where it writes, prompts that are names or hold their query."
import argparse, json, os, re, shlex, subprocess, sys, warnings

import numpy as np
import pandas as pd
import pytest

from causal_prompts import cli, demonstration, flags, reporting, study_cli
from causal_prompts.triplets import Triplets
from test_cli import Hashed, hashed, log_frame, opened, ran, refused


def exits(capsys, *argv):
    with pytest.raises(SystemExit) as e: cli.main([str(a) for a in argv])
    assert e.value.code == 2
    return capsys.readouterr().err


# ---------------------------------------------------------------- what was meant

@pytest.mark.parametrize("argv, said", [
    (["rum", "log.csv"], "did you mean run?"), (["checkpu", "x"], "did you mean checkup?"), (["serve_world"], "did you mean serve-world?"), (["run", "log.csv", "--scroe", "x"], "did you mean --score?"), (["run", "log.csv", "--score_range", "0,5"], "did you mean --score-range?"),
    (["run", "log.csv", "--covariate_s=x"], "did you mean --covariates?"), (["run", "log.csv", "-seed", "3"], "did you mean --seed?"), (["checkup", "log.csv", "--through"], "did you mean --thorough?"), (["collect", "--task", "x", "--tempratur", "1"], "did you mean --temperature?"),
    (["demo", "--querys", "50"], "did you mean --queries?"), (["import", "x", "--tol", "y"], "did you mean --tool?"), (["serve-world", "randomized"], "did you mean randomised?")])
def test_slips_are_answered_with_what_was_meant(capsys, argv, said):
    err = exits(capsys, *argv)
    assert said in err and err.startswith(f"usage: causal-prompts{' ' + argv[0] if 'did you mean -' in said else ''}")


def test_nothing_is_offered_where_nothing_is_near(capsys):
    assert "did you mean" not in exits(capsys, "fly", "x") and "did you mean" not in exits(capsys, "run", "log.csv", "--zzzzzz")


# ---------------------------------------------------------------- what is loaded

LIBRARIES = {"pandas", "numpy", "scipy", "sklearn", "torch", "matplotlib"}
AFRESH = """
import json, sys
from causal_prompts import cli
try: cli.main(sys.argv[1:])
except SystemExit: pass
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""

def afresh(*argv, code=AFRESH, **env):
    "What the command prints in a process of its own, and the modules that it has loaded by then."
    done = subprocess.run([sys.executable, "-c", code, *map(str, argv)], capture_output=True, text=True, env=os.environ | env)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    *said, last = done.stderr.splitlines()
    return done.stdout + "\n".join(said), set(json.loads(last))


@pytest.mark.parametrize("argv, said", [
    ([], "the following arguments are required: VERB"), (["--help"], "another tool's run as a log"), (["--version"], "causal_prompts "), (["rum", "log.csv"], "did you mean run?"), (["--hlep"], "required: VERB"),
    (["run", "--help"], "--score-range LO,HI"), (["checkup", "--help"], "--fresh LOG"), (["demo", "--help"], "queries in the log"), (["run", "log.csv", "--scroe", "x"], "did you mean --score?"), (["run"], "required: LOG")])
def test_what_there_is_is_said_before_a_library_is_loaded(argv, said):
    printed, modules = afresh(*argv)
    assert said in printed and "causal_prompts.cli" in modules and not LIBRARIES & modules


@pytest.mark.parametrize("argv, said, used, unused", [
    (["run", "absent.csv"], "no such file", ["study_cli", "studies"], ["collecting", "importers", "demonstration", "serve"]),
    (["demo", "--queries", "3"], "whole number >= 40", ["demonstration", "worlds"], ["collecting", "importers", "studies", "serve"]),
    (["import", "absent.csv"], "there must be a file", ["importers", "graders"], ["collecting", "studies", "llm", "serve", "worlds"]),
    (["collect", "--task", "absent.csv"], "there must be a file", ["collecting"], ["importers", "studies", "demonstration"]),
    (["serve-world", "--faults", "x"], "--faults must be JSON", ["serve", "worlds"], ["collecting", "importers", "studies", "llm"])])
def test_a_verb_loads_its_own_pages_and_no_other_s(tmp_path, argv, said, used, unused):
    out = ["--out", tmp_path/"log.parquet"] if argv[0] != "serve-world" else []
    printed, modules = afresh(*argv, *out)
    assert said in printed and modules >= {f"causal_prompts.{page}" for page in used} and not {f"causal_prompts.{page}" for page in unused} & modules


def test_the_threads_of_libraries_are_limited_though_they_are_loaded_late(tmp_path):
    watched = """
from threadpoolctl import threadpool_info
made = cli.threadpool_limits
def limits(*given):
    out = made(*given)
    print("threads", [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"])
    return out
cli.threadpool_limits = limits
"""
    printed, _ = afresh("run", "absent.csv", "--out", tmp_path, code=AFRESH.replace("try:", watched + "try:", 1), OPENBLAS_NUM_THREADS="2", MKL_NUM_THREADS="2", OMP_NUM_THREADS="2")
    threads = json.loads(re.search(r"threads (\[.*\])", printed)[1])
    assert threads and set(threads) == {1}


@pytest.mark.parametrize("verb", cli.VERBS)
def test_a_row_of_the_table_is_a_verb(capsys, verb):
    purpose, arguments, work = cli.VERBS[verb]
    plain = argparse.ArgumentParser(f"causal-prompts {verb}")
    cli._function_at(arguments)(plain)
    with pytest.raises(SystemExit) as e: cli.main([verb, "--help"])
    assert e.value.code == 0 and capsys.readouterr().out == plain.format_help() and callable(cli._function_at(work))
    with pytest.raises(SystemExit): cli.main(["--help"])
    assert f"{verb} {purpose}" in " ".join(capsys.readouterr().out.split())


def test_a_further_verb_is_a_row_and_a_page(capsys, monkeypatch):
    def greet_arguments(parser): parser.add_argument("--name", default="you")
    def greet(a, say, notes): print(f"Hello, {a.name}"); return 5
    monkeypatch.setattr(flags, "greet_arguments", greet_arguments, raising=False); monkeypatch.setattr(flags, "greet", greet, raising=False)
    monkeypatch.setitem(cli.VERBS, "greet", ("says hello", "flags:greet_arguments", "flags:greet"))
    code, out, _ = ran(capsys, "greet", "--name", "Ada")
    assert (code, out) == (5, "Hello, Ada\n") and "did you mean greet?" in exits(capsys, "great") and "did you mean --name?" in exits(capsys, "greet", "--nmae", "x")


# ---------------------------------------------------------------- flags to paste

def pasted(err, flag): return shlex.split(re.search(rf"({flag}.*)", err)[1])


@pytest.mark.parametrize("scores, lo, hi", [([0, 50, 100], 0, 100), ([1, 3, 5], 1, 5), ([-1, 0, 1], -1, 1)])
def test_another_range_is_answered_with_the_flag(tmp_path, capsys, hashed, scores, lo, hi):
    log_frame(n=200).assign(score=np.resize(scores, 600)).to_csv(tmp_path/"log.csv", index=False)
    err = refused(capsys, "run", tmp_path/"log.csv", match="which looks like --score-range")
    lines = [l for l in err.splitlines() if not l.startswith("[")]
    assert len(lines) == 1 and "of 600 rows" in lines[0] and "score_range" not in err
    flag = re.search(r"(--score-range[ =]\S+)", err)[1]
    assert opened(tmp_path/"log.csv", *shlex.split(flag))[0].score_range == (lo, hi)


def test_a_range_that_begins_with_a_minus_may_stand_apart(tmp_path):
    log_frame().assign(score=lambda f: f["score"] * 2 - 1).to_csv(tmp_path/"log.csv", index=False)
    assert opened(tmp_path/"log.csv", "--score-range", "-1,1")[0].score_range == opened(tmp_path/"log.csv", "--score-range=-1,1")[0].score_range == (-1, 1)


@pytest.mark.parametrize("names", [("question", "template", "accuracy"), ("User Question", "Prompt Text", "Is Correct"), ("question, as asked", "it's the prompt", "score=points")])
def test_wrong_names_are_answered_with_a_whole_flag(tmp_path, capsys, names):
    log_frame().rename(columns=dict(zip(("query", "prompt", "score"), names))).to_csv(tmp_path/"log.csv", index=False)
    err = refused(capsys, "run", tmp_path/"log.csv", match="probably meant: --columns")
    line = next(l for l in err.splitlines() if "--columns" in l)
    assert "columns={" not in err
    log, _ = opened(tmp_path/"log.csv", *pasted(line, "--columns")[:2])
    assert len(log) == 180 and log.frame["prompt"][0].startswith("Solve it")


@pytest.mark.parametrize("argv, said", [(["--covariates", "absent"], "--covariates must name further columns"), (["--baseline", "zzz"], "--baseline must be a prompt of the log"), (["--seed", "-1"], "--seed must be a whole number >= 0, got -1; pass e.g. --seed 0"),
                                        (["--where", "model=x"], "--where must name columns"), (["--score-range", "1,0"], "--score-range must be finite"), (["--score", "acuracy"], "leave --columns and --score out")])
def test_messages_speak_of_flags(tmp_path, capsys, hashed, argv, said):
    log_frame().to_csv(tmp_path/"log.csv", index=False)
    err = refused(capsys, "run", tmp_path/"log.csv", "--out", tmp_path, *argv, match=said)
    assert not re.search(r"\b(score_range|random_state|columns=|log\.where|templates=)", err)


def test_notes_speak_of_flags_too(tmp_path, capsys, hashed):
    log_frame(n=40).assign(model=np.resize(["a", "b"], 120)).to_csv(tmp_path/"log.csv", index=False)
    code, _, err = ran(capsys, "run", tmp_path/"log.csv", "--out", tmp_path)
    assert code == 0 and "Use --where model=... for one level" in err and "log.where" not in err


# ---------------------------------------------------------------- where it writes

def test_outputs_are_tried_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(study_cli, "_open_log", lambda a: pytest.fail("the log was read first"))
    monkeypatch.setattr(demonstration, "demo", lambda *a, **k: pytest.fail("the demo began"))
    (tmp_path/"file").write_text("x"); (tmp_path/"full"/"report.html").mkdir(parents=True); (tmp_path/"log.parquet").mkdir()
    for argv in (["demo"], ["run", "log.csv"], ["checkup", "log.csv"], ["collect", "--task", "world"]):
        refused(capsys, *argv, "--out", tmp_path/"file", match="--out must be a folder, got the file")
        refused(capsys, *argv, "--out", tmp_path/"file"/"deep"/"er", match="--out must be a folder, got the file")
    refused(capsys, "run", "log.csv", "--out", tmp_path/"full", match="got a folder of that name")
    refused(capsys, "import", "x", "--out", tmp_path/"log.parquet", match="got a folder of that name")
    refused(capsys, "import", "x", "--out", tmp_path/"file"/"log.parquet", match="--out must be a folder, got the file")
    def locked(*a, **k): raise PermissionError(13, "Permission denied")
    monkeypatch.setattr(flags.tempfile, "TemporaryFile", locked)
    refused(capsys, "demo", "--out", tmp_path/"new", match=f"a folder that can be written to, got '{tmp_path}/new' (in '{tmp_path}': Permission denied)")
    refused(capsys, "demo", "--out", tmp_path, match=f"got '{tmp_path}' (Permission denied)")
    assert not (tmp_path/"new").exists()


@pytest.mark.parametrize("argv", [["demo"], ["demo", "--real"], ["checkup", "log.csv"]])
def test_an_interrupt_while_libraries_are_read_is_one_line(capsys, monkeypatch, argv):
    found = cli._function_at
    def interrupted(place):
        if place.endswith("arguments"): return found(place)
        raise KeyboardInterrupt
    monkeypatch.setattr(cli, "_function_at", interrupted)
    assert cli.main(argv) == 130 and capsys.readouterr().err == "causal-prompts: interrupted\n"


def test_a_failed_run_leaves_the_old_report_and_no_folder(tmp_path, capsys, hashed, monkeypatch):
    log_frame().to_csv(tmp_path/"log.csv", index=False)
    (tmp_path/"out").mkdir(); (tmp_path/"out"/"report.html").write_text("old")
    def full(self, data): raise OSError(28, "No space left on device")
    monkeypatch.setattr(reporting.Path, "write_bytes", full)
    refused(capsys, "run", tmp_path/"log.csv", "--out", tmp_path/"out", match="No space left")
    assert (tmp_path/"out"/"report.html").read_text() == "old" and len(list((tmp_path/"out").iterdir())) == 1
    refused(capsys, "run", tmp_path/"log.csv", "--baseline", "zzz", "--out", tmp_path/"new", match="--baseline must be")
    assert not (tmp_path/"new").exists()


# ---------------------------------------------------------------- prompts that hold their query

WAYS = ["Answer: {q}", "Think step by step.\n\nQuestion: {q}\nAnswer:", "{q}\n\nGive a short answer."]


def filled(n=60, fill=lambda w, q: w.replace("{q}", q), queries=None, seed=0, ways=WAYS):
    "A log of two requests a query, with the query filled in."
    r, rows = np.random.default_rng(seed), []
    for i in range(n):
        q = f"How many apples are {i} and {i % 7}?" if queries is None else queries[i]
        rows += [(q, fill(w, q), float(r.random() < .3 + .2 * ways.index(w))) for w in r.permutation(ways)[:2]]
    return pd.DataFrame(rows, columns=["query", "prompt", "score"])


def test_the_command_masks_filled_in_prompts_and_says_so_first(tmp_path, capsys, hashed):
    filled(seed=2).to_csv(tmp_path/"log.csv", index=False)
    code, out, err = ran(capsys, "run", tmp_path/"log.csv", "--out", tmp_path)
    first = " ".join(out.split("\n\n")[1].split())
    assert code == 0 and first.startswith("log.csv. The query's text was masked as {query} in 120 of 120 prompts, which leaves 3. --keep-filled leaves them as they were sent.")
    told = " ".join(out.split()) # however wide the terminal is
    assert "60 queries x 3 prompts" in told and "not assigned at random" not in told and "hold the text of their own query" not in err
    log, about = opened(tmp_path/"log.csv")
    assert sorted(log.prompts["prompt"]) == sorted(w.replace("{q}", "{query}") for w in WAYS)
    with pytest.warns(UserWarning, match="100% of the prompts hold the text of their own query"): log, about = opened(tmp_path/"log.csv", "--keep-filled")
    assert len(log.prompts) == 120 and "masked" not in about


def test_prompts_and_ids_of_templates_are_kept(tmp_path):
    t = filled().assign(prompt_id=lambda t: ["abc"[next(i for i, w in enumerate(WAYS) if w.replace("{q}", q) == p)] for q, p in zip(t["query"], t["prompt"])])
    assert sorted(Triplets.read(t, templates=True).prompts["prompt_id"]) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="if templates were filled in with the query, read with templates=True"): Triplets(t)
    log = Triplets.read(t.assign(prompt_id=np.arange(120)), templates=True)
    assert len(log.prompts) == 3


SPELLINGS = dict(
    spaces=(lambda w, q: w.replace("{q}", q.replace(" ", "  \n", 2)), 3), upper=(lambda w, q: w.replace("{q}", q.upper()), 3), no_mark=(lambda w, q: w.replace("{q}", q.rstrip("?")), 3), twice=(lambda w, q: w.replace("{q}", q + "\n" + q), 3),
    quoted=(lambda w, q: w.replace("{q}", f'"{q}"'), 3), json=(lambda w, q: f'{{"task": "{w}", "input": "{q}"}}'.replace("{q}", "the input"), 3), cjk=(lambda w, q: w.replace("{q}", f"问题：{q}。请回答"), 3))


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_query_is_found_in_any_spelling(name):
    fill, n = SPELLINGS[name]
    log = Triplets.read(filled(fill=fill), templates=True)
    assert len(log.prompts) == n and all("{query}" in p for p in log.prompts["prompt"]) and not any("apples" in p.lower() for p in log.prompts["prompt"])


def test_short_queries_do_not_mask_words_by_accident():
    queries = ["a", "the", "step by step", *[f"How many apples are {i} and {i % 7}?" for i in range(57)]]
    log = Triplets.read(filled(queries=queries, fill=lambda w, q: f"Give a short answer, the best, step by step. {w.replace('{q}', q)}"), templates=True)
    assert len(log.prompts) == 3 and all("Give a short answer, the best, step by step." in p for p in log.prompts["prompt"])
    plain = pd.DataFrame([(q, p, i % 2) for i, q in enumerate([*"abcdefghij", "answer", "short"]) for p in ("Give a short answer.", "Be brief, a word.")], columns=["query", "prompt", "score"])
    log = Triplets.read(plain, templates=True)
    assert log.prompts["prompt"].tolist() == ["Give a short answer.", "Be brief, a word."] and log.notes == ()
    own = plain.assign(prompt=[f"{p} Way {i}." for i, p in enumerate(plain["prompt"])])
    assert Triplets.read(own, templates=True).frame["prompt"].tolist() == own["prompt"].tolist()


def test_further_variables_are_masked_under_their_names():
    t = filled(fill=lambda w, q: f"Context: the record of {q[-8:]} holds many numbers.\n" + w.replace("{q}", q)).assign(context=lambda t: [f"the record of {q[-8:]} holds many numbers." for q in t["query"]])
    log = Triplets.read(t, templates=True)
    assert len(log.prompts) == 3 and all(p.startswith("Context: {context}\n") and "{query}" in p for p in log.prompts["prompt"])


def test_long_queries_that_were_cut_are_found():
    queries = [f"Case {i}: " + f"the facts of case {i} are as follows, " * 20 for i in range(60)]
    assert len(Triplets.read(filled(queries=queries, fill=lambda w, q: w.replace("{q}", q[:200])), templates=True).prompts) == 3


def test_some_prompts_filled_in_and_others_not():
    t = filled()
    t = pd.concat([t, t.drop_duplicates("query").assign(prompt="Answer the question of the user.")], ignore_index=True)
    log = Triplets.read(t, templates=True)
    assert len(log.prompts) == 4 and log.notes == ("The query's text was masked as {query} in 120 of 121 prompts, which leaves 4.",)


def test_filled_in_prompts_alone_are_never_called_a_choice():
    "Their p-values are those of the templates, assigned at random here; each is one draw from the uniform distribution."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sent = [Triplets(filled(seed=s)).design(permutations=39).facts["predict_p"] for s in range(12)]
        masked = [Triplets.read(filled(seed=s), templates=True).design(permutations=39).facts["predict_p"] for s in range(12)]
    assert sent == masked and sum(p <= .05 for p in sent) <= 4


def test_a_log_takes_its_templates_later():
    with pytest.warns(UserWarning, match=r"read the log with templates=True, or take log.templates\(\) \(embeddings.as_template masks single texts\)") as seen: log = Triplets(filled().assign(topic=lambda t: t["query"].str.len()))
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        after = log.templates()
        assert after.templates() is after and len(after) == len(log) == 120 and len(after.prompts) == 3 and after.covariates == log.covariates == ["topic"]
    assert after.frame["score"].tolist() == log.frame["score"].tolist() and (after.frame["prompt_id"].nunique(), after.frame["repeat"].max()) == (3, 0)
    plain = Triplets(log_frame())
    assert plain.templates() is plain


# ---------------------------------------------------------------- names in place of prompts

def test_names_are_joined_with_their_texts(tmp_path, capsys, hashed):
    f = log_frame()
    texts = dict(zip(f["prompt"].unique(), ("baseline_v1", "v2", "v3", "v4", "v5")))
    f.assign(prompt=f["prompt"].map(texts)).to_csv(tmp_path/"log.csv", index=False)
    pd.DataFrame([(n, t) for t, n in texts.items()] + [("v9", "unused")], columns=["name", "prompt"]).to_csv(tmp_path/"names.csv", index=False)
    code, out, _ = ran(capsys, "run", tmp_path/"log.csv", "--prompts", tmp_path/"names.csv", "--baseline", "baseline_v1", "--out", tmp_path)
    assert code == 0 and "5 names of prompts stand for the texts given." in " ".join(out.split()) and "Solve it. Way" in out
    log, _ = opened(tmp_path/"log.csv", "--prompts", tmp_path/"names.csv")
    assert log.frame["prompt"].tolist() == f["prompt"].tolist() and set(log.frame["prompt_id"]) == set(texts.values())


@pytest.mark.parametrize("form", ["dict", "table", "tsv", "jsonl", "json", "json table", "folder"])
def test_texts_may_come_in_any_form(tmp_path, form):
    f = log_frame(prompts=2, k=2)
    first, second = f["prompt"].unique()
    f = f.assign(prompt=f["prompt"].map({first: "v1", second: "v2"}))
    t = pd.DataFrame(dict(id=["v1", "v2"], text=[first, second]))
    if form == "tsv": t.to_csv(tmp_path/"p.tsv", sep="\t", index=False)
    if form == "jsonl": t.to_json(tmp_path/"p.jsonl", orient="records", lines=True)
    if form == "json": pd.Series({"v1": first, "v2": second}).to_json(tmp_path/"p.json")
    if form == "json table": t.to_json(tmp_path/"p.json", orient="records")
    if form == "folder":
        (tmp_path/"p").mkdir()
        for n, x in t.itertuples(index=False): (tmp_path/"p"/f"{n}.txt").write_text(x + "\n")
    given = {"dict": {"v1": first, "v2": second}, "table": t, "tsv": tmp_path/"p.tsv", "jsonl": tmp_path/"p.jsonl", "json": tmp_path/"p.json", "json table": tmp_path/"p.json", "folder": tmp_path/"p"}[form]
    log = Triplets.read(f, prompts=given)
    assert set(log.prompts["prompt"]) == {first, second} and set(log.prompts["prompt_id"]) == {"v1", "v2"}


def test_names_without_a_text_are_told(tmp_path, capsys):
    f = log_frame(prompts=3)
    f = f.assign(prompt=f["prompt"].map(dict(zip(f["prompt"].unique(), ("v1", "v2", "v3")))))
    f.to_csv(tmp_path/"log.csv", index=False)
    pd.DataFrame(dict(name=["v1", "v4"], prompt=["a text", "another"])).to_csv(tmp_path/"names.csv", index=False)
    refused(capsys, "run", tmp_path/"log.csv", "--prompts", tmp_path/"names.csv", match="got 2 without a text, ['v2', 'v3']; add them to the file of --prompts, which has ['v1', 'v4']")
    for bad, said in ((dict(name=["v1"], words=["x"]), "must have the columns name and prompt"), (dict(name=["v1", "v1"], prompt=["x", "y"]), "two texts for 'v1'"), (dict(name=["v1"], prompt=[" "]), "must give every name a text")):
        with pytest.raises(ValueError, match=said): Triplets.read(f, prompts=pd.DataFrame(bad))
    refused(capsys, "run", tmp_path/"log.csv", "--prompts", tmp_path/"absent.csv", match="got no such file")


def test_numbers_may_be_names():
    f = log_frame(prompts=2, k=2)
    t = dict(enumerate(f["prompt"].unique()))
    log = Triplets.read(f.assign(prompt=f["prompt"].map({v: k for k, v in t.items()})), prompts=t)
    assert log.frame["prompt"].tolist() == f["prompt"].tolist() and set(log.frame["prompt_id"]) == {"0", "1"}
