"Made by .ci/stub.py from the package itself: do not edit."
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as _np
import pandas as _pd
from . import collect as collect
from . import confounding as confounding
from . import covariates as covariates
from . import eval_importers as eval_importers
from . import graders as graders
from . import importers as importers
from . import pools as pools
from . import positivity as positivity
from . import refutation as refutation
from . import report as report
from . import sandbox as sandbox
from . import stability as stability
from . import tabular as tabular
from . import tasks as tasks
from . import trace_importers as trace_importers
from . import transport as transport

__version__: str

class Finding:
    'One answer about a log or a model: table, verdict, reading, picture.'
    def __init__(self, question: str, table: _pd.DataFrame, verdict: str, reading: str, threshold: str = ..., advice: str = ..., facts: dict = ..., form: tuple | None = ..., data: _pd.DataFrame | None = ...) -> None: ...
    advice: str
    data: _pd.DataFrame | None
    facts: dict
    form: tuple | None
    @classmethod
    def from_dict(cls, d: dict) -> Finding:
        'A finding from its data.'
    def plot(self) -> Any:
        'The picture, drawn from the stored table.'
    question: str
    reading: str
    table: _pd.DataFrame
    threshold: str
    def to_dict(self) -> dict:
        'The finding as JSON-able data.'
    verdict: str


def content_id(*parts) -> str:
    'A stable id of one text, or of several in order.'


class Triplets:
    'A checked log of (query, prompt, score), one row a draw.'
    def __init__(self, frame: _pd.DataFrame, score_range: tuple = ..., adaptive: bool = ..., covariates: list | None = ...) -> None: ...
    adaptive: bool
    @property
    def covariates(self) -> list:
        "Names of what is known beside the query's text: covariates, and model and task where they have two levels or more."
    def design(self, query_features = ..., permutations: int = ..., random_state: int = ...) -> Finding:
        'How the prompts of this log were assigned, and what can be learned from that.'
    frame: _pd.DataFrame
    @property
    def groups(self) -> _np.ndarray:
        '(n,) ids of the unit inside which prompts are compared: the query, under one model and one task.'
    notes: tuple
    @property
    def prompts(self) -> _pd.DataFrame:
        'prompt_id, prompt, n (scored rows) and mean score, in order of appearance.'
    def propensity_check(self, query_features = ..., permutations: int = ..., random_state: int = ...) -> Finding:
        'Do the recorded propensities agree with the choices made?'
    @property
    def queries(self) -> _pd.DataFrame:
        'query_id, query, n (scored rows) and task, in order of appearance.'
    @property
    def query_numbers(self) -> _np.ndarray:
        '(n_queries, d) features of the queries, in the order of `queries`: words and covariates, as `design` sees them.'
    @classmethod
    def read(cls, source, columns: dict | None = ..., score_range: tuple | None = ..., adaptive: bool | None = ..., covariates: list | None = ..., prompts = ..., templates: bool = ...) -> Triplets:
        'A log from a file, a folder or a DataFrame, checked.'
    def require_effects(self) -> None:
        'Raise where no effect of a prompt can be asked of this log, and name what it still serves for.'
    score_range: tuple
    @property
    def scored(self) -> Triplets:
        'The rows that have a score.'
    def split(self, queries: float = ..., prompts: float = ..., by: str | list | None = ..., seed: int = ...) -> tuple[Triplets, Triplets]:
        'Hold out queries and prompts jointly.'
    def take(self, rows) -> Triplets:
        'The log of these rows.'
    def templates(self) -> Triplets:
        'The log with {query} where prompts hold their own query, so that equal templates are one prompt.'
    def where(self, **levels) -> Triplets:
        'The rows whose columns have these values.'
    def write(self, path) -> Path:
        'Write the log as parquet; `Triplets.read` gives it back unchanged.'


def read(source, **how) -> Triplets:
    'A log from a file, a folder or a DataFrame, checked.'


