"""DABench and VisEval: named answers, programs in replies, figures read as data. Most figures are drawn and read here; what depends on the sandbox runs in it."""
import asyncio, json, random, re

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from causal_prompts import charts, dabench as dab, figures, viseval as vis
from causal_prompts.charts import grade_chart, read_chart
from causal_prompts.dabench import dabench_grader, decimals_asked, grade_named, load_dabench, named_answers, same_value
from causal_prompts.figures import figure_of
from causal_prompts.graders import Grade
from causal_prompts.sandbox import SandboxError
from causal_prompts.tabular import code_in, describe_table
from causal_prompts.viseval import load_viseval, viseval_grader


# ---- named answers

@pytest.mark.parametrize("text, found", [
    ("@mean[3.14]", [("mean", "3.14")]),
    ("The mean is @mean[3.14], I think.", [("mean", "3.14")]),
    ("```\n@mean[3.14]\n```", [("mean", "3.14")]),
    ("**@mean[3.14]** and `@std[1]`", [("mean", "3.14"), ("std", "1")]),
    ("@mean[3] then @mean[4]", [("mean", "3"), ("mean", "4")]),
    ("@mean[ 3.14 ]", [("mean", "3.14")]),
    ("@mean [3.14]", [("mean", "3.14")]),
    (r"@mean\_fare[3.14] @x\[2\]", [("mean_fare", "3.14"), ("x", "2")]),
    ("@ids[[1, 2], [3]]", [("ids", "[1, 2], [3]")]),
    ("@d[{'a': [1, 2], 'b': 3}]", [("d", "{'a': [1, 2], 'b': 3}")]),
    ("@list[a,\n b,\n c]", [("list", "a, b, c")]),
    ("@empty[]", [("empty", "")]),
    ("@größe[1,75]", [("größe", "1,75")]),
    ("@a[1]@b[2]", [("a", "1"), ("b", "2")]),
    ("@a[1 @b[2]", [("b", "2")]),
    ("@mean(3.14)", []), ("@mean{3.14}", []), ("@mean: 3.14", []), ("mean[3.14]", []), ("@[3.14]", []), ("@mean[3.14", []), ("@mean]3.14[", []), ("", []),
    ("mail me@mean.org[1]", []),
])
def test_named_answers_are_found(text, found): assert named_answers(text) == found

def test_a_text_made_to_be_slow_is_read_in_time_that_grows_with_its_length():
    for hostile in ("@a[" * 60_000, "@a[" + "[" * 150_000, "@a[[" + "x" * 190_000, "@" * 200_000, "@a" + " " * 190_000, "@a[" + "\"" * 150_000 + "]"):
        grade_named(hostile, [["a", "1"]])
    assert named_answers("@a[1]" + "x" * 300_000 + "@b[2]") == [("b", "2")] # the end of an endless text is what counts


# ---- values

SAME = [ # reply, reference, decimals asked for
    ("3.14", "3.14", None), ("3.140", "3.14", None), ("3.1416", "3.14", 2), ("3.14159", "3.14", None), ("+3.14", "3.14", None), ("314e-2", "3.14", None), ("−3.14", "-3.14", None), ("３.１４", "3.14", None),
    ("1,234.50", "1234.5", 2), ("$1,234.50", "1234.50", None), ("12%", "12", None), ("12 %", "0.12", None), ("0.12", "12%", None), ("36", "36.0", None), ("139.0", "139", None), ("'3.14'", "3.14", None), ("[3.14]", "3.14", None),
    ("0.00004", "0.0000", 4), ("3.2 × 10^-5", "0.0000", 4), ("3.2×10⁻⁵", "0.000032", None), ("3.2 x 10^{-5}", "0.000032", None), ("22756785531.29", "22756785531.29", 2), ("11439.6", "11439.60", 2), ("364.2", "364", 0), (".5", "0.5", None), ("np.float64(3.14)", "3.14", None), ("nan", "NaN", None),
    ("No", "no", None), ("not normal", "Not_Normal", None), ("non-linear", "nonlinear", None), ('"Non-Normal"', "non normal", None), ("No missing values were found", "No missing values were found.", None), ("Curaçao", "curaçao", None),
    ("314,577", "314, 577", None), ("[314, 577]", "314, 577", None), ("('a', 'b')", "a,b", None), ("yes, yes", "yes,yes", None), ("[1, 2018, 88.32]", "1, 2018, 88.32", 2), ("[np.float64(0.00), 1.0, 0.06291]", "0.00, 1.00, 0.0629", 2), ("(HA2)121, 326", "(HA2)121,326", None),
    ("{'a': 7.17, 'b': 6.53}", "{'b': 6.53, 'a': 7.17}", None), ('{"a": 7.171}', "{'a': 7.17}", 2), ("{'a b': np.int64(0)}", "{'a b': 0}", None), ("[]", "", None), ("None", "", None), ("", "", None), ("2018-01-26", "2018-01-26", None),
    ("1.0", "1.00", 2), ("Côte d'Ivoire, Ghana", "Côte d’Ivoire, Ghana", None),
]
OTHER = [
    ("3.15", "3.14", 2), ("3.1", "3.14", 2), ("3", "3.14", None), ("-3.14", "3.14", None), ("3,14", "3.14", None), ("3.14 kg", "3.14", None), ("about 3.14", "3.14", None), ("3.14 million", "3.14", None), ("1/3", "0.33", 2), ("314", "3.14", None), ("5x100", "5", None),
    ("139.4", "139", None), ("140", "139", None), ("36.04", "36.0", None), ("1e400", "3.14", None), ("9" * 5000, "3.14", None), ("inf", "3.14", None), ("nan", "3.14", None), ("3.14", "nan", None), ("", "3.14", None), ("0.12", "12", None), ("11439.63", "11439.6", 2),
    ("0.15", "0.1520", 2), ("0.001", "0.0000", 4), ("[3.14, 3.14]", "3.14", None), ("false", "no", None), ("yes", "no", None), ("normal", "not normal", None), ("linear", "nonlinear", None), ("", "none", None), ("none", "0", None), ("A-", "A", None), ("2018-01-27", "2018-01-26", None),
    ("577, 314", "314, 577", None), ("no,yes", "yes,no", None), ("314", "314, 577", None), ("314, 577, 1", "314, 577", None), ("{'a': 6.53, 'b': 7.17}", "{'b': 6.53, 'a': 7.17}", None), ("{'a': 7.17}", "{'a': 7.17, 'b': 1}", None), ("7.17", "{'a': 7.17}", None), ("[0]", "", None),
]

@pytest.mark.parametrize("reply, reference, decimals", SAME)
def test_these_values_are_the_same(reply, reference, decimals): assert same_value(reply, reference, decimals)

@pytest.mark.parametrize("reply, reference, decimals", OTHER)
def test_these_values_are_not(reply, reference, decimals): assert not same_value(reply, reference, decimals)

def test_every_value_is_the_same_as_itself_and_none_of_the_pairs_is_both():
    for reply, reference, _ in SAME + OTHER: assert same_value(reference, reference) and same_value(reply, reply)
    assert not {p[:2] for p in SAME} & {p[:2] for p in OTHER}

