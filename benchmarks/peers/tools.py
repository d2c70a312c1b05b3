"""One run of a tool of others, in the peers' environment: `python benchmarks/peers/tools.py SPEC OUT`. Nothing of this package is imported here.

Each tool is used as its documentation says, with the budget of task-model calls told in its own terms so that it spends nearly all of it. Where it scores on a fixed set, the set is the first eighth of the budget, of the validation
queries: about eight candidates can be scored in full. Prompts are instructions without solved examples: in this world examples do nothing, and choosing them costs calls. Four calls at once."""
import json, os, random, sys, time
from pathlib import Path

AT_ONCE = 4


def right(reply, reference) -> float: return float(reply.strip().splitlines()[-1].removeprefix("Answer: ") == reference)


# ---- dspy

def dspy_parts(spec):
    "The module, its program, examples to train and validate on, and the writer."
    import dspy
    lm = lambda name: dspy.LM(f"openai/{name}", api_base=spec["url"], api_key="none", cache=False, num_retries=3, temperature=1.)
    dspy.configure(lm=lm("task"))
    examples = lambda items: [dspy.Example(question=q, answer=a).with_inputs("question") for q, a in items]
    program = dspy.Predict(dspy.Signature("question -> answer", spec["start"]))
    return dspy, program, examples(spec["train"]), examples(spec["val"][:spec["budget"] // 8]), lm("writer")

def exact(example, prediction, trace=None, pred_name=None, pred_trace=None): return float(example.answer == prediction.answer)

def instructions(program) -> str: return program.predictors()[0].signature.instructions

def mipro(spec):
    "A full score of the start prompt, nine trials on thirds of the validation set, a full score after every fourth and at the end."
    dspy, program, train, val, writer = dspy_parts(spec)
    made = dspy.MIPROv2(metric=exact, auto=None, num_candidates=6, max_bootstrapped_demos=0, max_labeled_demos=0, prompt_model=writer, num_threads=AT_ONCE, seed=spec["seed"], max_errors=10_000, log_dir="log")
    found = made.compile(program, trainset=train, valset=val, num_trials=9, minibatch_size=max(1, len(val) // 3), minibatch_full_eval_steps=4)
    return dict(prompts=instructions(found), claimed_value=found.score / 100)

def dspy_gepa(spec):
    dspy, program, train, val, writer = dspy_parts(spec)
    most = spec["budget"] - len(val) - 6 # it looks at the budget before a step, and a step costs two batches of three and a full score
    made = dspy.GEPA(metric=feedback, max_metric_calls=most, reflection_lm=writer, num_threads=AT_ONCE, track_stats=True, seed=spec["seed"])
    found = made.compile(program, trainset=train, valset=val)
    result = found.detailed_results
    return dict(prompts=instructions(found), claimed_value=float(result.val_aggregate_scores[result.best_idx]))

def feedback(example, prediction, trace=None, pred_name=None, pred_trace=None):
    import dspy
    score = exact(example, prediction)
    return dspy.Prediction(score=score, feedback="Right." if score else f"Wrong. The right answer is {example.answer}.")

def copro(spec):
    "Four candidates a round and two rounds, each scored on the whole set."
    dspy, program, train, val, writer = dspy_parts(spec)
    found = dspy.COPRO(prompt_model=writer, metric=exact, breadth=4, depth=2).compile(program, trainset=val, eval_kwargs=dict(num_threads=AT_ONCE, display_progress=False))
    return dict(prompts=instructions(found), claimed_value=found.candidate_programs[0]["score"] / 100)


# ---- gepa

def gepa_optimize(spec):
    import gepa
    from gepa.adapters.default_adapter.default_adapter import DefaultAdapter
    data = lambda items: [dict(input=q, additional_context={}, answer=f"Answer: {a}") for q, a in items]
    val = data(spec["val"][:spec["budget"] // 8])
    os.environ |= dict(OPENAI_API_BASE=spec["url"], OPENAI_BASE_URL=spec["url"])
    found = gepa.optimize(seed_candidate=dict(system_prompt=spec["start"]), trainset=data(spec["train"]), valset=val, adapter=DefaultAdapter("openai/task", max_litellm_workers=AT_ONCE), reflection_lm="openai/writer", max_metric_calls=spec["budget"] - len(val) - 6,
                          seed=spec["seed"], display_progress_bar=False, raise_on_exception=True)
    return dict(prompts=found.best_candidate["system_prompt"], claimed_value=float(found.val_aggregate_scores[found.best_idx]))


# ---- textgrad

def textgrad_validated(spec):
    "Batches of three, a step kept only where the validation score does not fall, as its prompt-optimization example does."
    import numpy as np
    import textgrad as tg
    from openai import OpenAI
    from textgrad.autograd.string_based_ops import StringBasedFunction
    from textgrad.engine.local_model_openai_api import ChatExternalClient
    client = OpenAI(base_url=spec["url"], api_key="none", max_retries=3)
    task, writer = (ChatExternalClient(client=client, model_string=name) for name in ("task", "writer"))
    tg.set_backward_engine(writer, override=True)
    prompt = tg.Variable(spec["start"], requires_grad=True, role_description="structured system prompt to a language model that answers questions")
    model, optimizer = tg.BlackboxLLM(task, prompt), tg.TextualGradientDescent(engine=writer, parameters=[prompt])
    judge = StringBasedFunction(lambda prediction, ground_truth_answer: str(int(right(prediction.value, ground_truth_answer.value))), "The runtime of string-based function that checks if the prediction is correct.")
    rng, (train, val) = np.random.default_rng(spec["seed"]), (spec["train"], spec["val"][:spec["budget"] // 8])
    score = lambda: float(np.mean(in_threads(lambda item: right(task(item[0], system_prompt=prompt.value), item[1]), val)))
    best, kept = score(), prompt.value
    for _ in range((spec["budget"] - len(val)) // (len(val) + 3)):
        optimizer.zero_grad()
        losses = []
        for i in rng.choice(len(train), 3, replace=False):
            query = tg.Variable(train[i][0], requires_grad=False, role_description="query to the language model")
            answer = tg.Variable(train[i][1], requires_grad=False, role_description="correct answer for the query")
            losses.append(judge(inputs=dict(prediction=model(query), ground_truth_answer=answer), response_role_description="evaluation of the prediction"))
        tg.sum(losses).backward()
        optimizer.step()
        now = score()
        if now < best: prompt.set_value(kept)
        else: best, kept = now, prompt.value
    return dict(prompts=kept, claimed_value=best)

def in_threads(f, items):
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(AT_ONCE) as pool: return list(pool.map(f, items))


# ---- promptolution

def promptolution_run(spec, name):
    "A population of six: the start prompt and five variants by the writer; steps until the budget would be passed."
    import numpy as np
    import pandas as pd
    from promptolution.llms import APILLM
    from promptolution.optimizers import CAPO, EvoPromptGA, OPRO
    from promptolution.predictors import MarkerBasedPredictor
    from promptolution.tasks import ClassificationTask
    from promptolution.utils.callbacks import BaseCallback
    from promptolution.utils.prompt_creation import create_prompt_variation
    random.seed(spec["seed"])
    np.random.seed(spec["seed"])
    llm, writer = (APILLM(api_url=spec["url"], model_id=m, api_key="none", max_concurrent_calls=AT_ONCE, max_retries=0, client_kwargs=dict(max_retries=3)) for m in ("task", "writer"))
    ask = f"{spec['start']} Put the answer in <final_answer> tags."
    initial = [ask, *create_prompt_variation([ask] * 5, writer)]
    size = max(4, spec["budget"] // 24) # queries a score
    block, blocks = max(4, spec["budget"] // 75), name == "CAPO" # CAPO races on three blocks at most
    frame = pd.DataFrame(spec["val"], columns=["x", "y"])
    task = ClassificationTask(frame if blocks else frame.iloc[:size], n_subsamples=block if blocks else size, eval_strategy="sequential_block" if blocks else "full", seed=spec["seed"], task_description="Answer the question.")
    how = dict(predictor=MarkerBasedPredictor(llm), task=task, meta_llm=writer, initial_prompts=initial, callbacks=[stop_in_time(BaseCallback, llm, spec["budget"], {"CAPO": 4 * 3 * block, "EvoPrompt": 6 * size, "OPRO": 4 * size}[name])])
    if blocks: made = CAPO(**how, upper_shots=0, crossovers_per_iter=4, max_n_blocks_eval=3, df_few_shots=pd.DataFrame(spec["train"], columns=["x", "y"]))
    else: made = EvoPromptGA(**how) if name == "EvoPrompt" else OPRO(**how, num_instructions_per_step=4)
    count_calls(llm)
    prompts = made.optimize(n_steps=50)
    if len(made.scores) < len(prompts): return best_in_cache(task) # it ended within its first step
    best = int(np.argmax(made.scores))
    return dict(prompts=str(prompts[best]), claimed_value=float(made.scores[best]))

def best_in_cache(task):
    "The prompt with the best mean of those scored most often."
    scores = {}
    for (prompt, *_), score in task.eval_cache.items(): scores.setdefault(prompt, []).append(float(score))
    most = max(map(len, scores.values()))
    best = max((p for p in scores if len(scores[p]) == most), key=lambda p: sum(scores[p]))
    return dict(prompts=best, claimed_value=sum(scores[best]) / most, note="its own end was not reached")

def count_calls(llm):
    llm.calls, ask = 0, llm._get_response
    def counted(prompts, system_prompts):
        llm.calls += len(prompts)
        return ask(prompts, system_prompts)
    llm._get_response = counted

def stop_in_time(base, llm, budget, widest):
    "A callback that ends before the next step, of at most so many calls, could pass the budget."
    class Stop(base):
        def __init__(self): pass
        def on_step_end(self, optimizer): return llm.calls + widest <= budget
        def on_epoch_end(self, optimizer): return True
        def on_train_end(self, optimizer): return True
    return Stop()


METHODS = {"MIPROv2": mipro, "GEPA": dspy_gepa, "COPRO": copro, "gepa": gepa_optimize, "TextGrad": textgrad_validated, **{name: (lambda spec, name=name: promptolution_run(spec, name)) for name in ("CAPO", "EvoPrompt", "OPRO")}}
IMPORTS = {"MIPROv2": "dspy", "GEPA": "dspy", "COPRO": "dspy", "gepa": "gepa", "TextGrad": "textgrad"}


def main(spec, out):
    "One run: read, optimize, write."
    spec = json.loads(Path(spec).read_text(encoding="utf-8"))
    for name in [IMPORTS.get(spec["method"], "promptolution"), "litellm"][:1 if spec["method"] in ("CAPO", "EvoPrompt", "OPRO") else 2]: __import__(name) # what an import costs is no part of a run
    start = time.perf_counter()
    answer = METHODS[spec["method"]](spec)
    Path(out).write_text(json.dumps(answer | dict(seconds=time.perf_counter() - start)), encoding="utf-8")
    os._exit(0) # threads of tools may linger


if __name__ == "__main__": main(*sys.argv[1:])
