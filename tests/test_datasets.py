"Fits on files: the same numbers as on the log in memory, whatever the parts and the engine; what is refused; what is left behind."
import os, signal, warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from causal_prompts import CausalReward, Triplets, World
from causal_prompts.batches import open_batches
from causal_prompts.contrast_sums import count_meetings, logged_effects
from causal_prompts.core import LogError, NotIdentifiedError
from causal_prompts.diagnostics import checkup
from causal_prompts.engines import DaskEngine, LocalEngine, engine_of
from causal_prompts.inference import contrasts
from causal_prompts.loading import load_reward
from causal_prompts.partitions import _write_blocks, bring_together
from causal_prompts.power_analysis import power
from causal_prompts.routes import Within
from causal_prompts.rows import rows_kept
from fakes import Ideas

warnings.filterwarnings("ignore", "the log has", UserWarning)


@pytest.fixture(scope="module")
def log():
    "900 queries under three of twelve prompts each, some draws without a score, rows in no order."
    frame = World.preset("confounded-hidden").log(n_queries=900, n_prompts=12, prompts_per_query=3).frame
    frame = frame.sample(frac=1, random_state=0).reset_index(drop=True)
    frame.loc[::97, "score"] = np.nan
    return Triplets(frame, covariates=[])

@pytest.fixture(scope="module")
def in_memory(log): return CausalReward(encoder=Ideas(), folds=0).fit(log)

@pytest.fixture(scope="module")
def folder(log, tmp_path_factory):
    "The log in three files of several row groups."
    folder = tmp_path_factory.mktemp("log")
    for i, rows in enumerate(np.array_split(np.arange(len(log)), 3)): log.frame.iloc[rows].to_parquet(folder/f"{i}.parquet", row_group_size=300)
    return folder

def fitted(source, route="auto", **how): return CausalReward(route=route, encoder=Ideas(), folds=0).fit_dataset(source, **dict(covariates=[]) | how)

def most_apart(a, b, log):
    "The largest difference of effects, their intervals, average effects with errors."
    queries, prompts = list(log.queries["query"][:100]), list(log.prompts["prompt"]) + ["a prompt that nobody logged"]
    pairs = [(a.effect(queries, prompts), b.effect(queries, prompts)), (a.effect_interval(queries, prompts), b.effect_interval(queries, prompts))]
    numbers = ["effect", "se", "lo", "hi", "n"]
    first, second = (m.average_effect().set_index("prompt")[numbers] for m in (a, b))
    pairs.append((first, second.loc[first.index]))
    assert all(np.isfinite(np.asarray(x)).all() for pair in pairs for x in pair)
    return max(np.abs(np.asarray(x) - np.asarray(y)).max() for x, y in pairs)


# ---- the same numbers

@pytest.mark.parametrize("partition_rows", [100, 999, 10**6])
def test_a_fit_on_files_is_the_fit_on_the_log(log, folder, in_memory, partition_rows):
    reward = fitted(folder, partition_rows=partition_rows)
    assert most_apart(in_memory, reward, log) < 1e-8
    assert reward.baseline_ == in_memory.baseline_ and reward.route_ == in_memory.route_ == "within"
    assert abs(reward.model_.noise - in_memory.model_.noise) < 1e-8 and set(reward.model_.seen) == set(in_memory.model_.seen)
    assert reward.prompts_.set_index("prompt")["n"].to_dict() == in_memory.prompts_.set_index("prompt")["n"].to_dict()

def test_a_sample_of_queries_stands_for_the_log_and_the_effects_do_not_change(log, folder, in_memory):
    reward = fitted(folder, sample=300, partition_rows=500)
    assert most_apart(in_memory, reward, log) < 1e-8
    held, whole = reward.log_.frame, log.scored.frame
    assert 300 <= len(held) < 600 and held["prompt"].nunique() == 12
    size = held.groupby("query_id").size()
    assert (size == whole.groupby("query_id").size()[size.index]).all(), "queries are whole"
    again = fitted(folder, sample=300, partition_rows=77)
    assert sorted(again.log_.frame["query_id"].unique()) == sorted(held["query_id"].unique())
    assert f"{len(whole):,} rows of 900 queries" in reward.identification_.details and f"sample, {len(held):,} rows" in reward.identification_.details

