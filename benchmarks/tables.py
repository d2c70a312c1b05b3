"""Write benchmarks/README.md from the results: what each benchmark asks, and how fast the package is.

    python benchmarks/tables.py"""
import ast, json, math, statistics
from pathlib import Path

HERE = Path(__file__).parent
ENGINES = dict(causal="`CausalReward()`", naive="`NaiveReward()`, LightGBM", boosting="`NaiveReward(\"boosting\")`, the paper's library", ranker="`CausalReward(learner=\"ranker\")`, LightGBM", paper="`CPOReward()`, the paper's forest")


def asks(script) -> str:
    "The first line of a benchmark's docstring."
    return ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))).splitlines()[0]


def scripts() -> str:
    "Each benchmark, what it asks and where its figures are."
    rows = [f"| [`{f.name}`]({f.name}) | {asks(f)} | {f'[results](results/{f.stem}.json)' if (HERE/'results'/f'{f.stem}.json').exists() else ''} |"
            for f in sorted(HERE.glob("*.py")) if f.name != Path(__file__).name]
    rows.append(f"| [`peers/run.py`](peers/run.py) | {asks(HERE/'peers'/'run.py')} | {'[results](results/peers.json)' if (HERE/'results'/'peers.json').exists() else ''} |")
    return "\n".join(["| script | asks | figures |", "|---|---|---|", *rows])


def number(v) -> str:
    "Two or three figures that count."
    return f"{v:,.0f}" if v >= 99.5 else f"{v:.1f}" if v >= 9.95 else f"{v:.2f}"


def span(s, scale=1.) -> str: return f"{number(s['median'] * scale)} ({number(s['min'] * scale)} to {number(s['max'] * scale)})" if s["n"] > 1 else number(s["median"] * scale)


def table(head, rows) -> str:
    "A table in markdown, the first column to the left."
    return "\n".join(["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|", *("| " + " | ".join(row) + " |" for row in rows)])


def ran(about) -> str: return f"{about['cores']} cores, load {about['load']} when it ended, OMP_NUM_THREADS {about['threads']}, Python {about['python']}, {about['repeats']} repeats"


def power(g) -> str: return f"{g['exponent']:.2f} ({g['lo']:.2f} to {g['hi']:.2f})"


def fits(found) -> str:
    figures = found["figures"]
    rows = [[name, f"{row['rows']:,}", span(row["seconds"]), number(row["processor_seconds"]["median"]), span(row["times_causal"]), f"{row['peak_mb']['median']:,.0f}", f"{row['correlation']['median']:.2f}"]
            for model, name in ENGINES.items() for row in figures["sizes"].get(model, [])]
    grown = "; ".join(f"{ENGINES[model]} {power(g)}" for model, g in figures["growth"].items() if g)
    return "\n\n".join(["## Fits in memory", f"Synthetic logs, four of 200 prompts a query, texts already vectors ({ran(found['about'])}). Medians, smallest to largest in brackets; times compare the processor's time in the same round.",
        table(["model", "rows", "seconds", "processor's seconds", "times `CausalReward`", "peak MB", "r with the truth"], rows), f"The processor's seconds grow as the rows to the power of (95% intervals, from 10,000 rows): {grown}."])


def datasets(found) -> str:
    from speed import growth
    grown = growth(found["figures"])
    rows = [[f"{row['rows']:,}", span(row["seconds"]), number(row["processor_seconds"]["median"]), f"{row['peak_mb']['median']:,.0f}", f"{row['correlation']['median']:.2f}"] for row in found["figures"]]
    return "\n\n".join(["## Fits on files", f"`fit_dataset` on a parquet file in an order that has nothing to do with its queries, 20 covariates, four of 200 prompts a query ({ran(found['about'])}).",
        table(["rows", "seconds", "processor's seconds", "peak MB", "r with the truth"], rows), f"The processor's seconds grow as the rows to the power of {power(grown)}."])


def averages(found) -> str:
    rows = [[f"{row['rows']:,}, {row['route']}", span(row["seconds"]), number(row["processor_seconds"]["median"]), f"{row['peak_mb']['median']:,.0f}"] for row in found["figures"]]
    return "\n\n".join(["## Average effects", f"Of 200 prompts over a baseline, errors clustered by query ({ran(found['about'])}).", table(["rows, route", "seconds", "processor's seconds", "peak MB"], rows)])


def runs(found) -> str:
    kinds = dict(four="four of 200 prompts a query", repeats="20 prompts, all of them under every query, with repeats")
    rows = [[kinds[row["kind"]], f"{row['rows']:,}", number(row["seconds"]), number(row["processor_seconds"]), f"{row['peak_mb']:,.0f}"] for row in found["figures"]]
    return "\n\n".join(["## `causal-prompts run`", f"From the file to the written report, texts already vectors ({ran(found['about'])}).", table(["log", "rows", "seconds", "processor's seconds", "peak MB"], rows)])


def embedding(found) -> str:
    figures = found["figures"]
    rows = [[f"{tokens}, {way}", span(part[way]), f"{part['share_of_limit'][way]['median']:.0%}"] for tokens, part in figures.items() if tokens.endswith("tokens") for way in ("torch", "onnx")]
    times = ", ".join(f"{span(part['times_faster'])} at {tokens}" for tokens, part in figures.items() if tokens.endswith("tokens"))
    return "\n\n".join(["## Embedding", f"Texts a second of the default encoder, and their share of the matrix products that the processor does in the same run ({ran(found['about'])}).",
        table(["text", "texts a second", "of the limit"], rows), f"ONNX runtime is faster by {times}. Known texts, from the disk: {span(figures['known']['10000'])} a second, 10,000 at a time."])


