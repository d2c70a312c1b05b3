"Contracts of the log: what is refused and how, what is kept, how a design is read, what a split guarantees."
import json, os, pickle, re, subprocess, sys, time, warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import causal_prompts
from causal_prompts.core import Finding, LogError, NotIdentifiedError, content_id
from causal_prompts.files import SCHEMA
from causal_prompts.recordings import data_folder
from causal_prompts.triplets import Triplets

ROOT = Path(causal_prompts.__file__).parent.parent


def table(n=12, prompts=("Answer: {q}", "Think, then answer: {q}", "Guess: {q}"), draws=1):
    t = pd.DataFrame([(f"question {i}", p) for i in range(n) for p in prompts for _ in range(draws)], columns=["query", "prompt"])
    return t.assign(score=np.random.default_rng(0).integers(0, 2, len(t)).astype(float))


def put(column, row, value, base=None):
    t = (table() if base is None else base).copy()
    if column not in t: t[column] = .5
    t[column] = t[column].astype(object)
    t.loc[row, column] = value
    return t


def ids(t, **columns): return t.assign(query_id=pd.factorize(t["query"])[0], prompt_id=pd.factorize(t["prompt"])[0], **columns)


# ---------------------------------------------------------------- refusals: frames

BAD_FRAMES = {
    "no score": (lambda: table().drop(columns="score"), r"column 'score': got no such column, only \['query', 'prompt'\]; name yours with columns="),
    "no query and no prompt": (lambda: table()[["score"]], "2 problems(.|\n)*'query'(.|\n)*'prompt'"),
    "no rows": (lambda: table().iloc[:0], "a header and no rows"),
    "two columns of one name": (lambda: pd.concat([table(), table()[["score"]]], axis=1), "column 'score': got two columns of this name"),
    "empty query": (lambda: put("query", 4, ""), "row 4, column 'query': got the empty text ''"),
    "blank prompt": (lambda: put("prompt", 5, " \n"), "row 5, column 'prompt': got the empty text"),
    "query None": (lambda: put("query", 6, None), "row 6, column 'query': got no text; fill it in"),
    "prompt NaN": (lambda: put("prompt", 7, np.nan), "row 7, column 'prompt': got no text"),
    "prompt a number": (lambda: put("prompt", 2, 3.5), r"row 2, column 'prompt': got 3.5 \(float\); give a text"),
    "query a list": (lambda: put("query", 2, ["a", "b"]), r"row 2, column 'query': got \['a', 'b'\] \(list\)"),
    "query bytes": (lambda: put("query", 1, b"a"), r"row 1, column 'query': got b'a' \(bytes\)"),
    "half a surrogate": (lambda: put("prompt", 1, "a\ud800"), "row 1, column 'prompt': got half of a surrogate pair"),
    "score a word": (lambda: put("score", 8, "good"), "row 8, column 'score': got 'good' where a number belongs"),
    "score a list": (lambda: put("score", 8, [1]), r"row 8, column 'score': got \[1\] where a number belongs"),
    "score with a comma": (lambda: put("score", 8, "0,5"), "row 8, column 'score': got '0,5' where a number belongs"),
    "score complex": (lambda: put("score", 8, 1j), "row 8, column 'score': got 1j where a number belongs"),
    "score above": (lambda: put("score", 9, 1.7), r"row 9, column 'score': got 1.7 outside \[0, 1\]; .*score_range=.*runs from 0 to 1.7"),
    "score below": (lambda: put("score", 9, -.1), r"row 9, column 'score': got -0.1 outside"),
    "score infinite": (lambda: put("score", 9, np.inf), "row 9, column 'score': got inf; give a finite number"),
    "score minus infinity as text": (lambda: put("score", 9, "-inf"), "row 9, column 'score': got -inf"),
    "propensity zero": (lambda: put("propensity", 3, 0.), r"row 3, column 'propensity': got 0; .*\(0, 1\]"),
    "propensity above one": (lambda: put("propensity", 3, 1.2), "row 3, column 'propensity': got 1.2"),
    "propensity missing": (lambda: put("propensity", 3, np.nan), "row 3, column 'propensity': got nan"),
    "propensity a letter": (lambda: put("propensity", 3, "x"), "row 3, column 'propensity': got 'x' where a number belongs"),
    "repeat fractional": (lambda: put("repeat", 0, 1.5, table().assign(repeat=0)), "row 0, column 'repeat': got 1.5; number the draws 0, 1, 2"),
    "repeat negative": (lambda: put("repeat", 0, -1, table().assign(repeat=0)), "row 0, column 'repeat': got -1"),
    "repeat missing": (lambda: put("repeat", 0, None, table().assign(repeat=0)), "row 0, column 'repeat': got nan"),
    "a draw twice": (lambda: pd.concat([table(), table().iloc[[4]]], ignore_index=True).assign(repeat=0), r"row 36, column 'repeat': got draw 0 .* second time \(first in row 4\)"),
    "a draw twice, in one model": (lambda: pd.concat([table(), table().iloc[[4]]], ignore_index=True).assign(repeat=1, model="m"), "row 36, column 'repeat'"),
    "two texts under a query id": (lambda: put("query_id", 5, 0, ids(table())), "row 5, column 'query_id': got '0' for 'question 1', and in row 0 for 'question 0'; give each query text its own id"),
    "two texts under a prompt id": (lambda: put("prompt_id", 1, 0, ids(table())), "row 1, column 'prompt_id': got '0' for 'Think"),
    "query id missing": (lambda: put("query_id", 5, None, ids(table())), "row 5, column 'query_id': got None; give every row a text or a whole number"),
    "prompt id blank": (lambda: put("prompt_id", 5, " ", ids(table())), "row 5, column 'prompt_id'"),
    "query id fractional": (lambda: put("query_id", 5, 1.5, ids(table())), "row 5, column 'query_id': got 1.5"),
    "query id a list": (lambda: put("query_id", 5, [1], ids(table())), r"row 5, column 'query_id': got \[1\]"),
    "model missing": (lambda: put("model", 2, None, table().assign(model="m")), "row 2, column 'model': got None"),
    "task missing": (lambda: put("task", 2, np.nan, table().assign(task="t")), "row 2, column 'task': got nan"),
}

