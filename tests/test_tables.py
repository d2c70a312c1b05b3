"Contracts of reading: the same table in every spelling, what is left out, what a refusal offers to paste."
import ast, bz2, datetime, decimal, gzip, io, json, lzma, re, sys, uuid, warnings, zipfile

import numpy as np
import pandas as pd
import pytest

from causal_prompts.core import LogError
from causal_prompts.triplets import Triplets


def table(n=12):
    t = pd.DataFrame([(f"question {i}, in words", p) for i in range(n) for p in ("Answer.", "Think; then answer.")], columns=["query", "prompt"])
    return t.assign(score=np.tile([0., .25, .5, 1.], n // 2), level=np.repeat(np.arange(n), 2) * .5)


def same(log, want=None):
    want = table() if want is None else want
    assert log.frame["query"].tolist() == want["query"].tolist() and log.frame["prompt"].tolist() == want["prompt"].tolist()
    assert log.frame["score"].tolist() == want["score"].tolist() and log.frame["level"].tolist() == want["level"].tolist()


def quiet(source, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Triplets.read(source, **how)


# ---------------------------------------------------------------- one table, many spellings

def csv_of(sep=",", decimal=".", **how): return table().to_csv(index=False, sep=sep, decimal=decimal, **how)


SPELLINGS = {
    "tsv": ("t.tsv", lambda: csv_of("\t").encode()), "tab": ("t.tab", lambda: csv_of("\t").encode()), "tabs in a csv": ("t.csv", lambda: csv_of("\t").encode()),
    "commas in a tsv": ("t.tsv", lambda: csv_of().encode()), "semicolons": ("t.csv", lambda: csv_of(";").encode()), "pipes": ("t.csv", lambda: csv_of("|").encode()), "text": ("t.txt", lambda: csv_of("|").encode()),
    "decimal commas": ("t.csv", lambda: csv_of(";", ",").encode()), "decimal commas, tabs": ("t.tsv", lambda: csv_of("\t", ",").encode()),
    "sep line": ("t.csv", lambda: ("sep=;\r\n" + csv_of(";", ",", lineterminator="\r\n")).encode("utf-8-sig")), "capital ending": ("T.CSV", lambda: csv_of().encode()),
    "mark": ("t.csv", lambda: csv_of().encode("utf-8-sig")), "utf-16": ("t.csv", lambda: csv_of("\t").encode("utf-16")), "utf-16-le": ("t.csv", lambda: csv_of().encode("utf-16-le")), "utf-16-be": ("t.csv", lambda: csv_of(";", ",").encode("utf-16-be")),
    "utf-16-be, marked": ("t.csv", lambda: b"\xfe\xff" + csv_of().encode("utf-16-be")), "utf-32": ("t.csv", lambda: csv_of().encode("utf-32")), "mac": ("t.csv", lambda: csv_of(lineterminator="\r").encode()),
    "spaces in the header": ("t.csv", lambda: csv_of().replace("query,prompt,score,level", "query, prompt , score,level").encode()),
    "separator at the end": ("t.csv", lambda: "".join(l + ",\n" for l in csv_of().splitlines()).encode()), "separator at the end of rows": ("t.csv", lambda: "".join(l + "," * (i > 0) + "\n" for i, l in enumerate(csv_of().splitlines())).encode()),
    "blank rows": ("t.csv", lambda: csv_of().replace("\n", "\n,,,\n").encode()), "all quoted": ("t.csv", lambda: csv_of(quoting=1).encode()),
    "jsonl": ("t.jsonl", lambda: table().to_json(orient="records", lines=True).encode()), "ndjson": ("t.ndjson", lambda: table().to_json(orient="records", lines=True).encode()),
    "jsonl, utf-16": ("t.jsonl", lambda: table().to_json(orient="records", lines=True).encode("utf-16")), "list in a jsonl": ("t.jsonl", lambda: table().to_json(orient="records").encode()),
    "json": ("t.json", lambda: table().to_json(orient="records").encode()), "json, indented": ("t.json", lambda: table().to_json(orient="records", indent=1).encode("utf-8-sig")),
    "lines in a json": ("t.json", lambda: table().to_json(orient="records", lines=True).encode()), "json columns": ("t.json", lambda: table().to_json().encode()), "json lists": ("t.json", lambda: json.dumps(table().to_dict("list")).encode()),
    "json split": ("t.json", lambda: table().to_json(orient="split").encode()), "json table": ("t.json", lambda: table().to_json(orient="table", index=False).encode()), "json inside": ("t.json", lambda: json.dumps(dict(version=1, rows=table().to_dict("records"), errors=[])).encode()),
    "gz": ("t.csv.gz", lambda: gzip.compress(csv_of().encode())), "bz2": ("t.tsv.bz2", lambda: bz2.compress(csv_of("\t").encode())), "xz": ("t.jsonl.xz", lambda: lzma.compress(table().to_json(orient="records", lines=True).encode())),
    "gz by another name": ("t.csv", lambda: gzip.compress(csv_of().encode())), "plain, called gz": ("t.csv.gz", lambda: csv_of().encode()), "gz in two parts": ("t.csv.gz", lambda: gzip.compress(csv_of().encode()[:100]) + gzip.compress(csv_of().encode()[100:])),
    "parquet": ("t.parquet", lambda: table().to_parquet()), "pq": ("t.pq", lambda: table().to_parquet()), "parquet, gz": ("t.parquet.gz", lambda: gzip.compress(table().to_parquet())),
    "zip": ("t.csv.zip", lambda: zipped({"t.csv": csv_of()})), "zip by its own name": ("t.zip", lambda: zipped({"__MACOSX/._t.csv": "x", "a/t.tsv": csv_of("\t")})),
}


def zipped(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for k, v in files.items(): z.writestr(k, v)
    return out.getvalue()


@pytest.mark.parametrize("name", SPELLINGS)
def test_one_table_in_many_spellings(name, tmp_path):
    file, raw = SPELLINGS[name]
    (tmp_path / file).write_bytes(raw())
    same(quiet(tmp_path / file))


def test_zstd_is_read(tmp_path):
    import pyarrow as pa
    if not pa.Codec.is_available("zstd"): pytest.skip("pyarrow was built without zstd")
    for name, raw in (("t.csv.zst", csv_of().encode()), ("t.parquet.zst", table().to_parquet())):
        with pa.output_stream(str(tmp_path / name), compression="zstd") as f: f.write(raw)
        same(quiet(tmp_path / name))


def test_zstd_without_a_reader_names_the_remedy(tmp_path, monkeypatch):
    from causal_prompts import sources
    monkeypatch.setattr(sources, "_zstd_by_arrow", lambda raw: None)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    (tmp_path / "t.csv.zst").write_bytes(b"\x28\xb5\x2f\xfdxxxx")
    with pytest.raises(ImportError, match="pip install zstandard, or unpack the file first"): Triplets.read(tmp_path / "t.csv.zst")


def test_texts_keep_their_own_separators_and_decimal_commas(tmp_path):
    t = table().assign(query=[f"a|b\tc;d,e {i // 2},5" for i in range(24)])
    for sep in ",;\t|":
        t.to_csv(tmp_path / "t.csv", sep=sep, decimal="," if sep != "," else ".", index=False)
        same(quiet(tmp_path / "t.csv"), t)
    t.assign(query_id=lambda t: t["query"].str[-4:]).to_csv(tmp_path / "t.csv", sep=";", index=False)
    assert quiet(tmp_path / "t.csv").frame["query_id"].tolist() == t["query"].str[-4:].tolist(), "an id is a text"


def test_quotation_marks_in_a_tsv_are_text(tmp_path):
    (tmp_path / "t.tsv").write_text("query\tprompt\tscore\n" + "".join(f'"a" screen of {i}" \tSay "{p}\t1\n' for i in range(12) for p in "xy"))
    with pytest.warns(UserWarning, match="100.0%"): log = Triplets.read(tmp_path / "t.tsv")
    assert log.frame["query"][0] == '"a" screen of 0" ' and log.frame["prompt"][0] == 'Say "x'


def test_a_number_with_points_and_a_comma(tmp_path):
    (tmp_path / "t.csv").write_text("query;prompt;score;size\n" + "".join(f"q{i};{p};0,5;1.{i:03}.000,25\n" for i in range(12) for p in "xy"))
    assert Triplets.read(tmp_path / "t.csv").frame["size"][2] == 1001000.25


def test_lines_are_still_named(tmp_path):
    (tmp_path / "t.csv").write_text("sep=;\nquery;prompt;score\nq;p;1\nq;p;0,5\nq;p;good\n")
    with pytest.raises(LogError, match=r"row 5, column 'score': got 'good'"): Triplets.read(tmp_path / "t.csv")
    (tmp_path / "t.tsv").write_text("query\tprompt\tscore\nq\tp\t1\nq\tp\n")
    with pytest.raises(LogError, match="row 3, column 'row': got 2 cells under a header of 3; quote texts that hold a tab"): Triplets.read(tmp_path / "t.tsv")


# ---------------------------------------------------------------- folders, homes, packed files that are broken

@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "csv.gz"])
def test_a_folder_is_one_table(kind, tmp_path):
    folder = tmp_path / "parts"
    for i, part in enumerate((table().iloc[:10], table().iloc[10:])):
        sub = folder / f"model={'ab'[i]}" if kind == "parquet" else folder / f"sub{i}"
        sub.mkdir(parents=True)
        if kind == "parquet": part.to_parquet(sub / "part-0.parquet")
        elif kind == "jsonl": part.to_json(sub / "part-0.jsonl", orient="records", lines=True)
        else: part.to_csv(sub / f"part-0.{kind}", index=False)
    for name in ("_SUCCESS", ".part-0.csv.crc", "README.md", "_metadata.csv"): (folder / name).write_text("x")
    log = quiet(folder)
    same(log)
    assert "model" not in log.frame if kind != "parquet" else log.frame["model"].tolist() == ["a"] * 10 + ["b"] * 14


def test_faults_of_a_folder_name_the_file_and_its_line(tmp_path):
    table().to_csv(tmp_path / "a.csv", index=False)
    table().assign(score=table()["score"].astype(object).where(table().index != 3, "bad")).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(LogError, match=r"a folder of 2 files\): 1 problem\n  row b.csv:5, column 'score': got 'bad'"): Triplets.read(tmp_path)
    table().to_json(tmp_path / "c.jsonl", orient="records", lines=True)
    with pytest.raises(LogError, match="files of several kinds, .csv, .jsonl; name one file"): Triplets.read(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(LogError, match="a folder without a table"): Triplets.read(tmp_path / "empty")


def test_the_home_folder_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path)); monkeypatch.setenv("USERPROFILE", str(tmp_path))
    table().to_csv(tmp_path / "t.csv", index=False)
    same(quiet("~/t.csv"))
    with pytest.raises(FileNotFoundError, match="'~/no.csv', got no such file"): Triplets.read("~/no.csv")


@pytest.mark.parametrize("name, raw, message", [
    ("t.csv.gz", lambda: gzip.compress(csv_of().encode())[:-40], "a packed file that cannot be read .*; copy it again: it is cut off or damaged"), ("t.csv.xz", lambda: lzma.compress(csv_of().encode())[:-10], "cut off or damaged"), ("t.csv.bz2", lambda: bz2.compress(csv_of().encode())[:-9], "cut off or damaged"),
    ("t.csv.gz", lambda: b"\x1f\x8b" + b"x" * 50, "cut off or damaged"), ("t.csv.gz", lambda: gzip.compress(b""), "an empty file"), ("t.zip", lambda: b"PK\3\4xx", "no archive that can be read"), ("t.zip", lambda: zipped({"a.csv": "x", "b.csv": "y"}), "an archive of 2 files; unpack it"),
    ("t.zip", lambda: zipped({"a.exe": "x"}), "t.zip/a.exe: .*\n.*the ending '.exe'"), ("t.json", lambda: b'{"a": 1}\n', "JSON that is no table|no such column"), ("t.json", lambda: b"[1, 2]", "JSON that is no table"), ("t.json", lambda: b'[{"query": "q",', "no whole JSON"),
    ("t.json", lambda: b'{\n "query": "q",\n', "no whole JSON"), ("t.json", lambda: b'{"train": [{"query": "q"}], "test": [{"query": "q"}]}', r"several lists of objects, \['train', 'test'\]"), ("t.json", lambda: b"[" * 100_000, "no whole JSON"), ("t.jsonl", lambda: b'{"a":' * 100_000 + b"\n{}\n", "JSON nested too deeply to be a log")])
def test_broken_files_are_refused(name, raw, message, tmp_path):
    (tmp_path / name).write_bytes(raw())
    with pytest.raises(LogError, match=message) as e: Triplets.read(tmp_path / name)
    assert str(tmp_path) not in str(e.value)


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    from causal_prompts import sources
    monkeypatch.setattr(sources, "MOST", 10_000)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"x" * 100_000))
    (tmp_path / "t.zip").write_bytes(zipped({"t.csv": "x" * 100_000}))
    for name in ("t.csv.gz", "t.zip"):
        with pytest.raises(LogError, match="unpacks to more than 10,000 bytes; unpack it"): Triplets.read(tmp_path / name)