def scoring(found) -> str:
    figures = found["figures"]
    rows = [[name, span(way["scores_per_second"]), span(way["times_slower"])] for name, way in figures["ways"].items()]
    limit = f" A score is written once and read once; `CausalReward.effect` reaches {figures['share_of_memory_limit']:.1%} of the memory's bandwidth in the same run." if "share_of_memory_limit" in figures else ""
    return "\n\n".join(["## Scoring candidates", f"{figures['queries']:,} queries x {figures['prompts']:,} prompts, vectors in memory ({ran(found['about'])}).{limit}", table(["way", "scores a second", "times slower"], rows)])


def collecting() -> str:
    found = result("collect")
    at_once = {row["concurrency"]: [r for r in found["throughput"] if r["concurrency"] == row["concurrency"]] for row in found["throughput"]}
    share = lambda rows, name: f"{statistics.median(r[name] for r in rows):.0%} ({min(r[name] for r in rows):.0%} to {max(r[name] for r in rows):.0%})"
    rows = [[str(n), share(some, "share"), share(some, "bare")] for n, some in at_once.items()]
    return "\n\n".join(["## Collecting", "Calls a second of the limit that the number of calls at once and the server's answer time allow; beside it a bare client of threads in the same run.", table(["calls at once", "`collect`", "bare client"], rows)])


def real_model() -> str:
    "Held-out order of prompts on the recordings that ship, mean and interval over splits."
    from causal_prompts.measures import resplit_interval
    rows = [r for r in result("real")["rows"] if r["part"] == "a" and r["model"] in ("causal", "naive", "CPO")]
    logs = dict.fromkeys((r["logging"], r["grid"]) for r in rows)

    def mean(log, model):
        found = resplit_interval([r["tau seen"] for r in rows if (r["logging"], r["grid"]) == log and r["model"] == model], held_out=.4)
        return f"{found['mean']:.3f} ({found['lo']:.3f} to {found['hi']:.3f}; {found['n']})"

    return "\n\n".join(["## A real model", "`python benchmarks/real.py`: Kendall's tau-b on held-out queries over the prompts of the log, against the recordings' own cells; mean over splits (95% interval after Nadeau and Bengio; number of splits). What held of the papers' claims stands on [a page](../nbs/explain/the_papers_on_a_real_model.ipynb).",
        table(["log, grid", "`CausalReward()`", "`NaiveReward()`", "`CPOReward()`"], [[", ".join(log), *(mean(log, m) for m in ("causal", "naive", "CPO"))] for log in logs])])


def result(name) -> dict: return json.loads((HERE/"results"/f"{name}.json").read_text(encoding="utf-8"))


def runtimes(found) -> str:
    "Two servers of one model."
    ways, servers = dict(one_by_one="one by one", sixteen_at_once="16 at once", sixty_four_at_once="64 at once"), found["servers"]
    seconds = lambda figures, way: span(dict(median=statistics.median(s := figures[way]["processor_seconds_a_call"]), min=min(s), max=max(s), n=len(s)))
    rows = [[f"{name} {figures['version']}", *(seconds(figures, way) for way in ways), f"{figures['memory_mb']:,.0f}", number(figures["install_seconds"]), f"{found['city_named'][name]:.0%}"] for name, figures in servers.items()]
    alike = f"The two said the same in {found['equal_replies']:.0%} of the questions, and in {found['same_verdict']:.0%} both named the city or both did not." if "same_verdict" in found else ""
    return "\n\n".join(["## Two ways to serve one model", f"{found['about']['model']}, {found['about']['questions']} questions, replies of at most 24 tokens: seconds of the processor a call ({ran(found['about'])}). Installing the first is what the extra `local` adds; the second is compiled.",
        table(["server", *(f"s a call, {way}" for way in ways.values()), "peak MB", "install, s", "named the city"], rows), alike]).strip()


def limits(found) -> str:
    "One server under limits."
    loads = dict(one="1 question", sixteen="16 at once", sixty_four="64 at once", sixty_four_long="64 long ones at once", long="one of 4,000 tokens")
    cell = lambda figures, load: "" if load not in figures else "ended" if "ended" in figures[load] else f"{figures[load]['memory_mb']['peak']:,.0f}" + (f", {figures[load]['failed']} failed" if figures[load]["failed"] else "")
    rows = [[way, f"{figures['idle_mb']['now']:,.0f}", *(cell(figures, load) for load in loads), number(figures["sixty_four"]["processor_seconds"]), f"{found['same_replies'][way]['sixty_four']:.0%}" if way in found["same_replies"] else ""] for way, figures in found["ways"].items()]
    return "\n\n".join(["## Serving with little", f"The language model of this machine in a process of its own: MB held when it is ready, and the peak under each load; the processor's seconds of 64 short questions at once, and how many of them got the reply that they get as it comes ({ran(found['about'])}; the limit is a {found['about']['limit']}).",
        table(["server", "ready, MB", *(f"{load}, MB" for load in loads.values()), "64 at once, s", "same replies"], rows)])


CHOSEN_BY = [("best mean of the log", "one a kind, mean"), *(("causal", f"{which}, {how}") for which in ("one", "one a kind", "one a query") for how in ("mean", "lower bound")), ("naive", "one, mean"), ("naive", "one a query, mean")]


def mean_of(rows) -> str:
    "A mean over splits, empty where there is none."
    values = [r["value"] for r in rows]
    return f"{statistics.mean(values):.3f}" if values else ""


def over_splits(values) -> dict:
    "Mean and interval over splits of two fifths."
    from causal_prompts.measures import resplit_interval
    return resplit_interval(values, held_out=.4)


