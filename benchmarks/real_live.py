"""What real.py asks the model on this machine: fresh queries, a log by coin and one that is steered, and the best prompts on a shifted fresh set.

Three checks that a reader of arXiv 2602.01711 proposed. Propensities: which share of the pairs of a query and a prompt could have met? Stability:
is the order of prompts the same after retraining on a part of the log, with another encoder, with another basis of components? Shift: what is left
of the predicted gain of the first K prompts on fresh queries, like those of the log and unlike them?
"""
import time, warnings
from functools import cache

import numpy as np
from joblib import Parallel, delayed
from scipy.special import softmax
from sklearn.feature_extraction.text import HashingVectorizer

import causal_prompts as cp
from causal_prompts.core import mean_interval, rng
from causal_prompts.embeddings import TextEncoder
from causal_prompts.grids import Grid, quiet_log
from causal_prompts.measures import tau_b
from causal_prompts.positivity import overlap
from causal_prompts.prompt_sets import prompt_bank
from causal_prompts.recordings import dataset_file, recording_meta
from causal_prompts.spaces import PCASpace, StructureSpace
from causal_prompts.stability import embedding_stability
from causal_prompts.task_sets import task_set
from causal_prompts.worlds import inclusion_probabilities, standardised, systematic_sample

NAME, BASELINE = "place", "f00"
QUERIES, EACH, TOP = 100, 8, 5 # queries of a log and of a fresh set, prompts a query, prompts taken together
SEEDS = dict(log=101, alike=102, shifted=103) # of the task set; the recording has 0


# ---- asking

def fresh(which):
    "Queries that the recording does not have; the shifted ones are of two kinds and name two other places or more."
    task, known = task_set(NAME, 900, seed=SEEDS[which]), set(recorded().log.queries["query"])
    keep = ~task.items["query"].isin(known)
    if which != "log": keep &= ~task.items["query"].isin(set(fresh("log").items["query"]))
    if which == "shifted": keep &= task.items["kind"].isin(["moved", "office"]) & (task.items["difficulty"] >= 2)
    return task.take(keep.to_numpy()).head(QUERIES)

@cache
def recorded(): return Grid(cp.load_dataset(f"smol-{NAME}"))

def answered(task, pairs):
    "(n,) scores of (query number, prompt) pairs, by one thread."
    from causal_prompts.local_model import LocalModel, Request
    how = recording_meta(dataset_file(f"smol-{NAME}"))["settings"]
    model, items = LocalModel(threads=1), list(task)
    requests = [Request(tuple(model.ids(task.messages(p, items[q]))), most=how["most"], stop=(how["stop"],)) for q, p in pairs]
    return [task.score(got.text, items[q]).score for (q, _), got in zip(pairs, model.answer(requests))]

def ask(task, pairs, jobs):
    "The same, each process with prompts of its own."
    order = np.argsort([p for _, p in pairs], kind="stable")
    shares = np.array_split(order, jobs)
    got = Parallel(jobs)(delayed(answered)(task, [pairs[i] for i in share]) for share in shares)
    scores = np.empty(len(pairs))
    for share, some in zip(shares, got): scores[share] = some
    return scores

def assigned(steered):
    "(row, column) of the prompts drawn for each query of the log, by coin or better prompts to queries that name more places."
    grid, task = recorded(), fresh("log")
    quality, difficulty = standardised(grid.quality.to_numpy()), standardised(task.items["difficulty"].to_numpy(float))
    shares = .9 * softmax(2 * steered * difficulty[:, None] * quality, axis=1) + .1 / len(quality)
    return systematic_sample(inclusion_probabilities(shares, EACH), rng(0, "live", steered))


# ---- logs and rewards

def as_log(kept):
    "A log of answers as they are kept: numbers of queries and of prompts, and scores."
    texts, items = recorded().log.prompts, fresh("log").items
    frame = items[["query_id", "query"]].iloc[kept["query"]].reset_index(drop=True)
    prompts = texts.set_index("prompt_id").loc[recorded().quality.index].reset_index()
    frame[["prompt_id", "prompt"]] = prompts[["prompt_id", "prompt"]].iloc[kept["prompt"]].to_numpy()
    return quiet_log(frame.assign(score=np.array(kept["score"], float)))

