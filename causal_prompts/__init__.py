"Learn offline, from a log of (query, prompt, score), what a prompt causes."

__version__ = "0.1.0"

from importlib import import_module as _import_module

_PUBLIC = { # module -> what stands on the package itself; the rest is one dot deeper
    "core": ["Finding"],
    "triplets": ["Triplets", "read"],
    "worlds": ["World"],
    "grids": ["load_dataset"],
    "record": ["Record"],
    "serve": ["serve_world"],
    "llm": ["LLM"],
    "tasks": ["Task"],
    "naive": ["NaiveReward"],
    "cpo": ["CPOReward"],
    "causal": ["CausalReward"],
    "treesearch": ["search"],
    "evaluation": ["ranking"],
    "diagnostics": ["checkup"],
    "studies": ["study"],
}
_MODULES = [ # reached as cp.confounding.balance(...)
    "core", "covariates", "checks", "design", "embeddings", "support", "spaces", "grids", "graph", "routes", "rows", "inference", "rewards", "causal",
    "confounding", "agreement", "placebos", "refutation", "positivity", "power_analysis", "calibration", "coverage", "stability", "components", "patterns",
    "learning_curve", "difficulty", "transport", "measures", "evaluation", "proposers", "connection", "sandbox", "graders", "tasks", "benchmarks",
    "dabench", "viseval", "tabular", "pools", "collecting", "importers", "eval_importers", "trace_importers", "exporting", "reporting", "widgets"]
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = ["__version__", *_HOME, *_MODULES]


def __getattr__(name):
    "Modules are imported when one of their names is first asked for: `import causal_prompts` stays fast."
    if name in _MODULES: return _import_module(f".{name}", __name__)
    if name not in _HOME: raise AttributeError(f"module 'causal_prompts' has no attribute {name!r}")
    value = globals()[name] = getattr(_import_module(f".{_HOME[name]}", __name__), name)
    return value


def __dir__(): return sorted({*(n for n in globals() if n.startswith("__")), *__all__})