@pytest.mark.parametrize("reply, reference, ordered, same", [
    ("Saudi Arabia, Kuwait", "Kuwait, Saudi Arabia", True, False), ("Saudi Arabia, Kuwait", "Kuwait, Saudi Arabia", False, True), ("['saudi-arabia', 'KUWAIT']", "Kuwait, Saudi Arabia", False, True),
    ("Kuwait, Kuwait", "Kuwait, Saudi Arabia", False, False), ("577, 314", "314, 577", False, False), ("no, yes", "yes, no", False, True), ("no,yes,yes", "yes,no,yes", False, False),
])
def test_only_words_that_differ_may_change_places(reply, reference, ordered, same): assert same_value(reply, reference, ordered=ordered) is same

@pytest.mark.parametrize("form, name, places", [
    ('@mean[value] where "value" is a number, rounded to two decimal places.', "mean", 2),
    ("@mean[value] rounded to 3 decimal places", "mean", 3),
    ("@mean[m]: The mean rounded to two decimal places. @n[n]: a count", "mean", 2),
    ('@r[r_value] @p[p_value] where "r_value" is rounded to two decimal places. "p_value" to four decimal places.', "r", 2),
    ('@r[r_value] @p[p_value] where "r_value" is rounded to two decimal places. "p_value" to four decimal places.', "p", 4),
    ('@p[p_value] @r[r_value] where "r_value" is rounded to two decimal places. "p_value" to four decimal places.', "p", 4),
    ('@mean[mean] @sd[sd], where "mean" and "sd" are numbers, rounded to two decimal places.', "mean", 2),
    ("@mean[value]\nRound the answer to one decimal place.", "mean", 1),
    ("@mean[value] with a maximum of three decimal places", "mean", 3),
    ("@days[n] where 'n' is rounded to the nearest integer", "days", 0),
    ("@n[n] where 'n' is an integer, e.g. @n[23]", "n", None), ("@who[name]", "who", None), ("rounded to two decimal places", "mean", None), ("@mean[a(b*] rounded to two decimal places", "mean", 2), ("@mean[x] 99999999999 decimals", "mean", 15),
])
def test_the_digits_asked_for_are_read_from_the_question(form, name, places): assert decimals_asked(form, name) == places


# ---- grades

TWO = [["mean", "3.14"], ["normal", "no"]]

@pytest.mark.parametrize("text, exact, graded, why", [
    ("@mean[3.14] @normal[no]", 1, 1, "2 of 2 right"),
    ("@normal[No]\n@mean[3.1415]", 1, 1, "2 of 2 right"),
    ("@Mean[3.14] @NORMAL[no]", 1, 1, "2 of 2 right"),
    ("@mean[3.14] @normal[yes]", 0, .5, "normal: 'yes', not 'no'"),
    ("@mean[3.14]", 0, .5, "normal is missing"),
    ("@mean[3.14] @normal[no] @max[9]", 1, 1, "2 of 2 right"),
    ("@mean[2] @mean[3.14] @normal[no]", 1, 1, "mean given 2 times, the last counts"),
    ("@mean[3.14] @mean[2] @normal[no]", 0, .5, "mean given 2 times, the last counts"),
    ("@mean[3.14] @normal[yes] @normal[no] @normal[yes]", 0, .5, "normal given 3 times"),
    ("@mean[mean_value] @normal[answer]", 0, 0, "0 of 2 right"),
    ("mean 3.14, normal no", 0, 0, "no @name"), ("", 0, 0, "no @name"), ("@max[9]", 0, 0, "mean is missing"),
    ("@mean(3.14) @normal[no]", 0, .5, "mean is missing"),
    ("@mean[3.14 @normal[no]", 0, .5, "mean is missing"),
    ("@mean[nan] @normal[no]", 0, .5, "mean: 'nan'"),
    ("@mean[" + "9" * 100_000 + "] @normal[no]", 0, .5, "mean: '999"),
])
def test_answers_are_graded_both_ways(text, exact, graded, why):
    assert grade_named(text, TWO).score == exact
    got = grade_named(text, TWO, scoring="graded")
    assert got.score == graded and why in got.why and len(got.why) <= 500

def test_a_slot_repeated_from_the_question_is_no_answer():
    form = "@mean[mean_value] @normal[answer]"
    assert grade_named("@mean[3.14] @normal[no]. As asked: @mean[mean_value] @normal[answer]", TWO, form).score == 1
    assert "no @name" in grade_named("@mean[mean_value]", [["mean", "3"]], form).why or grade_named("@mean[mean_value]", [["mean", "3"]], form).score == 0

def test_the_question_says_whether_order_counts():
    answers, swapped = [["who", "Kuwait, Oman"]], "@who[Oman, Kuwait]"
    assert grade_named(swapped, answers, "@who[list of names]").score == 1
    assert grade_named(swapped, answers, "@who[list of names] sorted alphabetically").score == 0

def script(text, answers):
    "The benchmark's rule, written down a second time."
    said = {m[0]: m[1] for m in re.findall(r"@(\w+)\[(.*?)\]", text)}
    def same(n, v):
        try: return said.get(n) == v or abs(float(said[n]) - float(v)) < 1e-6
        except (KeyError, ValueError): return False
    return [same(n, v) for n, v in dict(answers).items()]

def test_what_the_benchmarks_script_passes_passes_here_and_strict_passes_nothing_else():
    values, r = [x for p in SAME + OTHER for x in p[:2] if len(x) < 100] + ["[", "]", "x]y", "[1", "1_000", "1e-7", "infinity"], random.Random(0)
    more = 0
    for _ in range(1500):
        answers = [[n, r.choice(values)] for n in ("mean", "sd", "who")]
        text = " ".join(f"@{n}[{v if r.random() < .5 else r.choice(values)}]" for n, v in answers for _ in range(r.choice((1, 1, 2))))
        theirs = script(text, answers)
        ours = grade_named(text, answers, scoring="graded").score * 3
        assert ours >= sum(theirs) - 1e-9, (text, answers)
        assert grade_named(text, answers, scoring="graded", strict=True).score * 3 == pytest.approx(sum(theirs)), (text, answers)
        more += ours > sum(theirs) + 1e-9
    assert more > 50 # and it passes more than the script

def test_grading_says_what_it_cannot_do():
    with pytest.raises(ValueError, match="scoring must be 'exact' or 'graded', got 'half'"): grade_named("@a[1]", [["a", "1"]], scoring="half")
    with pytest.raises(ValueError, match="scoring must be"): dabench_grader(scoring="half")
    with pytest.raises(ValueError, match="at least one value"): grade_named("@a[1]", [])


# ---- programs in replies