BAD_COVARIATES = {
    "a list": (lambda: put("tags", 2, ["x"]), r"row 2, column 'tags': got \['x'\] \(list\); a covariate is"),
    "mixed": (lambda: put("level", 2, 7, table().assign(level="easy")), r"row 2, column 'level': got 7 \(int\)"),
    "complex": (lambda: table().assign(z=1j), r"all 36 rows, column 'z': got 1j \(complex\)"),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_bad_frames_are_refused(name):
    make, message = BAD_FRAMES[name]
    with pytest.raises(LogError, match=message): Triplets(make())


@pytest.mark.parametrize("name", BAD_COVARIATES)
def test_a_covariate_that_cannot_be_adjusted_for_is_refused_where_it_is_named_and_left_out_elsewhere(name):
    make, message = BAD_COVARIATES[name]
    t = make()
    with pytest.raises(LogError, match=message): Triplets(t, covariates=[t.columns[-1]])
    with pytest.warns(UserWarning, match=f"left out, as neither texts nor numbers nor dates: '{t.columns[-1]}'") as seen: log = Triplets(t)
    assert t.columns[-1] not in log.frame and len(log) == len(t) and seen[0].filename == __file__


def test_every_problem_is_collected_and_each_kind_is_shown():
    t = table(40)
    t["score"] = 50.
    t.loc[100, "query"] = ""
    with pytest.raises(LogError, match="DataFrame \\(rows counted from 0\\): 121 problems") as e: Triplets(t)
    p = e.value.problems
    assert (p["column"] == "score").sum() == 120 and (p["column"] == "query").sum() == 1
    assert list(p.columns) == ["row", "column", "got", "do"] and p["do"].str.len().gt(10).all()
    assert "row 100, column 'query'" in str(e.value) and "all 120 rows, column 'score': got 50 outside [0, 1]" in str(e.value) and len(str(e.value).splitlines()) == 3
    with pytest.raises(LogError, match="... and 21 more: see the error's .problems"): Triplets(t.assign(score=.5, query=np.where(t.index < 30, "", t["query"])))


@pytest.mark.parametrize("given", [(1, 0), (0, 0), (0, np.inf), 5, "ab", (0, 1, 2), None])
def test_a_range_must_be_a_pair(given):
    with pytest.raises(ValueError, match=r"score_range must be .*score_range=\(0, 1\)"): Triplets(table(), score_range=given)


@pytest.mark.parametrize("columns, message", [
    ({"promt": "prompt"}, r"columns must map names of the log to yours.*got \['promt'\]"), ({"query": "prompt", "prompt": "prompt"}, "columns must name a column once")])
def test_a_map_of_columns_is_checked(columns, message):
    with pytest.raises(ValueError, match=message): Triplets.read(table(), columns=columns)


def test_a_mapped_column_that_is_absent_is_named():
    with pytest.raises(LogError, match="column 'accuracy': got no such column"): Triplets.read(table(), columns={"score": "accuracy"})


def test_what_is_no_frame():
    with pytest.raises(TypeError, match="must be a DataFrame, got list; read a file with Triplets.read"): Triplets([1, 2])
    with pytest.raises(TypeError, match="must be a DataFrame, got dict"): Triplets.read({"query": ["a"]})
    with pytest.raises(TypeError, match="must be a DataFrame, got int"): Triplets(5)
    with pytest.raises(ValueError, match=r"covariates must name further columns of the log, got \['x'\]"): Triplets(table(), covariates=["x"])


# ---------------------------------------------------------------- refusals: files

HEAD = "query,prompt,score\n"
GOOD = HEAD + "".join(f"q{i},p{j},{(i + j) % 2}\n" for i in range(12) for j in range(2))
LINE = json.dumps(dict(query="q", prompt="p", score=1)) + "\n"

BAD_FILES = {
    "latin1.csv": ((HEAD + "q,p,1\ncafé,p,1\n").encode("latin-1"), "row 3, column 'file': got the byte 0xe9, which is not UTF-8; save the file as UTF-8"),
    "utf16.csv": (GOOD.encode("utf-16")[:-1], "cut off inside a character"),
    "binary.csv": (b"query,pro\0mpt,score\nq,p,1\n", "zero bytes, as in a file that is no text"),
    "latin1.jsonl": (LINE.encode() + '{"query": "é'.encode("latin-1") + b' "}\n', "row 2, column 'file': got the byte 0xe9"),
    "empty.csv": (b"", "got an empty file"),
    "blank.jsonl": (b"\n \n", "got an empty file"),
    "mark.csv": (b"\xef\xbb\xbf", "got an empty file"),
    "empty.parquet": (b"", "got an empty file"),
    "header.csv": (HEAD.encode(), "a header and no rows"),
    "long.csv": ((HEAD + "q,p,1\nq2, and more,p,1\n").encode(), r"long.csv \(rows are lines of the file\): 1 problem\n  row 3, column 'row': got 4 cells under a header of 3"),
    "short.csv": ((HEAD + "q,p,1\nq,p\n").encode(), "row 3, column 'row': got 2 cells under a header of 3"),
    "multiline.csv": ((HEAD + '"a\nb\nc",p,1\nq,p,2\n').encode(), r"row 5, column 'score': got 2 outside \[0, 1\]"),
    "quote.csv": ((HEAD + 'q,p,1\n"q,p,1\nq,p,1\n').encode(), "row 3, column 'file': got a row that cannot be read .*; close the quotation mark"),
    "colons.csv": (GOOD.replace(",", ":").encode(), r"got no such column, only \['query:prompt:score'\]; separate the cells by commas"),
    "word.csv": ((HEAD + "q,p,1\nq,p,good\n").encode(), "row 3, column 'score': got 'good' where a number belongs"),
    "torn.jsonl": ((LINE * 2 + LINE[:20]).encode(), r"torn.jsonl .*\n  row 3, column 'line': got a torn last line .*; the writer was cut off: delete the line"),
    "torn_char.jsonl": (LINE.encode() + '{"query": "é'.encode()[:-1], "row 2, column 'file': got a file cut off inside a character"),
    "broken.jsonl": ((LINE + "{]\n" + LINE).encode(), "row 2, column 'line': got no JSON object"),
    "list.jsonl": ((LINE + "[1, 2]\n").encode(), "row 2, column 'line': got no JSON object"),
    "blank_lines.jsonl": ((LINE + "\n\n" + LINE.replace('"q"', '""')).encode(), "row 4, column 'query': got the empty text"),
    "nokey.jsonl": ((LINE + '{"query": "q", "score": 1}\n').encode(), "row 2, column 'prompt': got no text"),
    "text.parquet": (b"query,prompt,score\n", "no whole parquet file .*; copy or write the file again"),
    "log.docx": (b"x", r"the ending '.docx'; give a file that ends in .parquet, .csv, .jsonl"),
    "log": (b"x", "the ending 'of no name'"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_refused(name, tmp_path):
    raw, message = BAD_FILES[name]
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(LogError, match=message) as e: Triplets.read(tmp_path / name)
    assert str(e.value).startswith(name) and str(tmp_path) not in str(e.value)


def test_a_truncated_parquet_is_refused(tmp_path):
    whole = Triplets(table()).write(tmp_path / "a.parquet").read_bytes()
    (tmp_path / "half.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LogError, match="half.parquet: .*\n.*no whole parquet file"): Triplets.read(tmp_path / "half.parquet")


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match="must be a log at 'nowhere.csv', got no such file"): Triplets.read("nowhere.csv")


def test_a_schema_from_the_future_is_refused(tmp_path):
    import pyarrow.parquet as pq
    t = pq.read_table(Triplets(table()).write(tmp_path / "a.parquet"))
    meta = {**t.schema.metadata, b"causal_prompts": json.dumps(dict(schema=SCHEMA + 1)).encode()}
    pq.write_table(t.replace_schema_metadata(meta), tmp_path / "b.parquet")
    with pytest.raises(LogError, match=f"schema version {SCHEMA + 1}, newer than {SCHEMA}; update causal_prompts"): Triplets.read(tmp_path / "b.parquet")


# ---------------------------------------------------------------- what is kept

def test_ids_are_content_hashes_and_draws_are_numbered():
    log = Triplets(table(draws=3))
    assert list(log.frame.columns) == ["query_id", "query", "prompt_id", "prompt", "repeat", "score"]
    assert (log.frame["query_id"] == log.frame["query"].map(content_id)).all() and (log.frame["prompt_id"] == log.frame["prompt"].map(content_id)).all()
    assert log.frame["repeat"].tolist() == [0, 1, 2] * 36 and log.frame["repeat"].dtype == np.int64 and log.frame["score"].dtype == np.float64
    assert isinstance(log.frame.index, pd.RangeIndex) and len(log) == 108


def test_draws_are_numbered_inside_a_model():
    t = table().assign(model="a")
    assert Triplets(pd.concat([t, t.assign(model="b")])).frame["repeat"].eq(0).all()
    Triplets(pd.concat([t, t.assign(model="b")]).assign(repeat=0))


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, "", " ", "NaN", "null", "N/A"])
def test_a_missing_score_stays_missing(missing):
    log = Triplets(put("score", 3, missing))
    assert np.isnan(log.frame["score"][3]) and len(log) == 36 and log.frame["score"].notna().sum() == 35
    assert len(log.scored) == 35 and log.prompts["n"].sum() == 35 and log.queries["n"].sum() == 35
    assert log.prompts["mean"][0] == pytest.approx(log.frame.loc[log.frame["prompt"] == "Answer: {q}", "score"].mean())
    assert log.design(permutations=0).facts["n_missing"] == 1


@pytest.mark.parametrize("kind", [bool, int, "Int64", "boolean", "float32", object, "str"])
def test_scores_of_any_plain_kind(kind):
    want = table()["score"]
    t = table().assign(score=want.astype(bool).astype(kind) if kind in (bool, "boolean", object, "str") else want.astype(kind))
    assert Triplets(t).frame["score"].tolist() == want.tolist()


def test_ids_that_look_like_nothing_survive_every_form(tmp_path):
    t = table(3, ("a", "b", "c")).assign(query_id=np.repeat(["null", "007", "NA"], 3), prompt_id=["nan", "None", "N/A"] * 3)
    t["score"] = t["score"].astype(object)
    t.loc[2, "score"] = None
    t.to_csv(tmp_path / "t.csv", index=False)
    t.to_json(tmp_path / "t.jsonl", lines=True, orient="records")
    t.assign(score=t["score"].astype(float)).to_parquet(tmp_path / "t.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logs = [Triplets(t)] + [Triplets.read(tmp_path / f"t.{x}") for x in ("csv", "jsonl", "parquet")]
    for log in logs:
        assert log.frame["prompt_id"].tolist() == ["nan", "None", "N/A"] * 3 and log.frame["query_id"].unique().tolist() == ["null", "007", "NA"]
        assert log.frame["score"].isna().tolist() == [False, False, True] + [False] * 6
        pd.testing.assert_frame_equal(log.frame, logs[0].frame)


def test_numbers_as_ids_are_written_out():
    log = Triplets(ids(table()).assign(query_id=lambda t: t["query_id"].astype(float)))
    assert log.frame["query_id"][5] == "1" and log.frame["prompt_id"][5] == "2"


def test_texts_come_through_a_csv_unchanged(tmp_path):
    texts = ['a "quoted", text', "two\nlines", "trailing space ", "é 漢字 🙂", "tab\there", "x" * 200_000, "nan"]
    t = pd.DataFrame([(q, p, .5) for q in texts for p in ("one", "two")], columns=["query", "prompt", "score"]).assign(level=list("ab") * 7, size=range(14))
    t.to_csv(tmp_path / "t.csv", index=False)
    with pytest.warns(UserWarning, match="7 queries"): log = Triplets.read(tmp_path / "t.csv")
    assert log.queries["query"].tolist() == texts and log.frame["size"].tolist() == list(range(14)) and log.frame["level"].tolist() == list("ab") * 7


def test_kinds_of_csv_covariates(tmp_path):
    t = table().assign(n=range(36), half=np.where(np.arange(36) == 2, "", ".5"), yes=["True", "false", "TRUE"] * 12, code=["1", "a", ""] * 12)
    t.to_csv(tmp_path / "t.csv")
    f = Triplets.read(tmp_path / "t.csv").frame
    assert "" not in f and f["n"].dtype.kind == "i" and f["half"].isna().sum() == 1 and f["half"].dtype == float
    assert f["yes"].dtype == bool and f["yes"].sum() == 24 and f["code"].isna().sum() == 12 and f["code"][0] == "1"


def test_columns_are_mapped_and_the_shadowed_one_is_dropped():
    t = table().rename(columns={"query": "question"}).assign(accuracy=1.)
    with pytest.warns(UserWarning, match="100.0%"): log = Triplets.read(t, columns={"query": "question", "score": "accuracy"})
    assert (log.frame["score"] == 1).all() and "accuracy" not in log.frame and list(log.frame.columns)[:2] == ["query_id", "query"]


def test_ids_may_stand_in_the_index():
    log = Triplets(ids(table()).set_index(["query_id", "prompt_id"]))
    assert log.frame["query_id"][3] == "1" and log.frame["prompt_id"][4] == "1"


def test_covariates_that_may_be_results_are_not_used_unless_named():
    t = table().assign(hard=lambda t: t["query"].str.len() > 10, tokens=range(36), same="x", prompt_words=lambda t: t["prompt"].str.len())
    log = Triplets(t)
    assert log.covariates == ["hard"] and "not used, as they differ within a query: tokens, prompt_words" in repr(log)
    assert Triplets(t, covariates=["tokens"]).covariates == ["tokens"]
    assert "nothing here could show otherwise" in str(Triplets(t.iloc[::3]).design(permutations=0).table["value"].tolist())
    assert "nothing here could show otherwise" not in str(log.design(permutations=0).table["value"].tolist())
    one = log.take(np.arange(0, 36, 3))
    assert one.covariates == ["hard"], "the choice is made once, on the whole log"


def test_model_and_task_count_as_covariates_where_they_vary():
    t = pd.concat([table().assign(model=m, task="t") for m in "ab"])
    log = Triplets(t)
    assert log.covariates == ["model"] and log.where(model="a").covariates == []
    assert len(set(log.groups)) == 24 and len(set(log.where(model="a").groups)) == 12 and set(log.where(model="a").groups) < set(log.groups)
    assert log.queries.columns.tolist() == ["query_id", "query", "n", "task"] and log.queries["n"].eq(6).all()


def test_groups_are_queries_where_there_is_no_model_or_task():
    log = Triplets(table())
    assert (log.groups == log.frame["query_id"]).all() and len(log.groups) == 36


def test_a_log_is_not_changed_in_place():
    log = Triplets(table())
    with pytest.raises(AttributeError, match="not changed in place"): log.adaptive = True
    handed = log.prompts
    handed["mean"] = 0
    log.covariates.append("x")
    assert log.prompts["mean"].max() > 0 and log.covariates == []


def test_the_users_frame_is_left_alone():
    t = table().rename(columns={"score": "y"})
    before = t.copy()
    Triplets.read(t, columns={"score": "y"})
    pd.testing.assert_frame_equal(t, before)


def test_take_and_where():
    log = Triplets(table().assign(level=np.repeat(["a", "b", "c"], 12)))
    assert len(log.where(level="a")) == 12 and len(log.where(level=["a", "b"], prompt="Guess: {q}")) == 8
    assert log.take([5, 3]).frame["query"].tolist() == ["question 1", "question 1"] and isinstance(log.take([5]).frame.index, pd.RangeIndex)
    assert log.take(log.frame["score"] == 1).frame["score"].eq(1).all()
    with pytest.raises(ValueError, match=r"level must be a value that occurs, got \['z'\]; there are \['a', 'b', 'c'\]"): log.where(level="z")
    with pytest.raises(ValueError, match="where must name columns of the log, got 'size'"): log.where(size=1)
    with pytest.raises(ValueError, match="one truth value a row = 36, got 2"): log.take([True, False])
    with pytest.raises(ValueError, match="at least one row must be left"): log.take(np.zeros(36, bool))


def test_it_shows_itself():
    log = Triplets(put("score", 0, None, table().assign(propensity=.5, model=["a", "b", "b"] * 12)), adaptive=True)
    assert repr(log) == "Triplets: 36 rows; 12 queries x 3 prompts; scores in [0, 1], 1 missing; 2 models; known propensities; prompts chosen by a search"
    assert log._repr_markdown_().count("\n|") == 2 + 3


# ---------------------------------------------------------------- warnings

def test_a_sound_log_is_read_in_silence():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Triplets(table())


@pytest.mark.parametrize("make, message", [
    (lambda: table(9), "the log has 9 queries"),
    (lambda: table(prompts=("Answer: {q}", "answer  {Q}!", "Guess")), "2 of 3 prompts equal another up to case, spaces and punctuation"),
    (lambda: ids(table()).assign(prompt="same"), "3 of 3 prompts equal another"),
    (lambda: table(40).assign(score=lambda t: (t.index < 115) * 1.), "95.8% of the scores are 1, an end of their range"),
    (lambda: table(40).assign(score=lambda t: (t.index < 6) * 1.), "95.0% of the scores are 0")])
def test_warnings_quote_the_number(make, message):
    with pytest.warns(UserWarning, match=message) as seen: Triplets(make())
    assert seen[0].filename == __file__


def test_no_saturation_below_the_line_and_none_between_the_ends():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Triplets(table(40).assign(score=lambda t: (t.index < 113) * 1.))
        Triplets(table(40).assign(score=.5))


# ---------------------------------------------------------------- there and back

def test_a_written_log_comes_back_identical(tmp_path):
    t = pd.concat([table(draws=2).assign(model=m) for m in "ab"]).reset_index(drop=True)
    t = t.assign(task=np.where(t["query"] < "question 5", "x", "y"), score=t["score"] * 10, propensity=.25, n=t.index, x=t.index * .1, flag=t.index % 2 == 0, level=t["query"].str[-1],
                 when=pd.Timestamp("2025-01-01") + pd.to_timedelta(t.index, "h"), kind=pd.Categorical(t["prompt"].str[0]), few=pd.array([1, None] * 72, dtype="Int64"))
    t.loc[3, ["score", "x", "level"]] = np.nan, np.nan, None
    log = Triplets(t, score_range=(0, 10), adaptive=True, covariates=["n", "level"])
    again = Triplets.read(log.write(tmp_path / "log.parquet"))
    pd.testing.assert_frame_equal(again.frame, log.frame, check_exact=True)
    assert (again.frame.dtypes == log.frame.dtypes).all() and again.score_range == (0., 10.) and again.adaptive is True and again.covariates == log.covariates == ["model", "task", "n", "level"]
    assert [p.name for p in tmp_path.iterdir()] == ["log.parquet"]
    once_more = Triplets.read(again.write(tmp_path / "log.parquet"))
    pd.testing.assert_frame_equal(once_more.frame, log.frame, check_exact=True)


def test_a_log_is_pickled_whole():
    log = Triplets(table(), adaptive=True)
    again = pickle.loads(pickle.dumps(log))
    assert again.adaptive and again.frame.equals(log.frame) and len(again.prompts) == 3


def test_writing_needs_the_right_ending():
    with pytest.raises(ValueError, match="path must end in .parquet, got 'log.csv'"): Triplets(table()).write("log.csv")


# ---------------------------------------------------------------- splits

def test_queries_and_prompts_are_held_out_jointly():
    log = Triplets(table(50, [f"prompt {i}" for i in range(20)]))
    train, test = log.split(queries=.4, prompts=.3, seed=1)
    assert train.frame["query"].nunique() == 30 and test.frame["query"].nunique() == 20
    assert train.frame["prompt"].nunique() == 14 and test.frame["prompt"].nunique() == 20
    assert not set(train.frame["query"]) & set(test.frame["query"]) and (len(train), len(test)) == (30 * 14, 20 * 20)
    train, test = log.split(queries=0, prompts=.3)
    assert train.frame["query"].nunique() == 50 and not set(train.frame["prompt"]) & set(test.frame["prompt"]) and len(train) + len(test) == len(log)


def test_a_split_ignores_the_order_of_rows_and_follows_the_seed():
    t = table(30, [f"prompt {i}" for i in range(10)])
    held = lambda t, seed: frozenset(Triplets(t).split(.3, .3, seed=seed)[1].frame["query"])
    assert held(t, 0) == held(t.sample(frac=1, random_state=3), 0) and len({held(t, s) for s in range(8)}) > 6


def test_a_split_is_the_same_in_another_process():
    code = ("import numpy as np, pandas as pd; from causal_prompts.triplets import Triplets;"
            "t = pd.DataFrame([(f'question {i}', f'prompt {j}', i * j % 2) for i in range(30) for j in range(6)], columns=['query', 'prompt', 'score']);"
            "a, b = Triplets(t).split(.4, .3, seed=7); print(sorted(set(b.frame['query_id'])), sorted(set(a.frame['prompt_id'])))")
    runs = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ, PYTHONHASHSEED=s)).stdout for s in ("1", "2")}
    t = pd.DataFrame([(f"question {i}", f"prompt {j}", i * j % 2) for i in range(30) for j in range(6)], columns=["query", "prompt", "score"])
    a, b = Triplets(t).split(.4, .3, seed=7)
    assert runs == {f"{sorted(set(b.frame['query_id']))} {sorted(set(a.frame['prompt_id']))}\n"}


