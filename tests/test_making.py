"recordings/make.py: a run that is killed goes on where it stopped, other texts or settings are not mixed in, and what is complete becomes a file of the package."
import importlib.util, json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from causal_prompts.recordings import recording_meta
from causal_prompts.task_sets import CHOICES, task_set

SCRIPT = Path(__file__).resolve().parents[1]/"recordings"/"make.py"


@pytest.fixture
def make(monkeypatch):
    spec = importlib.util.spec_from_file_location("make_recordings", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "QUERIES", dict.fromkeys(module.QUERIES, 6))
    monkeypatch.setattr(module, "DRAWS", dict(queries=2, every=30, repeats=3, temperature=.7))
    return module

class Fake:
    "Stands in for the local model: says Riga and its seed, finds every label as likely as its text is long; dies after so many batches."
    name, weights = "fake", SimpleNamespace(sha256="0" * 64)
    tokenizer = SimpleNamespace(decode="".join)
    def __init__(self, lives=10**6): self.lives, self.asked = lives, []
    def ids(self, messages): return [messages[0]["content"]]
    def _live(self, requests):
        if self.lives == 0: raise KeyboardInterrupt
        self.lives -= 1
        self.asked += [r.ids[0] for r in requests]
    def answer(self, requests):
        self._live(requests)
        return [SimpleNamespace(text=f"Riga {r.seed}", finish="stop", ids=(1, 2), n_prompt=len(r.ids)) for r in requests]
    def choose(self, requests, choices):
        self._live(requests)
        return np.array([[-len(label) - .01 * (len(r.ids[0]) % 7) for label in choices] for r in requests])

def files(folder): return {f.name: f.read_text() for f in sorted(folder.iterdir()) if f.name != "about.json"}


def test_a_killed_run_goes_on_where_it_stopped(make, tmp_path):
    whole, first, second = Fake(), Fake(lives=40), Fake()
    make.record(whole, "place", tmp_path/"whole")
    with pytest.raises(KeyboardInterrupt): make.record(first, "place", tmp_path/"cut")
    assert len(files(tmp_path/"cut")) == 40 and not [*(tmp_path/"cut").glob(".*")], "nothing half written"
    make.record(second, "place", tmp_path/"cut")
    assert files(tmp_path/"cut") == files(tmp_path/"whole") and len(files(tmp_path/"whole")) == 96
    assert first.asked + second.asked == whole.asked, "nothing asked twice, nothing left out"

def test_processes_share_the_work(make, tmp_path):
    models = [Fake(), Fake()]
    for i, model in enumerate(models): make.record(model, "sums", tmp_path, part=i, of=2)
    assert len(files(tmp_path)) == 96 and not {*models[0].asked} & {*models[1].asked}

@pytest.mark.parametrize("change, said", [
    (lambda m, mp: mp.setitem(m.MOST, "place", 99), "settings"), (lambda m, mp: mp.setattr(m, "QUERIES", dict(m.QUERIES, place=5)), "texts"), (lambda m, mp: mp.setattr(Fake, "weights", SimpleNamespace(sha256="1" * 64)), "sha256")])
def test_what_differs_is_not_mixed_in(make, tmp_path, monkeypatch, change, said):
    with pytest.raises(KeyboardInterrupt): make.record(Fake(lives=1), "place", tmp_path)
    change(make, monkeypatch)
    with pytest.raises(SystemExit, match=f"got other {said}; take another --folder"): make.record(Fake(), "place", tmp_path)

def test_versions_are_all_kept(make, tmp_path, monkeypatch):
    make.settle(tmp_path, now := make.about("place", Fake()))
    make.settle(tmp_path, now)
    make.settle(tmp_path, dict(now, versions=dict(now["versions"], torch="9.9")))
    said = json.loads((tmp_path/"about.json").read_text())
    assert [v["torch"] for v in said["versions"]] == [now["versions"]["torch"], "9.9"] and said["sha256"] == "0" * 64