@pytest.mark.parametrize("reply, code", [
    ("```python\nx = 1\n```", "x = 1"), ("a\n```py\nx = 1\n```\nb\n```Python3\ny = 2\n```", "x = 1\n\ny = 2"), ("```\nx = 1\n```", "x = 1"), ("import math\nprint(math.pi)", "import math\nprint(math.pi)"), ("```python\nx = 1", "x = 1"), ("~~~python\nx = 1\n~~~", "x = 1"),
    ("```python\r\nx = 1\r\n```", "x = 1"), ("1. Do:\n   ```python\n   if 1:\n       x = 1\n   ```", "if 1:\n    x = 1"), ("```python\nx = 1\n```\n```text\n@mean[3]\n```", "x = 1"), ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''"),
    ("```python\n%matplotlib inline\n!pip install x\nx = 5 % 3\n```", "x = 5 % 3"), ("``` python\nx = 1\n```", "x = 1"), ("```python title=\"a\"\nx = 1\n```", "x = 1"), ("```{.python}\nx = 1\n```", "x = 1"), ("```python:a.py\nx = 1\n```", "x = 1"), ("```pytb\nx = 1\n```", ""),
    ("", ""), ("@mean[3.14]", ""), ("mean: 3.14", ""), ("3.14", ""), ("```\n@mean[3.14]\n```", ""), ("```json\n{\"a\": 1}\n```", ""), ("```\n{\"a\": 1}\n```", ""), ("```bash\npython x.py\n```", ""), ("Use `print(1)` for it.", ""), ("print the mean", ""), ("```python\n```", ""), ("(" * 5000, ""), ("x = \0", ""),
])
def test_the_program_of_a_reply(reply, code): assert code_in(reply).strip() == code

def test_the_last_block_can_be_had_alone(): assert code_in("```python\nx = 1\n```\nor rather\n```python\ny = 2\n```\nwhich prints\n```\n2\n```", last=True) == "y = 2"


# ---- tables in words

def test_a_table_is_described_within_its_bound():
    t = pd.DataFrame(dict(n=[1, 2, 3, 100], x=[.5, np.nan, 1.25, np.inf], who=["a", "b", "a", "long" * 50], yes=[True, False, True, True], when=pd.to_datetime(["2020-01-01"] * 4), empty=[None] * 4))
    told = json.loads(describe_table(t, "t.csv"))
    by = {c["name"]: c for c in told["columns"]}
    assert told["file"] == "t.csv" and told["rows"] == 4
    assert (by["n"]["min"], by["n"]["max"], by["n"]["type"]) == (1, 100, "int64") and by["n"]["examples"][0] in (1, 2)
    assert by["x"]["missing"] == 1 and by["who"]["examples"][0] == "a" and by["yes"]["examples"] == [True, False] and by["empty"] == dict(name="empty", type=by["empty"]["type"], missing=4)
    wide = pd.DataFrame({f"column number {i}": [f"value {i} " * 5, "b"] for i in range(80)})
    for most in (3000, 800, 200):
        text = describe_table(wide, most=most)
        told = json.loads(text)
        assert len(text) <= most and len(told["columns"]) + told["columns_left_out"] == 80 and told["columns"]

def test_two_columns_of_one_name_and_another_encoding(tmp_path):
    (tmp_path/"a.csv").write_bytes("größe,größe\n1,Köln\n2,Ulm\n".encode("latin-1"))
    told = json.loads(describe_table(tmp_path/"a.csv"))
    assert told["file"] == "a.csv" and told["columns"][0]["name"] == "größe" and "Köln" in told["columns"][1]["examples"]
    twice = pd.DataFrame([[1, "x"]], columns=["a", "a"])
    assert [c["name"] for c in json.loads(describe_table(twice))["columns"]] == ["a", "a"]


# ---- DABench

TABLE = "cabin,age,fare\nfirst,52,80\nsecond,40,26\nthird,,8.05\nthird,19,7.9\n"
QUESTIONS = [
    dict(id=0, question="What is the mean fare?", concepts=["Summary Statistics"], constraints="Use all rows.", format='@mean_fare[value] where "value" is rounded to two decimal places.', file_name="passengers.csv", level="easy"),
    dict(id=5, question="Missing ages, and the median age?", concepts=[], constraints="", format='@missing[n] @median[age], "age" rounded to one decimal place', file_name="passengers.csv", level="medium"),
    dict(id=7, question="Which cabins occur?", concepts=["A", "B"], constraints="{any order}", format="@cabins[list]", file_name="passengers.csv", level="hard"),
    dict(id=9, question="Correlations by city?", concepts=[], constraints="", format="@r[r] @outliers[list]", file_name="cities.csv", level="hard")]
LABELS = [dict(id=0, common_answers=[["mean_fare", "30.49"]]), dict(id=5, common_answers=[["missing", "1"], ["median", "40.0"]]), dict(id=7, common_answers=[["cabins", "first, second, third"]]),
          dict(id=9, common_answers=[["r", "0.1"], ["r", "0.9"], ["outliers", "["]])]