def test_one_problem_in_ten_languages_stays_on_one_side():
    t = pd.DataFrame([(f"problem {i} in language {l}", p, i, l) for i in range(20) for l in range(10) for p in ("a", "b")], columns=["query", "prompt", "problem", "language"])
    log = Triplets(t.assign(score=np.arange(400) % 2))
    train, test = log.split(queries=.25, by="problem")
    assert not set(train.frame["problem"]) & set(test.frame["problem"]) and test.frame["problem"].nunique() == 5 and len(test) == 100
    plain = log.split(queries=.25)
    assert set(plain[0].frame["problem"]) & set(plain[1].frame["problem"]), "without `by` the languages part: the test would prove nothing"
    assert Triplets(t.assign(score=.5)).split(.25, by=["problem", "language"])[1].frame["query"].nunique() == 50


def test_one_text_under_two_ids_stays_on_one_side():
    t = ids(table(20))
    copy = t.assign(query_id=t["query_id"] + 100)
    for seed in range(5):
        train, test = Triplets(pd.concat([t, copy])).split(.5, seed=seed)
        assert not set(train.frame["query"]) & set(test.frame["query"])


@pytest.mark.parametrize("how, message", [
    (dict(queries=1.), r"queries must be a share in \[0, 1\), got 1.0"), (dict(queries=-.1), "queries must be a share"), (dict(queries="half"), "queries must be a share"),
    (dict(prompts=1.5), r"prompts must be a share in \[0, 1\), got 1.5"), (dict(queries=0), "queries or prompts must be above 0"), (dict(queries=float("nan")), "queries must be a share"),
    (dict(queries=.01), "queries=0.01 must hold out at least one of 12 and keep one, got 0 held out"), (dict(queries=.99), "got 12 held out"),
    (dict(prompts=.1), "prompts=0.1 must hold out at least one of 3"), (dict(by="subject"), "by must name columns of the log, got 'subject'"),
    (dict(by="prompt"), "by='prompt' must be filled in and constant within a query, got 'Think.* and 'Answer"), (dict(seed=-1), "random_state must be a whole number >= 0")])
