"""How long a fit takes and how much memory it needs, how fast candidates are scored, how fast texts are embedded.

    python benchmarks/speed.py [--quick] [--parts fit dataset averages score embed start run profile] [--rows 1000 10000 100000 1000000] [--repeats 3]

*fit*: `CausalReward()` on synthetic logs, four prompts a query, 200 prompts, beside naive boosting, a ranker and the paper's forest. An encoder that makes structured vectors out of nothing takes the place of the language model, so what is timed is everything after
embedding. Each fit has a process of its own, whose peak memory is the operating system's figure. *score*: `effect` for 1,000 queries x 10,000 prompts, against EconML's `.effect` called for one candidate after another, in one process.
*dataset*: `CausalReward().fit_dataset` on parquet files of 10^5, 10^6 and 10^7 rows with 20 covariates, four prompts a query, 200 prompts; where its time goes, what it writes and what comes back of a pass. The same encoder, so embedding is not counted.
*averages*: average effects of 200 prompts over a baseline with their intervals, from residual scores, four prompts a query, each in a process of its own.
*run*: `causal-prompts run` on a file of each size, from reading to the written page, texts already vectors: four prompts a query, and queries that received all of 20 prompts, with repeats. *profile*: where the time of a study
and of its checkup goes, function by function: own share and share with all that it calls.
*embed*: texts a second of the default encoder, from the model by torch and by ONNX runtime, each beside the matrix products that the CPU does in the same run, from the disk cache and from memory. *start*: what `causal-prompts --help` and the help of each verb take, in seconds of processor time (user and system) of a fresh process. Prints tables; writes benchmarks/results/speed.json, where parts that were not run keep their former figures."""
import argparse, cProfile, json, os, platform, pstats, resource, statistics, subprocess, sys, tempfile, time, warnings
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path

import numpy as np
import pandas as pd

OUT = Path(__file__).parent/"results"/"speed.json"
GOAL = 1e7 # scores a second
DATASET = dict(rows=[10**5, 10**6, 10**7], covariates=20, peak_mb=4000) # sizes timed, and the goal for the largest
AVERAGES = dict(rows=[10**5, 10**6], seconds=5, peak_mb=500) # sizes timed, and goals for the largest
PROMPTS = 200 # prompts in a log


# ---- synthetic logs

class FakeEncoder:
    "Texts that end in a number to unit vectors: twenty smooth coordinates of the number, mixed into 384, and a little noise. Equal texts have equal vectors."
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


def wording(i): return f"Answer the question in manner {i}" # a text, where 'prompt 3' would be read as a name


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
    names = np.array([f"query {i}" for i in range(q.max() + 1)], object), np.array([wording(i) for i in range(p.max() + 1)], object)
    frame = pd.DataFrame(dict(query_id=q.astype(str), query=names[0][q], prompt_id=p.astype(str), prompt=names[1][p], score=score))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return Triplets(frame)


def repeated(queries, prompts, repeats, seed, encoder):
    "A log in which every query received every prompt, `repeats` times."
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


MODELS = dict(causal="CausalReward", naive="NaiveReward (LightGBM)", boosting="NaiveReward('boosting')", ranker="CausalReward(learner='ranker')", paper="CPOReward (the paper's forest)")
LARGEST = dict(causal=10**6, naive=10**6, boosting=10**4, ranker=10**5, paper=2000) # rows

def made(model, encoder):
    from causal_prompts import CausalReward, CPOReward, NaiveReward
    return dict(causal=CausalReward, naive=NaiveReward, boosting=lambda encoder: NaiveReward("boosting", encoder=encoder), paper=CPOReward, ranker=lambda encoder: CausalReward(learner="ranker", encoder=encoder))[model](encoder=encoder)


