"""Ways of this package, and minimal forms of methods that have no kept package, each true to its paper in what is asked, in what order and what is kept. One run in a process of its own:

    python benchmarks/peers/own.py SPEC OUT

SPEC is what `run.py` writes: address of the server, method, budget of task calls, seed, start prompt, solved queries to train and to validate on, new queries without answers. OUT gets the prompt (or one for each new query) and what the
method claims of it.

- APE (Zhou et al. 2023): instructions are induced from input-output pairs, scored on validation queries, the best are resampled and scored in a second round.
- PromptAgent (Wang et al. 2024): Monte Carlo tree search over prompts; an action is feedback on the errors of a batch, a state the prompt rewritten by it, the reward its score on held-out queries.
- PromptBreeder (Fernando et al. 2024): units of task prompt and mutation prompt, binary tournaments, the loser is overwritten by a mutant of the winner; mutation prompts are mutated too.
- CoT: the start prompt and the world's wording of working step by step. Reflexion (Shinn et al. 2023): for each query an answer, a reflection on it without the truth, and the prompt with the reflection.
- CPO (arXiv 2602.01711): a pool grown from the start prompt by two variants a prompt, crossed with queries; `CPOReward`; seven writer calls and 35 candidates a query, offline. `naive`: the same log and search by `NaiveReward`.
- ours: `cp.optimize`."""
import http.client, json, math, sys, time
from itertools import count
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

AT_ONCE = 4 # calls in flight, for every tool


class Refused(Exception): "The budget is spent."


