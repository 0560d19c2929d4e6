"""What the verbs return: frozen records of plain data, to JSON and back. No tensors, and nothing heavy is imported.

What could not be measured is None or says why in words; nothing is NaN.
"""

from __future__ import annotations

import json
import types
import typing
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from cenote.errors import BadInput

# Of the JSON form; a reader refuses what it does not know.
SCHEMA = 1

Record = TypeVar("Record")
Grade = Literal["none", "slight", "moderate", "severe", "unknown"]


@dataclass(frozen=True)
class Spread:
    """Many values in a few: their mean, and the values that 10, 50 and 90 % of them stay below."""

    count: int
    mean: float
    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval, None where there are too few texts for one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Histogram:
    """How many values lie between each edge and the next."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class TextsRead:
    """What was read: `given` texts, of which `used` were drawn and `empty` ones were left out."""

    source: str
    given: int
    used: int
    empty: int
    fingerprint: str  # of the texts used, ids included


@dataclass(frozen=True)
class Excerpt:
    """The beginning of a text, so that a picture can show what a point stands for."""

    id: str
    text: str


@dataclass(frozen=True)
class Lengths:
    """How long the texts are for a model, in its own tokens, special ones included, and what it never sees of them."""

    limit: int | None  # tokens after which the model cuts
    tokens: Spread
    histogram: Histogram
    cut: int  # texts that are longer
    unseen: float  # share of all tokens that the model never sees, in [0, 1]
    longest: float  # share of these that one text alone makes up


@dataclass(frozen=True)
class LeftOut:
    """Texts, or given pairs, that a measure had to do without, all for one reason."""

    measure: str
    why: str
    count: int
    ids: tuple[str, ...]  # of the first few

    def in_words(self) -> str:
        """As in `2 (a, b): an embedding of zeros`."""
        rest = self.count - len(self.ids)
        return f"{self.count:,} ({', '.join(self.ids)}{f' and {rest:,} more' if rest else ''}): {self.why}"


@dataclass(frozen=True)
class Pair:
    """Two texts, by their places among the excerpts, and their second-order collapse."""

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
    mean: Estimate  # of SOCM, as other texts from the same source might have it
    d_mu: Spread
    d_sigma: Spread
    socm: Spread
    severe: float  # share of pairs whose SOCM is over 0.5
    histogram: Histogram  # of SOCM
    shown: tuple[Pair, ...]  # drawn at random, for a picture
    worst: tuple[Pair, ...]  # the ten highest
    left_out: tuple[LeftOut, ...] = ()  # given pairs that could not be compared


@dataclass(frozen=True)
class LengthBin:
    """The texts of `low` to `high` - 1 tokens; the last bin is open above."""

    low: int
    high: int | None
    count: int
    cosine: Estimate | None  # the mean over all pairs in the bin; higher is more collapsed
    distance: float | None  # root mean square distance to the centroid of all texts
    uniformity: Estimate | None
    effective_rank: float | None  # of as many texts from each bin


@dataclass(frozen=True)
class Closeness:
    """How close any two texts lie, whatever their lengths: the cosines of all pairs."""

    cosine: Spread
    deviation: float  # their standard deviation, the measure of what is a large difference

    @property
    def varies(self) -> bool:
        """Whether any two texts differ from any other two by more than the rounding of a cosine in float32."""
        return self.deviation > 1e-6


@dataclass(frozen=True)
class LengthCurve:
    """How closely texts of like length lie together, by length."""

    closeness: Closeness | None  # None for a single text
    bins: tuple[LengthBin, ...]
    difference: Estimate | None  # cosine of the longest bin minus that of the shortest
    rank_correlation: Estimate | None  # of length and closeness, in [-1, 1]
    slope_per_doubling: Estimate | None  # cosine gained with each doubling of length
    notes: tuple[str, ...]


@dataclass(frozen=True)
class LayerSummary:
    """One layer over all texts that were traced: a spread for each measure, or why it is not defined."""

    index: int
    measures: dict[str, Spread | str]


@dataclass(frozen=True)
class Passed:
    """sigma_a of the last layer, averaged over its heads, for texts of `low` to `high` - 1 tokens."""

    low: int
    high: int | None
    count: int
    sigma_a: float
    theorem3: float | None = None  # what Theorem 3 expects, of each text's length and each head's logits; None: unknown


@dataclass(frozen=True)
class Repeated:
    """The cosine of one word repeated and another repeated as often."""

    words: tuple[str, str]
    tokens: tuple[int, ...]
    cosines: tuple[float, ...]


@dataclass(frozen=True)
class Change:
    """What another temperature changes against the model as it is, over the same texts."""

    difference: Estimate | None  # of the cosine of long texts minus that of short ones; below 0 they moved apart
    socm: Estimate | None  # of mean SOCM


@dataclass(frozen=True)
class Run:
    """All measures of a model at one attention temperature."""

    temperature: str
    change: Change | None  # None for the model as it is
    length: LengthCurve
    pairs: Pairs | None
    given_pairs: Pairs | None
    traced: int  # texts behind `layers` and `passed`
    untraced: str | None  # why the layers were not looked into
    layers: tuple[LayerSummary, ...]
    passed: tuple[Passed, ...]
    repeated: Repeated | None


@dataclass(frozen=True)
class ModelDiagnosis:
    """One model on the texts. The first run is of the model as it is, others are of other temperatures."""

    name: str
    architecture: str
    pooling: str
    temperature: str
    dimensions: int
    fingerprint: str  # of the weights
    revision: str | None
    lengths: Lengths
    words: LengthCurve | None  # the control: plain averages of the word embeddings
    runs: tuple[Run, ...]
    left_out: tuple[LeftOut, ...] = ()  # texts that could not be measured, at one temperature at least


@dataclass(frozen=True)
class Verdict:
    """What a measure means for the user, in plain words: what was found, by what evidence, and how far that goes."""

    model: str
    subject: str
    grade: Grade
    finding: str
    evidence: str
    limit: str
    advice: str


@dataclass(frozen=True)
class Diagnosis:
    """What `cenote.diagnose` returns; verdicts stand in the order of what they cost."""

    schema: int
    texts: TextsRead
    verdicts: tuple[Verdict, ...]
    models: tuple[ModelDiagnosis, ...]
    excerpts: tuple[Excerpt, ...]
    settings: dict[str, Any]
    versions: dict[str, str]

    def to_json(self) -> str:
        """As JSON text, the same bytes for the same diagnosis."""
        return to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Diagnosis:
        """What `to_json` wrote."""
        return from_json(cls, text)


@dataclass(frozen=True)
class Counts:
    """What `embed` wrote."""

    texts: int
    rows: tuple[int, ...]  # of each part
    truncated: int  # texts that the model did not read to their ends
    tokens: int  # that all texts have
    rejected: int  # texts that were left out


@dataclass(frozen=True)
class Manifest:
    """What a folder of embeddings is of. No times: the same call writes the same bytes."""

    schema: int
    complete: bool
    clearing: bool  # a restart was deleting what is there
    settings: dict[str, Any]
    versions: dict[str, str]
    agreement: float | None  # least cosine with float32 on some of the texts, where the precision was chosen by it
    counts: Counts | None  # known once it is complete


def to_json(record: Any) -> str:
    """A record as JSON text."""
    return json.dumps(asdict(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(cls: type[Record], text: str) -> Record:
    """The record that `to_json` wrote; what is not one is refused.

    >>> from_json(Histogram, to_json(Histogram((0.0, 1.0), (3,))))
    Histogram(edges=(0.0, 1.0), counts=(3,))
    """
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadInput(f"this is no JSON: {error}.") from error
    schema = data.get("schema") if isinstance(data, dict) else None
    if "schema" in typing.get_type_hints(cls) and schema != SCHEMA:
        raise BadInput(f"the JSON has schema {schema!r}, and this version of Cenote reads {SCHEMA}.")
    try:
        return typing.cast("Record", _read(cls, data))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"the JSON holds no {cls.__name__}: {error!r}.") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _read(kind: Any, data: Any) -> Any:
    """`data` as a value of the annotated kind."""
    origin, inner = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        if extra := set(data) - set(hints):
            raise ValueError(f"{kind.__name__} has no {', '.join(sorted(extra))}")
        later = {one.name for one in fields(kind) if one.default is not MISSING}  # what earlier files may lack
        there = [name for name in hints if name in data or name not in later]
        return kind(**{name: _read(hints[name], data[name]) for name in there})
    if origin in (Union, types.UnionType):
        return _read_one_of(inner, data)
    if origin is tuple:
        parts = data if len(inner) == 2 and inner[1] is Ellipsis else list(data)
        kinds = [inner[0]] * len(parts) if len(inner) == 2 and inner[1] is Ellipsis else list(inner)
        return tuple(_read(part_kind, part) for part_kind, part in zip(kinds, parts, strict=True))
    if origin is dict:
        return {key: _read(inner[1], value) for key, value in data.items()}
    if origin is Literal:
        if data not in inner:
            raise ValueError(f"{data!r} is none of {', '.join(inner)}")
        return data
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if kind is not Any and not isinstance(data, kind):
        raise TypeError(f"{data!r} is no {kind.__name__}")
    return data


def _read_one_of(kinds: tuple[Any, ...], data: Any) -> Any:
    if data is None and type(None) in kinds:
        return None
    records = [kind for kind in kinds if is_dataclass(kind)]
    plain = [kind for kind in kinds if kind is not type(None) and not is_dataclass(kind)]
    return _read(records[0] if isinstance(data, dict) and records else plain[0], data)