def difference(rows, base) -> dict | None:
    "Mean and interval over splits of a value less that of the same split's base; None where there is none."
    own, other = ({r["split"]: r["value"] for r in some} for some in (rows, base))
    return over_splits([own[i] - other[i] for i in sorted(own)]) if own else None


def signed(found) -> str: return "" if found is None else f"{found['mean']:+.3f}" + (f" ({found['lo']:+.3f} to {found['hi']:+.3f})" if found["n"] > 1 else "")


def counted(found) -> str:
    "How many intervals lie above and below zero."
    known = [f for f in found if f is not None]
    return f"{sum(f['lo'] > 0 for f in known)} above and {sum(f['hi'] < 0 for f in known)} below of {len(known)}"


def choices() -> str:
    "What a prompt is worth that was chosen by a log."
    if not (HERE/"results"/"choice.json").exists(): return ""
    from choice import LOGGINGS, SETS, TOP
    found = result("choice")
    rows, sets = found["rows"], [name for name in SETS if sum(d[0] == name for d in found["done"]) > 1]
    some = lambda **how: [r for r in rows if all(r.get(k) == v for k, v in how.items())]
    splits = {name: sum(d[0] == name for d in found["done"]) for name in sets}
    text = ("`python benchmarks/choice.py`: from a log of eight prompts a query at most a prompt is chosen for all queries, for each kind of query (where a recording has kinds) or for each query, by its mean prediction or by the lower end of its interval. Values are the grid's own cells on the 40% of the queries that are held out; "
            f"means over splits, intervals after Nadeau and Bengio ({'; '.join(f'{name}: {n}' for name, n in splits.items())} splits).")
    known = lambda name, by, way="": mean_of(some(set=name, part="known", by=by, way=way))
    whole = "all training cells"
    ceiling = lambda name: f"{top} ({known(name, 'best single where answers repeat')})" if (top := known(name, "noise ceiling")) else ""
    bounds = table(["set", "random prompt", "best single by all training cells", "best a kind by all training cells", "best single, hindsight", "best a kind, hindsight", "oracle a query", "noise ceiling (best single on its queries)"],
        [[name, known(name, "random prompt"), known(name, whole, "one, mean"), known(name, whole, "one a kind, mean"), *(known(name, by) for by in ("best single, hindsight", "best per kind, hindsight", "oracle a query")), ceiling(name)] for name in sets])
    base = {(name, log): some(set=name, part="logged", logging=log, by="best mean of the log", way="one, mean") for name in sets for log in LOGGINGS}
    gains = {(key, way): difference(some(set=key[0], part="logged", logging=key[1], by=way[0], way=way[1]), base[key]) for key in base for way in CHOSEN_BY}
    called = [f"{dict(causal='', naive='naive: ').get(by, 'raw means: ')}{way}" for by, way in CHOSEN_BY]
    logged = table(["set, log", "best raw mean", *called], [[", ".join(key), mean_of(base[key]), *(signed(gains[key, way]) for way in CHOSEN_BY)] for key in base])
    return "\n\n".join(["## A choice by a log", text, "What can be had: the oracle picks each query's best cells in hindsight; the ceiling picks by half of the repeated answers and is judged by the other half, on the queries that were asked twice under every prompt, and is empty where answers were recorded once (the model of the recordings that ship gives the same answer again). Where it lies below the best single prompt on its queries, one answer of every cell says less than the prompts' means.", bounds,
        "What a choice by the log gains over the best single prompt by the raw means of the same log (`CausalReward()` where nothing is said):", logged, recombined(some), drifts(some, sets, LOGGINGS, TOP), choices_said(some, gains, sets, LOGGINGS)])


def choices_said(some, gains, sets, loggings) -> str:
    "What came out, in sentences with counts."
    from choice import SHIPPED
    chance, steered = loggings
    ways = dict(one=("causal", "one, mean"), low=("causal", "one, lower bound"), each=("causal", "one a query, mean"), kind=("causal", "one a kind, mean"), naive=("naive", "one, mean"))
    rows = lambda name, log, way: some(set=name, part="logged", logging=log, by=ways[way][0], way=ways[way][1])
    instead = lambda way, logs=loggings: [difference(rows(name, log, way), rows(name, log, "one")) for name in sets for log in logs]
    over_raw = lambda log: [found for (key, way), found in gains.items() if key[1] == log and way == ways["one"]]
    part = lambda log, among: lambda name: some(set=name, part="recombined", logging=log, by="causal", way="one, mean", among=among)
    new = [difference(part(log, "both")(name), part(log, "logged")(name)) for name in SHIPPED for log in loggings]
    drift = lambda log, by: [over_splits([r["predicted"] - r["observed"] for r in some(set=name, part="drift", logging=log, by=by, way="mean", top=1)]) for name in sets]
    mean = lambda found: statistics.mean([f["mean"] for f in found if f] or [math.nan])
    said = lambda found: f"{mean(found):+.3f} ({counted(found)})"
    oracle = statistics.mean(float(mean_of(some(set=name, part="known", by="oracle a query", way=""))) - float(mean_of(some(set=name, part="known", by="best single, hindsight", way=""))) for name in sets)
    finer = [*instead("each"), *instead("kind"), *new]
    pays = "None of this is shown to pay" if not any(f and f["lo"] > 0 for f in finer) else "Little of this is shown to pay"
    return (f"**What came out** (means over the sets; how many of the 95% intervals lie above and below zero). One prompt for all queries by `CausalReward()` gains {said(over_raw(chance))} over the best raw mean of a log whose prompts were drawn at random, and {said(over_raw(steered))} where better prompts went to harder queries; the naive model in its place changes that by {said(instead('naive', [chance]))} and {said(instead('naive', [steered]))}. "
            f"The pessimistic choice instead of the mean changes it by {said(instead('low', [chance]))} and {said(instead('low', [steered]))}. "
            f"Against what one would hope, a prompt for each query instead of one for all brings {said(instead('each'))}, one for each kind {said(instead('kind'))}, and other combinations of the logged sentences as candidates {said(new)}. {pays} by logs of this size, although the best cell of each query lies {oracle:.2f} above the best single prompt. "
            f"The prompt with the best raw mean scores {mean(drift(chance, 'best mean of the log')):.2f} less on fresh queries than it promised where prompts were drawn at random, and {mean(drift(steered, 'best mean of the log')):.2f} less in the other logs; the one that the causal model puts first {mean(drift(chance, 'causal')):.2f} and {mean(drift(steered, 'causal')):.2f} less than predicted.")


