"Encoders without a model, shared by the tests."
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
