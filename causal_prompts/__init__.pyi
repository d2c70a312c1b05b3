"Made by .ci/stub.py from the package itself: do not edit."
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as _np
import pandas as _pd
from . import agreement as agreement
from . import answers as answers
from . import assignments as assignments
from . import banks as banks
from . import benchmarks as benchmarks
from . import blocks as blocks
from . import calibration as calibration
from . import callables as callables
from . import causal as causal
from . import checks as checks
from . import collecting as collecting
from . import columns as columns
from . import components as components
from . import confounding as confounding
from . import connection as connection
from . import core as core
from . import covariates as covariates
from . import coverage as coverage
from . import cpo as cpo
from . import dabench as dabench
from . import datasets as datasets
from . import design as design
from . import diagnostics as diagnostics
from . import difficulty as difficulty
from . import embeddings as embeddings
from . import engines as engines
from . import eval_importers as eval_importers
from . import evaluation as evaluation
from . import exercises as exercises
from . import exporting as exporting
from . import extrapolation as extrapolation
from . import factorial as factorial
from . import files as files
from . import forms as forms
from . import gains as gains
from . import graders as graders
from . import graph as graph
from . import grids as grids
from . import identity as identity
from . import importers as importers
from . import inclusion as inclusion
from . import inference as inference
from . import kernel as kernel
from . import learning_curve as learning_curve
from . import llm as llm
from . import llm_proposer as llm_proposer
from . import loading as loading
from . import local_model as local_model
from . import local_server as local_server
from . import measures as measures
from . import monitoring as monitoring
from . import naive as naive
from . import nuisances as nuisances
from . import optimizing as optimizing
from . import part_agreement as part_agreement
from . import part_effects as part_effects
from . import part_families as part_families
from . import part_pairs as part_pairs
from . import part_space as part_space
from . import partitions as partitions
from . import parts as parts
from . import patterns as patterns
from . import pieces as pieces
from . import placebos as placebos
from . import playgrounds as playgrounds
from . import plots as plots
from . import policy_values as policy_values
from . import pools as pools
from . import positivity as positivity
from . import power_analysis as power_analysis
from . import predictability as predictability
from . import prompt_sets as prompt_sets
from . import propensities as propensities
from . import proposers as proposers
from . import race as race
from . import record as record
from . import recordings as recordings
from . import refutation as refutation
from . import reporting as reporting
from . import residuals as residuals
from . import rewards as rewards
from . import routes as routes
from . import rows as rows
from . import same_parts as same_parts
from . import sandbox as sandbox
from . import search_results as search_results
from . import sensitivity_analysis as sensitivity_analysis
from . import sentence_parts as sentence_parts
from . import separation as separation
from . import serve as serve
from . import shuffles as shuffles
from . import sources as sources
from . import spaces as spaces
from . import stability as stability
from . import stages as stages
from . import studies as studies
from . import study_inputs as study_inputs
from . import support as support
from . import tabular as tabular
from . import task_sets as task_sets
from . import tasks as tasks
from . import templates as templates
from . import trace_importers as trace_importers
from . import transport as transport
from . import treesearch as treesearch
from . import triplets as triplets
from . import viseval as viseval
from . import weights as weights
from . import widgets as widgets
from . import worlds as worlds
from . import written_variants as written_variants

__version__: str

class __Prompts:
    'What a model knows of the prompts of its log, looked at once.'
    names_: Any
    parts_: Any