def recombined(some) -> str:
    "Choices among other combinations of logged sentences."
    from choice import LOGGINGS, SHIPPED
    rows = []
    for name in SHIPPED:
        for log in LOGGINGS:
            value = lambda by, among, way="one, mean", log=log: some(set=name, part="recombined", logging=log, by=by, among=among, way=way)
            base = value("best mean of the log", "logged")
            bound = [mean_of(value("best single, hindsight", among, "", "")) for among in ("logged", "both")]
            rows.append([f"{name}, {log}", mean_of(base), *(signed(difference(value("causal", among, way), base)) for among, way in (("logged", "one, mean"), ("new", "one, mean"), ("both", "one, mean"), ("both", "one, lower bound"))), *bound])
    head = ["set, log", "best raw mean of the logged", "logged", "new", "both", "both, lower bound", "hindsight, logged", "hindsight, both"]
    return "The log holds half of the 64 designed prompts; the others are new combinations of the same sentences. One prompt for all queries, by the effects of its parts, over the best raw mean:\n\n" + table(head, rows)


def drifts(some, sets, loggings, top) -> str:
    "Predicted less observed."
    ways = [("best mean of the log", "mean", 1), *(("causal", "mean", k) for k in top), ("causal", "lower bound", 1), ("naive", "mean", 1)]
    names = [f"{dict(causal='causal', naive='naive').get(by, 'raw means')}{', by lower bound' if 'lower' in way else ''}, top {k}" for by, way, k in ways]
    def cell(name, log, by, way, k):
        own = some(set=name, part="drift", logging=log, by=by, way=way, top=k)
        return signed(over_splits([r["predicted"] - r["observed"] for r in own])) if own else ""
    return "Drift: value of the K prompts that are predicted to be best for all queries, predicted less observed on the held-out queries (both over the mean of all prompts):\n\n" + table(["set, log", *names], [[f"{name}, {log}", *(cell(name, log, *way) for way in ways)] for name in sets for log in loggings])
def searches(found) -> str:
    "What `cp.optimize` finds in worlds whose truth is known."
    ways = dict(named="twelve sentences named", writer="the served world's writer")
    of = lambda row, name: f"{row[name]:.2f} ± {row[f'{name}_se']:.2f}"
    rows = [[ways[row["way"]], f"{row['effect_size']:g}", str(row["calls"]), f"{row['reachable']:.2f}", of(row, "promising"), of(row, "returned"), f"{row['shown']:.0%}", f"{row['held']:.0%}", f"{row['false']:.0%}", "" if row["idle_runs"] is None else f"{row['idle_runs']:.0%}"]
            for row in found["rows"]]
    return "\n\n".join(["## `cp.optimize` where the truth is known", f"`python benchmarks/optimize.py`: {found['rows'][0]['worlds']} worlds a row, shares of the gain of the best set of the world's ideas ± standard errors. Reachable: by the best set of the sentences at hand. Promising: the finalist that looks best; returned: what comes back, the prompt in use where no finalist is shown to be better. An effect size of .01 is a world in which next to nothing helps; shares of its gain say little, what counts there is how often a prompt was taken.",
        table(["sentences", "effect size", "calls", "reachable", "promising", "returned", "a prompt taken", "intervals that hold the truth", "taken without a gain", "taken ones with an idle sentence"], rows)])


def share_of(row, name="share") -> str: return f"{row[name]:.2f} ± {row[f'{name}_se']:.2f}"


def by_settings(rows, across, head, cell, names=str) -> str:
    "A table with a row for each way, number of calls (and what is known), and a column for each value of a setting."
    keys = list(dict.fromkeys((row["way"], row["calls"], row.get("knows")) for row in rows))
    at = {(row["way"], row["calls"], row.get("knows"), row[across]): row for row in rows}
    values = list(dict.fromkeys(row[across] for row in rows))
    known = ([(lambda key: KNOWN[key[2]])] if any(key[2] for key in keys) else [])
    return table([*head, *map(names, values)], [[SENTENCES[key[0]], f"{key[1]:,}", *(f(key) for f in known), *(cell(at[*key, v]) if (*key, v) in at else "" for v in values)] for key in keys])


SENTENCES = dict(named="twelve named", writer="the writer's")
KNOWN = dict(apart="the twelve sizes", ideas="and what says the same", chances="and each kind of query")