def test_processes_of_this_machine(log, folder, in_memory):
    assert most_apart(in_memory, fitted(folder, workers=2, partition_rows=500), log) < 1e-8

def test_model_in_the_path_and_columns_of_other_names(log, in_memory, tmp_path):
    "Two models, the first with a prompt that the second lacks; columns called otherwise."
    frame = log.scored.frame.assign(model=np.where(np.arange(len(log.scored)) % 2, "a", "b")).rename(columns={"score": "grade"})
    for name, part in frame.groupby("model"):
        (tmp_path/f"model={name}").mkdir()
        part.drop(columns="model").to_parquet(tmp_path/f"model={name}"/"rows.parquet")
    whole = CausalReward(encoder=Ideas(), folds=0).fit(Triplets(frame.rename(columns={"grade": "score"}), covariates=[]))
    with pytest.warns(UserWarning, match="2 levels of 'model'"): reward = fitted(tmp_path, columns={"score": "grade"}, partition_rows=400)
    assert most_apart(whole, reward, log) < 1e-8

def test_an_id_for_each_repeat_of_a_text(log, tmp_path):
    "Prompts and queries of one text under two ids are one prompt and one text, as in memory."
    frame = log.scored.frame.drop(columns="repeat")
    frame["prompt_id"] = frame["prompt_id"] + np.where(frame.index % 2, "", " again")
    frame["query_id"] = frame["query_id"] + np.where(frame.index % 5, "", " again")
    frame.to_parquet(tmp_path/"log.parquet")
    whole = CausalReward(encoder=Ideas(), folds=0).fit(Triplets(frame, covariates=[]))
    assert most_apart(whole, fitted(tmp_path/"log.parquet", partition_rows=300), log) < 1e-8

def test_a_url_and_a_pattern(log, folder, in_memory):
    import fsspec
    memory = fsspec.filesystem("memory")
    for f in folder.iterdir(): memory.pipe(f"/bucket/log/{f.name}", f.read_bytes())
    memory.pipe("/bucket/log/_SUCCESS.parquet", b"a mark that is no file of the log")
    assert most_apart(in_memory, fitted("memory://bucket/log"), log) < 1e-8
    assert most_apart(in_memory, fitted(str(folder/"?.parquet")), log) < 1e-8

def test_vectors_of_half_precision_and_texts_embedded_once(log, folder, in_memory):
    class Counts(Ideas):
        asked = []
        def encode(self, texts, role="prompt"):
            self.asked += [t for t in texts if role == "query"]
            return super().encode(texts, role)
    reward = CausalReward(encoder=Counts(), folds=0).fit_dataset(folder, covariates=[], partition_rows=500, sample=300, vectors="float16")
    sampled = set(reward.log_.frame["query"]) # looked at first, as a log in memory is
    assert sorted(t for t in Counts.asked if t not in sampled) == sorted(set(log.scored.frame["query"]) - sampled)
    assert 1e-8 < most_apart(in_memory, reward, log) < .01

def test_a_saved_reward_keeps_the_effects_of_all_rows(log, folder, tmp_path):
    reward = fitted(folder, sample=300)
    reward.save(tmp_path/"reward.zip")
    assert most_apart(load_reward(tmp_path/"reward.zip", encoder=Ideas()), reward, log) < 1e-12