class _Reward(__Prompts):
    'What every reward model has in common: texts in, gains over the baseline prompt out.'
    def average_effect(self, prompts = ..., by: str | None = ..., alpha: float = ...) -> _pd.DataFrame:
        'Average gain of each prompt over the baseline, with an interval clustered by query.'
    def average_se(self, queries, E_q: _np.ndarray, share: _np.ndarray, prompts) -> _np.ndarray:
        'Standard error of the mean predicted effect over the queries.'
    def best(self, queries, prompts = ..., alpha: float = ...) -> _pd.DataFrame:
        'The prompt with the largest predicted gain, for each query.'
    component_kind: Any
    def effect(self, queries, prompts) -> _np.ndarray:
        'How much each prompt would raise the score of each query.'
    def effect_interval(self, queries, prompts, alpha: float = ...) -> Any:
        'A model without an interval says so.'
    def encode(self, texts, role: str) -> _np.ndarray:
        'Texts as the vectors that the model sees.'
    has_interval: Any
    def interactions(self, alpha: float = ...) -> _pd.DataFrame:
        'What two parts bring together beyond the sum of both, in points of score.'
    def levels(self, queries, prompts) -> _np.ndarray:
        'What each prompt is expected to score on each query. Every model gives its own.'
    name: Any
    def open(self, log: Triplets, prompts: _pd.DataFrame | None = ...) -> Any:
        'Keep scored rows, encoder, baseline and support; warn of what would go unnoticed.'
    def part_effects(self, by: str | None = ..., alpha: float = ...) -> _pd.DataFrame:
        'Average effect of each part of the prompts, in points of score, the other parts held fixed.'
    @property
    def posterior(self) -> Any:
        "The learner behind its effects, where mean and covariance of that learner's weights are known; None: they are not."
    refits_rows: Any
    def refitted(self, log: Triplets) -> Any:
        'The same model with its encoder and baseline, fitted to another log.'
    def refitted_rows(self, rows: Any, m: _np.ndarray) -> Any:
        'The same model fitted to rows that are already arrays; for models that say `refits_rows`.'
    def require_fitted(self) -> Any:
        'Raise where `fit` was not called yet.'
    def residuals(self, route: str | None = ...) -> Any:
        'What is left of the score when what the route expects is taken off.'
    route_: Any
    def save(self, path) -> Any:
        'Write the fitted reward and its log to one file, which `load_reward` reads.'
    @property
    def sound_route(self) -> Any:
        'The route by which the effects are judged: within queries where the log opens it, else what assumes least.'
    def state(self) -> dict:
        'What a file must hold of the model: plain data and arrays.'
    def support(self, prompts) -> _pd.DataFrame:
        'How far each prompt lies from what the log has tried.'
    takes_routes: Any


class __Identified(_Reward):
    'A model that says what it identifies when it is first asked: held-out queries are looked at then.'
    identification_: Any


class _OnDatasets:
    'A reward that can be fitted on a log in files.'
    def average_effect(self, prompts = ..., by: str | None = ..., alpha: float = ...) -> _pd.DataFrame:
        'Average gain of each prompt over the baseline; by level it is that of the sample.'
    def beyond_log(self) -> dict:
        'What a file must hold beside the log.'
    dataset_: dict | None
    def fit_dataset(self, source, engine = ..., workers: int | None = ..., sample: int = ..., folder = ..., partition_rows: int = ..., vectors: str | None = ..., **how) -> Any:
        'Fit on a log in files; `log_` is then a sample of its queries.'
    def interactions(self, alpha: float = ...) -> _pd.DataFrame:
        'What two parts bring together beyond the sum of both; on files that of the sample.'
    logged_: Any
    def part_effects(self, by: str | None = ..., alpha: float = ...) -> _pd.DataFrame:
        'Average effect of each part of the prompts, the other parts held fixed; on files that of the sample.'


class Finding:
    'One answer about a log or a model: table, verdict, reading, picture.'
    def __init__(self, question: str, table: _pd.DataFrame, verdict: str, reading: str, threshold: str = ..., advice: str = ..., facts: dict = ..., form: tuple | None = ..., data: _pd.DataFrame | None = ..., *, details: str = ...) -> None: ...
    advice: str
    data: _pd.DataFrame | None
    details: str
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
        '(n,) ids of the unit inside which prompts are compared: the query, under one model and one task, in one stage.'
    @property
    def named_covariates(self) -> list:
        'Names of the covariates alone, without model and task.'
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
    'A causal world that writes queries and prompts, logs scores, and knows every potential outcome.'
    def __init__(self, confounding: float = ..., visible: bool = ..., overlap: float = ..., noise: float = ..., nonlinearity: float = ..., repeats: int = ..., seed: int = ..., graded: bool = ..., prompts_per_query: int = ..., effect_size: float = ...) -> None: ...
    baseline: Any
    confounding: float
    def draw(self, queries, prompts, repeats: int = ..., seed: int = ...) -> _np.ndarray:
        'Scored answers of every prompt on every query.'
    @property
    def edges(self) -> _pd.DataFrame:
        'The arrows between them.'
    def effect(self, queries, prompts, baseline: str | None = ...) -> _np.ndarray:
        'The gain of each prompt over the baseline prompt on each query, exactly.'
    effect_size: float
    def expected_scores(self, kind, difficulty: _np.ndarray, has: _pd.DataFrame) -> _np.ndarray:
        '(n_q, n_p) expected scores from kinds, difficulties and an (n_p, n_ideas) table of ideas.'
    graded: bool
    @property
    def ideas(self) -> _pd.DataFrame:
        'Every idea with the gain it brings when added to the baseline prompt.'
    @property
    def interaction(self) -> _pd.DataFrame:
        'What the two interacting ideas bring together beyond the sum of both.'
    def kind_and_difficulty(self, queries) -> tuple[_np.ndarray, _np.ndarray]:
        'Kind (index) and difficulty of each text.'
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
    @classmethod
    def preset(cls, name: str, **overrides) -> World:
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
    def rephrasings(self) -> dict[str, list[str]]:
        'The wordings of every idea.'
    seed: int
    def value(self, queries, prompts) -> _np.ndarray:
        'What each prompt would score on each query, exactly.'
    visible: bool