def designs(found) -> str:
    "Why a search does not find the whole gain."
    both = lambda row: f"{share_of(row)} ({row['some_idle']:.0%})"
    limits = [row for row in found["limits"] if row["price"] is not None]
    text = (f"`python benchmarks/sentence_designs.py`: worlds of effect size 1.7, seeds from 1000 on, on which no setting was chosen; shares of the gain of the best set ({found['best']:.3f}) ± standard errors over worlds. "
            f"Logs are drawn as the package draws them; the effects are those of `shrunk_effects`. In brackets how many of the sets hold an idle sentence.")
    return "\n\n".join(["## What `cp.optimize` loses, and why", text, "**Were the settings lucky on the seeds they were chosen on?** Returned share on 24 worlds from seed 0 on (above) and on others:", fresh_seeds(found["present"]),
        "**Share against idle sentences**, where a sentence is left out unless its effect is k standard errors above nothing; the package has k = 0. Logs have what `call_shares` leaves to them.",
        by_settings(found["frontier"], "k", ["sentences", "calls"], both, lambda k: f"k = {k:g}"),
        "**What could be found.** An analyst who knows the world's twelve effects (the twelve sizes alone; and which sentences say the same, and that two ideas help each other; and the chances of each kind of query at its difficulty), and only not which sentence has which, has all calls for one log and confirms nothing. "
        "It takes the set with the largest expected gain less a price for holding any idle sentence, in gains of the best set. On average over worlds no analysis that does not know more, e.g. by reading the sentences, finds more on such logs. 408 calls are those of a log of 600.",
        by_settings(limits, "price", ["sentences", "calls", "known"], both, lambda v: f"price {v:g}"),
        "**What each setting costs** at 600 calls: share of the gain of the set that looks best (before it is confirmed), and how it differs from the present rule on the same worlds.", changes(found["losses"]),
        "**What the confirmation costs and brings**: other shares of the calls, the present one in bold. Share returned, which is nothing where the gain is not shown (share of the set that looks best; how many are shown).", confirmations(found["confirm"]),
        f"**Each query.** Shares of the gain of the best set of each query ({found['each_best']:.3f}; a set a kind of query has all of it), on 400 new queries. One prompt: the finalist. Routers: taken whether shown or not. Returned: what `cp.optimize(..., per=...)` gives back. The analyst: as above, with a set for each kind, from all calls.", each_query(found),
        "**What came out.** " + designs_said(found)])


def fresh_seeds(rows) -> str:
    "The rows of `optimize.py` on the seeds that settings were chosen on, and on others."
    before = {(row["way"], row["calls"]): row for row in result("optimize")["rows"] if row["effect_size"] == 1.7}
    def less(row, name): # and its standard error
        old = before[row["way"], row["calls"]]
        return f"{row[name] - old[name]:+.2f} ± {(row[f'{name}_se']**2 + old[f'{name}_se']**2)**.5:.2f}"
    return table(["sentences", "calls", "worlds", "promising, others", "less those before", "returned, others", "less those before", "a prompt taken", "intervals that hold the truth", "taken ones with an idle sentence"],
        [[SENTENCES[row["way"]], str(row["calls"]), str(row["worlds"]), share_of(row, "promising"), less(row, "promising"), share_of(row, "returned"), less(row, "returned"), f"{row['shown']:.0%}", f"{row['held']:.0%}", "" if row["idle_runs"] is None else f"{row['idle_runs']:.0%}"] for row in rows])


def changes(rows) -> str:
    "One setting changed at a time."
    return table(["sentences", "setting", "share", "more than as it is", "reachable", "idle", "harmful", "said again"],
        [[SENTENCES[row["way"]], row["what"], share_of(row), "" if row["what"] == "as it is" else f"{row['more']:+.3f} ± {row['more_se']:.3f}", f"{row['reachable']:.2f}", *(f"{row[name]:.1f}" for name in ("idle", "harmful", "again"))] for row in rows])


def each_query(found) -> str:
    "One prompt and routers beside the best set of each query."
    top = {row["calls"]: row for row in found["limits"] if row["price"] is None and row["way"] == "named"}
    rows = [[f"{row['calls']:,}", str(row["worlds"]), share_of(row, "one"), f"{found['best'] / found['each_best']:.2f}", *(text for per in ("query", "kind") for text in (share_of(row, f"router_{per}"), f"{share_of(row, f'returned_{per}')} ({row[f'shown_{per}']:.0%})")), share_of(top[row["calls"]]) if row["calls"] in top else ""] for row in found["each"]]
    return table(["calls", "worlds", "one prompt", "best single set", "router by query", "returned (a router shown)", "router by kind", "returned (a router shown)", "the analyst"], rows)


def confirmations(rows) -> str:
    "Other shares of the calls for the confirmation."
    share = lambda row: round(row["fresh"] / row["calls"], 1)
    keys, shares = (list(dict.fromkeys(map(f, rows))) for f in (lambda row: (row["way"], row["effect_size"], row["calls"]), share))
    at = {(row["way"], row["effect_size"], row["calls"], share(row)): row for row in rows}
    cell = lambda row: f"{'**' * row['present']}{share_of(row, 'returned')}{'**' * row['present']} ({row['promising']:.2f}; {row['shown']:.0%})"
    return table(["sentences", "effect size", "calls", *(f"{s:.0%}" for s in shares)], [[SENTENCES[key[0]], f"{key[1]:g}", str(key[2]), *(cell(at[*key, s]) for s in shares)] for key in keys])


