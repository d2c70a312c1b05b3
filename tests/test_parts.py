"""What prompts are made of: pieces without loss, parts with several wordings, families by rules."""
import random, time

import numpy as np
import pandas as pd
import pytest

from causal_prompts.embeddings import TextEncoder
from causal_prompts.parts import conflict, Parts, same_words
from causal_prompts.pieces import cut, KINDS, sentences

FRAGMENTS = ["Be brief.", "e.g. this", "3.5", "1. ", "- ", "* ", "  - ", "\t+ ", "\n", "\r\n", "\n\n", " ", "\t", "```", "```py\n", "~~~", "<a>", "</a>", "<rules>", "</rules>\n",
    "<example>", "</example>\n", "{query}", "{{ x }}", "{% if a %}", "{", "}", "[", "]", '{"a": 1}', "Q: ", "A: ", "Input: x\n", "Output: y\n", "Q: {query}", "# ", "## Head\n", "**Bold**\n",
    "---\n", "| a | b |\n", "读题。", "然后回答！", "こんにちは。", "اشرح الجواب؟ ", "ห้ามอธิบาย ", "ทำทีละขั้น", "नमस्ते।", "https://a.b/c?d=e. ", "Dr. Who", "No. 3", "etc. ", "…", "\u200d", "\ud800",
    "\x00", "\u2028", "\x85", "é", "🙂", "'", '"', "<x>", "</", "<", "$", "%s", "[INPUT]", "x", "lower case words go on and on for a very long line", "\r"]

def joined(pieces): return "".join(p.lead + p.text + p.gap for p in pieces)

def messy(n, seed=0):
    random_ = random.Random(seed)
    return ["".join(random_.choice(FRAGMENTS) for _ in range(random_.randrange(40))) for _ in range(n)]


# pieces

def test_pieces_of_any_text_give_it_back():
    for text in messy(5000):
        pieces = cut(text)
        assert joined(pieces) == text
        assert all(-1 <= p.parent < k and p.kind in KINDS for k, p in enumerate(pieces)), text
        assert not text.strip() or all(p.text.strip() for p in pieces if p.kind != "layout"), text

def test_parts_of_any_texts_give_them_back():
    texts = [t.replace("\ud800", "") for t in messy(2000, 1)] + [""]
    parts = Parts.of(texts)
    back = parts.pieces.assign(whole=parts.pieces["lead"] + parts.pieces["text"] + parts.pieces["gap"]).groupby("prompt")["whole"].sum()
    assert [back.get(i, "") for i in range(len(texts))] == texts