def test_a_complete_recording_becomes_a_file_of_the_package(make, tmp_path, capsys):
    import pandas as pd
    make.record(Fake(), "place", make.place(tmp_path, "place"))
    make.record(Fake(), "place", make.place(tmp_path, "place", True), draws=True)
    make.write("place", tmp_path, tmp_path)
    frame, meta = pd.read_parquet(tmp_path/"smol-place.parquet"), recording_meta(tmp_path/"smol-place.parquet")
    assert frame.groupby("part").size().to_dict() == {"grid": 6 * 96, "draws": 2 * 4 * 3} and meta["licence"] == "CC0-1.0" and meta["settings"]["most"] == 24
    assert meta["settings"]["conversation"] == "{prompt}" and frame["finish"].eq("stop").all(), "how the model was asked, and how replies ended"
    right = task_set("place", 6).items.set_index("query_id")["reference"].eq("Riga")
    assert (frame["score"] == frame["query_id"].map(right)).all()
    assert frame.loc[frame["part"] == "draws", "reply"].str.split().str[-1].unique().tolist() == ["0", "1", "2"], "every draw has its seed"
    first = frame[frame["prompt_id"] == "f63"].iloc[0]
    assert "ask" in json.loads(first["parts"]) and first["family"] == "fraction" and first["difficulty"] in range(4)

def test_choices_are_graded_raw_and_by_the_prompts_median(make, tmp_path):
    make.record(Fake(), "topic", make.place(tmp_path, "topic"))
    frame = make.gathered("topic", make.place(tmp_path, "topic"))
    reference = frame["query_id"].map(task_set("topic", 6).items.set_index("query_id")["reference"])
    shortest = min(CHOICES["topic"], key=len)
    assert (frame["reply"] == shortest).all() and (frame["score"] == (reference == shortest)).all()
    assert np.allclose(frame["score_margin"], [-len(r) + min(len(c) for c in CHOICES["topic"] if c != r) for r in reference], atol=1e-3)
    assert frame["score_calibrated"].isin([0, 1]).all()

def test_what_is_not_complete_is_not_written(make, tmp_path):
    with pytest.raises(KeyboardInterrupt): make.record(Fake(lives=3), "sums", make.place(tmp_path, "sums"))
    make.record(Fake(), "place", make.place(tmp_path, "place"))
    for names in ([], ["place", "sums"], ["sums"]):
        with pytest.raises(SystemExit, match="smol-sums must be complete to be written, got 93 of 96 prompts are missing; record them, or"): make.main([*names, "--folder", str(tmp_path), "--write", str(tmp_path)])
    assert not [*tmp_path.glob("*.parquet")], "not even the set that is complete"
    make.main(["place", "--folder", str(tmp_path), "--write", str(tmp_path)])
    assert [f.name for f in tmp_path.glob("*.parquet")] == ["smol-place.parquet"]

def test_draws_are_not_lost(make, tmp_path):
    folder, draws = make.place(tmp_path, "place"), make.place(tmp_path, "place", True)
    make.record(Fake(), "place", folder), make.record(Fake(), "place", draws, draws=True)
    make.write("place", tmp_path, tmp_path)
    file, one = tmp_path/"smol-place.parquet", sorted(draws.glob("[!a]*.json"))[0]
    before, kept = file.read_bytes(), one.read_bytes()
    one.unlink()
    with pytest.raises(SystemExit, match="smol-place-draws must be complete to be written, got 1 of 4 prompts are missing; record them with --draws"): make.write("place", tmp_path, tmp_path)
    assert file.read_bytes() == before
    one.write_bytes(kept)
    draws.rename(tmp_path/"away")
    with pytest.raises(SystemExit, match="smol-place-draws must exist, as .*smol-place.parquet has draws that would be lost"): make.main(["place", "--folder", str(tmp_path), "--write", str(tmp_path)])
    assert file.read_bytes() == before

def test_what_was_not_recorded_is_not_written(make, tmp_path):
    with pytest.raises(SystemExit, match="must hold recordings, got none"): make.main(["--folder", str(tmp_path), "--write", str(tmp_path)])
    with pytest.raises(SystemExit, match="smol-sums must hold the grid of 'sums', got no such folder"): make.main(["sums", "--folder", str(tmp_path), "--write", str(tmp_path)])

@pytest.mark.parametrize("part, of", [(3, 2), (2, 2), (-1, 2), (0, 0), (0, -1)])
def test_a_part_that_there_is_not_is_refused(make, part, of, tmp_path):
    with pytest.raises(SystemExit, match=f"--part must be 0 or more and less than --of, got --part {part} --of {of}; of two"): make.main(["place", "--folder", str(tmp_path), "--part", str(part), "--of", str(of)])
    assert not any(tmp_path.iterdir())