def designs_said(found) -> str:
    "What came out, in sentences with numbers."
    pick = lambda part, **how: next(row for row in found[part] if all(row.get(k) == v for k, v in how.items()))
    def best(rows, idle=.1): # of those whose sets rarely hold an idle sentence
        return max((row for row in rows if row["some_idle"] <= idle), key=lambda row: row["share"])
    before = {(row["way"], row["calls"]): row for row in result("optimize")["rows"] if row["effect_size"] == 1.7}
    off = [abs(row["returned"] - (old := before[row["way"], row["calls"]])["returned"]) / (row["returned_se"]**2 + old["returned_se"]**2)**.5 for row in found["present"]]
    analyst = lambda way, calls: best([row for row in found["limits"] if (row["way"], row["calls"]) == (way, calls) and row.get("knows") == "chances" and row["price"] is not None])
    enough = [min(row["calls"] for row in found["frontier"] if row["way"] == way and row["share"] >= .95 and row["some_idle"] <= .1) if any(row["way"] == way and row["share"] >= .95 and row["some_idle"] <= .1 for row in found["frontier"]) else None for way in SENTENCES]
    most = lambda way, knows, calls=600: share_of(pick("limits", way=way, calls=calls, knows=knows, price=0.))
    lost = lambda way, what: (lambda row: f"{row['more']:.3f} ± {row['more_se']:.3f}")(pick("losses", way=way, what=what))
    helped = [f"{row['what']} ({SENTENCES[row['way']]}: {row['more']:+.3f} ± {row['more_se']:.3f})" for row in found["losses"] if row["more"] > 2 * row["more_se"] > 0 and not any(word in row["what"] for word in ("all calls", "known"))]
    shared = [f"{share:.0%} of {calls} calls: {mean:+.3f} ± {se:.3f}" for calls, share, mean, se in pooled(found["confirm"]) if abs(mean) > 2 * se]
    help = sorted((v for v in found["effects"].values() if v > 0), reverse=True)
    return " ".join([
        f"The settings were not lucky on their seeds: on others the returned shares differ by at most {max(off):.1f} standard errors of the difference.",
        f"The ideas that help bring {', '.join(f'{v:.3f}' for v in help)} by themselves; 408 answers tell one effect to about ±.05, so that the smallest are a matter of luck.",
        f"Named sentences, 600 calls: the rule finds {share_of(pick('losses', way='named', what='as it is'))}; {lost('named', 'all calls to the log')} more if the calls of the confirmation went to the log, which is {share_of(pick('losses', way='named', what='all calls to the log'))}. With all calls, the analyst who knows the sizes of the effects finds {most('named', 'apart')}, the one who knows all but which sentence has which {most('named', 'chances')}. With the 408 calls that the confirmation leaves to the log these two find {most('named', 'apart', 408)} and {most('named', 'chances', 408)}. What the rule loses to the analyst who knows the sizes is small: it is the calls that are missing.",
        f"But nobody finds it without idle sentences: where at most a tenth of the sets may hold one, the best-informed analyst reaches {analyst('named', 600)['share']:.2f} with 600 calls, {analyst('named', 1200)['share']:.2f} with 1,200 and {analyst('named', 2400)['share']:.2f} with 2,400. The present rule, with another k, needs about {enough[0]:,} for both.",
        f"The writer's sentences: the best-informed analyst finds {most('writer', 'chances')} with all 600 calls, so .95 cannot be reached by an analysis that does not read the sentences. The rule finds {share_of(pick('losses', way='writer', what='as it is'))}; the confirmation costs {lost('writer', 'all calls to the log')}, that rewordings are counted apart {lost('writer', 'rewordings known')}, both {lost('writer', 'all calls, rewordings known')}.",
        f"One setting changed: {'; '.join(helped) if helped else 'none'} of those tried finds more by over two standard errors. Another share of the calls for the confirmation changes what is returned, over both kinds of sentences and effect sizes, by more than two standard errors with {'; '.join(shared) if shared else 'none'}.",
        f"Each query: the best single set has {found['best'] / found['each_best']:.2f} of what a set a query could have, so .98 takes more than one prompt. The best-informed analyst reaches {share_of(pick('limits', way='named', calls=600, price=None))} with all 600 calls and a set for each kind. The routers have {', '.join(f'{row_share} with {calls}' for calls, row_share in routed_shares(found['each']))} calls (by query, by kind)."])


def pooled(rows) -> list: # calls, share, more returned than with the present share, its standard error
    "Shares for the confirmation, over all worlds with so many calls."
    groups = {}
    for row in rows:
        if not row["present"]: groups.setdefault((row["calls"], round(row["fresh"] / row["calls"], 2)), []).append(row)
    return [(*key, statistics.mean(r["more"] for r in own), sum(r["more_se"]**2 for r in own)**.5 / len(own)) for key, own in groups.items()]


def routed_shares(rows) -> list: return [(f"{row['calls']:,}", f"{row['router_query']:.2f} and {row['router_kind']:.2f}") for row in rows]


def peers() -> str:
    "Prompt optimizers side by side."
    if not (HERE/"results"/"peers.json").exists(): return ""
    found = result("peers")
    groups = {}
    for row in found["rows"]: groups.setdefault((row["world"], row["faulty"], row["budget"], row["method"]), []).append(row)
    for key in [k for k in groups if k[3] == "ours"]: # what looked best, returned or not
        groups[*key[:3], "ours, the finalist"] = [{k: r[k] for k in ("calls", "money", "seed")} | dict(method="ours, the finalist", share=r["share_promising"]) for r in groups[key]]
    of = {key: peer_row(rows) for key, rows in groups.items()}
    best = lambda key: -statistics.mean(r["share"] for r in groups[key])
    worlds = dict.fromkeys(key[:2] for key in groups)
    head = ["method", "runs", "of the best set's gain", "claim less truth", "claims above", "calls (writer's)", "for a new query", "1,000 tokens", "money", "wall, s", "harmful", "idle"]
    parts = []
    for world, faulty in worlds:
        for budget in sorted({k[2] for k in groups if k[:2] == (world, faulty)}):
            keys = sorted([k for k in groups if k[:3] == (world, faulty, budget)], key=best)
            what = f"{budget} calls of the task model" if budget else "Nothing optimized"
            parts.append(f"**{what}**, world `{world}`{', 15% of the requests refused with 429 and 10% failed with 500' if faulty else ''}:\n\n" + table(head, [of[k] for k in keys]))
    text = ("`python benchmarks/peers/run.py`: each tool optimizes one prompt for a served world whose truth is known, from the same start, with the same queries and the same writer, and no tool gets more task calls than the budget. "
            "Means ± standard errors over seeds. Share: true gain over the start prompt on new queries, of the gain of the best of all 4,096 sets of the world's sentences (in brackets, where a method gives a prompt a query: of the gain of the best set of each query). "
            "Claim: the tool's own score of what it returns, less its exact value. Wall: worked out for answers that take 0.3 s, four at once. Harmful and idle: sentences in the returned prompt that lower the score, or do nothing. "
            "Ours gives the start prompt back where no finalist is shown to be better on fresh queries; the row of the finalist is what it would be without that rule, which no other tool has. "
            f"{found['prices'][0].upper()}{found['prices'][1:]}.")
    return "\n\n".join(["## Prompt optimizers side by side", text, *parts, peers_compared(groups)])