def load_dataset(name: str, score: str | None = ..., part: str | None = ..., download: bool = ...) -> Triplets:
    'A recorded set as a log.'


class Record:
    'What was asked of models, what they said, what it cost.'
    def __init__(self, path: str | Path | None = ..., *, calls: int | None = ..., tokens: int | None = ..., money: float | None = ..., offline: bool = ...) -> None: ...
    def claim(self) -> Any:
        "Become the file's one writer, and read what it grew by; once, until it is closed."
    def clean(self, text: str, guess: bool = ...) -> str:
        'A text without the secrets that this record was told.'
    def close(self) -> Any:
        'Everything on disk, the file free for another writer.'
    def commit(self, call: Any, asked: dict, answer: dict, blotted: bool = ...) -> Any:
        'Write down the answer to a call.'
    def events(self, last: int | None = ...) -> list[dict]:
        'What happened, oldest first, without the texts.'
    def fail(self, call: Any, error: str, http: int | None = ..., seconds: float = ..., unclear: bool = ...) -> Any:
        'Write down that a call came to nothing.'
    @property
    def frame(self) -> _pd.DataFrame:
        'What was asked and said.'
    def get(self, key: str) -> dict | None:
        'The line of the answer to a request; None where there is none.'
    def grade(self, key: str, grader: str, score: float, why: str) -> Any:
        'Write down what a grader said of an answer.'
    def grade_of(self, key: str, grader: str) -> tuple[float, str] | None:
        'What a grader said of an answer; None where it was not asked yet.'
    def ledger(self, queries: int | None = ...) -> _pd.DataFrame:
        'What was spent, by stage, role and model.'
    def reserve(self, call: Any) -> bool:
        'Hold the most that a call may cost, and write down that it is sent; a BudgetError where no cap leaves room.'
    def share(self, key: str) -> Any:
        'Join those who wait for the answer to a request, whichever client asks for it, or be the first.'
    def tell(self, key: str, call) -> Any:
        'Tell whoever waits for the same answer what came of it.'


def serve_world(world: World, port: int = ..., latency: float = ..., faults: dict | None = ..., seed: int = ..., host: str = ..., models: list | None = ...) -> Any:
    'Serve a world on this machine.'


def serve_local(path = ..., port: int = ..., threads: int | None = ..., batch: int = ..., longest: int = ..., host: str = ..., log = ...) -> Any:
    'Serve a language model on this machine.'


class LLM:
    'A model behind an OpenAI-style server, in one role.'
    def __init__(self, model: str, base_url: str | None = ..., settings: dict | None = ..., *, role: str = ..., stage: int = ..., price: tuple | None = ..., record: Record | None = ..., limits: Any = ..., api_key: str | None = ..., alias: str | None = ..., client: dict | None = ...) -> None: ...
    alias: str | None
    api_key: str | None
    def ask(self, messages, replicate: int = ...) -> Any:
        'One answer.'
    def ask_all(self, requests: list, replicates: int = ..., show: bool | None = ...) -> Any:
        'Many answers at once, in the order asked for; those that failed have status "error".'
    base_url: str | None
    client: dict | None
    limits: Any
    model: str
    price: tuple | None
    record: Record | None
    role: str
    settings: dict | None
    stage: int


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
    def head(self, n: int) -> Task:
        'The first queries.'
    items: _pd.DataFrame
    def messages(self, prompt: str, item) -> list[dict]:
        'The final messages of a prompt on a query.'
    name: str
    def score(self, reply: str, item) -> Any:
        'The grade of a reply, waited for.'
    source: dict
    def take(self, which) -> Task:
        'Some of the queries, in the order of the items.'


class NaiveReward(_Reward):
    'Predicts the score from query and prompt; confounded where the log is.'
    def __init__(self, learner: str = ..., d_x: int = ..., d_t: int = ..., encoder = ..., baseline: str | None = ..., random_state: int = ...) -> None: ...
    def fit(self, log: Triplets) -> Self:
        'Fit on the scored rows of a log.'
    def levels(self, queries, prompts) -> Any:
        'The predicted score of each query under each prompt.'
    name: Any
    route_: Any