def prompt_texts(): return recorded().log.prompts.set_index("prompt_id")["prompt"].loc[recorded().quality.index]

def rewards(logs):
    "name -> a reward fitted to one of the logs."
    base = dict(baseline=prompt_texts()[BASELINE])
    out = {f"{m}, {name}": make(**base).fit(log) for name, log in logs.items() for m, make in (("causal", cp.CausalReward), ("naive", cp.NaiveReward))}
    return out | {"CPO, by coin": cp.CPOReward(**base).fit(logs["by coin"])}

def unseen(n=2000):
    "Prompts that the bank can make and the recording does not have."
    bank, random = prompt_bank(NAME), rng(0, "unseen")
    codes = np.column_stack([random.integers(len(options), size=n) for options in bank.options])
    return sorted(set(bank.texts(codes)) - set(prompt_texts()))

def first(reward, prompts):
    "The best of some prompts by predicted mean gain on the log's queries."
    gain = reward.effect(list(reward.log_.queries["query"]), prompts).mean(0)
    return [prompts[i] for i in np.argsort(-gain, kind="stable")[:TOP]]

def choices(logs):
    "name -> the prompts that it would send, and the reward that chose them; None: no reward did."
    texts = prompt_texts()
    seen, fitted = [t for t in texts if t != texts[BASELINE]], rewards(logs)
    out = {name: (first(reward, seen), reward) for name, reward in fitted.items()}
    out["causal, by coin, prompts of no log"] = first(fitted["causal, by coin"], unseen()), fitted["causal, by coin"]
    best = recorded().quality.drop(BASELINE).sort_values(ascending=False).index
    out["best of the recording"] = list(texts[best[:TOP]]), None
    return out | {"drawn at random": (list(rng(0, "lot").choice(seen, TOP, replace=False)), None)}


# ---- the three checks

def propensities(logs):
    "Which share of the pairs could have met, by propensities learned from the queries' texts."
    rows = []
    for name, log in logs.items():
        found = overlap(cp.CausalReward().fit(log))
        rows.append(dict(check="propensity", log=name, supported=found.facts["supported"], kept=found.facts["kept"], verdict=found.verdict))
    inside = cp.CausalReward().fit(logs["by coin"]).support(unseen())["inside"].mean()
    return [*rows, dict(check="support", log="prompts of no log", supported=inside)]

class Basis:
    "An encoder that keeps the leading components of another one's vectors; the basis is of some texts only."
    def __init__(self, encoder, texts, d=15):
        self.encoder, self.spaces = encoder, {role: PCASpace(d).fit(t, encoder.encode(t, role=role)) for role, t in texts.items()}

    def encode(self, texts, role="prompt"): return self.spaces[role].transform(list(texts), self.encoder.encode(list(texts), role=role))

class Words:
    "Hashed words of a text, of unit length."
    def encode(self, texts, role="prompt"): return HashingVectorizer(n_features=512, alternate_sign=False).transform(list(texts)).toarray()

class Counts:
    "What can be counted in a text, in spreads of some texts."
    def __init__(self, texts): self.spaces = {role: StructureSpace().fit(t) for role, t in texts.items()}
    def encode(self, texts, role="prompt"): return self.spaces[role].transform(list(texts))

def encoders(log):
    "name -> an encoder; the last three are the first one's vectors on a basis of all texts, of one half and of the other."
    texts, usual = dict(query=list(log.queries["query"]), prompt=list(log.prompts["prompt"])), TextEncoder()
    def half(k): return {role: sorted(t)[k::2] for role, t in texts.items()}
    return {"sentence vectors": usual, "hashed words": Words(), "counts": Counts(texts), "15 components": Basis(usual, texts),
            "15 components, one half": Basis(usual, half(0)), "15 components, other half": Basis(usual, half(1))}