@pytest.fixture
def dabench(tmp_path):
    data = tmp_path/"InfiAgent"/"examples"/"DA-Agent"/"data"
    (data/"da-dev-tables").mkdir(parents=True)
    (data/"da-dev-tables"/"passengers.csv").write_text(TABLE)
    (data/"da-dev-tables"/"cities.csv").write_text("city,n\nUlm,1\n")
    (data/"da-dev-questions.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)) + "\n")
    (data/"da-dev-labels.jsonl").write_text("\n".join(map(json.dumps, LABELS)) + "\n")
    return data

def test_dabench_is_read_from_any_folder_above_its_files(dabench):
    for path in (dabench, dabench.parent, dabench.parents[2]): assert len(load_dabench(path)) == 4
    task = load_dabench(dabench, demonstrations=(5,), revision="abc")
    assert [*task.items.query_id] == ["dabench-0", "dabench-7", "dabench-9"] and [*task.items.level] == ["easy", "hard", "hard"] and task.name == "dabench-exact"
    assert task.examples[0][1] == "@missing[1]\n@median[40.0]" and "median age" in task.examples[0][0]
    assert [*task.items.doubt] == ["", "", "r has 2 values, the last counts; outliers is cut off at a bracket"]
    assert task.source["revision"] == "abc" and task.source["files"] == 4 and len(task.source["sha256"]) == 64

def test_the_toggles_are_placeholders(dabench):
    task = load_dabench(dabench)
    first, third = task.items.iloc[0], task.items.iloc[2]
    full, bare = (task.messages(p, first)[0]["content"] for p in (task.baseline, "Use Python. {query}"))
    assert "Use all rows." in full and '"rows": 4' in full and "passengers.csv" in full and "@mean_fare[value]" in full
    assert "Use all rows." not in bare and '"rows"' not in bare and "passengers.csv" in bare and "@mean_fare[value]" in bare # the query stands alone
    assert "{any order}" in task.messages("{query} {constraints} \\frac{a}{b}", third)[0]["content"] and "\\frac{a}{b}" in task.messages("{query} \\frac{a}{b}", third)[0]["content"]
    assert task.messages("Format: {format} File: {file}", first)[0]["content"].startswith("Format: @mean_fare[value]")

def test_a_changed_file_is_noticed(dabench):
    was = load_dabench(dabench).source["sha256"]
    assert load_dabench(dabench, sha256=was).source["sha256"] == was
    (dabench/"da-dev-tables"/"cities.csv").write_text("city,n\nUlm,2\n")
    with pytest.raises(ValueError, match=f"must have sha256 {was}, got"): load_dabench(dabench, sha256=was)

def test_what_is_missing_is_said(dabench, tmp_path):
    with pytest.raises(FileNotFoundError, match="da-dev-questions.jsonl.*InfiAgent/InfiAgent.*CC BY-NC"): load_dabench(tmp_path/"nowhere")
    with pytest.raises(ValueError, match=r"demonstrations must be ids of questions, got \[99\]"): load_dabench(dabench, demonstrations=(99,))
    (dabench/"da-dev-tables"/"cities.csv").unlink()
    with pytest.raises(FileNotFoundError, match="the table cities.csv of question 9"): load_dabench(dabench)
    (dabench/"da-dev-labels.jsonl").write_text(json.dumps(LABELS[0]))
    with pytest.raises(ValueError, match="question 5 has none in da-dev-labels.jsonl"): load_dabench(dabench)
    (dabench/"da-dev-labels.jsonl").write_text("{}\n{broken")
    with pytest.raises(ValueError, match="da-dev-labels.jsonl: 1 problem\n  row 2, .*a torn last line"): load_dabench(dabench)
    (dabench/"da-dev-labels.jsonl").write_text("")
    with pytest.raises(ValueError, match="da-dev-labels.jsonl: 1 problem\n.*an empty file"): load_dabench(dabench)
    (dabench/"da-dev-labels.jsonl").write_text(json.dumps(LABELS[0]))
    (dabench/"da-dev-questions.jsonl").write_text('{"id": 3, "question": "?"}')
    with pytest.raises(ValueError, match=r"question 3 lacks \['format', 'file_name'\]"): load_dabench(dabench)

def fenced(code): return f"```python\n{code}\n```"

def test_programs_are_run_and_what_they_print_is_graded(dabench):
    task, hasty = (load_dabench(dabench, scoring="graded", timeout=s) for s in (60, 1))
    item = task.items.iloc[1]
    csv = "import csv\nrows = list(csv.DictReader(open('passengers.csv')))\nages = sorted(float(r['age']) for r in rows if r['age'])\n"
    for reply, score, why in [
        (fenced(csv + "print(f'@missing[{sum(not r[\"age\"] for r in rows)}]')") + "\nand\n" + fenced("print(f'@median[{ages[1]:.1f}]')"), 1, "2 of 2"), # two blocks, one notebook
        (fenced("print('@missing[1]')") + "\nSo @median[40.0].", .5, "median is missing"),                                                     # beside the program: a guess
        (fenced("import os\nprint(sorted(os.listdir()), '@missing[1]' if os.listdir() == ['passengers.csv'] else '')"), .5, "1 of 2"),          # only its own table
        (fenced("print('@missing[1] @median[40]')\nrows['age']"), 0, "the program failed: NameError"),                                          # right, then broken
        (fenced("while True: pass"), 0, "limit: timeout"),
        (fenced("x = 1"), 0, "no @name[value] found"),
        ("@missing[1] @median[40]", 1, "2 of 2"), ("", 0, "no @name"),
    ]:
        got = (hasty if "while" in reply else task).score(reply, item)
        assert got.score == score and why in got.why, (reply, got)

def test_a_sandbox_that_is_not_to_be_had_gives_no_score(dabench, monkeypatch):
    def refuse(*args, **kwargs): raise SandboxError("code must run apart, and here it cannot")
    for module in (dab, figures): monkeypatch.setattr(module, "run_apart", refuse)
    task = load_dabench(dabench)
    got = task.score(fenced("print('@mean_fare[30.49]')"), task.items.iloc[0])
    assert np.isnan(got.score) and "SandboxError" in got.why
    assert task.score("@mean_fare[30.49]", task.items.iloc[0]).score == 1 # nothing to run
    got = viseval_grader()
    with pytest.raises(SandboxError): got(fenced("x = 1"), dict(reference="{}"))


# ---- VisEval: what is drawn, read here

X, Y, DATES = ["a", "b", "c"], [3, 1, 2], ["2017-01-06", "2012-07-03", "2010-11-26"]
def one(type, x=X, y=Y, **more): return dict(type=type, x_data=[x], y_data=[y], classify=[], **more)
def two(type, x=X, y=([1, 2, 3], [4, 0, 2]), **more): return dict(type=type, x_data=[x], y_data=list(y), classify=["u", "v"], **more)
def by(channel, order, how="axis"): return dict(sort=dict(channel=channel, order=order), sort_by=how)
UV = "pd.DataFrame(dict(u=[1, 2, 3], v=[4, 0, 2]), X)"
NAMED = dict(channel_specified=["x", "y"])
CLOUDS = dict(type="Grouping Scatter", x_data=[[1, 2, 3], [1, 2]], y_data=[[1, 2, 3], [4, 2]], classify=["u", "v"])
LETTERS = list("abcdefghijkl")

RIGHT = [
    ("bars", "plt.bar(X, Y)", one("Bar")), ("in another order", "plt.bar(['b', 'a', 'c'], [1, 3, 2])", one("Bar")), ("lying", "plt.barh(X, Y)", one("Bar")), ("labels by hand", "plt.bar(range(3), Y); plt.xticks(range(3), X)", one("Bar")),
    ("pandas", "pd.Series(Y, X).plot.bar()", one("Bar")), ("pandas, lying", "pd.Series(Y, X).plot.barh()", one("Bar")), ("log scale", "plt.bar(X, Y, log=True)", one("Bar")), ("cut axis", "plt.bar(X, Y); plt.ylim(.5, 4)", one("Bar")), ("a zero more", "plt.bar([*X, 'd'], [*Y, 0])", one("Bar")),
    ("a colour each", "[plt.bar(x, y, label=x) for x, y in zip(X, Y)]; plt.legend()", one("Bar")), ("rule and labels", "plt.bar_label(plt.bar(X, Y)); plt.axhline(2); plt.title('t')", one("Bar")), ("trend over bars", "plt.bar(X, Y); plt.plot(X, Y)", one("Bar")), ("edge", "plt.bar(X, Y, align='edge')", one("Bar")), ("error bars", "plt.bar(X, Y, yerr=[.1, .2, .1])", one("Bar")),
    ("negative", "plt.bar(X, [-3, 1, 2])", one("Bar", y=[-3, 1, 2])), ("twice the same category", "plt.bar(['a', 'a', 'b'], [1, 2, 3])", one("Bar", ["a", "a", "b"], [1, 2, 3])), ("wrapped label", "plt.bar(['Abu Dhabi ,\\nUAE', 'b', 'c'], Y)", one("Bar", ["Abu Dhabi , UAE", "b", "c"])), ("case", "plt.bar(['A', 'b', 'C '], Y)", one("Bar")),
    ("years", "plt.bar([2004, 2005, 2006], Y)", one("Bar", ["2004", "2005", "2006"])), ("years as text", "plt.bar(['2004', '2005', '2006'], Y)", one("Bar", [2004, 2005, 2006])), ("years from dates", "plt.bar(pd.to_datetime(['2004-01-01', '2005-01-01', '2006-01-01']), Y, width=99)", one("Bar", [2004, 2005, 2006])),
    ("dates", f"plt.bar(pd.to_datetime({DATES}), Y, width=50)", one("Bar", DATES)), ("weekdays", "plt.bar(['Monday', 'Tuesday', 'Thursday'], Y)", one("Bar", ["Mon", "Tue", "Thur"])), ("numbers of weekdays", "plt.bar([1, 2, 3], Y)", one("Bar", ["Mon", "Tue", "Wed"])), ("months", "plt.bar(['January', 'February', 'Sept'], Y)", one("Bar", ["Jan", "Feb", "September"])),
    ("rounded", "plt.bar(X, [12345.68, 1.0004, 60.7])", one("Bar", y=[12345.6789, 1, 60.714285])), ("counts of words", "plt.hist(['a'] * 3 + ['b'] + ['c'] * 2, bins=3)", one("Bar")), ("a season, not a date", "plt.bar(['14-2', '13-3', '10-6'], Y)", one("Bar", ["14-2", "13-3", "10-6"])), ("format of the axis", "plt.bar(X, [3e6, 1e6, 2e6]); plt.gca().yaxis.set_major_formatter(lambda v, p: f'{v:,.0f}')", one("Bar", y=[3e6, 1e6, 2e6])),
    ("highest first", "plt.bar(['a', 'c', 'b'], [3, 2, 1])", one("Bar", **by("y", "descending"))), ("lying, highest on top", "plt.barh(['b', 'c', 'a'], [1, 2, 3])", one("Bar", **by("y", "descending", "field"))), ("lying, axis turned", "plt.barh(['a', 'c', 'b'], [3, 2, 1]); plt.gca().invert_yaxis()", one("Bar", **by("y", "descending", "field"))),
    ("names", "plt.bar(X, Y)", one("Bar", **by("x", "ascending"))), ("axis turned", "plt.bar(X, Y); plt.gca().invert_xaxis()", one("Bar", **by("x", "descending"))), ("calendar", "plt.bar(['Mon', 'Tue', 'Wed'], Y)", one("Bar", ["Mon", "Tue", "Wed"], **by("x", "ascending"))), ("a given order", "plt.bar(['b', 'a', 'c'], [1, 3, 2])", one("Bar", sort=dict(channel="x", order=["b", "a", "c"]))), ("names in any case", "plt.bar(['Apple', 'jcrew', 'Sony'], Y)", one("Bar", ["Apple", "jcrew", "Sony"], **by("x", "ascending"))),
    ("pie", "plt.pie(Y, labels=X, autopct='%1.1f%%')", one("Pie")), ("pie of other counts", "plt.pie([30, 10, 20], labels=X)", one("Pie")), ("pie with a legend", "plt.pie(Y); plt.legend(X)", one("Pie")), ("ring", "plt.pie(Y, labels=X, wedgeprops=dict(width=.4), explode=[.1, 0, 0], startangle=90)", one("Pie")), ("pandas pie", "pd.Series(Y, X).plot.pie()", one("Pie")), ("empty wedge", "plt.pie([3, 1, 0], labels=X)", one("Pie", y=[3, 1, 0])),
    ("line", "plt.plot(X, Y, 'o-')", one("Line")), ("line of years", "plt.plot([2004, 2005, 2006], Y)", one("Line", ["2004", "2005", "2006"])), ("line of dates", f"plt.plot(pd.to_datetime({DATES}), Y)", one("Line", DATES)), ("pandas, a day each", "pd.Series(Y, pd.date_range('2020-01-01', periods=3)).plot()", one("Line", ["2020-01-01", "2020-01-02", "2020-01-03"])), ("pandas, a month each", "pd.Series(Y, pd.date_range('2020-01-01', periods=3, freq='MS')).plot()", one("Line", ["2020-01", "2020-02", "2020-03"])), ("line over points", "plt.plot([1, 2, 3], Y); plt.scatter([1, 2, 3], Y)", one("Line", [1, 2, 3])),
    ("what lies on the line left out", "plt.plot([1, 2, 5], [0, 1, 1])", one("Line", [1, 2, 3, 5], [0, 1, 1, 1])), ("years downwards", "plt.plot([1, 2, 3], Y); plt.gca().invert_xaxis()", one("Line", [1, 2, 3], **by("x", "descending"))), ("dates in order", f"plt.plot(pd.to_datetime({DATES}), Y)", one("Line", DATES, **by("x", "ascending"))), ("step", "plt.step([1, 2, 3], Y)", one("Line", [1, 2, 3])),
    ("points", "plt.scatter([1, 2, 3], Y)", one("Scatter", [1, 2, 3])), ("points by plot", "plt.plot([1, 2, 3], Y, 'o')", one("Scatter", [1, 2, 3])), ("axes changed", "plt.scatter(Y, [1.5, 2, 3])", one("Scatter", [1.5, 2, 3])), ("points twice", "plt.scatter([.3, .3, .2], [.4, .4, .5])", one("Scatter", [.3, .3, .2], [.4, .4, .5])), ("colour scale", "plt.colorbar(plt.scatter([1, 2, 3], Y, c=Y))", one("Scatter", [1, 2, 3])),
    ("stacked", "plt.bar(X, [1, 2, 3], label='u'); plt.bar(X, [4, 0, 2], bottom=[1, 2, 3], label='v'); plt.legend()", two("Stacked Bar", stacked_bar=True)), ("stacked, lying", f"{UV}.plot.barh(stacked=True)", two("Stacked Bar")), ("groups and categories changed", f"{UV}.T.plot.bar(stacked=True)", two("Stacked Bar")), ("grouped will do", f"{UV}.plot.bar()", two("Stacked Bar")), ("grouped by hand", "x = np.arange(3); plt.bar(x - .2, [1, 2, 3], .4, label='u'); plt.bar(x + .2, [4, 0, 2], .4, label='v'); plt.xticks(x, X); plt.legend()", two("Stacked Bar")),
    ("grouped years", "x = np.array([2004, 2005, 2006]); plt.bar(x - .2, [1, 2, 3], .4, label='u'); plt.bar(x + .2, [4, 1, 2], .4, label='v'); plt.legend()", two("Stacked Bar", [2004, 2005, 2006], ([1, 2, 3], [4, 1, 2]))), ("sums downwards", f"{UV}.loc[['a', 'c', 'b']].plot.bar(stacked=True)", two("Stacked Bar", **by("y", "descending"))), ("a group to each category", "plt.bar(['a'], [1], label='u'); plt.bar(['b'], [2], label='v'); plt.legend()", two("Stacked Bar", ["a", "b"], ([1, 0], [0, 2]))),
    ("more groups than colours", "pd.DataFrame({f'{i} g': [i + 1, i + 2] for i in range(12)}, ['a', 'b']).plot.bar(stacked=True)", dict(type="Stacked Bar", x_data=[["a", "b"]], y_data=[[i + 1, i + 2] for i in range(12)], classify=[f"{i} g" for i in range(12)])), ("renamed in the legend", f"{UV}.rename(columns=dict(u='p', v='q')).plot.bar(stacked=True); plt.legend(['u', 'v'])", two("Stacked Bar")),
    ("lines", "plt.plot(X, [1, 2, 3], label='u'); plt.plot(X, [4, 0, 2], label='v'); plt.legend(title='t')", two("Grouping Line")), ("pandas lines", f"{UV}.set_axis([1, 2, 3]).plot(marker='o')", two("Grouping Line", [1, 2, 3])), ("clouds", "plt.scatter([1, 2, 3], [1, 2, 3], label='u'); plt.scatter([1, 2], [4, 2], label='v'); plt.figlegend()", CLOUDS), ("clouds by colour", "s = plt.scatter([1, 2, 3, 1, 2], [1, 2, 3, 4, 2], c=[0, 0, 0, 1, 1]); plt.legend(s.legend_elements()[0], ['u', 'v'])", CLOUDS),
]
WRONG = [
    ("nothing", "plt.figure()", one("Bar"), "invalid: no bars"), ("empty axes", "plt.subplots()", one("Bar"), "invalid: no bars"), ("two charts", "f, a = plt.subplots(1, 2); a[0].bar(X, Y); a[1].bar(X, Y)", one("Bar"), "2 charts in one figure"), ("two axes", "plt.bar(X, Y); plt.twinx().plot(X, Y)", one("Bar"), "2 charts in one figure"), ("polar", "plt.polar([1, 2, 3], Y)", one("Line", [1, 2, 3]), "polar axes"), ("space", "plt.figure().add_subplot(projection='3d').plot([1, 2, 3], Y, Y)", one("Line", [1, 2, 3]), "3d axes"), ("hidden axes", "plt.bar(X, Y); plt.gca().set_visible(False)", one("Bar"), "invalid: no bars"),
    ("line", "plt.plot(X, Y)", one("Bar"), "type wrong: line, not bar"), ("bars", "plt.bar(X, Y)", one("Pie"), "type wrong: bar, not pie"), ("points", "plt.plot([1, 2, 3], Y, 'o')", one("Line", [1, 2, 3]), "type wrong: scatter, not line"), ("area", "plt.fill_between([1, 2, 3], Y)", one("Line", [1, 2, 3]), "invalid: no bars"), ("points under a line", "plt.scatter([1, 2, 3], Y); plt.plot([1, 3], [3, 2])", one("Scatter", [1, 2, 3]), "type wrong: line"),
    ("grouped, not stacked", f"{UV}.plot.bar()", two("Stacked Bar", stacked_bar=True), "type wrong: grouping bar"), ("over each other", "plt.bar(X, [1, 2, 3], label='u'); plt.bar(X, [4, 0, 2], label='v'); plt.legend()", two("Stacked Bar"), "type wrong: overlapping bar"), ("no legend", f"{UV}.plot.bar(stacked=True, legend=False)", two("Stacked Bar"), "type wrong: bar"), ("lines without a legend", f"{UV}.plot(legend=False)", two("Grouping Line"), "type wrong: line, not grouping line"), ("clouds without a legend", "plt.scatter([1, 2, 3], [1, 2, 3]); plt.scatter([1, 2], [4, 2])", CLOUDS, "type wrong: scatter"), ("groups, one wanted", f"{UV}.plot()", one("Line"), "type wrong: grouping line"),
    ("a wrong value", "plt.bar(X, [3, 1, 2.1])", one("Bar"), "('c', 2) is not drawn"), ("one too many", "plt.bar([*X, 'd'], [*Y, 1])", one("Bar"), "4 values drawn, 3 wanted"), ("one too few", "plt.bar(X[:2], Y[:2])", one("Bar"), "2 values drawn, 3 wanted"), ("values changed", "plt.bar(X, [1, 3, 2])", one("Bar"), "data wrong"), ("labels changed", "plt.bar(X, Y); plt.xticks(range(3), ['c', 'b', 'a'])", one("Bar"), "data wrong"), ("off the ground", "plt.bar(X, Y, bottom=1)", one("Bar"), "data wrong"), ("positions for labels", "plt.bar(range(3), Y)", one("Bar"), "data wrong"), ("labels for positions", "plt.bar(['5', '6', '7'], Y)", one("Bar", [0, 1, 2]), "data wrong"), ("in thousands", "plt.bar(X, [3, 1, 2])", one("Bar", y=[3000, 1000, 2000]), "data wrong"),
    ("another year", "plt.bar([2005, 2006, 2007], Y)", one("Bar", [2004, 2005, 2006]), "data wrong"), ("another day", "plt.plot(pd.to_datetime(['2017-01-07', '2012-07-03', '2010-11-26']), Y)", one("Line", DATES), "data wrong"), ("years for days", "plt.bar([2017, 2012, 2010], Y)", one("Bar", DATES), "data wrong"), ("lying, x and y named", "plt.barh(X, Y)", one("Bar", **NAMED), "data wrong"), ("axes changed, named", "plt.scatter(Y, [1.5, 2, 3])", one("Scatter", [1.5, 2, 3], **NAMED), "data wrong"), ("groups changed, named", f"{UV}.T.plot.bar(stacked=True)", two("Stacked Bar", channel_specified=["x", "y", "classify"]), "data wrong"), ("half-hidden word", "plt.bar(['Abu Dha...', 'b', 'c'], Y)", one("Bar", ["Abu Dhabi", "b", "c"]), "data wrong"),
    ("off the line left out", "plt.plot([1, 5], [0, 4])", one("Line", [1, 2, 5], [0, 3, 4]), "(2, 3) is not drawn"), ("end of the line left out", "plt.plot([1, 2], [1, 1])", one("Line", [1, 2, 3], [1, 1, 1]), "data wrong"), ("wrong shares", "plt.pie([3, 1, 3], labels=X)", one("Pie"), "data wrong"), ("no labels", "plt.pie(Y)", one("Pie"), "data wrong"), ("labels with shares", "plt.pie(Y, labels=['a (50%)', 'b', 'c'])", one("Pie"), "data wrong"), ("names changed in the legend", f"{UV}.plot(); plt.legend(['v', 'u'])", two("Grouping Line"), "data wrong"), ("thousands of points", "plt.scatter(range(6000), range(6000))", one("Scatter", [1, 2, 3]), "6000 marks"),
    ("not sorted", "plt.bar(X, Y)", one("Bar", **by("y", "descending")), "order wrong: not descending by y"), ("sorted the wrong way", "plt.bar(['b', 'c', 'a'], [1, 2, 3])", one("Bar", **by("y", "descending")), "order wrong"), ("lying, highest below", "plt.barh(['a', 'c', 'b'], [3, 2, 1])", one("Bar", **by("y", "descending", "field")), "order wrong"), ("the axis y bears the names", "plt.barh(['b', 'c', 'a'], [1, 2, 3])", one("Bar", **by("y", "descending")), "order wrong"), ("names not sorted", "plt.bar(['b', 'a', 'c'], [1, 3, 2])", one("Bar", **by("x", "ascending")), "order wrong"), ("not the given order", "plt.bar(X, Y)", one("Bar", sort=dict(channel="x", order=["b", "a", "c"])), "order wrong"), ("sums not sorted", f"{UV}.loc[['b', 'c', 'a']].plot.bar(stacked=True)", two("Stacked Bar", **by("y", "descending")), "order wrong"), ("years upwards", "plt.plot([1, 2, 3], Y)", one("Line", [1, 2, 3], **by("x", "descending")), "order wrong"), ("alphabet for numbers", "plt.bar(['1', '10', '2'], Y)", one("Bar", [1, 10, 2], **by("x", "ascending")), "order wrong"),
]

def seen(code):
    "What is drawn, read as in the sandbox, and through JSON as from it."
    plt.close("all")
    exec(code, dict(plt=plt, pd=pd, np=np, X=X, Y=Y))
    return json.loads(json.dumps(figures.figure_axes(plt.gcf()), allow_nan=False))

@pytest.fixture(autouse=True)
def no_figures():
    yield
    plt.close("all")

@pytest.mark.parametrize("what, code, ref", RIGHT, ids=[r[0] for r in RIGHT])
def test_a_right_chart_passes(what, code, ref):
    got = grade_chart(seen(code), ref)
    assert got.score == 1 and got.why.startswith("valid; type") and ("order right" in got.why) == bool(ref.get("sort")), got

@pytest.mark.parametrize("what, code, ref, why", WRONG, ids=[w[0] for w in WRONG])
def test_a_wrong_chart_fails_and_says_why(what, code, ref, why):
    got = grade_chart(seen(code), ref)
    assert got.score == 0 and why in got.why, got

def test_the_verdict_does_not_hang_on_the_order_of_a_set():
    "The benchmark's toolkit swaps two channels taken from a set: its verdict on this chart changes with the seed of Python's hashes. Here all placings are tried."
    ref = two("Stacked Bar", channel_specified=[])
    for code in (f"{UV}.plot.barh(stacked=True)", f"{UV}.T.plot.barh(stacked=True)", f"{UV}.T.plot.bar(stacked=True)"): assert grade_chart(seen(code), ref).score == 1
    assert len(charts._placings(3, [])) == 6 and len(charts._placings(3, ["x"])) == 2 and len(charts._placings(3, ["x", "y"])) == 1 and charts._placings(2, ["x"]) == [dict(x="x", y="y")]

def test_a_relative_tolerance_would_take_one_year_for_the_next():
    assert abs(2004 - 2005) / 2005 <= 5e-4 # the benchmark's rule
    assert not charts.same_plotted(2004., 2005) and charts.same_plotted(60.71, 60.714285)

def test_a_figure_that_cannot_be_read_and_a_reference_without_data_are_no_verdict():
    with pytest.raises(RuntimeError, match="could not be read: KeyError"): grade_chart([dict(unread="KeyError: 1")], one("Bar"))
    with pytest.raises(ValueError, match="at least one value to be seen"): grade_chart(seen("plt.bar(X, Y)"), one("Bar", y=[0, 0, 0]))

def forged(**changes): return [seen("plt.bar(X, Y)")[0] | changes]

def bar(**changes): return forged(bars=[seen("plt.bar(X, Y)")[0]["bars"][0] | changes])

@pytest.mark.parametrize("drawn", [
    lambda: {}, lambda: "unread", lambda: [1], lambda: ["unread"], lambda: [[]], lambda: [{}], lambda: [dict(bars=[])], lambda: [None], lambda: 7, lambda: [dict(kind=1)], lambda: [dict(many="x")], lambda: [dict(many=10**12, bars=[])],
    lambda: forged(bars=[]), lambda: forged(bars=None), lambda: forged(more=1), lambda: forged(bars=[1]), lambda: forged(bars={"a": 1}), lambda: forged(x=None), lambda: forged(legend=[["a"]]), lambda: forged(legend=[["a", 1]]),
    lambda: bar(size=float("nan")), lambda: bar(size=float("inf")), lambda: bar(size=10**400), lambda: bar(size="3"), lambda: bar(size=True), lambda: bar(at=None), lambda: bar(flat=1), lambda: bar(told=["a"]), lambda: bar(told="a" * 1001),
    lambda: bar(label="a" * 500_000), lambda: bar(set=[1]), lambda: forged(bars=bar()[0]["bars"] * 5001), lambda: forged(x=dict(flipped=False, scale="linear", labels=[[1, "a"]] * 5001)), lambda: forged(x=dict(flipped=0, scale="linear", labels=[])),
    lambda: forged(bars=[], series=[dict(line=True, colour="#000000", label="", spots=[[1, None, 2, None]] * 5000)] * 2), lambda: forged(bars=[], series=[dict(line=True, colour="#000000", label="", spots=[[1, None, 2]])])])
def test_what_is_no_figure_is_no_chart_whatever_a_program_says(drawn):
    drawn = drawn()
    got = grade_chart(drawn, one("Bar"))
    assert got.score == 0 and got.why.startswith("invalid: ") and len(got.why) < 200
    with pytest.raises(ValueError, match="nothing is drawn" if not drawn else "what the program says of its figure is no figure"): read_chart(drawn)

def test_a_reply_that_forges_its_figure_gets_a_zero_and_no_error(viseval):
    task = load_viseval(viseval, timeout=60)
    forge = """
import json, os, stat
said = json.dumps(dict(status="ok", error="", result=[dict(bars=[dict(size=10**300)])], sizes={})) + "\\n"
for fd in range(3, 64):
    if os.path.exists(f"/proc/self/fd/{fd}") and stat.S_ISFIFO(os.fstat(fd).st_mode):
        try: os.write(fd, said.encode())
        except OSError: pass
os._exit(0)"""
    got = task.score(fenced(forge), task.items.iloc[0])
    assert got.score == 0 and "is no figure" in got.why, got

@pytest.mark.parametrize("raw", [b"", b"<svg/>", b"\x89PNG\r\n\x1a\n" + b"x" * 100, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"x" * 10_000_000], ids=["none", "svg", "no header", "huge"])
def test_a_judge_gets_a_picture_of_a_bounded_size_or_nothing(viseval, monkeypatch, raw):
    from types import SimpleNamespace
    async def judge(reply, item): raise AssertionError("not to be asked")
    monkeypatch.setattr(vis, "figure_of", lambda *a, **k: SimpleNamespace(status="ok", result=seen("plt.bar(X, Y)"), files={figures.PICTURE: raw} if raw else {}))
    monkeypatch.setattr(vis, "grade_chart", lambda *a: Grade(1, "passes"))
    got = load_viseval(viseval, judge=judge).score(fenced("plt.bar(X, Y)"), load_viseval(viseval).items.iloc[0])
    assert got.score == 0 and "the picture must be a PNG of at most 10,000,000 bytes" in got.why

def test_a_chart_is_read_as_rows():
    chart = read_chart(seen(f"{UV}.plot.bar(stacked=True)"))
    assert chart["type"] == "stacked bar" and chart["groups"] == ["u", "v"]
    assert [(r["x"], r["y"], r["group"]) for r in chart["rows"][:2]] == [(("a",), (1.,), "u"), (("b",), (2.,), "u")]
    with pytest.raises(ValueError, match="nothing is drawn"): read_chart([])


# ---- VisEval: programs in the sandbox

ENTRY = dict(vis_query=dict(VQL="Visualize BAR SELECT name , size FROM things ORDER BY size DESC"), chart="Bar", hardness="Easy", db_id="db", irrelevant_tables=["other"],
    vis_obj=dict(chart="bar", x_name="name", y_name="size", x_data=[X], y_data=[Y], classify=[], sort=dict(channel="y", order="descending")),
    nl_queries=["Bars of the size of each thing, biggest first.", "Bar chart, x axis name, y axis size, descending by y."],
    query_meta=[dict(channel_specified=[], sort_by="field"), dict(channel_specified=["x", "y"], sort_by="axis")])

@pytest.fixture
def viseval(tmp_path):
    folder = tmp_path/"viseval_dataset"
    (folder/"databases"/"db").mkdir(parents=True)
    (folder/"databases"/"db"/"Things.csv").write_text("name,size\na,3\nb,1\nc,2\n")
    (folder/"databases"/"db"/"other.csv").write_text("k\n1\n")
    (folder/"databases"/"db_tables.json").write_text(json.dumps(dict(db=["Things", "other"])))
    crooked = ENTRY | dict(vis_obj=ENTRY["vis_obj"] | dict(y_data=[[3, 1, 2, 4]], sort=None), nl_queries=["Three of four."], query_meta=[{}])
    (folder/"visEval.json").write_text(json.dumps({"8": ENTRY, "9@x": crooked}))
    (folder/"visEval_single.json").write_text(json.dumps({"8": ENTRY}))
    return folder

AWAY = ["../secret.csv", "/etc/passwd", "a/../../secret.csv", "..", ".", "..\\secret.csv", "C:secret.csv", "sub/secret.csv", 7]

@pytest.mark.parametrize("name", AWAY)
def test_no_name_in_a_benchmark_leads_out_of_its_folder(dabench, viseval, name):
    (dabench/"secret.csv").write_text("key,n\nhidden,1\n")
    (dabench/"da-dev-questions.jsonl").write_text("\n".join(json.dumps(q | dict(file_name=name)) for q in QUESTIONS))
    with pytest.raises(ValueError, match=r"file_name of question 0 must be a plain name in da-dev-tables/, got"): load_dabench(dabench)
    entries = json.dumps({"8": ENTRY | dict(db_id=name)}), json.dumps({"8": ENTRY | dict(irrelevant_tables=[name])})
    for text in entries:
        (viseval/"visEval.json").write_text(text)
        with pytest.raises(ValueError, match="of entry 8 must be a plain name in"): load_viseval(viseval, distract=True)

def test_viseval_is_read_one_item_a_request(viseval):
    task = load_viseval(viseval.parent, revision="abc")
    assert [*task.items.query_id] == ["viseval-8-0", "viseval-8-1", "viseval-9@x-0"] and [*task.items.level] == ["Easy"] * 3 and len(load_viseval(viseval, part="single")) == 2
    first, ref = task.items.iloc[0], json.loads(task.items.reference[1])
    assert [*first["files"]] == ["Things.csv"] and [*load_viseval(viseval, distract=True).items["files"][0]] == ["Things.csv", "other.csv"]
    unnamed = json.loads((viseval/"visEval.json").read_text())
    unnamed["8"]["vis_query"]["VQL"] = "Visualize BAR SELECT name , size FROM (nothing)"
    (viseval/"visEval_multiple.json").write_text(json.dumps(unnamed))
    assert [*load_viseval(viseval, part="multiple").items["files"][0]] == ["Things.csv", "other.csv"]
    assert ref["type"] == "Bar" and ref["channel_specified"] == ["x", "y"] and ref["sort_by"] == "axis"
    asked = task.messages(task.baseline, first)[0]["content"]
    assert "biggest first" in asked and "Files: Things.csv" in asked and '"name": "size"' in asked
    assert [*task.items.doubt] == ["", "", "x and y of lengths [3, 4]"] and task.source["revision"] == "abc" and task.source["files"] == 3

def test_what_viseval_lacks_is_said(viseval, tmp_path):
    with pytest.raises(FileNotFoundError, match="viseval_dataset.zip in the repository microsoft/VisEval"): load_viseval(tmp_path/"nowhere")
    with pytest.raises(ValueError, match="part must be 'all', 'single' or 'multiple', got 'some'"): load_viseval(viseval, part="some")
    with pytest.raises(ValueError, match="must have sha256 0000, got"): load_viseval(viseval, sha256="0000")
    (viseval/"databases"/"db"/"Things.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"entry 8 must lie in databases/db/, not found: \['Things'\]"): load_viseval(viseval)
    (viseval/"databases"/"db_tables.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="and db_tables.json names none"): load_viseval(viseval)

START = "import csv\nimport matplotlib.pyplot as plt\nrows = sorted(csv.DictReader(open('Things.csv')), key=lambda r: -int(r['size']))\nplt.bar([r['name'] for r in rows], [int(r['size']) for r in rows])\n"

@pytest.mark.parametrize("reply, score, why", [
    (fenced("from __future__ import annotations\nmax = result = 7\n" + START + "plt.show()\nplt.savefig('a.png')\nplt.clf()\nplt.close('all')\nimport sys\nsys.exit()"), 1, "order right"), # shown, saved, cleared, closed, left; names of its own
    ("import matplotlib\nmatplotlib.use('TkAgg')\n" + START + "print('x' * 100_000)\nfig = plt.figure()", 1, "order right"), # no fences, another backend, an empty figure last
    (fenced("print('first draft')") + "\nBetter:\n" + fenced(START + "raise RuntimeError('after drawing')"), 0, "invalid; the program failed: RuntimeError: after drawing"),
    (fenced("while True: pass"), 0, "invalid; limit: timeout"),
    (fenced("while True: print('x' * 100_000)"), 0, "invalid; limit: output"),
    (fenced("import os\nos._exit(0)"), 0, "with exit code 0"),
    (fenced("import no_such_library"), 0, "invalid; the program failed: ModuleNotFoundError"),
    (fenced("import matplotlib.pyplot as plt\nplt.bar(1"), 0, "invalid; the program failed: SyntaxError"),
    ("I would draw bars.", 0, "invalid: no program"),
], ids=["all at once", "no fences", "fails after drawing", "endless", "endless output", "leaves", "no library", "no Python", "no program"])
def test_programs_that_draw(viseval, reply, score, why):
    task = load_viseval(viseval, timeout=2 if "pass" in reply else 60)
    got = task.score(reply, task.items.iloc[0])
    assert got.score == score and why in got.why, got

def test_a_judge_sees_what_passed_and_nothing_else(viseval, monkeypatch):
    asked, ran = [], []
    async def judge(reply, item):
        asked.append(item)
        return Grade(.6, "labels overlap")
    def once(*args, **kwargs): ran.append(ran[0] if ran else figure_of(*args, **kwargs)); return ran[0]
    monkeypatch.setattr(vis, "figure_of", once)
    task = load_viseval(viseval, judge=judge)
    got = task.score(fenced(START + "plt.close('all')"), task.items.iloc[0])
    assert got.score == .6 and got.why == "valid; type, data and order right; judge: labels overlap"
    assert asked[0]["image"].startswith("data:image/png;base64,iVBOR") and "plt.bar" in asked[0]["code"] and asked[0]["level"] == "Easy"
    assert task.score("no program", task.items.iloc[0]).score == 0 and len(asked) == 1 and len(ran) == 1
    async def away(reply, item): raise ConnectionError("no judge")
    got = load_viseval(viseval, judge=away).score(fenced(START), task.items.iloc[0])
    assert np.isnan(got.score) and "ConnectionError" in got.why and len(ran) == 2