def test_splits_that_cannot_be(how, message):
    with pytest.raises(ValueError, match=message): Triplets(table()).split(**how)


def test_a_split_that_leaves_no_training_row_is_refused():
    t = pd.DataFrame(dict(query=[f"q{i}" for i in range(12)], prompt=[f"p{i // 11}" for i in range(12)], score=.5))
    log = Triplets(t)
    refused = 0
    for seed in range(60):
        try: train, _ = log.split(.9, .5, seed=seed)
        except ValueError as e: refused += "train must keep a row, got none" in str(e)
        else: assert len(train)
    assert refused


# ---------------------------------------------------------------- what cannot be answered

@pytest.mark.parametrize("make, reason, still", [
    (lambda: table(prompts=("only",)), r"scores under one prompt only \('only'\)", "the mean score of this prompt"),
    (lambda: table().assign(score=np.nan), "All 36 scores are missing", "which prompts were tried"),
    (lambda: table().assign(score=.25), r"does not vary .*every score is 0.25", "a finer score"),
    (lambda: table().assign(model=lambda t: t["prompt"]), "No two prompts can be compared", "comparing models or tasks"),
    (lambda: table().assign(task=lambda t: t["query"].str[-1], score=lambda t: (t["task"] < "5") * 1.), "does not vary", "its mean"),
    (lambda: table().assign(score=lambda t: t["score"].where(t["prompt"] == "Guess: {q}")), "one prompt only", "hard queries")])
