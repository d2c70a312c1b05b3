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
    "plots", "core", "covariates", "checks", "sources", "columns", "files", "templates", "design", "triplets", "worlds", "grids",
    "embeddings", "support", "spaces", "routes", "rows", "inference", "graph", "rewards", "naive", "cpo", "kernel", "race", "causal", "residuals",
    "confounding", "agreement", "placebos", "refutation", "propensities", "positivity", "power_analysis",
    "identity", "record", "serve", "connection", "llm", "sandbox", "answers", "graders", "tasks", "benchmarks", "tabular", "dabench", "viseval", "pools",
    "collecting", "importers", "eval_importers", "trace_importers", "exporting", "proposers", "treesearch", "measures", "evaluation",
    "calibration", "coverage", "stability", "components", "patterns", "learning_curve", "difficulty", "transport", "diagnostics",
    "widgets", "reporting", "gains", "studies"]
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = ["__version__", *_HOME, *_MODULES]


def __getattr__(name):
    "Modules are imported when one of their names is first asked for: `import causal_prompts` stays fast."
    if name in _MODULES: return _import_module(f".{name}", __name__)
    if name not in _HOME: raise AttributeError(f"module 'causal_prompts' has no attribute {name!r}")
    value = globals()[name] = getattr(_import_module(f".{_HOME[name]}", __name__), name)
    return value


def __dir__(): return sorted({*(n for n in globals() if n.startswith("__")), *__all__})
