"""Records what a local model says to the package's own task sets under their prompts.

    python recordings/make.py [place sentiment ...] [--folder recordings/raw] [--part 0 --of 2] [--draws] [--write causal_prompts/data]

Every query meets every prompt, greedily; sets with labels are asked as a choice among them. One file a prompt is written whole into the folder,
so a run that was killed goes on where it stopped, and several processes (`--part i --of n`, one thread each, which is the fastest way) share the
work. `--draws` adds five draws at temperature 0.7 for a tenth of the cells. `about.json` in each set's folder says which model, texts and settings
the files are of; a run with others refuses to mix. `--write` grades what was recorded and writes one parquet file a set (CC0, our own data);
where a set or its draws are not complete, it refuses and writes nothing."""
import argparse, json, os, platform, time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import pandas as pd

from causal_prompts.core import content_id, whole_file
from causal_prompts.prompt_sets import prompt_bank, prompt_set
from causal_prompts.recordings import LAYOUT, write_recording
from causal_prompts.task_sets import CHOICES, task_set

QUERIES = dict(place=200, sentiment=240, topic=200, json=120, sums=120, thing=120)
MOST = dict(place=24, json=36, sums=14, thing=12) # tokens of a reply
STOP = dict(json="}") # else the end of the line
DRAWS = dict(queries=24, every=6, repeats=5, temperature=.7) # the first queries, every sixth prompt


def plan(name, draws=False):
    "The task with the queries asked, and the prompts."
    task, prompts = task_set(name, QUERIES[name]), prompt_set(name)
    return (task.head(DRAWS["queries"]), prompts.iloc[::DRAWS["every"]]) if draws else (task, prompts)

def place(folder, name, draws=False): return folder/f"smol-{name}{'-draws' * draws}"

def settings(name, draws=False):
    "How the model is asked."
    if draws: return dict(most=MOST[name], stop=STOP.get(name, "\n"), temperature=DRAWS["temperature"], repeats=DRAWS["repeats"])
    if name in CHOICES: return dict(choices=CHOICES[name])
    return dict(most=MOST[name], stop=STOP.get(name, "\n"), temperature=0.)

def about(name, model, draws=False):
    "What a folder of files is of."
    task, prompts = plan(name, draws)
    texts = dict(queries=content_id(*task.items["query"]), prompts=content_id(*prompts["prompt"]))
    versions = {p: version(p) for p in ("causal_prompts", "torch", "transformers", "numpy")} | dict(python=platform.python_version())
    turns = model.tokenizer.decode(model.ids([dict(role="user", content="{prompt}")])) # with the system turn that the template brings
    how = settings(name, draws) | dict(dtype="float32", conversation=turns)
    return dict(task=name, model=model.name, sha256=model.weights.sha256, texts=texts, settings=how, versions=versions)

def settle(folder, now):
    "Write what the folder is of, or refuse where it is of something else; versions may differ and are all kept."
    folder.mkdir(parents=True, exist_ok=True)
    file = folder/"about.json"
    was = json.loads(file.read_text()) if file.exists() else dict(now, versions=[])
    other = [k for k in now if k != "versions" and was.get(k) != json.loads(json.dumps(now[k]))]
    if other: raise SystemExit(f"{folder} must hold files of one model, text and setting, got other {', '.join(other)}; take another --folder")
    if now["versions"] not in was["versions"]:
        with whole_file(file) as part: Path(part).write_text(json.dumps(was | dict(versions=[*was["versions"], now["versions"]]), indent=1))


# ---- asking

def choose(model, task, prompt, choices):
    "The log-probability of each label, a row a query."
    from causal_prompts.local_model import Request
    ids = [model.ids(task.messages(prompt, item)) for item in task]
    chances = model.choose([Request(tuple(i)) for i in ids], choices)
    return [dict(query_id=q, repeat=0, logprobs=[float(c) for c in row], n_prompt=len(i)) for q, row, i in zip(task.items["query_id"], chances, ids)]