def test_what_a_log_cannot_answer(make, reason, still):
    log = Triplets(make())
    with pytest.raises(NotIdentifiedError, match=f"{reason}(.|\n)*still serves for: .*{still}"): log.require_effects()
    f = log.design()
    assert f.verdict == "stop" and "still serves for" in f.details
    f.plot()


def test_effects_can_be_asked_of_a_sound_log():
    assert Triplets(table()).require_effects() is None
    with pytest.raises(NotIdentifiedError, match="All 36 scores"): Triplets(table().assign(score=np.nan)).scored


# ---------------------------------------------------------------- design

WORDS = np.array([f"word{i}" for i in range(50)])


def simulated(seed, n=80, k=1, prompts=4, confounded=0., hidden=False):
    "A log whose hard queries (a word says so, unless hidden) get the later prompts more often."
    r = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        hard = r.random() < .5
        text = f"{i} " + " ".join(r.choice(WORDS, 8)) + " integral" * (hard and not hidden)
        p = np.exp(confounded * (1 if hard else -1) * np.linspace(-1, 1, prompts))
        rows += [(text, f"{'very ' * j}careful {j}", hard) for j in r.choice(prompts, k, replace=False, p=p / p.sum())]
    t = pd.DataFrame(rows, columns=["query", "prompt", "hard"])
    return t.drop(columns="hard").assign(score=(r.random(len(t)) < .6 - .3 * t["hard"]) * 1.)