def peers_compared(groups) -> str:
    "Ours less each other tool, seed by seed."
    of = {key[2:]: {r["seed"]: r["share"] for r in rows} for key, rows in groups.items() if key[0] == "compositional" and not key[1] and key[2]}
    def gap(a, b):
        found = [of[a][s] - of[b][s] for s in of[a] if s in of[b]]
        return statistics.mean(found), 2.776 * statistics.stdev(found) / len(found)**.5 if len(found) == 5 else float("nan") # t of four degrees of freedom
    others = [m for b, m in of if b == 600 and not m.startswith("ours")]
    rows = [[m] + [f"{mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f})" for mean, half in (gap(a, (600, m)) for a in ((600, "ours"), (120, "ours"), (120, "ours, the finalist")))] for m in sorted(others, key=lambda m: gap((600, "ours"), (600, m))[0])]
    above = sum(gap((600, "ours"), (600, m))[0] > gap((600, "ours"), (600, m))[1] for m in others)
    held = [r["held"] for rows in groups.values() for r in rows if r.get("held") is not None]
    said = (f"At 600 calls ours lies above each of the {len(others)} others, {above} of them by more than its 95% interval (of five seeds, for one comparison). At 120 calls it is not ahead of what others return after 600. Its own 95% intervals hold the truth in {sum(held)} of {len(held)} runs that took a prompt. "
            "Single sentences: what it returns carries more idle and harmful ones than others do, since it tries many at once; why, and what it would take to leave them out, stands [above](#what-cpoptimize-loses-and-why).")
    return said + "\n\n" + table(["ours less", "600 calls of both", "ours with 120, the other with 600", "the same, finalist whether shown or not"], rows)


def peer_row(rows) -> list:
    "The cells of one method."
    mean = lambda name: statistics.mean(r[name] for r in rows if r.get(name) is not None)
    spread = lambda name: f" ± {statistics.stdev(r[name] for r in rows) / len(rows)**.5:.2f}" if len(rows) > 1 else ""
    calls = lambda name: statistics.mean(r["calls"][name]["calls"] for r in rows)
    count = lambda name: f"{mean(name):.2f}" if any(name in r for r in rows) else ""
    tokens = statistics.mean(sum(c["read"] + c["written"] for name, c in r["calls"].items() if "query" not in name) for r in rows) / 1000
    claims = [r["claim_less_truth"] for r in rows if r.get("claim_less_truth") is not None]
    each, failed = any("share_each" in r for r in rows), sum("error" in r for r in rows)
    per_query = statistics.mean((r["calls"]["task-query"]["calls"] + r["calls"]["writer-query"]["calls"]) / 50 for r in rows)
    return [rows[0]["method"], f"{len(rows)}{f' ({failed} failed)' if failed else ''}", f"{mean('share'):.2f}{spread('share')}" + (f" ({mean('share_each'):.2f})" if each else ""),
            f"{statistics.mean(claims):+.3f}" if claims else "", f"{sum(c > 0 for c in claims) / len(claims):.0%}" if claims else "", f"{calls('task'):.0f} ({calls('writer'):.0f})", f"{per_query:.0f}" if per_query else "",
            f"{tokens:.0f}", f"{mean('money'):.3f}", f"{mean('wall'):.0f}" if any("wall" in r for r in rows) else "", count("harmful"), count("idle")]


RANKED = {"naive boosting": "naive", "CPO, as in the paper": "CPO", "causal, kernel": "causal"}


def ranking(runs) -> str:
    "Causal rewards beside naive boosting on recorded answers."
    from causal_prompts.core import mean_interval
    of = {(r["set"], r["policy"], r["model"], r["split"]): r for r in runs}
    splits = lambda log, model: {key[3]: r for key, r in of.items() if key[:3] == (*log, model)}
    logs = [(s, p) for s in dict.fromkeys(r["set"] for r in runs) for p in dict.fromkeys(r["policy"] for r in runs) if p in ("better-to-harder 5", "random 5") and splits((s, p), "causal, kernel")]
    rows, gaps, times = [], [], []
    for log in logs:
        found = {model: splits(log, model) for model in RANKED}
        for seen in ("seen", "new"):
            tau = {model: [r[f"tau {seen}"] for r in runs.values()] for model, runs in found.items()}
            gaps.append(gap := mean_interval([r[f"tau {seen}"] - found["naive boosting"][k][f"tau {seen}"] for k, r in found["causal, kernel"].items()]))
            rows.append([log[0], log[1].removesuffix(" 5"), seen, *(f"{statistics.mean(t):.3f}" if t else "not run" for t in tau.values()), f"{gap['mean']:+.3f} ({gap['lo']:+.3f} to {gap['hi']:+.3f}; {gap['n']})"])
        times += [r["seconds"] / found["causal, kernel"][k]["seconds"] for k, r in found["CPO, as in the paper"].items()]
    ahead, behind = sum(g["lo"] > 0 for g in gaps), sum(g["hi"] < 0 for g in gaps)
    text = ("`python benchmarks/ranking.py`: recorded outcomes of real models, replayed under two logging policies, five prompts a query: Kendall's tau-b on held-out queries, for prompts the log had seen and for new ones. The records were written by three "
            "runs on different sets and models, put into one file; all models in a row of SST-2 come from one run, CPO was run on SST-2 only, and intervals are over five overlapping splits. The kernel was designed while looking at the SST-2 grid (other splits "
            "of it), so the other sets are the cleaner test. New prompts are few in all sets but SST-2 (three to five a split), hence the wide intervals. With one prompt a query and no recorded difficulty nothing recovers the order, and nothing should: the "
            "script prints those rows too.")
    said = f"Causal is ahead in {ahead} of {len(gaps)} rows, behind in {behind}; in {len(gaps) - ahead - behind} no difference could be shown. On SST-2 its fit takes 1/{statistics.median(times):.0f} of the time of the paper's estimator (median of {len(times)} runs of both)."
    return "\n\n".join(["## Ranking prompts on recorded answers", text, table(["recording", "logged", "prompts", *RANKED.values(), "causal less naive (95% interval; splits)"], rows), said])


