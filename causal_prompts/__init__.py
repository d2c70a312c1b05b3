"Learn offline, from a log of (query, prompt, score), what a prompt causes."

__version__ = "0.1.0"

from importlib import import_module

_PUBLIC = {
    "core": ["Finding", "content_id"],
    "triplets": ["Triplets"],
    "worlds": ["World", "Grid", "load_dataset"],
    "record": ["Record"],
    "serve": ["serve_world"],
    "llm": ["LLM", "Limits"],
    "tasks": ["Task", "load_task", "world_task"],
    "embeddings": ["TextEncoder"],
    "graph": ["PromptGraph"],
    "naive": ["NaiveReward"],
    "cpo": ["CPOReward"],
    "causal": ["CausalReward", "load_reward"],
    "treesearch": ["search", "EditProposer"],
    "evaluation": ["ranking", "compare"],
    "diagnostics": ["checkup"],
    "widgets": ["ConfoundingSteps", "PositivityExplorer", "SearchReplay"],
}
_MODULES = ["sandbox", "graders", "tasks", "tabular", "pools", "collect", "importers", "eval_importers", "trace_importers", "covariates", "checks", "confounding", "agreement", "placebos", "refutation", "positivity", "power_analysis", "calibration", "coverage", "stability", "components", "patterns", "transport", "report"] # reached as cp.confounding.balance(...)
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = ["__version__", *_HOME, *_MODULES]


def __getattr__(name):
    "Modules are imported when one of their names is first asked for: `import causal_prompts` stays fast."
    if name in _MODULES: return import_module(f".{name}", __name__)
    if name not in _HOME: raise AttributeError(f"module 'causal_prompts' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOME[name]}", __name__), name)
    return value


def __dir__(): return sorted({*globals(), *__all__})