def test_the_permutation_test_has_its_size():
    p = np.array([Triplets(simulated(s, n=50, k=1 + s % 2)).design(permutations=39).facts["predict_p"] for s in range(100)])
    lo, hi = stats.binom.ppf([.0005, .9995], len(p), .05)
    assert lo <= (p <= .05).sum() <= hi
    assert stats.kstest(p, stats.uniform(loc=.0125, scale=1).cdf).pvalue > .001, "p-values are not uniform"


@pytest.mark.parametrize("k", [1, 2])
def test_it_rings_on_a_visibly_confounded_log(k):
    found = [Triplets(simulated(s, n=200, k=k, confounded=1.2)).design(permutations=59).facts for s in range(6)]
    assert sum(f["predictable"] for f in found) >= 5 and np.median([f["predict_r2"] for f in found]) > .02


def test_a_hidden_difficulty_leaves_no_trace_and_the_reading_says_so():
    found = [Triplets(simulated(s, n=150, confounded=2., hidden=True)).design(permutations=39) for s in range(10)]
    assert sum(f.facts["predictable"] for f in found) <= 3
    quiet = next(f for f in found if not f.facts["predictable"])
    assert "does not make the choice random" in quiet.details and quiet.verdict == "caution" and "hidden difficulty" in quiet.details


def test_features_passed_in_show_what_words_do_not():
    t = simulated(0, n=200, confounded=1.5, hidden=True)
    log = Triplets(t)
    later = t["prompt"].str.len().to_numpy()[:, None] + np.random.default_rng(0).normal(0, 5, (len(t), 1))
    wide = np.hstack([later, np.random.default_rng(1).normal(0, 1, (len(t), 80))])
    assert not log.design().facts["predictable"] and log.design(query_features=later).facts["predictable"] and log.design(query_features=wide).facts["predictable"]
    with pytest.raises(ValueError, match=r"query_features must be \(n_queries, d\) = \(200, d\), aligned with log.queries, got \(3, 2\)"): log.design(query_features=np.zeros((3, 2)))
    with pytest.raises(ValueError, match="query_features must be finite"): log.design(query_features=np.full((200, 2), np.nan))


def test_a_recorded_covariate_is_part_of_the_query():
    r = np.random.default_rng(0)
    logs = [simulated(s, n=200) for s in range(4)]
    rings = lambda t: Triplets(t).design(permutations=39).facts["predictable"]
    tier = lambda t: t.assign(tier=np.where((t["prompt"].str.len() > 20) ^ (r.random(len(t)) < .15), "gold", "free"))
    assert sum(rings(tier(t)) for t in logs) == 4 and sum(rings(t) for t in logs) <= 2


def test_tasks_with_their_own_prompts_are_not_an_alarm():
    a, b = simulated(1, n=100), simulated(2, n=100)
    b["prompt"] = "translate " + b["prompt"]
    b["query"] = "french " + b["query"]
    t = pd.concat([a.assign(task="sums"), b.assign(task="french")])
    assert not Triplets(t).design().facts["predictable"]
    assert Triplets(t.drop(columns="task")).design().facts["predictable"], "pooled, the task would be the confounder"
    full = pd.concat([table(20).assign(task="a"), table(20, ("x", "y")).assign(task="b", query=lambda t: t["query"] + "b")])
    assert Triplets(full).design().facts["kind"] == "crossed"


def test_kinds_of_design():
    full = table(40, [f"prompt {i}" for i in range(5)])
    facts = lambda t, **how: Triplets(t, **how).design(permutations=19).facts
    f = facts(full)
    assert (f["kind"], f["n_multi"], f["share_multi"], f["predictable"], f["predict_p"]) == ("crossed", 40, 1., False, 1.)
    assert facts(full.drop(index=7))["kind"] == "repeated" and facts(put("score", 7, None, full))["kind"] == "repeated"
    single = full.iloc[::5]
    assert facts(single.assign(prompt=["a", "b"] * 20))["kind"] == "single"
    some = pd.concat([full[full["prompt"] == "prompt 0"], full[(full["prompt"] == "prompt 1")].iloc[:8]])
    assert facts(some)["kind"] == "repeated" and facts(some)["n_multi"] == 8
    assert facts(some.iloc[:-1])["kind"] == "single"
    copies = pd.concat([single.assign(prompt=["a", "b"] * 20)] * 3)
    f = facts(copies)
    assert f["kind"] == "single" and f["max_draws"] == 3, "draws of the same prompt are no comparison"


def test_two_models_on_one_query_are_two_groups():
    t = table(20, ("a", "b")).assign(model="m", score=lambda t: np.arange(40) % 2)
    t["model"] = np.where(t["prompt"] == "a", "m", "n")
    f = Triplets(t).design(permutations=0)
    assert f.facts["n_multi"] == 0 and f.verdict == "stop" and f.facts["n_groups"] == 40


def test_verdicts_follow_the_stated_threshold():
    full = table(40, [f"prompt {i}" for i in range(5)])
    verdict = lambda t, **how: Triplets(t, **how).design(permutations=0).verdict
    single = full.iloc[::5].assign(prompt=["a", "b"] * 20)
    assert verdict(full) == "ok" and verdict(full, adaptive=True) == "caution" and verdict(single) == "caution"
    assert verdict(single.assign(propensity=.5)) == "ok" and verdict(single.assign(propensity=.005)) == "caution"
    assert verdict(full.assign(score=full["score"].mask(full.index % 25 == 0))) == "ok" and verdict(full.assign(score=full["score"].mask(full.index % 15 == 0))) == "caution"


def dealt(chances, n=400, k=1, seed=0):
    "k draws a query from prompts with these chances, recorded; every prompt is drawn at least once."
    r, p = np.random.default_rng(seed), np.asarray(chances, float) / np.sum(chances)
    j = np.concatenate([np.arange(len(p)), r.choice(len(p), n * k - len(p), p=p)])
    r.shuffle(j)
    t = pd.DataFrame(dict(query=[f"question {i // k}" for i in range(n * k)], prompt=[f"prompt {i}" for i in j], score=r.integers(0, 2, n * k).astype(float), propensity=p[j]))
    return Triplets(t.drop_duplicates(["query", "prompt"]))