def answer(model, task, prompt, most, stop, temperature, repeats=1):
    "The replies, a row a query and repeat."
    from causal_prompts.local_model import Request
    asked = [(q, k, tuple(model.ids(task.messages(prompt, item)))) for q, item in zip(task.items["query_id"], task) for k in range(repeats)]
    how = dict(most=most, stop=(stop,), temperature=temperature)
    got = model.answer([Request(ids, seed=k if temperature else None, **how) for _, k, ids in asked])
    return [dict(query_id=q, repeat=k, reply=g.text, finish=g.finish, n_prompt=g.n_prompt, n_reply=len(g.ids)) for (q, k, _), g in zip(asked, got)]

def record(model, name, folder, draws=False, part=0, of=1):
    "Ask what is not yet in the folder."
    settle(folder, about(name, model, draws))
    task, prompts = plan(name, draws)
    how, ask = settings(name, draws), choose if name in CHOICES else answer
    for i, row in enumerate(prompts.to_dict("records")):
        file = folder/f"{row['prompt_id']}.json"
        if i % of != part or file.exists(): continue
        start = time.time()
        rows = ask(model, task, row["prompt"], **how)
        with whole_file(file) as whole: Path(whole).write_text(json.dumps(rows))
        print(f"{folder.name} {row['prompt_id']}: {len(rows)} calls, {len(rows) / (time.time() - start):.1f} a second", flush=True)


# ---- grading

def chosen(frame, task, choices):
    "The likeliest label (`reply`), right or not; the same after each prompt's median of every label over all its queries is taken off, which leaves little lean between two labels and some among five; by how much the right label leads."
    chances, at = np.array(frame["logprobs"].tolist()), np.arange(len(frame))
    references = task.items.set_index("query_id")["reference"]
    right = np.array([choices.index(references[q]) for q in frame["query_id"]])
    level = chances - pd.DataFrame(chances).groupby(frame["prompt_id"].to_numpy()).transform("median").to_numpy()
    others = chances.copy()
    others[at, right] = -np.inf
    margin = (chances[at, right] - others.max(1)).astype("float32").round(3)
    best = chances.argmax(1)
    return frame.assign(reply=np.array(choices)[best], score=(best == right) * 1., score_calibrated=(level.argmax(1) == right) * 1., score_margin=margin)

def complete(name, folder, draws=False):
    "The files of a folder, or a refusal where one is missing."
    files = [folder/f"{p}.json" for p in plan(name, draws)[1]["prompt_id"]]
    if missing := sum(not f.exists() for f in files):
        raise SystemExit(f"{folder} must be complete to be written, got {missing} of {len(files)} prompts are missing; record them{' with --draws' * draws}, or move the folder away")
    return files

def writable(name, folder, out):
    "Which of grid and draws there are, both complete, or a refusal; nothing that ships is lost."
    there = [draws for draws in (False, True) if place(folder, name, draws).exists()]
    if False not in there: raise SystemExit(f"{place(folder, name)} must hold the grid of {name!r}, got no such folder; record it first, or name another --folder")
    for draws in there: complete(name, place(folder, name, draws), draws)
    old = Path(out)/f"smol-{name}.parquet"
    if True not in there and old.exists() and (pd.read_parquet(old, columns=["part"])["part"] == "draws").any():
        raise SystemExit(f"{place(folder, name, True)} must exist, as {old} has draws that would be lost, got no such folder; record them with --draws, or name another folder to write to")
    return there

