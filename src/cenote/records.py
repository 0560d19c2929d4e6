"""The records that the verbs return: frozen dataclasses of plain data, with conversion to and from JSON.

They hold no tensors, and importing them loads nothing heavy. A value that could not be measured is None or a string
with the reason, never NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any, Literal

from cenote.json_records import Result

# `Run.untraced` where the user asked for no layers.
NO_LAYERS = "layers=False"

# `described` is for what is shown and not judged: a shape or a closeness alone costs nobody anything.
Grade = Literal["severe", "moderate", "slight", "fine", "described", "unknown"]


# The name of what several tasks show together, among the names of tasks.
ALL = "all"


@dataclass(frozen=True)
class Spread:
    """Many values in a few: their count and mean, and their 10 %, 50 % and 90 % quantiles."""

    count: int
    mean: float
    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its 95 % interval, None if there are too few texts for one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Histogram:
    """Counts of values between consecutive edges."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class TextsRead:
    """The texts of a diagnosis: how many were given, sampled (`used`) and excluded because they were empty."""

    source: str
    given: int
    used: int
    empty: int
    fingerprint: str  # of the texts used and their ids


@dataclass(frozen=True)
class Excerpt:
    """The beginning of a text, which figures show for a point."""

    id: str
    text: str


@dataclass(frozen=True)
class Lengths:
    """The lengths of the texts in a model's own tokens, special tokens included, and how much is truncated."""

    limit: int | None  # tokens that the model reads at most
    tokens: Spread
    histogram: Histogram
    cut: int  # number of truncated texts
    unseen: float  # share of all tokens that the model never reads, in [0, 1]
    longest: float  # largest share of the unread tokens in one text
    declared: int | None = None  # the limit that the model's folder declares, where `limit` is above it


@dataclass(frozen=True)
class Excluded:
    """Texts, given pairs or queries that were excluded from a measure for one reason."""

    measure: str
    why: str
    count: int
    ids: tuple[str, ...]  # the first few

    def in_words(self) -> str:
        """Return the count, the ids and the reason, as in `2 (a, b): the model's vector is zero`."""
        rest = self.count - len(self.ids)
        return f"{self.count:,} ({', '.join(self.ids)}{f' and {rest:,} more' if rest else ''}): {self.why}"


@dataclass(frozen=True)
class Pair:
    """Two texts, as indices of excerpts, and their second-order collapse."""

    first: int
    second: int
    d_mu: float
    d_sigma: float
    socm: float


@dataclass(frozen=True)
class Pairs:
    """Second-order collapse over many pairs of texts."""

    texts: int
    pairs: int
    mean: Estimate  # of SOCM; the interval is for other texts from the same source
    d_mu: Spread
    d_sigma: Spread
    socm: Spread
    normalised: Spread  # d_sigma over a quarter of both texts' traces, in [0, 1]
    severe: float  # share of pairs with a SOCM over 0.5
    histogram: Histogram  # of SOCM
    shown: tuple[Pair, ...]  # a random sample, for figures
    worst: tuple[Pair, ...]  # among the tenth that lie closest, the ten with the highest SOCM, no text more than twice
    excluded: tuple[Excluded, ...] = ()  # given pairs that could not be compared


@dataclass(frozen=True)
class SocmNull:
    """Second-order collapse where there is nothing to find: between random halves of texts, with as few tokens."""

    texts: int
    same: Estimate  # mean SOCM of two halves of one text
    different: Estimate  # mean SOCM of halves of different texts of like length
    same_normalised: float
    different_normalised: float


@dataclass(frozen=True)
class LengthBin:
    """The texts of `low` to `high` - 1 tokens; the last bin is open above. A figure is None if texts are too few."""

    low: int
    high: int | None
    count: int
    cosine: Estimate | None  # mean over all pairs in the bin; higher is more collapsed
    distance: float | None  # root mean square distance to the centroid of all texts
    uniformity: Estimate | None
    effective_rank: float | None  # of a sample of the same size in each bin


@dataclass(frozen=True)
class Closeness:
    """The cosines of all pairs of texts, of any length."""

    cosine: Spread
    deviation: float  # standard deviation of the cosines


@dataclass(frozen=True)
class LengthCurve:
    """How close texts of similar length lie together, by length. `notes` say why a figure is None."""

    closeness: Closeness | None  # of all texts; None for a single text
    bins: tuple[LengthBin, ...]
    difference: Estimate | None  # cosine of the longest bin minus that of the shortest
    rank_correlation: Estimate | None  # Spearman's, of length and each text's mean cosine to its bin; in [-1, 1]
    slope_per_doubling: Estimate | None  # how much that cosine rises when the length doubles
    notes: tuple[str, ...]
    between: float | None = None  # mean cosine of the longest bin's texts with those of the shortest bin

    @property
    def unit(self) -> float | None:
        """The deviation of all cosines, the unit for differences; None if they differ by rounding only."""
        return self.closeness.deviation if self.closeness and self.closeness.deviation > 1e-6 else None


