"""How long a fit takes and how much memory it needs, how fast candidates are scored, how fast texts are embedded.

    python benchmarks/speed.py [--quick] [--parts fit averages score embed start run profile] [--rows 1000 10000 100000 1000000] [--d-t 5 20 50] [--repeats 3]

*fit*: `CausalReward(learner="kernel", folds=0)` on synthetic logs, four prompts a query, 200 prompts. An encoder that makes structured vectors out of nothing takes the place of the language model, so what is timed is everything after
embedding. Each fit has a process of its own, whose peak memory is the operating system's figure. *score*: `effect` for 1,000 queries x 10,000 prompts, against EconML's `.effect` called for one candidate after another, in one process.
*averages*: average effects of 200 prompts over a baseline with their intervals, from residual scores, four prompts a query, each in a process of its own.
*run*: `causal-prompts run` on a file of each size, from reading to the written page, texts already vectors: four prompts a query, and queries that met all of 20 prompts, with repeats. *profile*: where the time of a study
and of its checkup goes, function by function: own share and share with all that it calls.
*embed*: texts a second of the default encoder, from the model, from the disk cache and from memory. *start*: what `causal-prompts --help` and the help of each verb take, in seconds of processor time (user and system) of a fresh process. Prints tables; writes benchmarks/results/speed.json, where parts that were not run keep their former figures."""
import argparse, cProfile, json, os, platform, pstats, resource, statistics, subprocess, sys, tempfile, time, warnings
from pathlib import Path

import numpy as np
import pandas as pd

OUT = Path(__file__).parent/"results"/"speed.json"
GOAL = 1e7 # scores a second
AVERAGES = dict(rows=[10**5, 10**6], seconds=5, peak_mb=500) # sizes timed, and goals for the largest
PROMPTS = 200 # prompts in a log


# ---- synthetic logs

class FakeEncoder:
    "Texts 'query 17', 'prompt 3' to unit vectors: twenty smooth coordinates of the number, mixed into 384, and a little noise. Equal texts have equal vectors."
    def __init__(self, d=384):
        r = np.random.default_rng(0)
        self.rate, self.phase = r.uniform(.5, 50, (2, 20)), r.uniform(0, 6.3, (2, 20))
        self.mix, self.fine = r.normal(size=(20, d)).astype("float32"), r.uniform(1, 1e3, d).astype("float32")
        self.kept = {}

    def latent(self, number, role):
        i = int(role == "prompt")
        return np.cos(np.asarray(number)[:, None] * self.rate[i] + self.phase[i])

    def make(self, texts, role):
        out = np.empty((len(texts), len(self.fine)), "float32")
        for i in range(0, len(texts), 20_000):
            number = np.array([int(t.rsplit(" ", 1)[1]) for t in texts[i:i + 20_000]])
            E = self.latent(number, role).astype("float32") @ self.mix + .5 * np.cos(number[:, None].astype("float32") * self.fine)
            out[i:i + 20_000] = E / np.linalg.norm(E, axis=1, keepdims=True)
        return out

    def keep(self, texts, role): self.kept = self.kept | dict(zip(texts, self.make(texts, role)))

    def encode(self, texts, role="prompt"):
        return np.stack([self.kept[t] for t in texts]) if self.kept and all(t in self.kept for t in texts) else self.make(texts, role)


def true_effects(encoder, queries, prompts):
    "(n_q, n_p) what a prompt adds on a query: a smooth main effect and an interaction."
    q, p = encoder.latent(queries, "query"), encoder.latent(prompts, "prompt")
    return .06 * (p[:, 0] + p[:, 1])[None] + .06 * q[:, :1] * p[:, 2][None]


