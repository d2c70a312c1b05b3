"""One ledger for every tool: a served world that counts each request, and answers no more than the budget.

A run has a server of its own, so calls of two runs cannot be mixed up. The name of the model says what a call is: `task` and `writer` are paid once, `task-query` and `writer-query` for each new query. The name also says
who answers, so that no wording of a request decides whether it is counted. A request for several answers counts as several. Calls of `task` beyond the budget get status 400, which clients do not try again, and are counted as refused."""
import heapq, time

from causal_prompts.local_http import RequestError
from causal_prompts.serve import WorldServer

NAMES = ("task", "writer", "task-query", "writer-query")
PRICES = dict(task=(.15, .60), writer=(2.50, 10.)) # money for a million tokens, read and written; a token is a word or a mark


class Ledger(WorldServer):
    "A served world with a budget of task-model calls."
    def __init__(self, world, budget, latency=.03, seed=0, faults=None):
        super().__init__(world, latency, faults, seed, list(NAMES))
        self.budget, self.spent = budget, 0

    def _read(self, path, body, row):
        held = super()._read(path, body, row)
        row.update(model=body["model"], draws=len(held) * (body.get("n") or 1))
        if row["role"] == "embedding": return held
        wanted = body["model"].split("-")[0]
        row["misread"] = wanted == "task" and any(query is None for _, _, query, _ in held) # a task call in which no query is found
        held = [(messages, wanted if query is not None else "writer", query, prompt) for messages, _, query, prompt in held]
        self._refuse_foreign([query for _, role, query, _ in held if role == "task"])
        if body["model"] == "task": self._charge(row)
        return held

    def payload_of(self, row, body, handler):
        try: return super().payload_of(row, body, handler)
        except RequestError: # not answered, so not paid
            if row.get("refused") is False:
                with self._lock: self.spent -= row["draws"]
            raise

    def _charge(self, row):
        with self._lock:
            row["refused"] = self.spent + row["draws"] > self.budget
            if not row["refused"]: self.spent += row["draws"]
        if row["refused"]: raise RequestError(f"the budget of {self.budget} task calls is spent", 400, "budget_spent")

    def _payload(self, path, body, held, row):
        payload = super()._payload(path, body, held, row)
        usage = payload.get("usage", {})
        row.update(tokens_in=usage.get("prompt_tokens", 0), tokens_out=usage.get("completion_tokens", 0))
        return payload

    def note(self, row, status):
        super().note(row | dict(ended=time.monotonic() - self._started), status)


def busy_seconds(spans) -> float:
    "How long at least one of several (start, end) was on."
    total, until = 0., float("-inf")
    for start, end in sorted(spans):
        total += max(0., end - max(start, until))
        until = max(until, end)
    return total


def chain(spans) -> int:
    "The most of several (start, end) of which each began when the one before had ended: how many answers were waited for one after the other."
    ended, longest, deepest = [], 0, 0 # (end, length of the chain that ends there)
    for start, end in sorted(spans):
        while ended and ended[0][0] <= start: longest = max(longest, heapq.heappop(ended)[1])
        heapq.heappush(ended, (end, longest + 1))
        deepest = max(deepest, longest + 1)
    return deepest


def account(requests) -> dict:
    "What a run asked for: calls, tokens, money, how long it was waiting and for how many answers one after the other (`waves`)."
    served = [r for r in requests if r["status"] == 200 and r.get("model")]
    out = {}
    for name in NAMES:
        own = [r for r in served if r["model"] == name]
        out[name] = dict(calls=sum(r["draws"] for r in own), read=sum(r["tokens_in"] for r in own), written=sum(r["tokens_out"] for r in own))
    money = {name: sum(n * price for n, price in zip((out[name]["read"], out[name]["written"]), PRICES[name.split("-")[0]])) / 1e6 for name in NAMES}
    spans = [(r["seconds"], r["ended"]) for r in served]
    return dict(calls=out, money=money["task"] + money["writer"], money_query=money["task-query"] + money["writer-query"],
                refused=sum(bool(r.get("refused")) for r in requests), misread=sum(bool(r.get("misread")) for r in requests),
                failed=sum(r["status"] != 200 and not r.get("refused") for r in requests), busy=busy_seconds(spans), waves=chain(spans))


def wall_seconds(own_seconds, account, latency=.3) -> float:
    "How long the run would have taken with answers that take so long: what it did itself, and what it waited for."
    return max(0., own_seconds - account["busy"]) + latency * account["waves"]