def test_what_rests_on_the_sample_says_so(log, folder, tmp_path):
    "In the headline of a checkup, in power and in effects of parts; and nothing is said where the sample is the log."
    reward, whole = fitted(folder, sample=300), fitted(folder)
    held, rows = len(reward.log_), len(log.scored)
    assert reward.dataset_ == dict(rows=rows, queries=900) == whole.dataset_
    reward.save(tmp_path/"reward.zip")
    loaded = load_reward(tmp_path/"reward.zip", encoder=Ideas())
    assert loaded.dataset_ == reward.dataset_
    for each in (reward, loaded): assert f"log_ is a sample of {held} of {rows:,} rows" in checkup(each, only="power").summary.details
    assert "sample" not in checkup(whole, only="power").summary.details
    found, of_all = power(reward), power(whole)
    assert "for all rows, which average_effect rests on" in found.details and "sample" not in of_all.details
    assert abs(found.facts["queries"] / of_all.facts["queries"] - 1) < .25 and abs(found.facts["corrected"] / of_all.facts["corrected"] - 1) < .35
    for ask in (lambda r: r.part_effects(), lambda r: r.interactions()):
        with pytest.warns(UserWarning, match=f"parts are over {held} rows, the sample"): ask(reward)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole.part_effects(), whole.interactions(), whole.average_effect(), reward.average_effect()
    assert reward.fit(log).dataset_ is None and "sample" not in checkup(reward, only="power").summary.details

def test_a_fit_that_fails_leaves_the_reward_as_it_was(log, folder, tmp_path):
    reward = CausalReward(encoder=Ideas(), folds=0).fit(log)
    before = dict(vars(reward))
    single = log.scored.frame.drop_duplicates("query_id")
    single.to_parquet(tmp_path/"single.parquet")
    with pytest.raises(NotIdentifiedError): reward.fit_dataset(tmp_path/"single.parquet", covariates=[])
    assert vars(reward).keys() == before.keys() and all(vars(reward)[k] is v for k, v in before.items())
    new = CausalReward(encoder=Ideas(), folds=0)
    with pytest.raises(NotIdentifiedError): new.fit_dataset(tmp_path/"single.parquet", covariates=[])
    with pytest.raises(NotFittedError): new.average_effect()

def test_prompts_that_the_sample_lacks_are_kept_in_a_file(log, folder, tmp_path, monkeypatch):
    "Also where no average effect was summed over all rows."
    from causal_prompts import datasets
    monkeypatch.setattr(datasets, "MOST_COMPARED", 10)
    with pytest.warns(UserWarning, match="not summed over all rows"): reward = fitted(folder, sample=300)
    reward.save(tmp_path/"reward.zip")
    loaded = load_reward(tmp_path/"reward.zip", encoder=Ideas())
    assert loaded.logged_ is None and loaded.prompts_["n"].sum() == len(log.scored)
    pd.testing.assert_frame_equal(loaded.prompts_.reset_index(drop=True), reward.prompts_.reset_index(drop=True))
    with pytest.warns(UserWarning, match="averages are over .* rows, the sample"): loaded.average_effect()