class CPOReward(_Reward):
    'Double machine learning with a causal forest on prompt components (arXiv 2602.01711, section 4).'
    def __init__(self, d_x: int = ..., d_t: int = ..., criterion: str = ..., grouped: bool = ..., estimator = ..., encoder = ..., baseline: str | None = ..., random_state: int = ...) -> None: ...
    def average_effect(self, prompts = ..., alpha: float = ...) -> _pd.DataFrame:
        'Mean predicted effect over logged queries.'
    def effect_interval(self, queries, prompts, alpha: float = ...) -> tuple[_np.ndarray, _np.ndarray]:
        "EconML's own interval, pair by pair; it covered too seldom in simulations with vector treatments."
    def fit(self, log: Triplets) -> Self:
        'Fit on the scored rows of a log.'
    @property
    def has_interval(self) -> Any: ...
    def levels(self, queries, prompts) -> Any:
        "theta(x)'z for each query and prompt."
    name: Any
    route_: Any


class CausalReward(_OnDatasets, __Identified):
    'Effects of prompts by the route the log allows: within queries, weighted, or double machine learning.'
    def __init__(self, route: str = ..., learner: str = ..., d_x: int = ..., d_t: int = ..., folds: int = ..., encoder = ..., baseline: str | None = ..., parts = ..., random_state: int = ...) -> None: ...
    def average_se(self, queries, E_q, share, prompts) -> Any:
        'Standard error of the mean predicted effect over the queries, where the learner has one.'
    def check_parameters(self) -> Any:
        'Parameters, before anything is computed.'
    component_kind: Any
    def effect_interval(self, queries, prompts, alpha: float = ...) -> tuple[_np.ndarray, _np.ndarray]:
        'Intervals of the gains over the baseline prompt, for each query and prompt.'
    def fit(self, log: Triplets) -> Self:
        'Fit on the scored rows of a log; what was chosen and why is `identification_`.'
    @property
    def has_interval(self) -> bool:
        'Whether `effect_interval` can be asked for.'
    def levels(self, queries, prompts) -> Any:
        "The learner's scores, up to a term of the query alone."
    name: Any
    @property
    def posterior(self) -> Any:
        'Its learner, where that has a posterior; else None.'
    @property
    def refits_rows(self) -> bool:
        'Whether `refitted_rows` can be asked for: where the learner is all that depends on the rows.'
    def refitted(self, log) -> Any:
        'The same model, its route and learner kept, fitted to another log; no race is run again.'
    def refitted_rows(self, rows, m) -> Any:
        'The same model with its learner alone fitted anew, to some rows and their expected scores.'
    def residuals(self, route: str | None = ...) -> Any:
        'What is left of the score when what the route expects is taken off.'
    @property
    def sound_route(self) -> Any:
        'The route it chose.'
    def state(self) -> dict:
        'What a file must hold: plain data and arrays.'
    @property
    def strategy_(self) -> Finding:
        'The former name of `identification_`.'
    def support(self, prompts) -> _pd.DataFrame:
        'How far each prompt lies from what the log has tried, part by part where it has parts.'
    takes_routes: Any


def effects_agree(observed, randomised, match: str | None = ..., bias: float | None = ..., score_range: tuple | None = ..., alpha: float = ..., level: float = ..., power: float = ...) -> Finding:
    'Do observed effects of parts agree with randomised ones?'


def search(reward, queries, proposer = ..., rounds: int = ..., keep: int = ..., children: int = ..., start = ..., score = ..., alpha: float = ..., random_state: int = ..., per = ...) -> Any:
    'Search better prompts offline.'


def ranking(reward, test: Triplets, alpha: float = ..., by: str | None = ...) -> Finding:
    'Does the model rank prompts as held-out scores do, and what is its choice worth beside plain ones?'


def checkup(reward, fresh: Triplets | None = ..., prompts: list | None = ..., thorough: bool = ..., only: str | list | None = ..., skip: str | list = ..., random_state: int = ...) -> Any:
    'Every check that applies, worst first.'


def study(log, baseline: str | None = ..., fresh = ..., thorough: bool = ..., *, prompts = ..., encoder = ..., random_state: int = ..., about: str | None = ..., say: Callable = ...) -> Any:
    'What a log says of its prompts: .answer .effects .plot() .ranking .choices .checkup() .rows(a, b)'


def optimize(task: Task, llm, writer = ..., parts = ..., start = ..., calls: int = ..., money: float | None = ..., tokens: int | None = ..., per: str = ..., confirm: float | None = ..., random_state: int = ..., folder = ..., encoder = ..., show: bool | None = ...) -> Any:
    'A better prompt, confirmed on fresh queries.'