# ---------------------------------------------------------------- workbooks

def test_a_workbook_without_its_reader_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    (tmp_path / "t.xlsx").write_bytes(zipped({"x": "y"}))
    with pytest.raises(ImportError, match=r"reading t.xlsx needs openpyxl: pip install 'causal_prompts\[tables\]', or save the sheet as .csv"): Triplets.read(tmp_path / "t.xlsx")


def workbook(path, sheets, top=0):
    openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is not installed (extra: tables)")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, t in sheets.items():
        s = book.create_sheet(name)
        for _ in range(top): s.append([])
        for row in [list(t.columns), *t.values.tolist()]: s.append(row)
    book.save(path)


def test_a_workbook_is_read(tmp_path):
    t = table().assign(when=[datetime.datetime(2025, 1, 1 + i // 2) for i in range(24)])
    workbook(tmp_path / "t.xlsx", {"notes": pd.DataFrame(), "log": t}, top=2)
    log = quiet(tmp_path / "t.xlsx")
    same(log)
    assert log.frame["when"].dtype.kind == "M" and log.notes == ()
    workbook(tmp_path / "t.xlsx", {"log": t.assign(score=[*t["score"][:-1], "bad"]), "second": t}, top=2)
    with pytest.raises(LogError, match=r"t.xlsx \(rows of sheet 'log'\): 1 problem\n  row 27, column 'score': got 'bad'"): Triplets.read(tmp_path / "t.xlsx")
    workbook(tmp_path / "t.xlsx", {"log": t, "second": t})
    assert Triplets.read(tmp_path / "t.xlsx").notes == ("Read sheet 'log'; left out: second.",)


def test_what_is_no_workbook(tmp_path):
    pytest.importorskip("openpyxl", reason="openpyxl is not installed (extra: tables)")
    (tmp_path / "t.xlsx").write_bytes(b"x")
    with pytest.raises(LogError, match="no workbook that can be read"): Triplets.read(tmp_path / "t.xlsx")


# ---------------------------------------------------------------- columns that nobody asked for

OTHER = dict(usage=[{"tokens": i} for i in range(24)], tags=[["a", "b"]] * 24, answer=[18, "18 apples"] * 12, uuid=[uuid.UUID(int=i) for i in range(24)], raw=[b"x"] * 24, interval=pd.cut(range(24), 3), spans=pd.arrays.IntervalArray.from_breaks(range(25)),
             mixed=[True, "x"] * 12, sets=[{1}] * 24, arrays=[np.arange(2)] * 24)


@pytest.mark.parametrize("name", OTHER)
def test_columns_that_nobody_asked_for_are_left_out_and_said(name, tmp_path):
    t = table().assign(**{name: OTHER[name]})
    for how in (dict(), dict(covariates=[]), dict(covariates=["level"])):
        with pytest.warns(UserWarning, match=f"left out, as neither texts nor numbers nor dates: '{name}' ") as seen: log = Triplets.read(t, **how)
        assert name not in log.frame and len(log) == 24 and len(seen) == 1
        same(log)
    with pytest.raises(LogError, match=f"column '{name}': got .*a covariate is a column of texts or a column of numbers"): Triplets.read(t, covariates=[name])


def test_they_are_left_out_of_parquet_and_json_too(tmp_path):
    t = table().assign(usage=OTHER["usage"], tags=OTHER["tags"])
    t.to_parquet(tmp_path / "t.parquet"); t.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    for name in ("t.parquet", "t.jsonl"):
        with pytest.warns(UserWarning, match=r"'usage' \(dict\), 'tags' \("): same(Triplets.read(tmp_path / name))


DATES = dict(date=[datetime.date(2024, 1, 1 + i // 2) for i in range(24)], stamps=[datetime.datetime(2024, 1, 1 + i // 2) for i in range(24)], gaps=[None, None, *[datetime.date(2024, 1, 1 + i // 2) for i in range(22)]],
             numpy=[np.datetime64("2024-01-01") + i // 2 for i in range(24)], period=pd.period_range("2024-01", periods=12, freq="M").repeat(2), category=pd.Categorical(pd.date_range("2024-01-01", periods=12).repeat(2)),
             zone=[datetime.datetime(2024, 1, 1 + i // 2, tzinfo=datetime.timezone(datetime.timedelta(hours=i // 2 % 2))) for i in range(24)], far=[datetime.date(9999, 1, 1 + i // 2) for i in range(24)])


@pytest.mark.parametrize("name", DATES)
def test_dates_are_dates_whatever_holds_them(name, tmp_path):
    log = quiet(table().assign(**{name: DATES[name]}))
    assert pd.api.types.is_datetime64_any_dtype(log.frame[name].dtype) and log.covariates == ["level", name] and log.frame[name].nunique() >= 11
    assert Triplets.read(log.write(tmp_path / "t.parquet")).frame[name].equals(log.frame[name])


def test_durations_and_other_plain_kinds():
    log = quiet(table().assign(d=[datetime.timedelta(seconds=i // 2) for i in range(24)], n=[decimal.Decimal(i // 2) for i in range(24)], s=pd.arrays.SparseArray(np.arange(24) // 2 * 1.)))
    assert log.frame["d"].dtype.kind == "m" and log.frame["n"].dtype == float and log.frame["s"].dtype == float
    assert log.covariates == ["level", "d", "n", "s"]
    iso = table().assign(iso=[f"2024-01-{1 + i // 2:02}T00:00:00Z" for i in range(24)])
    assert "iso" in Triplets.read(iso, covariates=["iso"]).covariates


# ---------------------------------------------------------------- scores

def test_scores_off_by_rounding_are_put_on_the_end_and_counted():
    t = table().assign(score=[1 + 1e-9, -1e-12, .1 + .2 + .7 + 1e-7, .5] * 6)
    log = quiet(t)
    assert log.frame["score"].tolist() == [1, 0, 1, .5] * 6 and log.notes == ("18 scores outside [0, 1] by rounding were put on its end.",)
    assert log.take([0, 3]).notes == log.notes and quiet(table()).notes == ()
    with pytest.raises(LogError, match="1.00001 outside"): Triplets(table().assign(score=[1.00001] + [.5] * 23))
    assert quiet(table().assign(score=[100.00001] + [.5] * 23), score_range=(0, 100)).frame["score"][0] == 100


@pytest.mark.parametrize("scores, said", [([0, 85, 100], "(0, 100)"), ([1, 2, 5], "(1, 5)"), ([0, 3, 5], "(0, 5)"), ([-1, 0, 1], "(-1, 1)"), ([-.5, .2, .9], "(-1, 1)"), ([1, 7, 10], "(1, 10)"), ([0., 9.5, 3], "(0, 10)"), ([12.5, 99.9, 45], "(0, 100)")])
def test_another_range_is_one_line_with_the_argument_to_paste(scores, said):
    t = pd.concat([table(100)] * 4, ignore_index=True)
    t["score"] = np.resize(np.array(scores, float), len(t))
    with pytest.raises(LogError, match=f"which looks like score_range={re.escape(said)}") as e: Triplets(t)
    assert len(str(e.value).splitlines()) == 2 and "rows, " in str(e.value)
    assert len(Triplets(t, score_range=ast.literal_eval(said))) == len(t)


def test_a_range_of_its_own_and_a_single_slip():
    t = table(100)
    with pytest.raises(LogError, match=r"all 200 rows, column 'score': got -7 outside \[0, 1\]; .* score_range=\(lo, hi\) \(the column runs from -7 to -7\)"): Triplets(t.assign(score=-7))
    with pytest.raises(LogError, match=r"row 3, column 'score': got 7 outside"): Triplets(t.assign(score=np.where(t.index == 3, 7, .5)))


def test_faults_of_the_whole_file_are_one_line(tmp_path):
    t = table(2000)
    with pytest.raises(LogError) as e: Triplets(t.assign(score="0,5"))
    assert str(e.value).splitlines()[1] == "  all 4,000 rows, column 'score': got '0,5' where a number belongs; give a number, or nothing if it is missing; write decimal commas as points" and len(e.value.problems) == 4000
    with pytest.raises(LogError, match="leave out the % and divide by 100"): Triplets(t.assign(score="85%"))
    with pytest.raises(LogError) as e: Triplets(t.assign(prompt=np.where(t.index < 10, "a", None)))
    assert "3,990 of 4,000 rows, the first of them row 10, column 'prompt': got no text" in str(e.value) and len(str(e.value).splitlines()) == 2


# ---------------------------------------------------------------- names of columns

def guessed(t, **how):
    with pytest.raises(LogError, match="probably meant: columns=") as e: Triplets.read(t, **how)
    return ast.literal_eval(re.search(r"columns=(\{.*?\})", str(e.value))[1])


@pytest.mark.parametrize("names", [("question", "template", "accuracy"), ("Query", "Prompt", "Score"), ("input", "system_prompt", "is_correct"), ("User Question", "Prompt Template", "Reward"), ("userInput", "promptText", "finalScore"), ("problem", "variant", "passed"), ("frage", "anweisung", "wert"), ("query", "instruction", "rating")])
def test_a_whole_map_is_offered(names):
    t = table().rename(columns=dict(zip(("query", "prompt", "score"), names))).assign(answer=[f"reply {i}" for i in range(24)], reference="x", prompt_tokens=40 + np.arange(24), query_id=np.arange(24) // 2, latency=np.arange(24) * 30.)[["answer", "reference", "prompt_tokens", *names, "query_id", "latency", "level"]]
    found = guessed(t)
    assert {n: found.get(n, n) for n in ("query", "prompt", "score")} == dict(zip(("query", "prompt", "score"), names))
    same(Triplets.read(t, columns=found))


def test_a_map_keeps_what_was_right_in_it():
    t = table().rename(columns=dict(query="q", prompt="p", score="s"))
    assert guessed(t, columns=dict(query="q", prompt="p", score="socre")) == dict(query="q", prompt="p", score="s")
    with pytest.raises(LogError, match="leave it out of columns="): Triplets.read(table(), columns=dict(score="accuracy"))


def test_nothing_is_offered_where_nothing_fits():
    with pytest.raises(LogError, match=r"name yours with columns=\{'score': 'your column'\}"): Triplets.read(pd.DataFrame(dict(input=["a"] * 3, output=["b"] * 3, reference=["c"] * 3)))


def test_a_map_with_a_place_for_the_one_that_is_not_found():
    t = pd.DataFrame(dict(question=[f"q{k}" for k in range(4)], answer=["a"] * 4, is_correct=[0, 1, 0, 1]))
    with pytest.raises(LogError, match=r"1 problem\n.*'query', 'prompt', 'score'.*columns=\{'query': 'question', 'prompt': 'YOUR_PROMPT', 'score': 'is_correct'\}"): Triplets.read(t)


def test_wrong_names_are_told_in_one_line():
    with pytest.raises(LogError) as e: Triplets.read(table().rename(columns=dict(query="question", prompt="template", score="accuracy")))
    assert str(e.value).splitlines()[1:] == ["  columns 'query', 'prompt', 'score': got no such columns, only ['question', 'template', 'accuracy', 'level']; probably meant: columns={'query': 'question', 'prompt': 'template', 'score': 'accuracy'}"]
    assert e.value.problems["column"].tolist() == ["query", "prompt", "score"]


def test_a_part_without_the_score_is_not_read_as_missing(tmp_path):
    table().to_csv(tmp_path / "a.csv", index=False)
    table().rename(columns=dict(score="scores")).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(LogError, match=r"b.csv.*\n.*column 'score': got columns \['query', 'prompt', 'scores', 'level'\] where the first file has"): Triplets.read(tmp_path)


def test_a_folder_of_everything_is_refused(tmp_path, monkeypatch):
    from causal_prompts import files
    monkeypatch.setattr(files, "MOST_FILES", 3)
    for i in range(5): table().to_csv(tmp_path / f"{i}.csv", index=False)
    with pytest.raises(LogError, match="a folder of more than 3 files; name the folder of the log"): Triplets.read(tmp_path)
    with pytest.raises((LogError, FileNotFoundError)): Triplets.read("")


def test_packed_twice_and_other_separators(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(gzip.compress(csv_of().encode())))
    same(quiet(tmp_path / "t.csv.gz"))
    (tmp_path / "t.csv").write_text(csv_of("^").replace(",", ";"))
    with pytest.raises(LogError, match="separate the cells by commas"): Triplets.read(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text(csv_of("^"))
    with pytest.raises(LogError, match="all 24 rows, column 'row': got 2 cells under a header of 1; separate the cells by commas, tabs, semicolons or |"): Triplets.read(tmp_path / "t.csv")