@dataclass(frozen=True)
class LayerSummary:
    """One layer over all traced texts: for each measure its spread, or the reason why it is not defined."""

    index: int
    measures: dict[str, Spread | str]


@dataclass(frozen=True)
class Passed:
    """sigma_a of the last layer, averaged over its heads, for texts of `low` to `high` - 1 tokens."""

    low: int
    high: int | None
    count: int
    sigma_a: float
    theorem3: float | None = None  # the estimate of Theorem 3, from text lengths and logits of heads; None if unknown


@dataclass(frozen=True)
class Repeated:
    """The cosines of two words, each repeated to the same number of tokens."""

    words: tuple[str, str]
    tokens: tuple[int, ...]
    cosines: tuple[float, ...]


@dataclass(frozen=True)
class CutLength:
    """Texts cut at one length."""

    tokens: int
    cosine: Estimate  # mean over all pairs


@dataclass(frozen=True)
class CutLengths:
    """The same texts cut at several lengths: what length does where the content stays the same."""

    texts: int
    cuts: tuple[CutLength, ...]  # ascending
    change: Estimate  # mean cosine at the longest cut minus that at the shortest


@dataclass(frozen=True)
class Change:
    """The changes that another temperature makes to the unchanged model on the same texts."""

    difference: Estimate | None  # change of the cosine of long texts minus that of short ones
    short: Estimate | None  # change of the cosine of short texts
    long: Estimate | None  # change of the cosine of long texts
    socm: Estimate | None  # change of mean SOCM


@dataclass(frozen=True)
class Run:
    """All measures of a model at one attention temperature."""

    temperature: str
    change: Change | None  # None for the unchanged model
    length: LengthCurve
    cut_lengths: CutLengths | None  # None if too few texts are long enough, and have a vector at each
    pairs: Pairs | None
    null: SocmNull | None
    given_pairs: Pairs | None
    traced: int  # number of texts in `layers` and `passed`
    untraced: str | None  # the reason why layers were not traced
    layers: tuple[LayerSummary, ...]
    passed: tuple[Passed, ...]
    repeated: tuple[Repeated, ...]  # a curve for each pair of words
    tried: float | None = None  # in place of the model's own live temperature; None for that


@dataclass(frozen=True)
class Shares:
    """Fates of sentences that are searched for in their own texts, as shares of all: they add up to 1."""

    found: Estimate  # the sentence's own text comes first
    lost_to_cut: Estimate  # not found, and the model does not read the sentence in its text
    lost_to_pooling: Estimate  # not found, although its tokens or a window find the text
    not_found: Estimate  # neither by tokens nor by a window


@dataclass(frozen=True)
class Setting(Shares):
    """The same sentences in another setting, with the changes that it makes.

    The intervals of both changes hold for all settings together.
    """

    left_out: Estimate  # share that finds its text where the sentence is left out of it
    change: Estimate  # of `found`
    change_left_out: Estimate  # of `left_out`
    of_cut: float  # share of all sentences that are lost to the cut, and found in this setting
    of_pooling: float  # share of all sentences that are lost to pooling, and found in this setting
    rows: float  # vectors for each text


@dataclass(frozen=True)
class Part(Shares):
    """A part of the sentences, `by` position in the text, by length of the text, or by reading: read or not."""

    by: str
    name: str
    sentences: int


@dataclass(frozen=True)
class Example:
    """A sentence, its text, and the text that is found instead, as indices of excerpts."""

    fate: str  # a field of Shares
    position: str  # first, middle or last
    sentence: int
    document: int
    instead: int | None


@dataclass(frozen=True)
class Beside:
    """Effects of length and hubs on the scores of texts that a sentence is not of."""

    slope: Estimate | None  # how much a score rises when the length of the text doubles; None for texts of one length
    tokens: float  # mean of all texts
    tokens_of_ten: float  # mean of the ten texts nearest to a sentence
    hubness: float  # skew of how often a text is among the ten nearest of another
    never: float  # share of texts that are never among them


