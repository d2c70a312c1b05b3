"Answers of real models by name: ours come with the package, those of others from their origin, checked; nothing half-written is left."
import hashlib, json, os, subprocess, sys, tarfile, threading, time, zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

from causal_prompts import cli, conversions, downloads, recordings
from causal_prompts.downloads import DownloadError, fetch_files, origin_files
from causal_prompts.grids import Grid
from causal_prompts.recordings import META, datasets, fetch_dataset, load_dataset, load_table, recording_meta, write_recording

ROOT = Path(__file__).resolve().parents[1]
ABOUT = dict(model="smol", sha256="ab" * 32, task="place", what="a toy of 12 queries x 4 prompts", licence="CC0-1.0", settings={"temperature": 0}, versions={"torch": "2"},
             traps="a toy: nothing is true of it")


def calls(n=12, draws=0):
    "A small recording: a grid, and draws of its first two queries."
    rows = [dict(query_id=f"q{i}", query=f"Where is thing {i}?", difficulty=float(i % 3), kind="near" if i % 2 else "far", prompt_id=f"p{j}", prompt=f"Say it {j} times.", family="plain",
                 parts=["say"] * j, part=part, repeat=repeat, score=float((i + j + repeat) % 2), reply=f"It is here {(i + j + repeat) % 2}.")
            for part, some, repeats in (("grid", n, 1), ("draws", min(n, 2), draws)) for i in range(some) for j in range(4) for repeat in range(repeats)]
    return pd.DataFrame(rows)


@pytest.fixture
def ships(tmp_path, monkeypatch):
    "A package that ships one small recording, on a machine with no folder of data."
    (tmp_path/"ships").mkdir()
    monkeypatch.setattr(recordings, "SHIPS", tmp_path/"ships")
    monkeypatch.setenv("CAUSAL_PROMPTS_DATA", str(tmp_path)); monkeypatch.setenv("CAUSAL_PROMPTS_CACHE", str(tmp_path/"cache"))
    write_recording(calls(draws=5), ABOUT, tmp_path/"ships/smol-toy.parquet")
    return tmp_path


# ---- ours

def test_a_recording_that_ships_is_a_grid(ships):
    log = load_dataset("smol-toy")
    assert Grid(log).values.shape == (12, 4) and log.covariates == ["difficulty", "kind"] and log.score_range == (0, 1)
    assert {*log.frame} == {"query_id", "query", "prompt_id", "prompt", "repeat", "score", "model", "task", "difficulty", "kind", "family", "parts"} # no reply: it came after the prompt
    assert log.frame["model"].unique().tolist() == ["smol"] and log.frame["task"].unique().tolist() == ["place"]
    want = calls().set_index(["query_id", "prompt_id"])["score"]
    assert log.frame.set_index(["query_id", "prompt_id"])["score"].sort_index().equals(want.sort_index())

def test_draws_are_a_part_of_the_same_name(ships):
    log = load_dataset("smol-toy", part="draws")
    assert len(log) == 2 * 4 * 5 and sorted(log.frame["repeat"].unique()) == [0, 1, 2, 3, 4]
    assert Grid(log).replay(k=2, repeats=5).frame["repeat"].nunique() == 5
    assert len(load_dataset("smol-toy", part="grid")) == 48
    with pytest.raises(ValueError, match=r"part must be one of \['grid', 'draws'\] for 'smol-toy', got 'wide'"): load_dataset("smol-toy", part="wide")
    write_recording(calls(), ABOUT, ships/"ships/smol-plain.parquet")
    with pytest.raises(ValueError, match=r"part must be one of \['grid'\] for 'smol-plain', got 'draws'"): load_dataset("smol-plain", part="draws")

@pytest.mark.parametrize("name, score", [(row.name, score) for row in datasets().query("where == 'ships'").itertuples() for score in [row.score, *filter(None, row.other_scores.split(", "))]])
def test_every_score_that_is_listed_is_a_log_of_its_values(name, score):
    log, table = load_dataset(name, score=score), load_table(name).query("part == 'grid'")
    assert (log.frame["score"].to_numpy() == table[score].to_numpy(float)).all() and log.score_range[0] <= table[score].min() and table[score].max() <= log.score_range[1]
    assert (log.score_range == (0, 1)) == (score != "score_margin")