def synthetic(rows, seed, encoder):
    "A log of `rows` rows, four prompts a query, better prompts to harder queries."
    r, n = np.random.default_rng(seed), rows // 4
    hard, noise = r.normal(size=n), r.gumbel(size=(n, PROMPTS)).astype("float32")
    lean = np.linspace(-1, 1, PROMPTS)[np.argsort(np.argsort(true_effects(encoder, np.arange(500), np.arange(PROMPTS)).mean(0)))]
    picked = np.argpartition(-(noise + hard[:, None].astype("float32") * lean.astype("float32")), 4, axis=1)[:, :4]
    q, p = np.repeat(np.arange(n), 4), picked.ravel()
    tau = np.concatenate([true_effects(encoder, i, np.arange(PROMPTS))[np.arange(len(i))[:, None], picked[i]] for i in np.array_split(np.arange(n), max(1, n // 10_000))]).ravel()
    score = (r.random(len(q)) < np.clip(.5 - .15 * hard[q] + tau, .02, .98)).astype(float)
    return log_of(q, p, score)


def log_of(q, p, score):
    "A log of numbered queries and prompts."
    from causal_prompts import Triplets
    names = np.array([f"query {i}" for i in range(q.max() + 1)], object), np.array([f"prompt {i}" for i in range(p.max() + 1)], object)
    frame = pd.DataFrame(dict(query_id=q.astype(str), query=names[0][q], prompt_id=p.astype(str), prompt=names[1][p], score=score))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return Triplets(frame)


def repeated(queries, prompts, repeats, seed, encoder):
    "A log in which every query met every prompt, `repeats` times."
    r = np.random.default_rng(seed)
    q, p, _ = (a.ravel() for a in np.indices((queries, prompts, repeats)))
    chance = .5 - .15 * r.normal(size=queries)[:, None] + true_effects(encoder, np.arange(queries), np.arange(prompts))
    return log_of(q, p, (r.random(len(q)) < np.clip(chance, .02, .98)[q, p]).astype(float))


def log_like(kind, rows, encoder):
    "The log of a size: 'four' prompts a query, or 'repeats' of 20 prompts on at most 2,000 queries."
    if kind == "four": return synthetic(rows, 0, encoder)
    queries = min(2000, max(rows // 60, 20))
    return repeated(queries, 20, max(1, rows // queries // 20), 0, encoder)


def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10) # MB


def one_fit(rows, d_t, seed):
    "Seconds and megabytes of one fit; how well the effects of the log's prompts come out, to show that it was one."
    from causal_prompts import CausalReward
    CausalReward(learner="kernel", folds=0, encoder=FakeEncoder()).fit(synthetic(400, 0, FakeEncoder())) # imports
    encoder = FakeEncoder()
    start = time.perf_counter(); log = synthetic(rows, seed, encoder); made, before = time.perf_counter() - start, peak()
    start = time.perf_counter()
    reward = CausalReward(learner="kernel", folds=0, d_t=d_t, encoder=encoder).fit(log)
    seconds, after = time.perf_counter() - start, peak()
    some = np.arange(300)
    tau = reward.effect([f"query {i}" for i in some], list(reward.prompts_["prompt"]))
    numbers = reward.prompts_["prompt"].str.split().str[1].astype(int).to_numpy()
    truth = true_effects(encoder, some, numbers)
    return dict(rows=len(log), d_t=d_t, seed=seed, seconds=seconds, making_the_log=made, peak_mb=after, before_mb=before,
                correlation=float(np.corrcoef((tau - tau.mean(1, keepdims=True)).ravel(), (truth - truth.mean(1, keepdims=True)).ravel())[0, 1]))


def synthetic_rows(rows, seed, route):
    "Rows of 201 prompts, four to a query, better prompts to harder queries, opened by a route without any text."
    from causal_prompts.rows import Rows
    r, n, k = np.random.default_rng(seed), rows // 4, PROMPTS + 1
    hard, lean = r.normal(size=n).astype("float32"), np.linspace(-1, 1, k, dtype="float32")
    picked = [np.argpartition(-r.gumbel(size=(len(h), k)).astype("float32") - h[:, None] * lean, 4, axis=1)[:, :4].copy() for h in np.array_split(hard, max(1, n // 5000))]
    q, p = np.repeat(np.arange(n), 4), np.concatenate(picked).ravel()
    y = (r.random(len(q)) < np.clip(.5 - .15 * hard[q] + .1 * lean[p], .02, .98)).astype(float)
    return Rows(queries=range(n), prompts=[f"prompt {i}" for i in range(k)], E_q=None, E_p=None, q=q, p=p, y=y, g=q, cluster=q, w=np.ones(len(q)), level=np.zeros(len(q), int), route=route)


def one_average(rows, route, seed):
    "Seconds and megabytes of the average effects, and how well they come out."
    from causal_prompts.inference import contrasts
    from causal_prompts.rows import expected
    small = synthetic_rows(400, 0, route)
    contrasts(small, small.y - expected(small, small.y), 0) # imports
    log = synthetic_rows(rows, seed, route)
    before, start, busy = peak(), time.perf_counter(), time.process_time()
    table = contrasts(log, log.y - expected(log, log.y), 0)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    return dict(seconds=seconds, processor_seconds=busy, peak_mb=peak(), before_mb=before, correlation=float(np.corrcoef(table["effect"], np.arange(len(table)))[0, 1]))


def without_race():
    "A study whose causal model is the kernel, fitted without a race of learners."
    from causal_prompts import CausalReward, gains, studies
    kernel = lambda **settings: CausalReward(**settings | dict(learner="kernel", folds=0))
    gains.CausalReward = studies.CausalReward = kernel


def steps(what, log, encoder):
    "Seconds of each section of a study, or of each check."
    from causal_prompts import study
    made, out, start = study(log, encoder=encoder), {}, time.process_time()
    if what == "checkup": return made.checkup().seconds
    for heading, *_ in made.sections():
        out[heading], start = time.process_time() - start, time.process_time()
    return out


def named(where):
    "A function as a table shows it."
    file, _, name = where
    if "/site-packages/" in file or "/lib/python3" in file: return f"{file.split('site-packages/')[-1].split('/')[0].removesuffix('.py') if 'site-packages' in file else 'python'}: {name}"
    return f"{Path(file).stem}.{name}" if file not in ("~", "") else name.strip("{}<>").removeprefix("built-in method ").removeprefix("method ")


def one_profile(kind, rows, what):
    "Seconds, and for each function its own share of them and that with all it calls."
    warnings.simplefilter("ignore")
    without_race()
    encoder = FakeEncoder()
    steps(what, log_like(kind, 400, encoder), encoder) # imports
    log, profile = log_like(kind, rows, encoder), cProfile.Profile(time.process_time)
    start, busy = time.perf_counter(), time.process_time(); found = steps(what, log, encoder); seconds, busy = time.perf_counter() - start, time.process_time() - busy
    start = time.process_time(); profile.runcall(steps, what, log, encoder); total = time.process_time() - start
    shares = {}
    for where, (_, _, own, whole, _) in pstats.Stats(profile).stats.items():
        name, ours = named(where), str(Path(__file__).parent.parent) in where[0] and "site-packages" not in where[0]
        before = shares.get(name, (0., 0., ours))
        shares[name] = before[0] + own / total, before[1] + whole / total, ours
    top = {name: share for name, share in shares.items() if share[0] > .02 or share[2] and share[1] > .05}
    return dict(kind=kind, rows=len(log), what=what, seconds=seconds, processor_seconds=busy, profiled=total, peak_mb=peak(), steps=found, functions=top)


def one_run(kind, rows):
    "Seconds of `causal-prompts run` on a file, its texts already vectors."
    from causal_prompts import cli, studies
    encoder = FakeEncoder()
    studies.TextEncoder = lambda: encoder
    without_race()
    with tempfile.TemporaryDirectory() as folder:
        log = log_like(kind, rows, encoder)
        log.frame.to_parquet(Path(folder)/"log.parquet")
        n, before = len(log), peak()
        del log
        start, busy = time.perf_counter(), time.process_time()
        cli.main(["run", str(Path(folder)/"log.parquet"), "--out", str(Path(folder)/"out")])
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
    return dict(kind=kind, rows=n, seconds=seconds, processor_seconds=busy, peak_mb=peak(), before_mb=before)


# ---- parts

def spread(values): return dict(median=statistics.median(values), min=min(values), max=max(values), n=len(values))

def shown(s, fmt=".2f"): return f"{s['median']:>10{fmt}}{s['min']:>10{fmt}}{s['max']:>10{fmt}}"


def fit_part(args):
    "Fits of every size, each in a fresh process."
    print(f"{'fit':<8}{'rows':>10}{'d_t':>5}{'seconds':>10}{'min':>10}{'max':>10}{'peak MB':>10}{'before':>10}{'r':>7}")
    out = []
    for rows in args.rows:
        for d_t in args.d_t:
            runs = []
            for seed in range(args.repeats):
                done = subprocess.run([sys.executable, __file__, "--one", str(rows), str(d_t), str(seed)], capture_output=True, text=True)
                if done.returncode:
                    print(f"{'':<8}{rows:>10,}{d_t:>5}  failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f'ended by signal {-done.returncode}'}", flush=True)
                    break
                runs.append(json.loads(done.stdout.splitlines()[-1]))
            if not runs: continue
            row = dict(rows=rows, d_t=d_t, seconds=spread([r["seconds"] for r in runs]), peak_mb=spread([r["peak_mb"] for r in runs]),
                       before_mb=spread([r["before_mb"] for r in runs]), correlation=spread([r["correlation"] for r in runs]))
            print(f"{'':<8}{rows:>10,}{d_t:>5}{shown(row['seconds'])}{row['peak_mb']['median']:>10,.0f}{row['before_mb']['median']:>10,.0f}{row['correlation']['median']:>7.2f}", flush=True)
            out.append(row)
    print("'before' is the peak before the fit (interpreter, libraries, the log); r is the correlation of estimated with true effects, query by query.\n")
    return out


def averages_part(args):
    "Average effects of every size, each in a fresh process."
    print(f"{'averages':<10}{'rows':>10}{'seconds':>10}{'min':>10}{'max':>10}{'processor':>10}{'peak MB':>10}{'before':>10}{'r':>7}")
    out = []
    for route in ("within", "naive"):
        for rows in [10**4] if args.quick else AVERAGES["rows"]:
            runs = [json.loads(subprocess.run([sys.executable, __file__, "--average", str(rows), route, str(seed)], capture_output=True, text=True, check=True).stdout.splitlines()[-1])
                    for seed in range(args.repeats)]
            row = dict(route=route, rows=rows) | {name: spread([r[name] for r in runs]) for name in runs[0]}
            print(f"{route:<10}{rows:>10,}{shown(row['seconds'])}{row['processor_seconds']['median']:>10.2f}{row['peak_mb']['median']:>10,.0f}{row['before_mb']['median']:>10,.0f}{row['correlation']['median']:>7.2f}", flush=True)
            out.append(row)
    largest = [row for row in out if row["rows"] == max(AVERAGES["rows"])]
    reached = all(row[name]["median"] <= AVERAGES[name] for row in largest for name in ("seconds", "peak_mb"))
    print("'processor' is the time that the process had a processor; 'before' is the peak before the regression (interpreter, libraries, the rows); r is the correlation of estimated with true effects.")
    if largest: print(f"Goal for {max(AVERAGES['rows']):,} rows: under {AVERAGES['seconds']} s and {AVERAGES['peak_mb']} MB: {'reached' if reached else 'NOT reached'}.\n")
    return out


def score_part(args):
    "Scores a second: ours for the whole grid, EconML's estimators candidate by candidate, extrapolated from a sample of candidates."
    from causal_prompts import CausalReward, CPOReward
    from econml.dml import LinearDML
    from sklearn.linear_model import Ridge
    n_q, n_p, sample = (200, 2000, 5) if args.quick else (1000, 10_000, 20)
    encoder = FakeEncoder()
    log = synthetic(2000 if args.quick else 4000, 0, encoder)
    queries, prompts = [f"query {10**6 + i}" for i in range(n_q)], [f"prompt {10**6 + i}" for i in range(n_p)]
    ours = CausalReward(learner="kernel", folds=0, encoder=encoder).fit(log)
    linear = CPOReward(estimator=LinearDML(model_y=Ridge(), model_t=Ridge(), random_state=0), encoder=encoder).fit(log)
    forest = CPOReward(encoder=encoder).fit(log)
    for texts, role in ((queries, "query"), (prompts, "prompt"), ([ours.baseline_], "prompt")): encoder.keep(texts, role)

    def grid(reward):
        def run():
            start = time.perf_counter(); tau = reward.effect(queries, prompts); seconds = time.perf_counter() - start
            assert tau.shape == (n_q, n_p) and np.isfinite(tau).all()
            return seconds
        return run

    def one_by_one(reward):
        X, Z = reward.x_.transform(queries, encoder.encode(queries, "query")), reward.z_.transform(prompts, encoder.encode(prompts, "prompt"))
        z0 = reward.z_.transform([reward.baseline_], encoder.encode([reward.baseline_], "prompt"))
        tau = reward.effect(queries, prompts[:1])[:, 0]
        assert np.allclose(np.ravel(reward.model_.effect(X, T0=np.repeat(z0, n_q, 0), T1=np.repeat(Z[:1], n_q, 0))), tau, atol=1e-6)
        def run():
            start = time.perf_counter()
            for z in Z[:sample]: reward.model_.effect(X, T0=np.repeat(z0, n_q, 0), T1=np.repeat(z[None], n_q, 0))
            return (time.perf_counter() - start) * n_p / sample
        return run

    ways = {"CausalReward.effect": grid(ours), "CPOReward.effect, theta once a query": grid(forest),
            "EconML LinearDML.effect a candidate": one_by_one(linear), "EconML CausalForestDML.effect a candidate": one_by_one(forest)}
    for run in ways.values(): run() # warm
    seconds = {name: [run() for _ in range(args.repeats)] for name, run in ways.items()}
    print(f"scoring {n_q:,} queries x {n_p:,} prompts\n{'':<44}{'seconds':>10}{'min':>10}{'max':>10}{'scores/s':>12}{'times slower':>14}")
    first = statistics.median(seconds["CausalReward.effect"])
    out = {}
    for name, s in seconds.items():
        out[name] = dict(seconds=spread(s), scores_per_second=spread([n_q * n_p / v for v in s]), times_slower=spread([v / w for v, w in zip(s, seconds["CausalReward.effect"])]), extrapolated="a candidate" in name)
        print(f"{name:<44}{shown(out[name]['seconds'])}{n_q * n_p / statistics.median(s):>12.2e}{statistics.median(s) / first:>14,.1f}", flush=True)
    rate = out["CausalReward.effect"]["scores_per_second"]["median"]
    print(f"Rows 'a candidate' were timed on {sample} candidates and multiplied up to {n_p:,}; the others are whole runs. Texts in, scores out; vectors of the texts lay in memory.")
    print(f"CausalReward.effect: {rate:.2e} scores a second, goal {GOAL:.0e}: {'reached' if rate >= GOAL else 'NOT reached'}.\n")
    return dict(queries=n_q, prompts=n_p, sampled_candidates=sample, goal=GOAL, ways=out)


WORDS = "please read the question twice then write down each number and check every unit before you answer in one short line because details matter here".split()

def embed_part(args):
    "Texts a second: from the model, from the disk cache in a fresh encoder, from memory."
    from causal_prompts.embeddings import TextEncoder
    n = 64 if args.quick else 512
    TextEncoder(cache=False).encode(["load the libraries"])
    print(f"embedding {n} texts\n{'':<28}{'tokens':>8}{'texts/s':>10}{'min':>10}{'max':>10}")
    out = {}
    for target in (20, 100):
        found = dict(model=[], disk=[], memory=[])
        for seed in range(args.repeats):
            r = np.random.default_rng([seed, target])
            texts = [" ".join([f"number {i}", *r.choice(WORDS, target - 4)]) for i in range(n)]
            with tempfile.TemporaryDirectory() as folder:
                fresh = TextEncoder(cache=folder)
                fresh.encode(["one text so that the model is loaded"])
                rate = lambda encoder: (lambda start: (encoder.encode(texts), n / (time.perf_counter() - start))[1])(time.perf_counter())
                found["model"].append(rate(fresh)); found["memory"].append(rate(fresh)); found["disk"].append(rate(TextEncoder(cache=folder)))
        tokens = statistics.mean(len(fresh._model.tokenizer(t)["input_ids"]) for t in texts)
        out[f"{target} tokens"] = dict(tokens=tokens, **{k: spread(v) for k, v in found.items()})
        for k, v in found.items(): print(f"{k:<28}{tokens:>8.1f}{shown(spread(v), ',.0f')}", flush=True)
    print("'tokens' counts what the model read, its two marks included.\n")
    return dict(texts=n, **out)


def in_a_process(*asked):
    "What a fresh process of this script prints last; None where it failed, and why is said."
    done = subprocess.run([sys.executable, __file__, *map(str, asked)], capture_output=True, text=True)
    if not done.returncode: return json.loads(done.stdout.splitlines()[-1])
    print(f"{' '.join(map(str, asked))} failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f'ended by signal {-done.returncode}'}", flush=True)


def run_part(args):
    "The command on files of every size."
    print(f"{'run':<10}{'rows':>10}{'seconds':>10}{'processor':>10}{'peak MB':>10}{'before':>10}")
    out = []
    for kind in ("four", "repeats"):
        for rows in args.rows:
            found = in_a_process("--run", kind, rows)
            if found is None: continue
            print(f"{kind:<10}{found['rows']:>10,}{found['seconds']:>10.1f}{found['processor_seconds']:>10.1f}{found['peak_mb']:>10,.0f}{found['before_mb']:>10,.0f}", flush=True)
            out.append(found)
    print("From the file to the written page; 'processor' is the time that the process had a processor; 'before' is the peak of making the file.\n")
    return out


def profile_part(args):
    "Where the time goes, as tables of Markdown."
    out = []
    for what in ("study", "checkup"):
        for kind in ("four", "repeats"):
            found = [f for rows in args.rows if (f := in_a_process("--profile", kind, rows, what))]
            if found: print(flame_table(found) + "\n", flush=True)
            out += found
    return out


def flame_table(found, most=16):
    "A row per function, own and whole share at each size; above them seconds, and those of each step."
    def row(name, cells): return f"| {name} | {' | '.join(cells)} |"
    lines = [row(f"{found[0]['what']}, {found[0]['kind']}", [format(f["rows"], ",") for f in found]), "|---|" + "---:|" * len(found), row("seconds of a processor", [format(f["processor_seconds"], ".1f") for f in found])]
    def took(name): return [f["steps"].get(name, 0.) for f in found]
    lines += [row(name, [format(s, ".2f") for s in took(name)]) for name in sorted({name for f in found for name in f["steps"]}, key=lambda name: -took(name)[-1]) if max(took(name)) >= .05]
    def share(f, name): return f["functions"].get(name, (0., 0., False))
    names = sorted({name for f in found for name in f["functions"] if max(share(g, name)[1] for g in found) < .9}, key=lambda name: -max(share(f, name)[0] + .3 * share(f, name)[1] * share(f, name)[2] for f in found))[:most]
    def cells(name): return [f"{share(f, name)[0]:.0%} / {share(f, name)[1]:.0%}" if name in f["functions"] else "" for f in found]
    return "\n".join([*lines, *(row(f"`{name}`", cells(name)) for name in names)])


def children(): return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) # seconds of processor time

def start_part(args):
    "Processor time of the command's help, each in a fresh process with a warm disk cache."
    from causal_prompts.cli import VERBS
    print(f"{'start':<36}{'CPU s':>10}{'min':>10}{'max':>10}")
    out = {}
    for asked in ([], ["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)):
        found = []
        for _ in range(args.repeats + 1):
            before = children()
            done = subprocess.run([sys.executable, "-m", "causal_prompts.cli", *asked], capture_output=True, text=True)
            if done.returncode != (0 if asked else 2): sys.exit(f"causal-prompts {' '.join(asked)} failed:\n{done.stderr[-600:]}")
            found.append(children() - before)
        name = " ".join(["causal-prompts", *asked])
        out[name] = spread(found[1:]) # the first one warms the cache
        print(f"{name:<36}{shown(out[name])}", flush=True)
    print()
    return out


PARTS = dict(fit=fit_part, averages=averages_part, score=score_part, embed=embed_part, start=start_part, run=run_part, profile=profile_part)

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes and one repeat: a smoke test, written nowhere")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--rows", nargs="+", type=int, default=[10**3, 10**4, 10**5, 10**6])
    parser.add_argument("--d-t", nargs="+", type=int, default=[5, 20, 50])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=3, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--average", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--profile", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one: return print(json.dumps(one_fit(*args.one)))
    if args.average: return print(json.dumps(one_average(int(args.average[0]), args.average[1], int(args.average[2]))))
    if args.profile: return print(json.dumps(one_profile(args.profile[0], int(args.profile[1]), args.profile[2])))
    if args.run: return print("\n" + json.dumps(one_run(args.run[0], int(args.run[1]))))
    if args.quick: args.rows, args.d_t, args.repeats = [1000, 10_000], [5, 50], 1
    found = {part: PARTS[part](args) for part in args.parts}
    if args.quick: return
    former = json.loads(OUT.read_text()) if OUT.exists() else {}
    about = dict(python=platform.python_version(), system=platform.system(), machine=platform.machine(), cores=os.cpu_count(), threads=os.environ.get("OMP_NUM_THREADS", "unset"),
                 load=round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None, repeats=args.repeats)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(former | {part: dict(about=about, figures=f) for part, f in found.items()}, indent=1) + "\n")
    print(f"written to benchmarks/results/{OUT.name}")


if __name__ == "__main__": main()