class Model:
    "A model of the served world, asked with messages."
    def __init__(self, url, name): self.at, self.name, self.asked, self.spent = urlsplit(url), name, count(), 0

    def __call__(self, messages) -> str:
        self.spent = next(self.asked) + 1
        for attempt in range(7):
            status, said = self._post(dict(model=self.name, messages=messages))
            if status == 200: return said["choices"][0]["message"]["content"]
            if status == 400 and said["error"].get("code") == "budget_spent": raise Refused(said["error"]["message"])
            if status not in (429, 500): break
            time.sleep(.05 * 2**attempt)
        raise ConnectionError(f"{status}: {said}")

    def _post(self, body):
        line = http.client.HTTPConnection(self.at.hostname, self.at.port, timeout=120)
        try:
            line.request("POST", f"{self.at.path}/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
            reply = line.getresponse()
            return reply.status, json.loads(reply.read())
        finally: line.close()

    def tell(self, text) -> str: return self([dict(role="user", content=text)])

    def many(self, chats) -> list:
        with ThreadPoolExecutor(AT_ONCE) as pool: return list(pool.map(self, chats))


def right(reply, reference) -> float: return float(reply.strip().splitlines()[-1].removeprefix("Answer: ") == reference)


class Run:
    "What a method has at hand: the models, the queries, a random stream."
    def __init__(self, spec):
        self.url, self.start, self.budget, self.seed = spec["url"], spec["start"], spec["budget"], spec["seed"]
        self.train, self.val, self.new = [tuple(x) for x in spec["train"]], [tuple(x) for x in spec["val"]], spec["new"]
        self.task, self.writer, self.task_query, self.writer_query = (Model(spec["url"], name) for name in ("task", "writer", "task-query", "writer-query"))
        self.rng = np.random.default_rng(spec["seed"])

    def replies(self, prompt, items): return self.task.many([chat(prompt, query) for query, _ in items])
    def scores(self, prompt, items): return np.array([right(reply, truth) for reply, (_, truth) in zip(self.replies(prompt, items), items)])
    def task_spent(self, calls): return self.task.spent > calls # more than so many
    def some(self, items, n): return [items[i] for i in self.rng.choice(len(items), min(n, len(items)), replace=False)]


def chat(prompt, query): return [dict(role="system", content=prompt), dict(role="user", content=query)]

def pairs_said(items): return "\n\n".join(f"Q: {query}\nA: {answer}" for query, answer in items)


def ape(run, rounds=2, wide=12, kept=3):
    "Automatic Prompt Engineer: propose from pairs, score, resample around the best."
    val = run.val[:run.budget // (rounds * wide)]
    induce = "Somebody had an instruction and answered these by it.\n\n{}\n\nWhich new instruction gives such answers? Reply with it alone."
    resample = "Write a variation of this prompt that keeps its meaning; a new prompt, nothing else.\nPrompt: {}"
    pool = [run.writer.tell(induce.format(pairs_said(run.some(run.train, 5)))) for _ in range(wide)]
    scored = {}
    for turn in range(rounds):
        for prompt in dict.fromkeys(pool):
            if prompt not in scored: scored[prompt] = run.scores(prompt, val).mean()
        best = sorted(scored, key=scored.get, reverse=True)
        if turn < rounds - 1: pool = [run.writer.tell(resample.format(best[i % kept])) for i in range(wide)]
    return dict(prompts=best[0], claimed_value=float(scored[best[0]]))


def prompt_agent(run, width=3, batch=5, deepest=5, weight=2.5):
    "PromptAgent: tree search by upper confidence bounds; a step is feedback on errors, then a new prompt."
    val, nodes = run.val[:max(6, run.budget // 20)], []
    feedback = "A model answered under this prompt and made mistakes.\nPrompt: {}\n\n{}\n\nWhat should change? Give feedback on the prompt."
    rewrite = "Write a better prompt by this feedback.\nPrompt: {}\n\nFeedback: {}\n\nReply with the new prompt alone."
    def node(prompt, parent): return nodes.append(dict(prompt=prompt, parent=parent, depth=0 if parent is None else parent["depth"] + 1, value=float(run.scores(prompt, val).mean()), rewards=[], children=[])) or nodes[-1]
    def bound(n, parent): return np.mean(n["rewards"]) + weight * math.sqrt(math.log(max(1, len(parent["rewards"]))) / len(n["rewards"])) if n["rewards"] else float("inf")
    def expand(n):
        replies = run.replies(n["prompt"], items := run.some(run.train, batch))
        wrong = [f"Q: {q}\nA: {r}\nRight: {t}" for (q, t), r in zip(items, replies) if not right(r, t)]
        for _ in range(width):
            advice = run.writer.tell(feedback.format(n["prompt"], "\n\n".join(wrong)))
            n["children"].append(node(run.writer.tell(rewrite.format(n["prompt"], advice)), n))
    try:
        root = node(run.start, None)
        for _ in range(200):
            at = root
            while at["children"]: at = max(at["children"], key=lambda n: bound(n, at))
            if at["depth"] < deepest: expand(at)
            leaf = max(at["children"] or [at], key=lambda n: n["value"])
            while at is not None: at["rewards"].append(leaf["value"]); at = at["parent"]
            leaf["rewards"].append(leaf["value"])
            if run.task_spent(run.budget - batch - width * len(val)): break
    except Refused: pass
    best = max(nodes, key=lambda n: n["value"])
    return dict(prompts=best["prompt"], claimed_value=best["value"])


def prompt_breeder(run, units=8):
    "PromptBreeder: tournaments between units, mutation of task prompts and of mutation prompts."
    mutators = ["Say it in another way and add what is missing.", "Make it more precise for this kind of task."]
    styles = ["How can this be simplified?", "What would an expert look at first?", "Which mistakes are usual here?", "Let us be creative."]
    val, ask = run.val, lambda text: run.writer.tell(f"{text}\nReply with the new prompt alone.")
    fresh = lambda mutator: ask(f"{mutator} {styles[run.rng.integers(4)]} Write a new instruction from this description.\nInstruction: {run.start}")
    m = max(5, run.budget // 24)
    fit = lambda prompt: run.scores(prompt, run.some(val, m)).mean()
    alive = [dict(prompt=fresh(mutators[i % 2]), mutator=mutators[i % 2]) for i in range(units)]
    def mutated(unit):
        kind = run.rng.integers(6)
        if kind == 0: return dict(unit, prompt=fresh(unit["mutator"])) # zero order
        if kind == 1: return dict(unit, prompt=ask(f"{unit['mutator']}\nInstruction: {unit['prompt']}")) # first order
        if kind == 2: return dict(unit, prompt=ask("Continue this list of prompts with a new prompt that differs.\n" + "\n".join(f"Prompt {i}: {u['prompt']}" for i, u in enumerate(sorted(alive, key=lambda u: u.get("fitness", 0)), 1)))) # estimation of distribution
        if kind == 3: return dict(unit, prompt=ask("Prompts of rising quality; write a new prompt that is better still.\n" + "\n".join(f"Prompt {i}: {p}" for i, p in enumerate([*unit.get("line", []), unit["prompt"]], 1)))) # lineage
        if kind == 4: # hypermutation: the mutation prompt itself, then first order
            mutator = f"{unit['mutator']} {styles[run.rng.integers(4)]}"
            return dict(unit, mutator=mutator, prompt=ask(f"{mutator}\nInstruction: {unit['prompt']}"))
        return dict(unit, prompt=ask(f"Somebody worked like this.\n\n{pairs_said(run.some(run.train, 3))}\n\nWhich new instruction did they have?\nInstruction: {unit['prompt']}")) # Lamarck
    try:
        for unit in alive: unit["fitness"] = fit(unit["prompt"])
        best = dict(max(alive, key=lambda u: u["fitness"]))
        while not run.task_spent(run.budget - m):
            i, j = run.rng.choice(units, 2, replace=False)
            win, lose = (i, j) if alive[i]["fitness"] >= alive[j]["fitness"] else (j, i)
            child = mutated(alive[win]) | dict(line=[*alive[win].get("line", []), alive[win]["prompt"]][-5:])
            child["fitness"] = fit(child["prompt"])
            alive[lose] = child
            if child["fitness"] > best["fitness"]: best = dict(child)
    except Refused: best = dict(max((u for u in alive if "fitness" in u), key=lambda u: u["fitness"]))
    return dict(prompts=best["prompt"], claimed_value=float(best["fitness"]))


def start_prompt(run): return dict(prompts=run.start)

def cot(run): return dict(prompts=f"{run.start} Think it through one step at a time, then answer.")

def reflexion(run):
    "An answer, a reflection without the truth, a second prompt; at most so many queries as the budget has calls."
    reflect = "A model answered this under the prompt below.\nPrompt: {}\n\nQ: {}\nA: {}\n\nReflect on what may have gone wrong and write a better prompt for another try. Reply with the new prompt alone."
    replies = run.task_query.many([chat(run.start, query) for query in run.new])
    return dict(prompts=run.writer_query.many([[dict(role="user", content=reflect.format(run.start, q, r))] for q, r in zip(run.new, replies)]))


def grown_pool(run, n):
    "So many prompts: two variants of each, level by level, from the start prompt."
    ask = "Write variants of the prompt that keep its intent and differ in style, structure and tone.\n<parent>\n{}\n</parent>\n<count>2</count>"
    pool, at = [run.start], 0
    while len(pool) < n:
        said = run.writer.tell(ask.format(pool[at % len(pool)]))
        made = [part.split(">", 1)[1].split("</prompt>")[0].strip() for part in said.split("<prompt id=")[1:]]
        pool += [p for p in made if p not in pool]
        at += 1
    return pool[:n]

def crossed_log(run):
    "Every prompt of a pool on every one of some queries, as the paper logs: as many prompts as queries, about."
    import pandas as pd
    import causal_prompts as cp
    n = math.isqrt(run.budget)
    items, pool = run.some(run.train + run.val, run.budget // n), grown_pool(run, n)
    cells = [(q, truth, p) for q, truth in items for p in pool]
    replies = run.task.many([chat(p, q) for q, _, p in cells])
    return cp.Triplets(pd.DataFrame([dict(query=q, prompt=p, score=right(r, truth)) for (q, truth, p), r in zip(cells, replies)]))

def searched(run, reward):
    "Paper A's search with a fitted reward: one prompt for each new query."
    import causal_prompts as cp
    from causal_prompts.llm_proposer import LLMProposer
    log = crossed_log(run)
    reward.fit(log)
    best = cp.search(reward, run.new, LLMProposer(run.writer_query, workers=AT_ONCE), rounds=3, keep=3, children=5, random_state=run.seed).best
    return dict(prompts=list(best["prompt"]), claimed_gain=float(best["effect"].mean()))

def cpo(run):
    import causal_prompts as cp
    return searched(run, cp.CPOReward(baseline=run.start, random_state=run.seed))

def naive(run):
    import causal_prompts as cp
    return searched(run, cp.NaiveReward(baseline=run.start, random_state=run.seed))


def ours(run, **how):
    "The one call of this package."
    import pandas as pd
    import causal_prompts as cp
    items = pd.DataFrame([dict(query=q, reference=truth) for q, truth in run.train + run.val])
    task = cp.tasks.Task("world", items, cp.graders.exact(), run.start)
    llm, writer = (cp.LLM(name, run.url, api_key="none", role=name, limits=cp.connection.Limits(concurrency=AT_ONCE)) for name in ("task", "writer"))
    found = cp.optimize(task, llm, writer=writer, calls=run.budget, random_state=run.seed, **how)
    known = not found.is_baseline and np.isfinite(found.gain.estimate) # of the baseline there is nothing to claim
    claim = dict(claimed_gain=float(found.gain.estimate), lo=float(found.gain.lo), hi=float(found.gain.hi)) if known else {}
    return dict(prompts=prompt_text(found.prompt), promising=prompt_text(found.promising)) | claim

def prompt_text(template): return str(template).replace("{query}", "").strip()


METHODS = {"start prompt": start_prompt, "CoT": cot, "Reflexion": reflexion, "APE": ape, "PromptAgent": prompt_agent, "PromptBreeder": prompt_breeder, "CPO": cpo, "naive": naive, "ours": ours}


def main(spec, out):
    "One run: read, optimize, write."
    spec = json.loads(Path(spec).read_text(encoding="utf-8"))
    run, method = Run(spec), METHODS[spec["method"]]
    if spec["method"] in ("CPO", "naive", "ours"): import causal_prompts # what an import costs is no part of a run
    start = time.perf_counter()
    answer = method(run)
    Path(out).write_text(json.dumps(answer | dict(seconds=time.perf_counter() - start)), encoding="utf-8")


if __name__ == "__main__": main(*sys.argv[1:])