def stability(log):
    "tau-b with the recorded means of all prompts, and of prompts held out of the log, by encoder; and the package's own check."
    quality, texts = recorded().quality.to_numpy(), prompt_texts()
    queries, rows, usual = list(log.queries["query"]), [], None
    for name, encoder in encoders(log).items():
        gain = cp.CausalReward(encoder=encoder).fit(log).effect(queries, list(texts)).mean(0)
        usual = gain if usual is None else usual
        new = []
        for seed in range(10):
            train, _ = log.split(queries=0, prompts=.3, seed=seed)
            out = ~texts.isin(train.prompts["prompt"]).to_numpy()
            predicted = cp.CausalReward(encoder=encoder).fit(train).effect(queries, list(texts[out])).mean(0)
            new.append(tau_b(predicted[None], quality[None, out])[0])
        rows.append(dict(check="encoder", encoder=name, seen=tau_b(gain[None], quality[None])[0], as_usual=tau_b(gain[None], usual[None])[0],
                         new=np.mean(new), new_se=np.std(new, ddof=1) / np.sqrt(len(new))))
    found = embedding_stability(cp.CausalReward().fit(log))
    facts = dict(verdict=found.verdict, cause=found.facts["cause"], effects=found.facts["p"]["effects"])
    return rows + [dict(check="retrained", **facts, **found.table.iloc[-1].drop("ranking").astype(float).to_dict())]

def shift(logs, grid):
    "What the first prompts were to gain over the question alone, and what they gain on fresh queries; grid: fresh set -> prompt -> scores."
    base, rows = prompt_texts()[BASELINE], []
    for name, (prompts, reward) in choices(logs).items():
        for which, scores in grid.items():
            gain = mean_interval(np.mean([scores[p] for p in prompts], 0) - np.array(scores[base]))
            row = dict(check="shift", choice=name, fresh=which, gain=gain["mean"], lo=gain["lo"], hi=gain["hi"], score=np.mean([scores[p] for p in prompts]))
            if reward is not None:
                row["promised"] = reward.effect(list(reward.log_.queries["query"]), prompts).mean()
                row["promised there"] = reward.effect(list(fresh(which).items["query"]), prompts).mean()
            rows.append(row)
    return rows


# ---- steps

def steps(found, jobs):
    "What is known after each step, to be kept: two logs, two fresh sets, and what the checks make of them."
    found = found or dict(logs={}, fresh={}, calls=0, seconds=0., rows=[])
    warnings.simplefilter("ignore")
    for name, steered in (("by coin", 0), ("steered", 1)):
        if name in found["logs"]: continue
        (q, p), texts, start = assigned(steered), prompt_texts(), time.time()
        scores = ask(fresh("log"), [(i, texts.iloc[j]) for i, j in zip(q, p)], jobs)
        found["logs"][name] = dict(query=q.tolist(), prompt=p.tolist(), score=scores.tolist())
        yield counted(found, len(scores), start, name)
    logs = {name: as_log(kept) for name, kept in found["logs"].items()}
    wanted = sorted({p for prompts, _ in choices(logs).values() for p in prompts} | {prompt_texts()[BASELINE]})
    for which in ("alike", "shifted"):
        if set(wanted) <= {*found["fresh"].get(which, {})}: continue
        task, start = fresh(which), time.time()
        scores = ask(task, [(i, p) for p in wanted for i in range(len(task))], jobs).reshape(len(wanted), -1)
        found["fresh"][which] = dict(zip(wanted, scores.tolist()))
        yield counted(found, scores.size, start, which)
    rows = propensities(logs) + stability(logs["by coin"]) + shift(logs, found["fresh"])
    found["rows"] = [plain(row) for row in rows]
    yield found

def plain(row):
    "A row as JSON takes it: numbers of four places, None where there is none."
    def value(v):
        if isinstance(v, (bool, np.bool_)): return bool(v)
        if isinstance(v, str) or v is None: return v
        return None if not np.isfinite(v) else int(v) if isinstance(v, (int, np.integer)) else round(float(v), 4)
    return {k: value(v) for k, v in row.items()}

def counted(found, calls, start, name):
    found["calls"] += calls
    found["seconds"] = round(found["seconds"] + time.time() - start, 1)
    print(f"{name}: {calls:,} calls in {time.time() - start:.0f} s", flush=True)
    return found