class World:
    'A structural causal world that writes queries and prompts, logs scores, and knows every potential outcome.'
    def __init__(self, confounding: float = ..., visible: bool = ..., overlap: float = ..., noise: float = ..., nonlinearity: float = ..., repeats: int = ..., seed: int = ..., graded: bool = ..., prompts_per_query: int = ...) -> None: ...
    baseline: Any
    confounding: float
    def draw(self, queries, prompts, repeats: int = ..., seed: int = ...) -> _np.ndarray:
        'Scored answers of every prompt on every query.'
    @property
    def edges(self) -> _pd.DataFrame:
        'The arrows between them.'
    def effect(self, queries, prompts, baseline: str | None = ...) -> _np.ndarray:
        'The gain of each prompt over the baseline prompt on each query, exactly.'
    graded: bool
    @property
    def ideas(self) -> _pd.DataFrame:
        'Every idea with the gain it brings when added to the baseline prompt.'
    @property
    def interaction(self) -> _pd.DataFrame:
        'What the two interacting ideas bring together beyond the sum of both.'
    def log(self, n_queries: int = ..., prompts_per_query: int | None = ..., n_prompts: int = ..., seed: int = ..., propensities: bool = ..., covariates: bool = ...) -> Triplets:
        'A log of this world: queries arrive, the policy chooses prompts, answers are scored.'
    @property
    def nodes(self) -> _pd.DataFrame:
        'The variables of the world, with a place for the picture.'
    noise: float
    nonlinearity: float
    overlap: float
    def parse(self, prompts) -> _pd.DataFrame:
        'Which ideas each prompt carries.'
    @staticmethod
    def preset(name: str, **overrides) -> World:
        'A world by name, any setting overridden.'
    def prompts(self, n: int = ..., seed: int = ...) -> list[str]:
        '`n` different prompts.'
    prompts_per_query: int
    def propensity(self, queries, prompts, prompts_per_query: int | None = ...) -> _np.ndarray:
        "Exact probability that a query's rows in a log contain each prompt of the pool."
    def quality(self, prompts) -> _np.ndarray:
        'Exact mean score of each prompt over all queries of the world.'
    def queries(self, n: int = ..., seed: int = ...) -> _pd.DataFrame:
        '`n` different queries.'
    repeats: int
    @property
    def rephrasings(self) -> Any: ...
    seed: int
    def value(self, queries, prompts) -> _np.ndarray:
        'What each prompt would score on each query, exactly.'
    visible: bool


class Grid:
    'A fully crossed recording: the scores of every query under every prompt.'
    def __init__(self, log: Triplets) -> None: ...
    def replay(self, policy: str = ..., k: int = ..., floor: float = ..., strength: float = ..., seed: int = ..., repeats: int = ..., rounds: int = ...) -> Triplets:
        'The log that a policy would have left of this grid.'


def load_dataset(name: str, score: str | None = ..., part: str | None = ...) -> Triplets:
    'A recorded set as a log.'


class Record:
    'What was asked of models, what they said, what it cost.'
    def __init__(self, path: str | Path | None = ..., *, calls: int | None = ..., tokens: int | None = ..., money: float | None = ..., offline: bool = ...) -> None: ...
    def close(self) -> Any:
        'Everything on disk, the file free for another writer.'
    @property
    def frame(self) -> _pd.DataFrame:
        'What was asked and said.'
    def get(self, key) -> Any: ...
    def ledger(self, queries: int | None = ...) -> _pd.DataFrame:
        'What was spent, by stage, role and model.'


def serve_world(world: World, port: int = ..., latency: float = ..., faults: dict | None = ..., seed: int = ..., host: str = ..., models: list | None = ...) -> Any:
    'Serve a world on this machine.'


class LLM:
    'A model behind an OpenAI-style server, in one role.'
    def __init__(self, model: str, base_url: str | None = ..., settings: dict | None = ..., *, role: str = ..., stage: int = ..., price: tuple | None = ..., record: Record | None = ..., limits: Limits = ..., api_key: str | None = ..., alias: str | None = ..., client: dict | None = ...) -> None: ...
    def ask(self, messages, replicate: int = ...) -> Any:
        'One answer.'
    def ask_all(self, requests: list, replicates: int = ..., show: bool | None = ...) -> Any:
        'Many answers at once, in the order asked for; those that failed have status "error".'


class Limits:
    'How patiently and how fast a model is asked.'
    def __init__(self, concurrency: int = ..., rpm: float | None = ..., tpm: float | None = ..., tries: int = ..., timeout: float = ..., deadline: float = ...) -> None: ...
    concurrency: int
    deadline: float
    rpm: float | None
    timeout: float
    tpm: float | None
    tries: int


class Task:
    'Queries with references, a grader to [0, 1], and a baseline prompt.'
    def __init__(self, name: str, items: _pd.DataFrame, grade: Callable, baseline: str, fields: tuple = ..., examples: tuple = ..., grader_version: str = ..., source: dict = ...) -> None: ...
    def agrade(self, reply: str, item) -> Any:
        'The grade of a reply; where the grader fails, NaN and the error.'
    baseline: str
    def draw(self, n: int, seed: int = ..., by: str | None = ...) -> Task:
        'A random subset.'
    examples: tuple
    fields: tuple
    grade: Callable
    grader_version: str
    def head(self, n) -> Any: ...
    items: _pd.DataFrame
    def messages(self, prompt: str, item) -> list[dict]:
        'The final messages of a prompt on a query.'
    name: str
    def score(self, reply: str, item) -> Any:
        'The grade of a reply, waited for.'
    source: dict
    def take(self, which) -> Task:
        'Some of the queries, in the order of the items.'