def intervals(found) -> str:
    "Coverage of the intervals where the truth is known."
    kinds = {"average": "average effect", "naive": "naive average", "logged": "single effects", "new prompts": "new prompts"}
    rows = [[log, *(f"{of[k]['coverage']:.1%}" if k in of else "not measured" for k in kinds)] for log, of in found["logs"].items()]
    return "\n\n".join(["## Do 95% intervals hold the truth?", "`python benchmarks/interval_coverage.py`: worlds logged two hundred times (168 or 56 times where a prompt is rarely given), share of 95% intervals that hold the truth. The prior of the variances was chosen while "
        "looking at coverage in worlds of the same presets. Rows with a rare baseline or rare arms: 168 logs (with propensities 56) and the errors now in use; the other rows: 200 logs and the errors used before them.", table(["log", *kinds.values()], rows),
        "Averages do, to within the error of that many logs, wherever the log identifies them, and are too wide where propensities are recorded and prompts rarely given; single effects do or are somewhat too wide, those of prompts the log never saw fall short in the "
        "logs with four prompts a query; in the last log nothing identifies the effects, and no interval knows."])


def alarms(found) -> str:
    "How often each check flags a clean log, and a broken one."
    share = lambda r, k: f"{r[f'{k}_share']:.1%} ({r[f'{k}_lo']:.1%} to {r[f'{k}_hi']:.1%})"
    rows, goals = [[r["check"], share(r, "clean"), share(r, "broken"), r["broken_by"]] for r in found["table"]], ("clean_goal", "broken_goal")
    met = sum(all(r[g] == "meets" for g in goals) for r in found["table"])
    missed = ", ".join(r["check"] for r in found["table"] if "misses" in (r[g] for g in goals)) or "none"
    family = found.get("family")
    whole = f" A whole checkup of a clean log ({family['checks']} checks) flagged something in {family['rang']} of {family['logs']}." if family else ""
    return "\n\n".join(["## False positives and power of the checks", f"`python benchmarks/alarms.py`: {found['logs']} logs with nothing wrong, and as many with the trouble each check is there for, at the strength stated. Goals: at most 5% and at least 90%.",
        table(["check", "flags a clean log", "flags a broken one", "broken by"], rows), f"{met} of {len(rows)} checks meet both goals; missing a goal beyond chance: {missed}.{whole}"])


def faults(found) -> str:
    "What failing servers and killed runs do to a log."
    names, sums, killed = ["requests", "rows", "missing", "marked", "wrong", "lost", "doubled"], {}, found["kills"][0]
    for r in found["faults"]: sums[r["fault"]] = [a + r[n] for a, n in zip(sums.get(r["fault"], [0] * len(names)), names)]
    said = (f"Killed {killed['kills']} times, the run ended with {killed['answered_cells']} of {killed['cells']} cells answered, {killed['doubled_in_record']} of them kept twice; {killed['asked_again']} calls that were in flight at a kill were asked again.")
    return "\n\n".join(["## Failing servers and killed runs", "`python benchmarks/collect.py`: one plan of 500 cells, collected from a served world that fails in one way after another, and one run of it killed again and again. Missing: after eight tries; marked: cut off or refused, "
        "kept as such; wrong: another score than on a good day; lost: answered and not in the record; doubled: answered and asked again.", table(["fault", *names], [[f, *map(str, row)] for f, row in sums.items()]), said])


def page() -> str:
    "The whole page."
    found = result("speed")
    parts = dict(fit=fits, dataset=datasets, averages=averages, run=runs, score=scoring, embed=embedding)
    head = "# Benchmarks\n\nMade by `python benchmarks/tables.py` from benchmarks/results; every figure comes from a script that anyone can run. First how good the answers are, then how fast they come; where time goes within a fit and a study stands in [CONTRIBUTING](../CONTRIBUTING.md)."
    known = lambda makers: [make(result(name)) for name, make in makers.items() if (HERE/"results"/f"{name}.json").exists()]
    good = [*known(dict(ranking=ranking, interval_coverage=intervals, alarms=alarms)), real_model(), *filter(None, [choices()]), *known(dict(optimize=searches, sentence_designs=designs)), peers()]
    fast = [*(make(found[name]) for name, make in parts.items()), collecting(), *known(dict(collect=faults, local_runtimes=runtimes, local_limits=limits))]
    return "\n\n".join([head, scripts(), *good, *fast]) + "\n"


if __name__ == "__main__": (HERE/"README.md").write_text(page(), encoding="utf-8")