def test_a_range_is_that_of_the_file_and_whole(ships):
    frame = calls(draws=5)
    margin = [-2.5 if part == "grid" else 3.25 for part in frame["part"]]
    write_recording(frame.assign(score_margin=margin), ABOUT, ships/"ships/smol-margin.parquet")
    assert load_dataset("smol-margin", score="score_margin").score_range == load_dataset("smol-margin", score="score_margin", part="draws").score_range == (-3, 4)
    assert load_dataset("smol-margin").score_range == (0, 1)

def test_what_was_written_is_read(ships):
    table = load_table("smol-toy")
    assert len(table) == 48 + 40 and set(table["reply"]) == {"It is here 0.", "It is here 1."} and json.loads(table["parts"].iloc[-1]) == ["say"] * 3
    assert recording_meta(ships/"ships/smol-toy.parquet") == ABOUT

def test_the_list_has_ours_with_every_column(ships):
    row = datasets().set_index("name").loc["smol-toy"]
    assert (row.kind, row.score, row.licence, row.origin, row["where"], row.traps) == ("triplets", "score", "CC0-1.0", "recorded by this project", "ships", ABOUT["traps"])
    assert row["size"].endswith(" MB") and not datasets().isna().any(axis=None)

def test_texts_are_written_once(tmp_path):
    few, many = calls(20), calls(20).assign(query=lambda f: f["query"].str.ljust(2000, "x"))
    longer = write_recording(many, ABOUT, tmp_path/"many.parquet").stat().st_size - write_recording(few, ABOUT, tmp_path/"few.parquet").stat().st_size
    assert longer < 20 * 2000 # 80 rows hold 160,000 characters more

@pytest.mark.parametrize("wrong, match", [
    (dict(drop="reply"), "frame must have the columns .*'reply'"), (dict(extra=1), r"may have .*got .*'extra'"), (dict(part="train"), r"part must be one of \['grid', 'draws'\], got \['train'\]"),
    (dict(repeat=0, query_id="q0", query="Where is thing 0?", difficulty=0., kind="far"), "must name one call, got 44 twice"), (dict(kind=range(48)), "kind must be the same wherever a query_id stands"),
    (dict(family=range(48)), "family must be the same wherever a prompt_id stands, got several for 'p0'")])
def test_a_recording_that_breaks_its_layout_is_refused(tmp_path, wrong, match):
    frame = calls()
    frame = frame.drop(columns=wrong["drop"]) if "drop" in wrong else frame.assign(**wrong)
    with pytest.raises(ValueError, match=match): write_recording(frame, ABOUT, tmp_path/"x.parquet")
    assert not any(tmp_path.iterdir())

def test_what_stands_for_the_file_must_be_whole(tmp_path):
    with pytest.raises(ValueError, match="meta must have the keys .*'sha256'"): write_recording(calls(), {k: v for k, v in ABOUT.items() if k != "sha256"}, tmp_path/"x.parquet")
    with pytest.raises(ValueError, match="sha256 must be the 64 digits"): write_recording(calls(), ABOUT | dict(sha256="0"), tmp_path/"x.parquet")
    with pytest.raises(ValueError, match="path must end in .parquet, got 'x.csv'"): write_recording(calls(), ABOUT, tmp_path/"x.csv")


# ---- a package as a stranger has it

@pytest.fixture(scope="module")
def built(tmp_path_factory):
    "A wheel, and a wheel of the source archive, of a tree that ships one small recording."
    pytest.importorskip("setuptools", minversion="77", reason="setuptools >= 77 builds the wheel")
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("out")
    for name in ("settings.ini", "setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"): (tree/name).write_bytes((ROOT/name).read_bytes())
    for file in [*(ROOT/"causal_prompts").glob("*.py*"), *(ROOT/"causal_prompts/data").glob("*")]:
        if file.is_file(): to = tree/file.relative_to(ROOT); to.parent.mkdir(parents=True, exist_ok=True); to.write_bytes(file.read_bytes())
    write_recording(calls(draws=5), ABOUT, tree/"causal_prompts/data/smol-toy.parquet")
    for what in ("sdist", "bdist_wheel"): subprocess.run([sys.executable, "setup.py", "-q", what, "-d", str(out)], cwd=tree, check=True, capture_output=True)
    return out