@dataclass(frozen=True)
class Account(Shares):
    """How many sentences of the texts lead back to their text in a search, and what the others are lost to."""

    documents: int
    sentences: int
    reciprocal_rank: Estimate
    in_ten: Estimate  # share of sentences whose text is among the first ten
    left_out: Estimate  # share that finds its text where the sentence is left out of it
    left_out_reciprocal_rank: Estimate
    parts: tuple[Part, ...]
    settings: dict[str, Setting]
    examples: tuple[Example, ...]
    beside: Beside
    few: int  # texts with too few sentences
    unsplit: int  # texts among them that are long, but could not be split into sentences
    repeated: float  # share of the sentences that another of the texts holds word by word
    prompts: tuple[str | None, str | None] = (None, None)  # names of the prompts before sentences and before texts
    similarity: str = "cosine"  # the model's own measure; the search is by cosine
    unread: int = 0  # documents without a vector, whose sentences are not found


@dataclass(frozen=True)
class GivenQueries(Shares):
    """The user's own queries: what becomes of them, and what one vector a text costs them.

    Where the answer stands is not known. A query is lost to the cut where windows of its cut text find that, and the
    tokens that are read do not; it is lost to pooling where those tokens find it, or windows of a text that is not cut.
    """

    queries: int
    texts: int
    in_ten: Estimate  # share of queries with a text that answers them among the first ten
    gain: Estimate  # nDCG@10
    reranked: Estimate  # nDCG@10 after the tokens of the query rank the first twenty anew
    price: Estimate  # the difference: the price of pooling
    excluded: tuple[Excluded, ...]  # queries whose id names no text


@dataclass(frozen=True)
class ModelDiagnosis:
    """One model on the texts. The first run is the unchanged model, the others are other temperatures."""

    name: str
    architecture: str
    pooling: str
    temperature: str
    dimensions: int
    fingerprint: str  # of the weights
    revision: str | None
    lengths: Lengths
    words: LengthCurve | None  # the control: plain averages of word embeddings
    account: Account | str  # or the reason why there is none
    queries: GivenQueries | None  # None where none were given
    runs: tuple[Run, ...]
    excluded: tuple[Excluded, ...] = ()  # texts that could not be measured in one run or more


@dataclass(frozen=True)
class Verdict:
    """The meaning of a measure for the user: a grade, the finding, its evidence and limit, and advice."""

    model: str
    subject: str
    grade: Grade
    finding: str
    evidence: str
    limit: str
    advice: str


@dataclass(frozen=True, repr=False)
class Diagnosis(Result):
    """The result of `cenote.diagnose`; what a search loses comes first, then the most costly verdicts."""

    SCHEMA = 2  # version of the JSON format; others are refused
    PAGES = {".html": ("cenote.report.page", "to_html"), ".md": ("cenote.report.markdown", "to_markdown")}

    schema: int
    texts: TextsRead
    verdicts: tuple[Verdict, ...]
    models: tuple[ModelDiagnosis, ...]
    excerpts: tuple[Excerpt, ...]
    settings: dict[str, Any]
    versions: dict[str, str]

    def __repr__(self) -> str:
        """Return two lines: what was diagnosed, and the first verdict."""
        names = ", ".join(model.name for model in self.models)
        first = f"{self.verdicts[0].grade}: {self.verdicts[0].finding}" if self.verdicts else "no verdicts"
        return f"Diagnosis of {names} on {self.texts.used:,} texts from {self.texts.source}\n{first}"

    def _repr_html_(self) -> str:
        """Return a table of the verdicts, for notebooks."""
        rows = "".join(
            f"<tr><td>{escape(one.grade)}</td><td>{escape(one.subject)}</td><td>{escape(one.model)}</td>"
            f"<td style='text-align:left'>{escape(one.finding)}</td></tr>"
            for one in self.verdicts
        )
        head = "<tr><th>grade</th><th>subject</th><th>model</th><th>finding</th></tr>"
        return f"<table>{head}{rows}</table><p>See all with <code>diagnosis.save('report.html')</code>.</p>"


@dataclass(frozen=True)
class Counts:
    """The size of what `embed` wrote."""

    texts: int
    rows: tuple[int, ...]  # for each part
    truncated: int  # number of texts that the model did not read to the end
    tokens: int  # of all texts, special tokens included
    rejected: int  # number of texts left out
    read: int | None = None  # tokens that the model was given, overlaps of windows included; None in older folders
    footers: tuple[str, ...] | None = None  # checksum of each part's footer and rows; None in older folders


@dataclass(frozen=True)
class Manifest:
    """The description of a folder of embeddings. It holds no times: the same call writes the same bytes."""

    SCHEMA = 1  # version of the JSON format; others are refused

    schema: int
    complete: bool
    clearing: bool  # whether a restart is deleting the old files
    settings: dict[str, Any]
    versions: dict[str, str]
    agreement: float | None  # lowest cosine with float32 on sample texts, if the precision was chosen by it
    counts: Counts | None  # None until the folder is complete
    neighbours: float | None = None  # share of the ten nearest of the sample in common with float32, for int8