def load_task(name: str, path = ..., n: int | None = ..., split: str = ..., seed: int = ..., examples: int = ..., revision: str | None = ..., sha256: str | None = ..., repo: str | None = ...) -> Task:
    'A benchmark as a task.'


def world_task(world, n: int = ..., seed: int = ..., examples: int = ...) -> Task:
    'The task whose queries a served world answers.'


class TextEncoder:
    'Texts to unit vectors; each unique text passes the model once.'
    def __init__(self, name: str = ..., revision: str | None = ..., trust_remote_code: bool = ..., cache: bool | str | Path = ..., batch_size: int = ..., device: str | None = ..., prefixes: dict | None = ..., model = ...) -> None: ...
    @property
    def cache_file(self) -> Path | None:
        "The file that holds this model's vectors on disk; None without a disk cache."
    @property
    def dim(self) -> int:
        'How many coordinates a vector has.'
    def encode(self, texts, role: str = ...) -> _np.ndarray:
        'Unit vectors of the texts, in their order.'
    def state(self) -> dict:
        'What makes the same vectors again: `TextEncoder(**state)`.'


class PromptGraph:
    'The causal graph assumed behind a log of prompts.'
    def __init__(self, covariates: tuple = ..., draw: tuple = ..., after: tuple = ..., models: bool = ..., hidden: bool | str = ..., propensity: bool = ..., adaptive: bool = ..., within: bool = ...) -> None: ...
    adaptive: bool
    after: tuple
    def backdoor_set(self) -> list | None:
        'The recorded nodes to hold fixed, as DoWhy finds them; None where no recorded set closes every backdoor path.'
    def contrast(self, log: Triplets, treated: str, control: str, query_features = ..., encoder = ..., components: int = ...) -> _pd.DataFrame:
        'The rows under either prompt as a frame of numbers.'
    covariates: tuple
    def dowhy(self, frame: _pd.DataFrame, treatment: str | list = ..., outcome: str = ...) -> Any:
        'The graph over a frame, as a DoWhy CausalModel; nodes without a column are unobserved.'
    draw: tuple
    @property
    def edges(self) -> _pd.DataFrame:
        'The arrows: columns source, target.'
    def estimate(self, log: Triplets, treated: str, control: str, estimator = ..., query_features = ..., encoder = ..., components: int = ..., modifiers: list | None = ..., alpha: float = ..., random_state: int = ...) -> Finding:
        'The effect of one prompt over another, through DoWhy and EconML, beside the naive difference.'
    @classmethod
    def from_log(cls, log: Triplets, hidden: bool | str = ..., after: tuple = ...) -> PromptGraph:
        'The graph of a log as its columns suggest it.'
    hidden: bool | str
    def identify(self, log: Triplets, design: Finding | None = ...) -> Finding:
        'Whether, by which route and on which assumptions this log identifies the effect of a prompt.'
    models: bool
    def networkx(self, columns: dict | None = ...) -> Any:
        'The graph as a networkx DiGraph.'
    @property
    def nodes(self) -> _pd.DataFrame:
        'The nodes: place, role, whether recorded, and the columns that stand for each.'
    @property
    def open_paths(self) -> list:
        'The open ones; a path through a recorded column is closed, so those columns can stay out.'
    def paths(self) -> _pd.DataFrame:
        'Every backdoor path from prompt to score, and whether it stays open with all recorded nodes held fixed.'
    def plot(self, title: str = ...) -> Any:
        'The graph as a picture.'
    propensity: bool
    within: bool


class CausalReward:
    'Effects of prompts by the route the log allows: within queries, weighted, or double machine learning.'
    def __init__(self, strategy: str = ..., learner: str = ..., d_x: int = ..., d_t: int = ..., folds: int = ..., encoder = ..., baseline: str | None = ..., random_state: int = ...) -> None: ...
    def average_effect(self, prompts = ..., by: str | None = ..., alpha: float = ...) -> _pd.DataFrame:
        'Average gain of each prompt over the baseline, with an interval clustered by query.'
    def best(self, queries, prompts = ..., alpha: float = ...) -> _pd.DataFrame:
        'The prompt with the largest predicted gain, for each query.'
    def effect(self, queries, prompts) -> _np.ndarray:
        'How much each prompt would raise the score of each query.'
    def effect_interval(self, queries, prompts, alpha: float = ...) -> tuple[_np.ndarray, _np.ndarray]:
        'Intervals of the gains over the baseline prompt, for each query and prompt.'
    def fit(self, log: Triplets) -> Self:
        'Fit on the scored rows of a log; what was chosen and why is `strategy_`.'
    @property
    def has_interval(self) -> Any: ...
    name: Any
    names_: Any
    route_: Any
    def save(self, path) -> Any:
        'Write the fitted reward and its log to one file.'
    def support(self, prompts) -> _pd.DataFrame:
        'How far each prompt lies from what the log has tried.'