def test_averages_by_level_say_that_they_are_of_the_sample(log, tmp_path):
    frame = log.scored.frame.assign(kind=lambda t: np.where(t["query"].str.len() > t["query"].str.len().median(), "long", "short"))
    frame.to_parquet(tmp_path/"log.parquet")
    reward = fitted(tmp_path/"log.parquet", covariates=["kind"], sample=600)
    with pytest.warns(UserWarning, match=f"averages by 'kind' are over {len(reward.log_):,} rows, the sample"): table = reward.average_effect(by="kind")
    assert set(table["kind"]) == {"long", "short"}
    whole = fitted(tmp_path/"log.parquet", covariates=["kind"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole.average_effect(by="kind")

def test_more_prompts_than_can_be_compared_at_once_leave_the_fit_as_it_is(log, folder, in_memory, monkeypatch):
    from causal_prompts import datasets
    monkeypatch.setattr(datasets, "MOST_COMPARED", 10)
    with pytest.warns(UserWarning, match="average effects of 11 prompts are not summed over all rows"): reward = fitted(folder)
    assert reward.logged_ is None
    queries, prompts = list(log.queries["query"][:50]), list(log.prompts["prompt"])
    np.testing.assert_allclose(reward.effect(queries, prompts), in_memory.effect(queries, prompts), atol=1e-8)

def test_a_fit_in_memory_forgets_the_files(log, folder, in_memory):
    reward = fitted(folder, sample=300).fit(log)
    assert reward.logged_ is None and most_apart(in_memory, reward, log) < 1e-8


# ---- a cluster

class KillsOne(DaskEngine):
    "A Dask engine one of whose workers is killed when the second result of a pass has come in."
    killed = None
    def map(self, function, parts, shared=None):
        for i, result in enumerate(super().map(function, parts, shared)):
            if i == 1 and self.killed is None and getattr(function, "args", [function])[0].__name__ == "products_at":
                self.killed = sorted(self.client.run(os.getpid).values())[0] # a worker that this test started
                os.kill(self.killed, signal.SIGKILL)
            yield result

def test_dask_with_a_worker_killed_in_between(log, folder, in_memory):
    pytest.importorskip("distributed", reason="dask is not installed: pip install 'causal_prompts[dask]'")
    with KillsOne(workers=2) as engine:
        before = set(engine.client.run(os.getpid).values())
        reward = fitted(folder, engine=engine, partition_rows=100)
        engine.client.wait_for_workers(2, timeout=60)
        after = set(engine.client.run(os.getpid).values())
    assert len(before) == 2 and engine.killed in before - after
    assert most_apart(in_memory, reward, log) < 1e-8

def test_an_error_of_a_worker_is_the_error_of_the_fit(log, tmp_path):
    pytest.importorskip("distributed", reason="dask is not installed: pip install 'causal_prompts[dask]'")
    frame = log.scored.frame
    frame.assign(score=frame["score"].where(frame.index != 5, 7.)).to_parquet(tmp_path/"bad.parquet")
    with pytest.raises(LogError, match="row 5, column 'score': got 7"): fitted(tmp_path/"bad.parquet", engine="dask", workers=1)

def test_after_an_error_nothing_runs_on(tmp_path):
    "A cluster that goes on would work on files that are gone."
    class Future:
        def __init__(self, part): self.part = part
        def result(self): return 1 / self.part
    class Client:
        status, cancelled = "running", []
        def nthreads(self): return dict(one=1)
        def submit(self, call, part, pure): return Future(part)
        def cancel(self, futures): self.cancelled += [f.part for f in futures]
    engine = engine_of(Client())
    assert isinstance(engine, DaskEngine)
    with pytest.raises(ZeroDivisionError): list(engine.map(max, [1, 0, 2, 3, 4, 5]))
    assert Client.cancelled == [2, 3]

def test_what_is_no_engine_is_refused(folder):
    from concurrent.futures import ThreadPoolExecutor
    class MapAlone:
        def map(self, function, parts, shared=None): return map(function, parts)
    with ThreadPoolExecutor(1) as pool:
        for engine in (pool, MapAlone(), 3, None, [1]):
            with pytest.raises(ValueError, match="engine must be one of .* that can be entered"): fitted(folder, engine=engine)
    for workers in (0, -1, 1.5, "two"):
        with pytest.raises(ValueError, match="workers must be None or a whole number from 1 on"): fitted(folder, workers=workers)

def test_engines_by_name():
    assert isinstance(engine_of("local"), LocalEngine) and isinstance(engine_of("dask"), DaskEngine)
    with pytest.raises(ValueError, match="engine must be one of"): engine_of("spark")


# ---- effects from sums

@pytest.mark.parametrize("queries, seed", [(12, 0), (40, 1), (150, 2), (400, 3)])
def test_average_effects_from_sums_are_those_of_all_rows(queries, seed):
    "Few queries and many; a prompt that hangs on one query, one that nothing links, rows that repeat."
    frame = World.preset("confounded-hidden").log(n_queries=queries, n_prompts=6, prompts_per_query=3, seed=seed).frame
    texts = frame["query"].unique()
    more = pd.DataFrame(dict(query=[texts[0], texts[0], "alone", "alone", "alone too", "alone too"], prompt=["rare", frame["prompt"][0], "apart", "apart too"] + ["apart", "apart too"], score=[.1, .6, .3, .4, .9, .8]))
    log = Triplets(pd.concat([frame[["query", "prompt", "score"]], more, frame[["query", "prompt", "score"]][:7]]), covariates=[])
    rows = Within().open(log)
    y, base = rows.y - rows.route.expected(rows, rows.y), rows.prompts.index(frame["prompt"].mode()[0])
    parts = [rows.cluster % 5 == i for i in range(5)] + [rows.cluster < 0]
    def sum_up(function):
        first, *others = (function(rows_kept(rows, keep) if keep.any() else rows.take(keep), y[keep]) for keep in parts)
        return sum(others, first)
    found = sum_up(lambda rows, y: count_meetings(rows))
    summed, whole = logged_effects(sum_up, rows.prompts, base, found).table(), contrasts(rows, y, base)
    assert list(summed["prompt"]) == list(whole["prompt"]) and (summed["linked"] == whole["linked"]).all() and not whole["linked"].all()
    numbers = ["effect", "se", "lo", "hi", "n", "df"]
    assert whole["effect"].notna().sum() > 4
    np.testing.assert_allclose(summed[numbers], whole[numbers], rtol=1e-8, atol=1e-12)


# ---- what is refused

def test_bad_input_is_refused_in_the_words_of_a_log(log, tmp_path):
    frame = log.scored.frame.drop(columns="repeat")
    bad = frame.assign(score=frame["score"].where(frame.index != 1234, 7.))
    bad.to_parquet(tmp_path/"bad.parquet", row_group_size=500)
    with pytest.raises(LogError, match=r"bad.parquet.*\n  row 1234, column 'score': got 7 outside \[0, 1\]"): fitted(tmp_path/"bad.parquet")
    frame.rename(columns={"score": "accuracy"}).to_parquet(tmp_path/"named.parquet")
    with pytest.raises(LogError, match=r"probably meant: columns=\{'score': 'accuracy'\}"): fitted(tmp_path/"named.parquet")
    with pytest.raises(LogError, match="columns .* where the first file has"): fitted([tmp_path/"bad.parquet", tmp_path/"named.parquet"])
    with pytest.raises(FileNotFoundError, match="no such file; check the path"): fitted(tmp_path/"absent.parquet")
    (tmp_path/"empty").mkdir()
    with pytest.raises(LogError, match="a folder without a parquet file"): fitted(tmp_path/"empty")
    (tmp_path/"torn.parquet").write_bytes((tmp_path/"bad.parquet").read_bytes()[:-100])
    with pytest.raises(LogError, match="no whole parquet file"): fitted(tmp_path/"torn.parquet")
    with pytest.raises(ValueError, match="score_range must be"): fitted(tmp_path/"bad.parquet", score_range=(1, 0))

def test_arguments_that_cannot_be_meant_are_refused_with_what_can(log, folder):
    for source, got in ((log.frame, r"got a DataFrame; a log in memory is fitted with fit\(log\)"), (log, "got a Triplets; a log in memory is fitted"),
                        ([], "got an empty list; name at least one file"), (3, "got a int; name"), ([folder, 3], "got a list; name")):
        with pytest.raises(TypeError, match="source must be a parquet file, .*" + got): fitted(source)
    for how in (dict(partition_rows=0), dict(partition_rows=1e5), dict(sample=0), dict(sample="all")):
        with pytest.raises(ValueError, match=f"{next(iter(how))} must be a whole number from 1 on"): fitted(folder, **how)
    with pytest.raises(ValueError, match="vectors must be one of .*'float16'.*got 'banana'"): fitted(folder, vectors="banana")

def test_names_that_look_like_patterns(log, tmp_path):
    log.frame.to_parquet(tmp_path/"log[1].parquet")
    (tmp_path/"a[1]").mkdir()
    log.frame.to_parquet(tmp_path/"a[1]"/"x.parquet")
    for source in (tmp_path/"log[1].parquet", tmp_path/"a[1]"): assert open_batches(source).rows == 2700
    assert open_batches(f"{tmp_path}/a*").rows == 2700

def test_which_files_are_read_and_which_are_named(log, tmp_path):
    "Endings in any case; other files with a word; folders as Hive writes them; a list's folders below the one it shares."
    for name, model in (("a", "gpt%204"), ("b", "__HIVE_DEFAULT_PARTITION__")):
        (tmp_path/"run=3"/f"model={model}").mkdir(parents=True)
        log.frame.drop(columns="repeat").to_parquet(tmp_path/"run=3"/f"model={model}"/f"{name}.PARQUET")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batches = open_batches(tmp_path/"run=3")
    assert [p.named for p in batches.pieces] == [dict(model=None), dict(model="gpt 4")]
    listed = open_batches(sorted((tmp_path/"run=3").glob("*/*.PARQUET")))
    assert [p.named for p in listed.pieces] == [dict(model=None), dict(model="gpt 4")]
    assert [p.named for p in open_batches([next((tmp_path/"run=3").glob("*/a.PARQUET"))] * 2).pieces] == [{}, {}]
    (tmp_path/"run=3"/"part-0001").write_bytes(b"PAR1")
    with pytest.warns(UserWarning, match="1 files whose names end in none of .* were left out: part-0001; name them"): open_batches(tmp_path/"run=3")

def test_a_file_that_cannot_be_opened_is_not_said_to_be_torn(log, folder, tmp_path, monkeypatch):
    from fsspec.implementations.local import LocalFileSystem
    file = next(folder.glob("*.parquet"))
    def refuses(self, path, *args, **kwargs): raise PermissionError(13, "Permission denied", path)
    data = file.read_bytes()
    (tmp_path/"footer.parquet").write_bytes(data[:-60] + b"\xff" * 52 + data[-8:])
    with pytest.raises(LogError, match="no whole parquet file"): open_batches(tmp_path/"footer.parquet")
    monkeypatch.setattr(LocalFileSystem, "_open", refuses)
    with pytest.raises(PermissionError): open_batches(file)

def test_a_sample_of_a_log_of_many_prompts_stays_small(tmp_path):
    "Of 2,000 rare prompts the commonest come in; the baseline, though rare and by name, does."
    n = 4000
    r = np.random.default_rng(0)
    prompt = np.where(r.random(n) < .2, "a common prompt", [f"rare prompt {i}" for i in r.integers(0, 2000, n)])
    prompt[:2] = ["the baseline", "a common prompt"]
    frame = pd.DataFrame(dict(query=[f"question {i // 2}" for i in range(n)], prompt=prompt, score=r.random(n)))
    frame["prompt_id"] = frame["prompt"]
    frame.to_parquet(tmp_path/"log.parquet")
    parts = bring_together(LocalEngine(), open_batches(tmp_path/"log.parquet", covariates=[]), tmp_path, 500)
    some = parts.sample(200)
    assert 200 <= len(some) <= 305 and (some["prompt"] == "the baseline").any()
    assert (parts.sample(200, "rare prompt 7")["prompt"] == "rare prompt 7").any()
    kept, counts = set(some["prompt"]), parts.prompts.set_index("prompt")["n"]
    assert counts[counts == counts[counts.index.str.startswith("rare")].max()].index.isin(kept).all(), "the commonest of the rare"
    reward = CausalReward(encoder=Ideas(), folds=0).fit_dataset(tmp_path/"log.parquet", covariates=[], sample=200)
    assert reward.baseline_ == "the baseline" and f"{len(reward.prompts_) - reward.log_.frame['prompt'].nunique():,} rare prompts" in reward.why_
    assert len(reward.average_effect()) == len(reward.prompts_)

def test_what_shows_only_where_rows_of_a_query_meet_is_refused(log, tmp_path):
    frame = log.scored.frame
    one, two = frame[:1200], frame[1200:]
    query = next(q for q in two["query_id"] if (one["query_id"] == q).any())
    for name, other, column in (("query", two.assign(query=two["query"].mask(two["query_id"] == query, "another text")), "query_id"),
                                ("prompt", two.assign(prompt=two["prompt"].mask(two["prompt_id"] == two["prompt_id"].iloc[0], "another text")), "prompt_id"),
                                ("draw", pd.concat([two, one[:1]]), "repeat")):
        (tmp_path/name).mkdir()
        one.to_parquet(tmp_path/name/"1.parquet"), other.to_parquet(tmp_path/name/"2.parquet")
        with pytest.raises(LogError, match=rf"row 2.parquet:\d+, column '{column}'.*row 1.parquet:\d+"): fitted(tmp_path/name, partition_rows=300)

def test_a_column_that_some_files_lack_is_refused_or_named(log, tmp_path):
    "A column of the log's own would merge models into one; a further one is left out with a word."
    frame = log.scored.frame
    def written(name, first, second):
        (tmp_path/name).mkdir()
        first.to_parquet(tmp_path/name/"1.parquet"), second.to_parquet(tmp_path/name/"2.parquet")
        return tmp_path/name
    one, two = frame[:1200], frame[1200:]
    for column, value in (("model", "b"), ("task", "sums"), ("stage", 1), ("inclusion", "{}"), ("propensity", .5)):
        with pytest.raises(LogError, match=f"column '{column}': got none in {column}/1.parquet, where other files have it; give it to all files"):
            fitted(written(column, one, two.assign(**{column: value})), route="within")
    with pytest.raises(LogError, match="column 'repeat': got none in repeat/2.parquet"): fitted(written("repeat", one, two.drop(columns="repeat")))
    hard = frame["query"].str.len()
    more = written("more", one.assign(hard=hard), two)
    with pytest.raises(LogError, match="column 'hard': got none in more/2.parquet"): fitted(more, covariates=["hard"])
    with pytest.warns(UserWarning, match="Column 'hard' was left out, as more/2.parquet lacks it"): reward = fitted(more, covariates=None)
    assert "hard" not in reward.log_.frame

def test_what_was_put_right_is_said_and_kept(log, tmp_path):
    frame = log.scored.frame
    frame = frame.assign(score=frame["score"].clip(.01, .99).where(frame.index % 9 > 0, 1 + 1e-12))
    for i, rows in enumerate(np.array_split(np.arange(len(frame)), 3)): frame.iloc[rows].to_parquet(tmp_path/f"{i}.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said, = Triplets(frame, covariates=[]).notes
    assert "scores outside [0, 1] by rounding" in said
    with pytest.warns(UserWarning, match="scores outside .* by rounding"): reward = fitted(tmp_path, sample=300)
    assert reward.log_.notes == (said,)

def test_text_of_more_than_2_gb_in_a_piece(tmp_path):
    "Texts are counted in 64 bits, so that a piece is one chunk; a partition's rows are one block."
    import pyarrow as pa
    frame = pd.DataFrame(dict(query_id=pd.Series(list("abcdef"), dtype=object), _query=np.arange(6, dtype=np.uint64) << np.uint64(60)))
    assert _write_blocks(frame, 3, tmp_path/"x.arrow").field("query_id").type == pa.large_string()
    with pa.memory_map(str(tmp_path/"x.arrow")) as f: assert sum(pa.ipc.open_file(f).get_batch(i).num_rows for i in range(3)) == 6

def test_auto_takes_within_only_where_a_fit_in_memory_would(log, folder, in_memory, tmp_path):
    "Three queries of many with two prompts, or recorded propensities: `fit` may choose otherwise, so that it is asked for."
    single = log.scored.frame.drop_duplicates("query_id")
    few = pd.concat([single, log.scored.frame[lambda t: t["query_id"].isin(single["query_id"][:3])]]).drop_duplicates()
    few.to_parquet(tmp_path/"few.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert CausalReward(encoder=Ideas(), folds=0).fit(Triplets(few, covariates=[])).route_ == "dml"
    with pytest.raises(ValueError, match=r"got 3 of 900 \(0.3%\); read a sample of whole queries .* route='within'"): fitted(tmp_path/"few.parquet")
    assert fitted(tmp_path/"few.parquet", route="within").route_ == "within"
    log.scored.frame.assign(propensity=.25).to_parquet(tmp_path/"known.parquet")
    with pytest.raises(ValueError, match="got a log with recorded propensities"): fitted(tmp_path/"known.parquet")
    assert most_apart(in_memory, fitted(tmp_path/"known.parquet", route="within"), log) < 1e-8

def test_what_sums_cannot_do_says_what_can(log, folder, tmp_path):
    for how, said in ((dict(route="dml"), "route='within', or read a sample"), (dict(learner="forest"), "learner='kernel', or read a sample")):
        with pytest.raises(ValueError, match=said): CausalReward(encoder=Ideas(), **how).fit_dataset(folder)
    single = log.scored.frame.drop_duplicates("query_id")
    single.to_parquet(tmp_path/"single.parquet")
    with pytest.raises(NotIdentifiedError, match="No query of the data set received two prompts"): fitted(tmp_path/"single.parquet")
    log.frame.assign(score=np.nan).to_parquet(tmp_path/"empty.parquet")
    with pytest.raises(NotIdentifiedError, match="All 2,700 scores are missing"): fitted(tmp_path/"empty.parquet")
    drawn = log.scored.frame.assign(hour=np.arange(len(log.scored)) % 24)
    drawn.to_parquet(tmp_path/"drawn.parquet")
    with pytest.raises(ValueError, match="differ between draws of one query.*'hour'"): fitted(tmp_path/"drawn.parquet", covariates=["hour"])

def test_covariates_that_differ_between_draws_outside_the_sample(log, folder, in_memory, tmp_path):
    "One query of 900 under two hours, which a sample of 300 rows lacks: refused where asked for, no covariate else, as in memory."
    held = set(fitted(folder, sample=300).log_.frame["query_id"])
    frame = log.scored.frame
    hour = frame["query"].str.len() % 5
    other = frame.index[~frame["query_id"].isin(held) & frame["query_id"].duplicated()][0]
    frame = frame.assign(hour=hour.where(frame.index != other, 9))
    frame.to_parquet(tmp_path/"log.parquet")
    with pytest.raises(ValueError, match="differ between draws of one query.*'hour'"): fitted(tmp_path/"log.parquet", covariates=["hour"], sample=300)
    assert Triplets(frame).named_covariates == []
    with pytest.warns(UserWarning, match="hour: no covariate, as it differs between draws"): reward = fitted(tmp_path/"log.parquet", covariates=None, sample=300)
    assert reward.log_.named_covariates == [] and "hour: no covariate" in reward.log_.notes[-1]
    assert most_apart(in_memory, reward, log) < 1e-8


# ---- what is left behind

def test_temporary_files_are_gone_after_a_fit_and_after_an_error(log, folder, tmp_path):
    fitted(folder, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    class Fails(Ideas):
        def encode(self, texts, role="prompt"):
            if role == "query": raise RuntimeError("the model is gone")
            return super().encode(texts, role)
    with pytest.raises(RuntimeError, match="the model is gone"): CausalReward(encoder=Fails()).fit_dataset(folder, covariates=[], folder=tmp_path)
    assert list(tmp_path.iterdir()) == []

def test_columns_of_several_kinds_become_one(tmp_path):
    "Whole numbers in one file and numbers with gaps in another; a column that one file lacks is no covariate."
    frame = pd.DataFrame(dict(query=[f"question {i // 2}" for i in range(40)], prompt=["a", "b"] * 20, score=np.tile([.2, .7], 20) + np.arange(40) / 200, hard=np.repeat(np.arange(20) % 3, 2)))
    frame[:20].to_parquet(tmp_path/"1.parquet")
    frame[20:].assign(hard=lambda t: t["hard"].where(t.index > 21, np.nan), more=1.).to_parquet(tmp_path/"2.parquet")
    parts = bring_together(LocalEngine(), open_batches(tmp_path), tmp_path, 10)
    some = parts.sample(1000).sort_values(["query", "prompt"])
    assert parts.n == 4 and len(some) == 40 and "more" not in some
    whole = Triplets(frame.assign(hard=lambda t: t["hard"].where(~t.index.isin([20, 21]), np.nan))).frame.sort_values(["query", "prompt"])
    pd.testing.assert_series_equal(some["hard"].reset_index(drop=True), whole["hard"].reset_index(drop=True))