@pytest.mark.parametrize("k", [1, 3])
def test_many_prompts_dealt_evenly_are_not_rare_and_a_rare_one_among_few_is(k):
    even, rare = dealt(np.ones(200), k=k), dealt([*np.full(5, 1 / 5), .004], k=k)
    assert even.design(permutations=0).facts["min_propensity"] == pytest.approx(.005) and even.design(permutations=0).verdict == "ok"
    assert rare.design(permutations=0).facts["min_propensity"] == pytest.approx(.004 / 1.004) and rare.design(permutations=0).verdict == "caution"
    assert dealt([*np.ones(199), .05], k=k).design(permutations=0).verdict == "caution", "twenty times rarer than the others"


def test_the_finding_speaks_and_is_stored():
    f = Triplets(simulated(0, n=100).assign(propensity=.25), adaptive=True).design(permutations=19)
    assert isinstance(f, Finding) and "recorded probability" in f.details and "A search chose the prompts" in f.details and f.facts["known_propensity"] is True
    assert list(f.table.columns) == ["property", "value"] and len(f.data) == 19
    for key in ("kind", "n_rows", "n_missing", "n_queries", "n_prompts", "n_multi", "share_multi", "known_propensity", "adaptive", "predictable", "predict_r2", "predict_p"): assert key in f.facts
    again = Finding.from_dict(json.loads(json.dumps(f.to_dict())))
    assert again.facts == f.facts and again.table.equals(f.table)
    assert f.plot().axes and again.plot().axes


def test_a_design_repeats_with_its_seed_and_says_when_it_cannot_judge():
    log = Triplets(simulated(0, n=60))
    assert log.design(permutations=39).facts == log.design(permutations=39).facts
    assert log.design(permutations=39, random_state=1).data["R2"].tolist() != log.design(permutations=39).data["R2"].tolist()
    few = Triplets(simulated(0, n=15)).design()
    assert few.facts["predictable"] is None and "was not judged" in few.details and few.facts["predict_p"] is None
    with pytest.raises(ValueError, match="permutations must be 0 or a whole number >= 19"): log.design(permutations=5)
    with pytest.raises(ValueError, match="random_state must be a whole number"): log.design(random_state=-1)


# ---------------------------------------------------------------- size and real logs

def test_a_million_rows_in_seconds_and_ten_thousand_designed_at_once():
    r, n = np.random.default_rng(0), 10**6
    queries, prompts = np.array([f"a question of some length, number {i}" for i in range(20000)], object), np.array([f"prompt {i}" for i in range(300)], object)
    t = pd.DataFrame(dict(query=queries[r.integers(20000, size=n)], prompt=prompts[r.integers(300, size=n)], score=r.random(n)))
    start = time.process_time()
    log = Triplets(t)
    read = time.process_time() - start
    assert len(log) == n and log.frame["repeat"].max() >= 1 and read < 8
    small = log.take(np.arange(10**4))
    start = time.process_time()
    small.design()
    assert time.process_time() - start < 8


def data(name):
    return data_folder() / f"{name}.parquet"


@pytest.mark.recorded
def test_the_sst2_grid_is_crossed():
    with pytest.warns(UserWarning, match="4 of 100 prompts equal another"): log = Triplets.read(data("ups_sst2_opt27b_100prompts"), columns={"score": "score_calibrated"})
    f = log.design()
    assert len(log) == 87200 and f.facts["kind"] == "crossed" and f.facts["n_multi"] == 872 and f.verdict == "ok" and f.facts["predict_p"] == 1.
    assert "score_prob" not in log.covariates and "logit_margin" not in log.covariates, "results of the prompt"
    train, test = log.split(.4, .3)
    assert train.frame["query"].nunique() == 523 and train.frame["prompt"].nunique() == 70 and not set(train.frame["query"]) & set(test.frame["query"])


@pytest.mark.recorded
def test_a_prompt_called_nan_is_read():
    log = Triplets.read(data("prompt_oirl_gpt35_gsm8k"))
    assert "nan" in set(log.frame["prompt_id"]) and len(log.prompts) == 10 and log.prompts["n"].eq(1000).all() and log.covariates == ["difficulty"]


@pytest.mark.recorded
def test_recorded_repeats_are_kept():
    log = Triplets.read(data("prompt_oirl_llama2_svamp"))
    raw = pd.read_parquet(data("prompt_oirl_llama2_svamp"))
    assert len(log) == len(raw) == 165040 and (log.frame["repeat"].to_numpy() == raw["repeat"].to_numpy()).all() and log.frame["repeat"].max() > 1
    assert "split" not in log.covariates and "split" in log.frame, "one query stands in train and in test: the leak of this set"
    assert log.design(permutations=0).facts["kind"] == "repeated"


# ---- conversations

TURNS = [dict(role="user", content="What is on the picture?"), dict(role="assistant", content="A cat."), dict(role="user", content="Which colour?")]

def test_a_conversation_travels_along_and_is_never_a_covariate(tmp_path):
    import json
    rows = [dict(query=f"turns {q}", prompt=p, score=float(q % 2), messages=[*TURNS, dict(role="user", content=str(q))]) for q in range(20) for p in "ab"]
    log = Triplets(pd.DataFrame(rows))
    assert log.covariates == [] and json.loads(log.frame["messages"][0])[:3] == TURNS
    log.write(tmp_path/"log.parquet"); log.frame.to_csv(tmp_path/"log.csv", index=False); log.frame.to_json(tmp_path/"log.jsonl", orient="records", lines=True)
    for name in ("log.parquet", "log.csv", "log.jsonl"):
        again = Triplets.read(tmp_path/name)
        assert again.covariates == [] and list(again.frame["messages"]) == list(log.frame["messages"])

@pytest.mark.parametrize("bad", ["no json", '{"role": "user"}', 3])
def test_a_conversation_that_is_none_is_refused(bad):
    with pytest.raises(LogError, match="give the messages of the query as a list"): Triplets(pd.DataFrame(dict(query=["a"], prompt=["b"], score=[1.], messages=[bad])))


# ---- recorded propensities against the choices

def routed(seed=0, n=600, k=6, sharp=3., stated=None, eps=None, draws=1, forget=None):
    "Harder queries, which their text shows, get later prompts; each row holds the probability of its choice, or what `stated` makes of all of them and the choice."
    r, rows = np.random.default_rng(seed), []
    words = np.array("count list add prove derive refute".split())
    for i in range(n):
        hard = r.random()
        z = sharp * hard * np.linspace(-1, 1, k)
        p = np.exp(z) / np.exp(z).sum()
        if eps is not None: p = np.full(k, eps / k) + (1 - eps) * (np.arange(k) == int(hard * k))
        for _ in range(draws):
            j = r.choice(k, p=p)
            rows.append((f"{' '.join(r.choice(words, 5, p=np.where(np.arange(6) < 3, 1 - hard, hard) / 3))} {i}", f"prompt {j} {'abcdefgh'[j] * 4}", float(r.random() < .9 - .6 * hard), (stated or (lambda p, j: p[j]))(p, j)))
    return Triplets(pd.DataFrame(rows, columns=["query", "prompt", "score", "propensity"]))