def test_wheel_and_source_archive_hold_the_data(built):
    wanted = {"causal_prompts/data/smol-toy.parquet", "causal_prompts/data/origins.csv", *(f"causal_prompts/data/{f.name}" for f in (ROOT/"causal_prompts/data").glob("*.parquet"))}
    wheel, archive = next(built.glob("*.whl")), next(built.glob("*.tar.gz"))
    assert wanted <= {*zipfile.ZipFile(wheel).namelist()}
    with tarfile.open(archive) as t: assert wanted <= {name.partition("/")[2] for name in t.getnames()}

def test_an_installed_package_loads_its_recordings_without_network_and_folder(built, tmp_path):
    zipfile.ZipFile(next(built.glob("*.whl"))).extractall(tmp_path/"site")
    code = """
import sys
def watch(event, args):
    if event.startswith("socket."): raise RuntimeError(f"network touched: {event}")
sys.addaudithook(watch)
import causal_prompts as cp
assert cp.recordings.data_folder() is None
print(cp.__file__, cp.load_dataset("smol-toy"))
print(*(len(cp.load_dataset(name)) for name in cp.recordings.datasets().query("where == 'ships'")["name"]))
"""
    env = {k: v for k, v in os.environ.items() if k != "CAUSAL_PROMPTS_DATA"} | dict(PYTHONPATH=str(tmp_path/"site"), HOME=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path/"site") in done.stdout and "48 rows" in done.stdout


# ---- others: as they lie in a folder

@pytest.mark.recorded
def test_loaded_logs_carry_nothing_that_leaks():
    shapes = {("gsm8k-gpt35", None): (1000, 10), ("gsm8k-llama2", None): (1000, 16), ("gsm8k-llama2", "long"): (7473, 6), ("mawps-llama2", "wide"): (1545, 16), ("mawps-llama2", "long"): (1744, 6)}
    for (name, part), shape in shapes.items():
        log = load_dataset(name, part=part)
        assert Grid(log).values.shape == shape and log.covariates == ["difficulty"]
        assert set(log.frame.columns) == {"query_id", "query", "prompt_id", "prompt", "repeat", "score", "model", "task", "difficulty"}
        assert log.frame.groupby(["query_id", "prompt_id"])["repeat"].min().max() == 0
    assert set(load_dataset("sst2-opt27b").frame.columns) == {"query_id", "query", "prompt_id", "prompt", "repeat", "score", "model", "task"}

@pytest.mark.recorded
def test_every_score_that_others_recorded_is_a_log():
    for row in datasets().query("where != 'ships' and kind == 'triplets'").itertuples():
        for score in [row.score, *filter(None, row.other_scores.split(", "))]: assert len(load_dataset(row.name, score=score)) > 1000

@pytest.mark.recorded
def test_the_chosen_score_is_the_one_loaded():
    raw = load_table("gsm8k-gpt35")
    for score in ("score", "score_authors", "score_lenient"): assert (load_dataset("gsm8k-gpt35", score=score).frame["score"].to_numpy() == raw[score].to_numpy()).all()
    assert load_dataset("sst2-opt27b").frame["score"].mean() == pytest.approx(load_table("sst2-opt27b")["score_calibrated"].mean())
    assert "nan" in set(load_dataset("gsm8k-gpt35").frame["prompt_id"])
    with pytest.raises(ValueError, match="score must be one of .*'score_lenient'.* got 'answer_chars'"): load_dataset("gsm8k-gpt35", score="answer_chars")
    with pytest.raises(ValueError, match="part must be None"): load_dataset("gsm8k-gpt35", part="wide")
    with pytest.raises(ValueError, match="part must be 'wide', 'long' or 'all'"): load_dataset("mawps-llama2", part="tall")

@pytest.mark.recorded
def test_every_named_set_has_its_file():
    for name in datasets()["name"]: assert len(load_table(name)) >= 63

