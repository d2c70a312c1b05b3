"Made by .ci/entered.py from the pages: do not edit. The pages that enter something in a list, in their order."

ENTERED = dict(
    checks=[
        "rewards",
        "confounding",
        "agreement",
        "placebos",
        "refutation",
        "positivity",
        "power_analysis",
        "calibration",
        "coverage",
        "stability",
        "components",
        "patterns",
        "learning_curve",
        "difficulty",
        "transport",
    ],
    importers=[
        "from_promptfoo",
        "from_inspect",
        "from_lm_eval",
        "from_mlflow",
        "from_batches",
        "from_searches",
        "from_dspy",
        "eval_importers",
        "trace_importers",
    ],
)