HONEST = dict(even=dict(sharp=0, n=200), varying=dict(), greedy=dict(eps=.1), rarely=dict(eps=.02, n=150), two=dict(k=2, sharp=2.), few=dict(n=30), draws=dict(draws=3, n=200))
WRONG = dict(share=(dict(n=900), lambda p, j: 1 / len(p)), share_of_greedy=(dict(eps=.1), lambda p, j: 1 / len(p)), favourite=(dict(), lambda p, j: p.max()), favourite_of_greedy=(dict(eps=.1), lambda p, j: p.max()),
             half=(dict(n=200), lambda p, j: p[j] / 2), triple=(dict(sharp=.5), lambda p, j: min(1., 3 * p[j])), certain=(dict(), lambda p, j: 1.), complement=(dict(k=2, sharp=2.), lambda p, j: 1 - p[j]))

@pytest.mark.parametrize("name", HONEST)
def test_true_propensities_are_left_in_peace(name):
    found = [routed(seed, **HONEST[name]).propensity_check() for seed in range(4)]
    assert sum(f.verdict != "ok" for f in found) <= 1 and "could not be tested" in found[0].details

@pytest.mark.parametrize("name", WRONG)
def test_wrong_propensities_are_contradicted(name):
    how, stated = WRONG[name]
    f = routed(0, stated=stated, **how).propensity_check()
    assert f.verdict == "stop" and f.facts["contradicted"] and "A router must log, at each choice, the probability" in f.advice

@pytest.mark.parametrize("name, said", dict(share="can still be predicted", half="too small: .*do not sum to one", favourite="probability of the favourite", certain="too large", favourite_of_greedy="probability of the favourite").items())
def test_the_contradiction_is_named(name, said):
    how, stated = WRONG[name]
    assert re.search(said, routed(1, stated=stated, **how).propensity_check().details)

def test_a_design_stops_on_contradicted_propensities_and_is_ok_with_true_ones():
    log = routed(0, n=900, sharp=2.)
    even = Triplets(log.frame.assign(propensity=1 / 6))
    assert log.design().verdict == "ok" and not log.design().facts["propensities"]
    f = even.design()
    assert f.verdict == "stop" and "contradict" in f.details and "weighting identifies" not in f.details and "A router must log" in f.advice and "contradicted" in " ".join(f.table["value"])
    both = pd.concat([even.frame, even.frame.assign(prompt=lambda t: t["prompt"].iloc[::-1].to_numpy())]).drop(columns=["prompt_id", "repeat"])
    assert Triplets(both).design().verdict == "caution", "comparisons within a query still stand"

def test_a_part_of_a_log_is_not_blamed_for_the_prompts_it_lacks(tmp_path):
    log = routed(0, sharp=0, n=400)
    part = log.where(prompt=list(log.prompts.prompt[:3]))
    assert part.propensity_check().verdict == "ok" and Triplets.read(part.write(tmp_path/"part.parquet")).propensity_check().verdict == "ok"
    assert Triplets(part.frame).propensity_check().verdict == "stop", "by itself it claims half of the choices too few"

def test_every_query_under_every_prompt_with_certainty_is_no_contradiction():
    full = table(40, [f"prompt {i}" for i in range(5)]).assign(propensity=1.)
    assert Triplets(full).propensity_check().verdict == "ok"

def test_propensities_of_several_models_are_judged_model_by_model():
    a, b = routed(0, k=2, sharp=0, n=200).frame.assign(model="a"), routed(1, k=4, sharp=0, n=200).frame.assign(model="b")
    both = pd.concat([a, b]).drop(columns=["query_id", "prompt_id", "repeat"])
    assert Triplets(both).propensity_check().verdict == "ok"

def test_asking_for_the_check_needs_propensities_and_enough_permutations():
    log = routed(0, n=60)
    with pytest.raises(NotIdentifiedError, match="No propensity is recorded"): Triplets(log.frame.drop(columns="propensity")).propensity_check()
    with pytest.raises(ValueError, match="permutations must be at least 199"): log.propensity_check(permutations=99)


# ---- probabilities of being among a query's rows, where queries have one row or two

def rolled_out(seed, n=1500, told=None):
    "One row a query or two, as often as the query's text lets guess; the probability recorded is that of each prompt to be among the query's rows."
    r = np.random.default_rng(seed)
    hard = r.random(n) < .6
    both, new = np.where(hard, .12, .01), np.where(hard, 1., .5)
    two, first = r.random(n) < both, r.random(n) < new
    chosen = np.c_[two | ~first, two | first]
    p = np.c_[both + (1 - both) * (1 - new), both + (1 - both) * new] if told is None else np.full((n, 2), told)
    i, j = np.nonzero(chosen)
    query = np.array([f"{'a long and winding' if h else 'one short'} question number {k}" for k, h in enumerate(hard)])
    return Triplets(pd.DataFrame(dict(query=query[i], prompt=np.array(["Answer.", "Think first."])[j], score=(r.random(len(i)) < .5).astype(float), propensity=p[i, j])))

def test_probabilities_of_being_among_a_querys_rows_are_no_contradiction():
    assert [rolled_out(seed).propensity_check().verdict for seed in range(8)] == ["ok"] * 8

def test_one_probability_for_all_is_a_contradiction_where_rows_are_uneven():
    assert [rolled_out(seed, told=.55).propensity_check().verdict for seed in range(3)] == ["stop"] * 3


def test_one_prompt_that_was_chosen_too_often_is_what_the_finding_says():
    r = np.random.default_rng(0)
    j = r.choice(4, 600, p=[.4, .2, .2, .2])
    log = Triplets(pd.DataFrame(dict(query=[f"question {i} about {i * 7 % 31}" for i in range(600)], prompt=[f"Prompt {'abcd'[k]}." for k in j], score=r.random(600), propensity=.25)))
    found, n = log.propensity_check(), (j == 0).sum()
    assert found.verdict == "stop" and f"the {n} rows of one prompt stand for {4 * n} choices, and there were 600" in found.details