def test_absent_data_name_origin_commit_and_licence(tmp_path, monkeypatch):
    monkeypatch.setenv("CAUSAL_PROMPTS_DATA", str(tmp_path)); monkeypatch.setenv("CAUSAL_PROMPTS_CACHE", str(tmp_path))
    for row in datasets().query("where != 'ships'").itertuples():
        with pytest.raises(FileNotFoundError) as e: load_table(row.name)
        assert row.origin in str(e.value) and row.commit in str(e.value) and row.licence in str(e.value) and "CAUSAL_PROMPTS_DATA" in str(e.value)
    monkeypatch.setenv("CAUSAL_PROMPTS_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="CAUSAL_PROMPTS_DATA must name a folder"): recordings.data_folder()

def test_the_folder_is_found_from_below(tmp_path, monkeypatch):
    monkeypatch.delenv("CAUSAL_PROMPTS_DATA", raising=False)
    (tmp_path / "shared/data").mkdir(parents=True); (tmp_path / "a/b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a/b")
    assert recordings.data_folder() == tmp_path / "shared/data"

def test_datasets_is_complete():
    d = datasets()
    assert d["name"].is_unique and d.notna().all(axis=None) and set(d["kind"]) == {"triplets", "table"} and set(d["where"]) >= {"download", "folder"} and (d.loc[d["where"] != "ships", "commit"].str.len() == 40).all()
    assert d.set_index("name").loc["sst2-opt27b", "score"] == "score_calibrated" and (d["traps"].str.len() > 10).all()

def test_wrong_names():
    with pytest.raises(ValueError, match="name must be one of .*see datasets"): load_dataset("sst3")
    with pytest.raises(ValueError, match="no log of triplets, read it with load_table"): load_dataset("capo_optimizer_scores")


# ---- others: small files in the layout of each origin

def sst2_file(k, follows, log_p):
    return json.dumps(dict(template_name=f"prompt_{k:02}", raw=dict(inputs=[s + follows for s in ("fine .", "dull .") for _ in range(2)], targets=[1, 0], log_prob=log_p,
                                                                      predictions=[int(b > a) for a, b in log_p])))

TEMPLATES = """templates:
  a1: !Template
    answer_choices: negative ||| positive
    jinja: '{{ sentence }} The sentiment is ||| {{ answer_choices[label]
      }}'
    metadata: !TemplateMetadata
      original_task: true
    name: prompt_00
  a2: !Template
    answer_choices: bad ||| good
    jinja: '{{ sentence }} Is it {{ " or ".join(answer_choices) }}? ||| {{ answer_choices[label] }}'
    name: prompt_01
"""
PROGRAM = "PROMPT_LIST = [\n   'The answer is:',\n  \"Let's think: \"\n  ]\nALIAS_LIST = [\n 'nan',\n 'gpt4_0'\n ]\n"
def fold(*rows): return "Question,Numbers,Equation\n" + "".join(f"{q},{n},{e}\n" for q, n, e in rows)
def right(*values): return "".join(f"({i}, {bool(v)})\n" for i, v in enumerate(values))
def transcript(*blocks): return "".join(f"Q: {q}\n\nA_model:\n{a}\nA:\n{s}<|endoftext|>\n\n" for q, a, s in blocks)
def school(*pairs): return "".join(json.dumps(dict(question=q, answer=a)) + "\n" for q, a in pairs)
ADD, TWO = ("number0 and number1 ?", "2 3", "+ number0 number1"), ("number0 or number1 or number10 ?", "7 8", "- + number0 number1 number0")

SMALL = {
    "sst2-opt27b": {"results/p00.json": sst2_file(0, " The sentiment is", [[-3., -1.], [-2., -1.5]]), "results/p01.json": sst2_file(1, " Is it bad or good?", [[-1., -2.], [-2., -1.]]),
                    "templates.yaml": TEMPLATES},
    "gsm8k-gpt35": {f"temp_folder/test_answers_list_1k_{f}.npy.txt": transcript(("How much?", reply, "Sum: <<1+1=2>>2\n#### 18,000"), ("And twice?", "No idea.", "#### -3"))
                    for f, reply in (("no_prompt", " It is 18,000.\n"), ("Ablation_misspell_prompt", "18,000 of 20"))},
    "gsm8k-llama2": {"ask.py": PROGRAM, "logs/llama_gsm8k_test_corr_nan.txt": right(1, 0), "logs/llama_gsm8k_corr_nan.txt": right(0, 1, 1), "logs/llama_gsm8k_corr_gpt4_0.txt": right(0, 1),
                     "data/test.jsonl": school(("A?", "<<1>> <<2>>"), ("B?", ""), ("C?", "")), "data/train.jsonl": school(("D?", ""), ("E?", "<<1>>"), ("F?", ""))},
    "svamp-llama2": {"ask.py": PROGRAM, "logs/llama_svamp_corr_nan.txt": right(1, 1, 0), "logs/llama_svamp_corr_gpt4_0.txt": right(0), "fold0/train.csv": fold(ADD, TWO), "fold1/train.csv": fold(ADD)},
    "mawps-llama2": {"ask.py": PROGRAM, "logs/llama_mawps_corr_nan.txt": right(1, 1, 0), "logs/llama_mawps_corr_gpt4_0.txt": right(0), "fold0/train.csv": fold(ADD, TWO), "fold1/train.csv": fold(ADD)},
    "promptbench_adv_edits": {"adv/t5_zeroshot.md": "# t5_zeroshot\n\n# cola\n\n## 10 prompts\n\nAcc: 81.00%, prompt: Judge it.\n\n## bertattack\n\nOriginal prompt: Judge it.\n"
                              "Attacked prompt: b\"Judge 'it'. \"\nOriginal acc: 81.00%, attacked acc: 61.50%, dropped acc: 19.50%\n"},
    "state_of_what_art_prompt_scores": {"data/BBH/navigate.json": json.dumps(dict(paraphrases={"1": dict(template="Q: {q}", method="default", correct=True, accs={"t5": .5, "t0": .25})}))},
    "gepa_dspy_tutorial_logs": {"tutorials/gepa_x/index.ipynb": json.dumps(dict(cells=[dict(cell_type="markdown"), dict(outputs=[dict(text=[
        "2025/08/12 18:38:58 INFO g: Iteration 1: Selected program 0 score: 0.25\n", "Average Metric: 2.00 / 3\n", "2025/08/12 18:38:59 INFO g: Iteration 1: Proposed new text for judge: Be strict.\n",
        "And fair.\n\n2025/08/12 18:39:00 INFO g: Iteration 1: New subsample score is not better, skipping\n2025/08/12 18:39:00 INFO g: Iteration 2: Selected program 0 score: 0.25\n"])])]))}}
SMALL["promptbench_prompt_scores"] = SMALL["promptbench_adv_edits"]


def on_disk(texts, folder):
    files = {path: folder/path for path in texts}
    for path, file in files.items(): file.parent.mkdir(parents=True, exist_ok=True); file.write_text(texts[path], encoding="utf-8")
    return files

def converted(name, tmp_path): return conversions.CONVERSIONS[name](on_disk(SMALL[name], tmp_path))

def test_every_set_with_a_download_has_files_a_conversion_and_a_small_likeness():
    files = origin_files()
    assert {*files["name"]} == {*conversions.CONVERSIONS} == {*SMALL} == {*datasets().query("where == 'download'")["name"]}
    assert files["sha256"].str.fullmatch("[0-9a-f]{64}").all() and files["commit"].str.fullmatch("[0-9a-f]{40}").all() and (files["bytes"] > 0).all()
    assert not files.duplicated(["name", "path"]).any()
    listed = datasets().set_index("name")
    for name, part in files.groupby("name"): assert listed.loc[name, "commit"] in set(part["commit"]) # the commit that is shown is one that is fetched

def test_sst2_is_calibrated_at_the_median_of_its_prompt(tmp_path):
    f = converted("sst2-opt27b", tmp_path)
    assert f["query"].tolist() == ["fine .", "dull ."] * 2 and f["prompt"].unique().tolist() == ["{{ sentence }} The sentiment is", '{{ sentence }} Is it {{ " or ".join(answer_choices) }}?']
    assert f["score"].tolist() == [1, 0, 0, 0] and f["score_calibrated"].tolist() == [1, 1, 0, 0] and f["logit_margin"].tolist() == [2., -.5, -1., -1.]
    assert f["score_prob"].tolist() == [.880797, .377541, .268941, .268941] and f["answer_choices"].tolist()[::2] == ["negative ||| positive", "bad ||| good"]

def test_transcripts_are_graded_in_three_ways(tmp_path):
    f = converted("gsm8k-gpt35", tmp_path)
    assert f["prompt_id"].tolist() == ["nan"] * 2 + ["PenalGPT_misspelt"] * 2 and f["prompt"].iloc[2].startswith("3 experts are discussing the question with a penal discussion, ")
    assert f[["score", "score_authors", "score_lenient", "difficulty", "answer_chars"]].to_numpy().tolist() == [[1, 1, 1, 1, 13], [0, 0, 0, 0, 8], [0, 0, 1, 1, 12], [0, 0, 0, 0, 8]]

def test_truth_values_meet_their_questions(tmp_path):
    f = converted("gsm8k-llama2", tmp_path)
    assert f.set_index(["query_id", "prompt_id"])["score"].to_dict() == {("gsm8k-test-0", "nan"): 1, ("gsm8k-test-1", "nan"): 0, ("gsm8k-test-0", "gpt4_0"): 0, ("gsm8k-test-1", "gpt4_0"): 1,
        ("gsm8k-train-0", "nan"): 0, ("gsm8k-train-1", "nan"): 1, ("gsm8k-train-2", "nan"): 1}
    assert f.groupby("query_id")[["query", "difficulty"]].first().loc[["gsm8k-test-0", "gsm8k-train-1"]].to_numpy().tolist() == [["A?", 2], ["E?", 1]]

@pytest.mark.parametrize("name", ["svamp-llama2", "mawps-llama2"])
def test_a_question_of_several_folds_is_a_repeat(tmp_path, name):
    f, task = converted(name, tmp_path), name.split("-")[0]
    assert f[["query_id", "query", "prompt_id", "prompt", "score", "split", "difficulty", "repeat"]].to_numpy().tolist() == [
        [f"{task}-0", "2 and 3 ?", "nan", "The answer is:", 1, "train", 1, 0], [f"{task}-0", "2 and 3 ?", "gpt4_0", "Let's think: ", 0, "test", 1, 1],
        [f"{task}-0", "2 and 3 ?", "nan", "The answer is:", 0, "test", 1, 1], [f"{task}-1", "7 or 8 or 80 ?", "nan", "The answer is:", 1, "train", 2, 0]]

def test_lines_out_of_order_are_refused(tmp_path):
    SVAMP = SMALL["svamp-llama2"] | {"logs/llama_svamp_corr_nan.txt": "(0, True)\n(2, True)\n"}
    with pytest.raises(ValueError, match="must count its lines from 0"): conversions.svamp_frame(on_disk(SVAMP, tmp_path))

def test_tables_of_other_shapes(tmp_path):
    attack, plain = converted("promptbench_adv_edits", tmp_path/"a"), converted("promptbench_prompt_scores", tmp_path/"b")
    assert attack.to_numpy().tolist() == [["t5", "zeroshot", "cola", "bertattack", "Judge it.", "Judge 'it'. ", .81, .615, .615 - .81]]
    assert plain.to_numpy().tolist() == [["t5", "zeroshot", "cola", "10 prompts", "Judge it.", .81]]
    paraphrases, proposals = converted("state_of_what_art_prompt_scores", tmp_path/"c"), converted("gepa_dspy_tutorial_logs", tmp_path/"d")
    assert paraphrases.to_numpy().tolist() == [["BBH", "navigate", "1", "Q: {q}", "default", True, m, acc, True] for m, acc in (("t5", .5), ("t0", .25))]
    assert proposals.drop(columns="new_val_score").to_numpy().tolist() == [["gepa_x", 1, 0, .25, "judge", "Be strict.\nAnd fair.", "New subsample score is not better, skipping", "[('2.00', '3')]"]]
    assert proposals["new_val_score"].isna().all()


# ---- downloads

class Site(ThreadingHTTPServer):
    "Serves texts by path, as their origin would; `spoils` says what goes wrong with one."
    daemon_threads, request_queue_size = True, 64
    def __init__(self):
        self.texts, self.spoils, self.asked, self.open = {}, {}, [], threading.Event()
        self.open.set()
        super().__init__(("127.0.0.1", 0), Page)
        threading.Thread(target=self.serve_forever, args=(.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server_address[1]}"

class Page(BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        path = unquote(self.path)
        self.server.asked.append(path)
        self.server.open.wait(60)
        spoilt = self.server.spoils.get(path)
        text = self.server.texts[path] if spoilt != "wrong" else b"something else"
        if spoilt == "gone": return self.send_error(404)
        self.send_response(200); self.send_header("Content-Length", str(len(text))); self.end_headers()
        self.wfile.write(text[:len(text) // 2] if spoilt == "broken" else text)

@pytest.fixture
def site(tmp_path, monkeypatch):
    "A site with the small files of every set, a list of their hashes, and a machine that has none of them."
    site, rows = Site(), []
    for name, texts in SMALL.items():
        for path, text in texts.items():
            site.texts[f"/a/b/{'c' * 40}/{path}"] = text.encode()
            rows.append(dict(name=name, repo="a/b", commit="c" * 40, path=path, bytes=len(text.encode()), sha256=hashlib.sha256(text.encode()).hexdigest()))
    pd.DataFrame(rows).to_csv(tmp_path/"origins.csv", index=False)
    (tmp_path/"empty").mkdir()
    monkeypatch.setattr(downloads, "ORIGINS", tmp_path/"origins.csv"); monkeypatch.setattr(downloads, "SITE", site.address)
    monkeypatch.setenv("CAUSAL_PROMPTS_DATA", str(tmp_path/"empty")); monkeypatch.setenv("CAUSAL_PROMPTS_CACHE", str(tmp_path/"cache")); monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield site
    site.shutdown(), site.server_close()

def left(tmp_path):
    "Every file in the cache but the empty lock."
    return sorted(f.relative_to(tmp_path/"cache/recordings").as_posix() for f in (tmp_path/"cache/recordings").rglob("*") if f.is_file() and f.suffix != ".lock")

def path_of(name, nth=0): return f"/a/b/{'c' * 40}/{list(SMALL[name])[nth]}"

def test_nothing_is_downloaded_unasked(site, tmp_path):
    with pytest.raises(FileNotFoundError) as e: load_dataset("svamp-llama2")
    said, row = str(e.value), datasets().set_index("name").loc["svamp-llama2"]
    for word in ("`causal-prompts data svamp-llama2`", "download=True", row.what, row.licence, row.origin, row.commit, row["size"], "CAUSAL_PROMPTS_DATA"): assert word in said
    assert site.asked == [] and "\n" not in said

@pytest.mark.parametrize("name", [*SMALL])
def test_a_set_is_downloaded_once_with_a_word_before(site, tmp_path, name, capsys):
    assert recordings.dataset_file(name) is None
    found = load_table(name, download=True)
    said, row = capsys.readouterr(), datasets().set_index("name").loc[name]
    assert said.out == "" and said.err.count("\n") == 1 and all(word in said.err for word in (name, row.what, row.licence, row.origin, row["size"], str(tmp_path/"cache")))
    assert len(site.asked) == len(SMALL[name]) and left(tmp_path) == [f"{row.file}.parquet"]
    pd.testing.assert_frame_equal(found, converted(name, tmp_path/"again"))
    pd.testing.assert_frame_equal(load_table(name, download=True), found)
    pd.testing.assert_frame_equal(load_table(name), found) # it is there now
    assert recordings.dataset_file(name) == tmp_path/f"cache/recordings/{row.file}.parquet"
    assert len(site.asked) == len(SMALL[name]) and capsys.readouterr().err == ""

def test_a_downloaded_set_is_a_log(site):
    log = load_dataset("gsm8k-llama2", part="all", download=True)
    assert len(log) == 7 and log.covariates == ["difficulty"]

def test_the_folder_of_data_comes_before_a_download(site, tmp_path):
    pd.DataFrame(dict(mine=[1])).to_parquet(tmp_path/"empty/promptbench_adv_edits.parquet")
    assert load_table("promptbench_adv_edits", download=True).columns.tolist() == ["mine"] and site.asked == []

@pytest.mark.parametrize("spoilt, match", [("wrong", "must have the SHA-256 .* got other bytes, which were thrown away"), ("gone", "got 127.0.0.1:.* answered 404 for http"), ("broken", "broke off half-way")])
def test_what_goes_wrong_on_the_way_is_one_sentence_and_leaves_nothing_half_written(site, tmp_path, spoilt, match):
    name = "svamp-llama2"
    site.spoils[path_of(name, 2)] = spoilt
    with pytest.raises(DownloadError, match=match) as e: load_table(name, download=True)
    assert "\n" not in str(e.value)
    whole = [hashlib.sha256(SMALL[name][path].encode()).hexdigest() for path in list(SMALL[name])[:2]]
    assert left(tmp_path) == sorted(f"originals-{name}/{h}" for h in whole) # what came whole is kept
    site.spoils.clear(), site.asked.clear()
    assert len(load_table(name, download=True)) == 4 and path_of(name, 0) not in site.asked and len(site.asked) == len(SMALL[name]) - 2

def test_without_network_the_sentence_says_so(site, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "SITE", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="'mawps-llama2' must be downloaded whole, got no connection to 127.0.0.1:9; .*CAUSAL_PROMPTS_DATA"): load_table("mawps-llama2", download=True)
    assert left(tmp_path) == []

def test_a_file_that_was_damaged_here_is_fetched_again(site, tmp_path):
    files = origin_files("sst2-opt27b")
    path = fetch_files(files, tmp_path/"kept")["templates.yaml"]
    path.write_text("damaged")
    site.asked.clear()
    assert fetch_files(files, tmp_path/"kept")["templates.yaml"].read_text() == TEMPLATES and len(site.asked) == 1

def test_two_processes_fetch_it_once(site, tmp_path):
    code = (f"from pathlib import Path\nfrom causal_prompts import downloads, recordings\ndownloads.SITE, downloads.ORIGINS = {site.address!r}, Path({str(tmp_path/'origins.csv')!r})\n"
            "print(len(recordings.load_table('gsm8k-llama2', download=True)))")
    site.open.clear() # no answer before both are at it
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]
    for p in both: assert p.stderr.readline().startswith("downloading gsm8k-llama2")
    while not site.asked: time.sleep(.01)
    time.sleep(.3) # a second one that does not wait has asked by now
    site.open.set()
    said = [p.communicate(timeout=120) for p in both]
    assert [p.returncode for p in both] == [0, 0] and [out for out, _ in said] == ["7\n", "7\n"], said
    assert len(site.asked) == len(SMALL["gsm8k-llama2"]) and left(tmp_path) == ["prompt_oirl_llama2_gsm8k.parquet"]

def test_a_folder_that_takes_no_files_is_named(site, tmp_path, monkeypatch):
    (tmp_path/"file").write_text("")
    monkeypatch.setenv("CAUSAL_PROMPTS_CACHE", str(tmp_path/"file"))
    with pytest.raises(DownloadError, match="the folder for downloads must take files, got .* at .*file.*CAUSAL_PROMPTS_CACHE"): load_table("mawps-llama2", download=True)
    assert site.asked == []

@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="rights of this kind are POSIX")
def test_a_folder_without_rights_is_named(site, tmp_path, monkeypatch):
    (tmp_path/"locked").mkdir(mode=0o555)
    monkeypatch.setenv("CAUSAL_PROMPTS_CACHE", str(tmp_path/"locked"))
    for folder in (tmp_path, *tmp_path.parents[:-2]): folder.chmod(folder.stat().st_mode | 0o055)
    root = os.geteuid() == 0
    if root: os.seteuid(65534)
    try:
        with pytest.raises(DownloadError, match="got Permission denied at .*locked"): load_table("mawps-llama2", download=True)
    finally:
        if root: os.seteuid(0)
    assert not any((tmp_path/"locked").iterdir()) and site.asked == []

def test_a_set_without_a_download_says_so(site):
    with pytest.raises(FileNotFoundError, match="it cannot be downloaded from here, or set CAUSAL_PROMPTS_DATA"): load_table("capo_block_scores", download=True)
    with pytest.raises(ValueError, match="name must be one of .*see datasets"): fetch_dataset("capo")


# ---- the verb

def test_the_verb_lists_every_set(site, ships, capsys):
    assert cli.main(["data"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in datasets()["name"]) and "smol-toy" in out and "CDLA-Permissive-2.0" in out

def test_the_verb_fetches_a_set_and_prints_its_path_alone(site, tmp_path, capsys):
    assert cli.main(["data", "mawps-llama2"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path/'cache/recordings/prompt_oirl_llama2_mawps.parquet'}\n" and "MIT" in said.err and len(pd.read_parquet(said.out.strip())) == 4
    assert 'In Python: cp.load_dataset("mawps-llama2")\n' in said.err
    assert cli.main(["data", "mawps-llama2"]) == 0 and capsys.readouterr().out == said.out

def test_what_the_verb_cannot_do_is_one_sentence(site, capsys, monkeypatch):
    assert cli.main(["data", "capo_block_scores"]) == 2 and "cannot be downloaded" in capsys.readouterr().err
    monkeypatch.setattr(downloads, "SITE", "http://127.0.0.1:9")
    assert cli.main(["data", "mawps-llama2"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("causal-prompts: 'mawps-llama2' must be downloaded whole, got no connection")
    with pytest.raises(SystemExit): cli.main(["data", "maps-llama2"])
    assert "did you mean mawps-llama2?" in capsys.readouterr().err
