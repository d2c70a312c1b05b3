"Encoders without a model, shared by the tests."
import re
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from causal_prompts.core import content_id
from causal_prompts.worlds import World


class Words:
    "A bag of words hashed to 64 numbers."
    def __init__(self): self.calls = 0
    def encode(self, texts, role="prompt"):
        self.calls += 1
        return HashingVectorizer(n_features=64, alternate_sign=True, norm="l2").transform(texts).toarray().astype(np.float32)


class Ideas:
    "Which ideas a prompt holds, and a little of its words; which words a query has."
    def encode(self, texts, role="prompt"):
        E = np.zeros((len(texts), 80))
        for i, t in enumerate(texts):
            for w in t.lower().split(): E[i, int(content_id(w), 16) % 64] += .25
        if role == "prompt": E[:, 64:76] = 2 * World().parse(list(texts)).to_numpy()
        return (E / np.linalg.norm(E, axis=1, keepdims=True)).astype(np.float32)


def examples():
    "The names that the Python examples of CONTRIBUTING.md define, and what they entered in the lists of checks and tools, which are left as they were."
    from causal_prompts import checks, tool_logs
    lists = checks.CHECKS, tool_logs.TOOLS
    kept, space = [dict(names) for names in lists], {}
    text = (Path(__file__).resolve().parents[1]/"CONTRIBUTING.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL): exec(compile(block, "CONTRIBUTING.md", "exec"), space)
    space["entered"] = [{name: v for name, v in names.items() if name not in before} for names, before in zip(lists, kept)]
    for names, before in zip(lists, kept):
        names.clear()
        names.update(before)
    return space