def gathered(name, folder, draws=False):
    "All calls of a complete folder with their grades."
    task, prompts = plan(name, draws)
    files = complete(name, folder, draws)
    frame = pd.concat([pd.DataFrame(json.loads(f.read_text())).assign(prompt_id=f.stem) for f in files], ignore_index=True)
    items = task.items.set_index("query_id", drop=False)
    if name in CHOICES: frame = chosen(frame, task, CHOICES[name])
    else: frame["score"] = [task.score(reply, items.loc[q]).score for reply, q in zip(frame["reply"], frame["query_id"])]
    held = (prompts[prompt_bank(name).ids].fillna(0) > 0).to_numpy(bool)
    parts = [json.dumps([p for p, there in zip(prompt_bank(name).ids, row) if there]) for row in held]
    frame = frame.merge(items[["query", "difficulty", "kind"]], left_on="query_id", right_index=True)
    return frame.merge(prompts[["prompt_id", "prompt", "family"]].assign(parts=parts), on="prompt_id")

def write(name, folder, out):
    "One file of the package: the grid, and the draws where there are any."
    frames = [gathered(name, place(folder, name, draws), draws).assign(part="draws" if draws else "grid") for draws in writable(name, folder, out)]
    grid = frames[0]
    what = json.loads((place(folder, name)/"about.json").read_text())
    n, m = grid["query_id"].nunique(), grid["prompt_id"].nunique()
    meta = dict(model=what["model"], sha256=what["sha256"], task=name, licence="CC0-1.0", settings=what["settings"], versions=what["versions"],
        what=f"{what['model']}, {name}: {n} queries x {m} prompts", traps=TRAPS.get(name, "one deterministic reply a cell"))
    frame = pd.concat(frames, ignore_index=True)
    print(write_recording(frame[[c for c in LAYOUT if c in frame]], meta, Path(out)/f"smol-{name}.parquet"))

TRAPS = dict(
    place="a small model repeats the note: a quotation of several sentences, or of one cut short, is no answer; replies are cut at 24 tokens (finish says which); the wording of a part moves the score more than the part; the score counts the first name, whatever else is named, and the grader decides the sign of several parts (context, think, short, lead, own), which turns where the right name anywhere counts",
    sentiment="the likelier of two labels: many prompts lean to one, and score rewards or punishes the lean; score_calibrated takes off each label's median over all of the prompt's queries, held-out ones too; reply is the likelier label before that; the kinds of queries were chosen after a look at scores of an earlier recording, in which most kinds were at chance",
    topic="the likeliest of five labels: most prompts lean to one, so that score is near chance (.2); score_calibrated takes off each label's median over all of the prompt's queries, held-out ones too, and still favours some labels; reply is the likeliest label before that")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", choices=[[], *QUERIES], help="sets; none: all")
    parser.add_argument("--folder", default="recordings/raw", help="for one file a prompt")
    parser.add_argument("--part", type=int, default=0), parser.add_argument("--of", type=int, default=1)
    parser.add_argument("--draws", action="store_true", help="five draws at temperature 0.7, of written replies")
    parser.add_argument("--weights", help="a .gguf file or a folder; none: the embedded model")
    parser.add_argument("--write", metavar="FOLDER", help="grade what was recorded, and ask nothing")
    args = parser.parse_args(argv)
    if not 0 <= args.part < args.of: raise SystemExit(f"--part must be 0 or more and less than --of, got --part {args.part} --of {args.of}; of two processes, one takes --part 0 --of 2 and one --part 1 --of 2")
    names, folder = args.names or [*QUERIES], Path(args.folder)
    if args.write:
        names = args.names or [name for name in QUERIES if place(folder, name).exists() or place(folder, name, True).exists()]
        if not names: raise SystemExit(f"{folder} must hold recordings, got none; record first, or name another --folder")
        for name in names: writable(name, folder, args.write) # all, before the first is written
        for name in names: write(name, folder, args.write)
        return
    from causal_prompts.local_model import LocalModel
    model = LocalModel(args.weights, threads=1)
    for name in names:
        if args.draws and name in CHOICES: print(f"{name}: a choice has no draws"); continue
        record(model, name, place(folder, name, args.draws), args.draws, args.part, args.of)

if __name__ == "__main__": main()