def one_fit(rows, model, seed):
    "Seconds and megabytes of one fit; how well the effects of the log's prompts come out, to show that it was one."
    made(model, FakeEncoder()).fit(synthetic(400, 0, FakeEncoder())) # imports
    encoder = FakeEncoder()
    log = synthetic(rows, seed, encoder)
    before, start, busy = peak(), time.perf_counter(), time.process_time()
    reward = made(model, encoder).fit(log)
    seconds, busy, after = time.perf_counter() - start, time.process_time() - busy, peak()
    some = np.arange(300)
    tau = reward.effect([f"query {i}" for i in some], list(reward.prompts_["prompt"]))
    numbers = reward.prompts_["prompt"].str.split().str[-1].astype(int).to_numpy()
    truth = true_effects(encoder, some, numbers)
    return dict(seconds=seconds, processor_seconds=busy, peak_mb=after, before_mb=before,
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


def write_dataset(rows, seed, path, step=500_000):
    "A log in a parquet file, rows in an order that has nothing to do with its queries, written some rows at a time."
    import pyarrow as pa, pyarrow.parquet as pq
    encoder, out = FakeEncoder(), None
    r = np.random.default_rng(seed)
    turn = r.permutation(rows).astype(np.int32) # row -> which draw of which query
    lean = np.linspace(-1, 1, PROMPTS)[np.argsort(np.argsort(true_effects(encoder, np.arange(500), np.arange(PROMPTS)).mean(0)))]
    weigh = np.random.default_rng(1).normal(size=DATASET["covariates"])
    for i in range(0, rows, step):
        draw = turn[i:i + step]
        q = draw // 4
        hard = np.random.default_rng(2).normal(size=10_007)[q % 10_007]
        p = np.clip(((hard * .25 + r.normal(size=len(q)) * .5 + 1) / 2 * PROMPTS).astype(int), 0, PROMPTS - 1)
        p = np.argsort(lean)[p]
        x, z = encoder.latent(q, "query"), encoder.latent(p, "prompt")
        score = (r.random(len(q)) < np.clip(.5 - .15 * hard + .06 * (z[:, 0] + z[:, 1]) + .06 * x[:, 0] * z[:, 2], .02, .98)).astype(float)
        columns = dict(query_id=pa.array(q.astype(str)), query=pa.array([f"query {j}" for j in q]), prompt_id=pa.array(p.astype(str)), prompt=pa.array([wording(j) for j in p]), score=pa.array(score))
        columns |= {f"covariate_{j}": pa.array(np.cos(q * w + j)) for j, w in enumerate(weigh)}
        table = pa.table(columns)
        out = out or pq.ParquetWriter(path, table.schema)
        out.write_table(table)
    out.close()


class TimedEngine:
    "A local engine that notes the seconds of every pass, and the bytes that come back of it."
    def __init__(self):
        from causal_prompts.engines import LocalEngine
        self.engine, self.passes = LocalEngine(), {}

    def __enter__(self): return self
    def __exit__(self, *error): pass

    def map(self, function, parts, shared=None):
        import pickle
        name = getattr(function, "args", [function])[0].__name__
        inner = getattr(shared, "function", shared[-1] if isinstance(shared, tuple) and name == "contrasts_at" else None)
        if inner is not None: name = f"{name}: {getattr(inner, 'func', inner).__name__}"
        found = self.passes.setdefault(name, dict(seconds=0., processor_seconds=0., parts=0, result_bytes=0))
        results, start, busy = self.engine.map(function, parts, shared), time.perf_counter(), time.process_time()
        for result in results:
            found["seconds"] += time.perf_counter() - start
            found["processor_seconds"] += time.process_time() - busy
            found["parts"] += 1
            found["result_bytes"] = max(found["result_bytes"], len(pickle.dumps(result)))
            yield result
            start, busy = time.perf_counter(), time.process_time()


def written_bytes(folder): return {kind: sum(f.stat().st_size for f in Path(folder).rglob(f"{kind}-*")) for kind in ("piece", "rows", "vectors", "features")}

def one_dataset(rows, seed):
    "Seconds and megabytes of one fit on a file, pass by pass; what it wrote; how well the effects come out."
    from causal_prompts import CausalReward
    with tempfile.TemporaryDirectory() as folder:
        path, place = Path(folder)/"log.parquet", Path(folder)/"place"
        place.mkdir()
        subprocess.run([sys.executable, __file__, "--write", str(rows), str(seed), str(path)], check=True)
        encoder, engine = FakeEncoder(), TimedEngine()
        class Looks(TimedEngine):
            def map(self, function, parts, shared=None):
                yield from super().map(function, parts, shared)
                self.written = written_bytes(place)
        warnings.simplefilter("ignore", UserWarning)
        CausalReward(encoder=encoder).fit(synthetic(400, 0, encoder)) # imports
        before, engine = peak(), Looks()
        start, busy = time.perf_counter(), time.process_time()
        reward = CausalReward(encoder=encoder).fit_dataset(path, engine=engine, folder=place)
        seconds, busy, file = time.perf_counter() - start, time.process_time() - busy, path.stat().st_size
    some = np.arange(300)
    tau = reward.effect([f"query {i}" for i in some], list(reward.prompts_["prompt"]))
    truth = true_effects(encoder, some, reward.prompts_["prompt"].str.split().str[-1].astype(int).to_numpy())
    r = float(np.corrcoef((tau - tau.mean(1, keepdims=True)).ravel(), (truth - truth.mean(1, keepdims=True)).ravel())[0, 1])
    return dict(rows=rows, seconds=seconds, processor_seconds=busy, peak_mb=peak(), before_mb=before, file_mb=file / 2**20, features=len(reward.model_.w), prompts=len(reward.prompts_),
                queries=int(rows // 4), dimensions=len(encoder.fine), written={k: v / 2**20 for k, v in engine.written.items()}, passes=engine.passes, correlation=r)


@contextmanager
def timed_checks():
    "Seconds of a processor that each check takes from here on, by name; a checkup itself reports those of the clock."
    from causal_prompts.checks import CHECKS
    took, former = {}, dict(CHECKS)
    def timed(check):
        @wraps(check.function)
        def run(*args, **kwargs):
            start = time.process_time()
            try: return check.function(*args, **kwargs)
            finally: took[check.name] = time.process_time() - start
        return replace(check, function=run)
    CHECKS.update({name: timed(check) for name, check in former.items()})
    try: yield took
    finally: CHECKS.update(former)


def steps(what, log, encoder):
    "Seconds of a processor of each section of a study, or of each check."
    from causal_prompts import study
    made, out, start = study(log, encoder=encoder), {}, time.process_time()
    if what == "checkup":
        with timed_checks() as took: made.checkup()
        return took
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


def in_a_process(*asked):
    "What a fresh process prints last, as JSON; None where it failed, with what it said."
    done = subprocess.run([sys.executable, __file__, *map(str, asked)], capture_output=True, text=True)
    if not done.returncode: return json.loads(done.stdout.splitlines()[-1])
    print(f"{' '.join(map(str, asked))} failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f'ended by signal {-done.returncode}'}", flush=True)


def growth(found, least=10**4):
    "Exponent of growth: slope of log processor seconds on log rows from `least` rows, with a 95% interval; None below three sizes."
    from scipy import stats
    some = [(row["rows"], s) for row in found for s in row["runs"] if row["rows"] >= least]
    if len({n for n, _ in some}) < 3: return None
    fit = stats.linregress(*np.log(np.array(some, float)).T)
    half = stats.t.ppf(.975, len(some) - 2) * fit.stderr
    return dict(exponent=fit.slope, lo=fit.slope - half, hi=fit.slope + half, from_rows=least)


def fit_part(args):
    "Fits of every size and model, each in a fresh process; models take turns, so that a busy machine is busy for all."
    print(f"{'fit':<10}{'rows':>10}{'seconds':>10}{'min':>10}{'max':>10}{'processor':>10}{'peak MB':>10}{'before':>10}{'r':>7}{'x causal':>10}")
    out = {model: [] for model in MODELS}
    for rows in args.rows:
        asked = [model for model in MODELS if rows <= LARGEST[model]]
        runs = {model: [] for model in asked}
        for seed in range(args.repeats):
            for model in asked:
                if found := in_a_process("--one", rows, model, seed): runs[model].append(found)
        for model in asked:
            if not runs[model]: continue
            ratios = [r["processor_seconds"] / c["processor_seconds"] for r, c in zip(runs[model], runs["causal"])]
            row = dict(rows=rows, runs=[r["processor_seconds"] for r in runs[model]], times_causal=spread(ratios)) | {name: spread([r[name] for r in runs[model]]) for name in runs[model][0]}
            print(f"{model:<10}{rows:>10,}{shown(row['seconds'])}{row['processor_seconds']['median']:>10.2f}{row['peak_mb']['median']:>10,.0f}{row['before_mb']['median']:>10,.0f}{row['correlation']['median']:>7.2f}{row['times_causal']['median']:>10.2f}", flush=True)
            out[model].append(row)
    grown = {model: growth(found) for model, found in out.items()}
    for model, g in grown.items():
        if g: print(f"{MODELS[model]}: processor seconds grow as rows to the power {g['exponent']:.2f} ({g['lo']:.2f} to {g['hi']:.2f}) from {g['from_rows']:,} rows.")
    print("'processor' is the time that the process had a processor; 'before' is the peak before the fit (interpreter, libraries, the log); r is the correlation of estimated with true effects, query by query; "
          "'x causal' compares processor times in the same round.\n")
    return dict(models=MODELS, sizes=out, growth=grown)


def dataset_part(args):
    "Fits on files of every size, each in a fresh process."
    print(f"{'dataset':<8}{'rows':>12}{'seconds':>10}{'min':>10}{'max':>10}{'processor':>10}{'peak MB':>10}{'before':>10}{'written MB':>12}{'r':>7}")
    out = []
    for rows in [20_000] if args.quick else [r for r in args.dataset_rows]:
        runs = [found for seed in range(1 if rows >= 10**7 else args.repeats) if (found := in_a_process("--dataset", rows, seed))]
        row = dict(rows=rows, runs=[r["processor_seconds"] for r in runs]) | {name: spread([r[name] for r in runs]) for name in ("seconds", "processor_seconds", "peak_mb", "before_mb", "correlation")} | dict(last=runs[-1])
        print(f"{'':<8}{rows:>12,}{shown(row['seconds'], '.1f')}{row['processor_seconds']['median']:>10.1f}{row['peak_mb']['median']:>10,.0f}{row['before_mb']['median']:>10,.0f}{sum(runs[-1]['written'].values()):>12,.0f}{row['correlation']['median']:>7.2f}", flush=True)
        for name, found in runs[-1]["passes"].items(): print(f"{'':<12}{name:<32}{found['seconds']:>8.1f} s{found['result_bytes'] / 2**20:>10.2f} MB at most come back of a task")
        out.append(row)
    print("'before' is the peak before the fit (interpreter, libraries); what is written is removed at the end.")
    largest = out[-1]
    if g := growth(out): print(f"Processor seconds grow as rows to the power {g['exponent']:.2f} ({g['lo']:.2f} to {g['hi']:.2f}).")
    if largest["rows"] == max(DATASET["rows"]): print(f"Goal for {largest['rows']:,} rows: under {DATASET['peak_mb']:,} MB: {'reached' if largest['peak_mb']['median'] <= DATASET['peak_mb'] else 'NOT reached'}.\n")
    return out


def averages_part(args):
    "Average effects of every size, each in a fresh process."
    print(f"{'averages':<10}{'rows':>10}{'seconds':>10}{'min':>10}{'max':>10}{'processor':>10}{'peak MB':>10}{'before':>10}{'r':>7}")
    out = []
    for route in ("within", "naive"):
        for rows in [10**4] if args.quick else AVERAGES["rows"]:
            runs = [in_a_process("--average", rows, route, seed) for seed in range(args.repeats)]
            row = dict(route=route, rows=rows) | {name: spread([r[name] for r in runs]) for name in runs[0]}
            print(f"{route:<10}{rows:>10,}{shown(row['seconds'])}{row['processor_seconds']['median']:>10.2f}{row['peak_mb']['median']:>10,.0f}{row['before_mb']['median']:>10,.0f}{row['correlation']['median']:>7.2f}", flush=True)
            out.append(row)
    largest = [row for row in out if row["rows"] == max(AVERAGES["rows"])]
    reached = all(row[name]["median"] <= AVERAGES[name] for row in largest for name in ("seconds", "peak_mb"))
    print("'processor' is the time that the process had a processor; 'before' is the peak before the regression (interpreter, libraries, the rows); r is the correlation of estimated with true effects.")
    if largest: print(f"Goal for {max(AVERAGES['rows']):,} rows: under {AVERAGES['seconds']} s and {AVERAGES['peak_mb']} MB: {'reached' if reached else 'NOT reached'}.\n")
    return out


def bandwidth(mb=400, repeats=5):
    "Bytes a second that this machine copies from memory to memory with numpy, read and written ones counted; the best of a few copies."
    a, b, best = np.ones(mb * 2**17), np.empty(mb * 2**17), 0.
    for _ in range(repeats):
        start = time.perf_counter(); np.copyto(b, a); best = max(best, 2 * a.nbytes / (time.perf_counter() - start))
    return best


def score_part(args):
    "Scores a second: ours for the whole grid, EconML's estimators candidate by candidate, extrapolated from a sample of candidates."
    from causal_prompts import CausalReward, CPOReward
    from econml.dml import LinearDML
    from sklearn.linear_model import Ridge
    n_q, n_p, sample = (200, 2000, 5) if args.quick else (1000, 10_000, 20)
    encoder = FakeEncoder()
    log = synthetic(2000 if args.quick else 4000, 0, encoder)
    queries, prompts = [f"query {10**6 + i}" for i in range(n_q)], [wording(10**6 + i) for i in range(n_p)]
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
    rate, written = out["CausalReward.effect"]["scores_per_second"]["median"], bandwidth() / 16
    print(f"{rate / written:.0%} of what memory allows: a score is written once and read once, 16 bytes, of {written * 16 / 1e9:.1f} GB a second measured in this run.")
    print(f"Rows 'a candidate' were timed on {sample} candidates and multiplied up to {n_p:,}; the others are whole runs. Texts in, scores out; vectors of the texts lay in memory.")
    print(f"CausalReward.effect: {rate:.2e} scores a second, goal {GOAL:.0e}: {'reached' if rate >= GOAL else 'NOT reached'}.\n")
    return dict(queries=n_q, prompts=n_p, sampled_candidates=sample, goal=GOAL, ways=out, memory_bytes_per_second=written * 16, share_of_memory_limit=rate / written)


WORDS = "please read the question twice then write down each number and check every unit before you answer in one short line because details matter here".split()

LIMIT_SIZE = 2048 # rows and columns of the matrices whose product is timed
KNOWN = (1, 100, 10_000) # texts read from the disk cache at once

def matrix_limit():
    "GFLOP a second of float32 matrix products on all threads: the best of five, of torch's or numpy's, whichever is faster."
    import torch
    A = np.random.default_rng(0).normal(size=(LIMIT_SIZE, LIMIT_SIZE)).astype("float32")
    T = torch.from_numpy(A)
    def seconds(product):
        start = time.perf_counter(); product(); return time.perf_counter() - start
    return 2 * LIMIT_SIZE**3 / 1e9 / min(seconds(product) for product in (lambda: T @ T, lambda: A @ A) for _ in range(5))


def pass_gflop(config, lengths):
    "GFLOP of one pass over texts of these numbers of tokens: in each layer four products of h x h and two of h x m a token, and two of the attention, tokens x tokens x h a text; a multiplication and an addition are two. Tokens put in as padding are no work."
    h, m, n = config.hidden_size, config.intermediate_size, np.asarray(lengths, float)
    return config.num_hidden_layers * (2 * n.sum() * (4 * h * h + 2 * h * m) + 4 * h * (n**2).sum()) / 1e9


def rate(encoder, texts):
    "Texts a second of one call."
    start = time.perf_counter(); encoder.encode(texts); return len(texts) / (time.perf_counter() - start)


def made_texts(n, tokens, seed):
    r = np.random.default_rng([seed, tokens])
    return [" ".join([f"number {i}", *r.choice(WORDS, tokens - 4)]) for i in range(n)]


def known_part(args, folder):
    "Texts a second from the disk cache, by texts a call, once an encoder has it open; vectors without a model, for it is not asked."
    from causal_prompts.embeddings import TextEncoder
    class Drawn:
        def encode(self, texts): return np.random.default_rng(len(texts)).normal(size=(len(texts), 384))
    most = 1000 if args.quick else max(KNOWN)
    texts, encoder, out = made_texts(most, 20, 0), TextEncoder("drawn", model=Drawn(), cache=folder, batch_size=256), {}
    encoder.encode(texts)
    for n in KNOWN:
        if n > most: continue
        calls = [texts[i:i + n] for i in range(0, most, n)][:max(1, 1000 // n)]
        found = []
        for _ in range(2 * args.repeats + 1):
            encoder._memory.clear()
            start = time.perf_counter()
            for call in calls: encoder.encode(call)
            found.append(n * len(calls) / (time.perf_counter() - start))
        out[str(n)] = spread(found[1:])
        print(f"{'disk, ' + format(n, ',') + ' a call':<28}{'':>8}{shown(out[str(n)], ',.0f')}", flush=True)
    return out


def embed_part(args):
    "Texts a second: from the model by each runtime beside the CPU's matrix products, from the disk cache in a fresh encoder, from memory."
    import importlib.util, torch
    from causal_prompts.embeddings import TextEncoder
    from causal_prompts.text_models import BACKENDS
    n, loading, encoders, out = 64 if args.quick else 512, {}, {}, {}
    backends = [b for b in BACKENDS if b == "torch" or importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnxscript")]
    TextEncoder(cache=False).encode(["load the libraries"])
    for backend in backends:
        start = time.perf_counter()
        encoders[backend] = TextEncoder(cache=False, backend=backend)
        encoders[backend].encode(["one text so that the model is loaded"])
        loading[backend] = time.perf_counter() - start
    model = encoders["torch"]._model
    print(f"embedding {n} texts on {torch.get_num_threads()} threads\n{'':<28}{'tokens':>8}{'texts/s':>10}{'min':>10}{'max':>10}{'of limit':>10}")
    for target in (20, 100):
        found, share, limits, apart = {b: [] for b in backends} | dict(disk=[], memory=[]), {b: [] for b in backends}, [], 0.
        for seed in range(args.repeats):
            texts = made_texts(n, target, seed)
            lengths = [len(ids) for ids in model.tokenizer(texts)["input_ids"]]
            vectors = {}
            for backend in backends[::1 if seed % 2 else -1]: # neither is always first
                before = matrix_limit()
                found[backend].append(rate(encoders[backend], texts))
                limit = max(before, matrix_limit())
                limits.append(limit); share[backend].append(found[backend][-1] * pass_gflop(model[0].auto_model.config, lengths) / n / limit)
                vectors[backend] = encoders[backend].encode(texts)
            apart = max(apart, *(float(np.abs(v - vectors["torch"]).max()) for v in vectors.values()))
            found["memory"].append(rate(encoders["torch"], texts))
            with tempfile.TemporaryDirectory() as folder:
                kept = TextEncoder(cache=folder)
                kept._disk("write", dict(zip(texts, vectors["torch"])))
                found["disk"].append(rate(TextEncoder(cache=folder), texts))
        tokens = statistics.mean(lengths)
        out[f"{target} tokens"] = dict(tokens=tokens, gflop_a_text=pass_gflop(model[0].auto_model.config, lengths) / n, limit_gflop_per_second=spread(limits), largest_difference=apart,
                                       **{k: spread(v) for k, v in found.items()}, share_of_limit={k: spread(v) for k, v in share.items()})
        for k, v in found.items(): print(f"{k:<28}{tokens:>8.1f}{shown(spread(v), ',.0f')}" + (f"{statistics.median(share[k]):>10.0%}" if k in share else ""), flush=True)
        if "onnx" in found: out[f"{target} tokens"]["times_faster"] = spread([o / t for o, t in zip(found["onnx"], found["torch"])])
    with tempfile.TemporaryDirectory() as folder: known = known_part(args, folder)
    print("'tokens' counts what the model read, its two marks included; 'of limit' is the pass's own multiplications and additions a second over those of float32 products of "
          f"{LIMIT_SIZE} x {LIMIT_SIZE} matrices, timed before and after each run. Loading: " + ", ".join(f"{k} {v:.1f} s" for k, v in loading.items()) + " (onnx with its libraries and the export).\n")
    return dict(texts=n, torch_threads=torch.get_num_threads(), loading_seconds=loading, known=known, **out)


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


REST = "all else: the model fitted, and steps under 0.05 s" # row of a table

def flame_table(found, most=16):
    "A row per function, own and whole share at each size; above them seconds, and those of each step, which add up to them."
    def row(name, cells): return f"| {name} | {' | '.join(cells)} |"
    lines = [row(f"{found[0]['what']}, {found[0]['kind']}", [format(f["rows"], ",") for f in found]), "|---|" + "---:|" * len(found), row("seconds of a processor", [format(f["processor_seconds"], ".1f") for f in found])]
    def took(name): return [f["steps"].get(name, 0.) for f in found]
    told = [name for name in sorted({name for f in found for name in f["steps"]}, key=lambda name: -took(name)[-1]) if max(took(name)) >= .05]
    lines += [row(name, [format(s, ".2f") for s in took(name)]) for name in told]
    lines.append(row(REST, [format(f["processor_seconds"] - sum(f["steps"].get(name, 0.) for name in told), ".2f") for f in found]))
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


PARTS = dict(fit=fit_part, dataset=dataset_part, averages=averages_part, score=score_part, embed=embed_part, start=start_part, run=run_part, profile=profile_part)

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes and one repeat: a smoke test, written nowhere")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--rows", nargs="+", type=int, default=[10**3, 10**4, 10**5, 10**6])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--dataset-rows", nargs="+", type=int, default=DATASET["rows"])
    parser.add_argument("--average", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--dataset", nargs=2, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--profile", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one: return print(json.dumps(one_fit(int(args.one[0]), args.one[1], int(args.one[2]))))
    if args.write: return write_dataset(int(args.write[0]), int(args.write[1]), args.write[2])
    if args.dataset: return print(json.dumps(one_dataset(*args.dataset)))
    if args.average: return print(json.dumps(one_average(int(args.average[0]), args.average[1], int(args.average[2]))))
    if args.profile: return print(json.dumps(one_profile(args.profile[0], int(args.profile[1]), args.profile[2])))
    if args.run: return print("\n" + json.dumps(one_run(args.run[0], int(args.run[1]))))
    if args.quick: args.rows, args.repeats = [1000, 10_000], 1
    found = {part: PARTS[part](args) for part in args.parts}
    if args.quick: return
    former = json.loads(OUT.read_text()) if OUT.exists() else {}
    about = dict(python=platform.python_version(), system=platform.system(), machine=platform.machine(), cores=os.cpu_count(), threads=os.environ.get("OMP_NUM_THREADS", "unset"),
                 load=round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None, repeats=args.repeats)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(former | {part: dict(about=about, figures=f) for part, f in found.items()}, indent=1) + "\n")
    print(f"written to benchmarks/results/{OUT.name}")


if __name__ == "__main__": main()