class CPOReward:
    'Double machine learning with a causal forest on prompt components (arXiv 2602.01711, section 4).'
    def __init__(self, d_x: int = ..., d_t: int = ..., criterion: str = ..., grouped: bool = ..., estimator = ..., encoder = ..., baseline: str | None = ..., random_state: int = ...) -> None: ...
    def average_effect(self, prompts = ..., alpha: float = ...) -> _pd.DataFrame:
        "Mean predicted effect over the logged queries, with EconML's interval."
    def best(self, queries, prompts = ..., alpha: float = ...) -> _pd.DataFrame:
        'The prompt with the largest predicted gain, for each query.'
    def effect(self, queries, prompts) -> _np.ndarray:
        'How much each prompt would raise the score of each query.'
    def effect_interval(self, queries, prompts, alpha: float = ...) -> tuple[_np.ndarray, _np.ndarray]:
        "EconML's own interval, pair by pair; nominal 90% covered 51-83% in simulations with vector treatments, so check before trusting it."
    def fit(self, log: Triplets) -> Self:
        'Fit on the scored rows of a log.'
    @property
    def has_interval(self) -> Any: ...
    name: Any
    names_: Any
    route_: Any
    def support(self, prompts) -> _pd.DataFrame:
        'How far each prompt lies from what the log has tried.'


class NaiveReward:
    'Predicts the score from query and prompt; confounded where the log is.'
    def __init__(self, learner: str = ..., d_x: int = ..., d_t: int = ..., encoder = ..., baseline: str | None = ..., random_state: int = ...) -> None: ...
    def average_effect(self, prompts = ..., by: str | None = ..., alpha: float = ...) -> _pd.DataFrame:
        'Average gain of each prompt over the baseline, with an interval clustered by query.'
    def best(self, queries, prompts = ..., alpha: float = ...) -> _pd.DataFrame:
        'The prompt with the largest predicted gain, for each query.'
    def effect(self, queries, prompts) -> _np.ndarray:
        'How much each prompt would raise the score of each query.'
    def effect_interval(self, queries, prompts, alpha = ...) -> Any: ...
    def fit(self, log: Triplets) -> Self:
        'Fit on the scored rows of a log.'
    has_interval: Any
    name: Any
    names_: Any
    route_: Any
    set_fit_request: Any
    def support(self, prompts) -> _pd.DataFrame:
        'How far each prompt lies from what the log has tried.'


def load_reward(path, encoder = ...) -> CausalReward:
    'A fitted reward from a file; runs no code from it.'


def search(reward, queries, proposer = ..., rounds: int = ..., keep: int = ..., children: int = ..., start = ..., score = ..., alpha: float = ..., random_state: int = ...) -> Any:
    'Search a better prompt for each query, offline.'


class EditProposer:
    'Variants of a prompt by edits of known ideas.'
    def __init__(self, ideas, rephrasings: dict | None = ..., weights: dict | None = ...) -> None: ...
    operators: Any


def ranking(reward, test: Triplets, alpha: float = ..., by: str | None = ...) -> Finding:
    'Does the model rank prompts as held-out scores do, and what is its choice worth beside plain ones?'


def compare(reward_a, reward_b, test: Triplets, alpha: float = ...) -> Finding:
    'Which of two models ranks prompts better, and chooses better, query by query?'


def checkup(reward, fresh: Triplets | None = ..., prompts: list | None = ..., thorough: bool = ..., only = ..., skip = ..., random_state: int = ...) -> Any:
    'Every check that applies, worst first.'


class ConfoundingSteps:
    'From the naive picture to an effect that was attacked, one question at a time.'
    def __init__(self, reward, prompt: str | None = ..., baseline: str | None = ..., adjust: str | None = ...) -> None: ...
    height: Any
    def set(self, **changes) -> Any:
        'A new state and its view; what goes wrong is shown.'
    def static(self) -> Any:
        'The current view, for readers without a kernel.'


class PositivityExplorer:
    'Overlap, effective sample, gaps, components, and what a proposed prompt would do.'
    def __init__(self, reward, proposed: str | None = ...) -> None: ...
    height: Any
    def set(self, **changes) -> Any:
        'A new state and its view; what goes wrong is shown.'
    def static(self) -> Any:
        'The current view, for readers without a kernel.'


class SearchReplay:
    'A search played back: score against support, round by round.'
    def __init__(self, study) -> None: ...
    height: Any
    def set(self, **changes) -> Any:
        'A new state and its view; what goes wrong is shown.'
    def static(self) -> Any:
        'The current view, for readers without a kernel.'

