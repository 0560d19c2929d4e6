"""Compare settings of models on the labelled data that are here offline: the tables of docs/results.md.

    python experiments/comparisons.py poolings --models minilm --quick
    python experiments/comparisons.py temperatures --models minilm --quick
    python experiments/comparisons.py tuned --models minilm --data scifact cranfield cisi npl_vaswani --by-role

`poolings` are the plain ones, and some that are said to cure without training: word weights from the corpus, the
inverse density of a text's tokens, means of unit chunks, mean with max. `temperatures` are those of TempScale's table.
`tuned` chooses a temperature and confirms it on held-out items; with `--by-role` on the searches among the data, since
only these have queries and documents. Data are read from the folder that CENOTE_DATA names
(default: ../shared/data). Scores of temperatures are kept in the
user's cache, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from evaluations import DATA, SUITE
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

import cenote
from cenote.commands.progress import Lines
from cenote.comparison_records import Comparison
from cenote.data.labelled import Classification, Labelled, Retrieval, Sts, read_labelled
from cenote.data.labelled_samples import sample_labelled
from cenote.encoding.tokens import tokenise
from cenote.models.provenance import pooling_of
from cenote.models.repooling import pooling_for
from cenote.wording import relative_estimate, score_estimate

POOLINGS = ("mean", "cls", "max", "mean_sqrt_len", "weightedmean", "lasttoken", "every_k", "inverse_density")
TEMPERATURES = [0.9, 0.8, 0.7, 0.6]
# Tokens of a chunk, and the constant of smooth inverse frequency (Arora et al., 2017).
CHUNK, SMOOTH = 32, 1e-3


class Weighted(nn.Module):
    """A mean of the tokens by weights of their own."""

    def weigh(self, features: dict[str, Any]) -> Tensor:
        """Return the weight `[B, T]` of each token."""
        raise NotImplementedError

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Add the vectors of texts to the features."""
        weights = (self.weigh(features) * features["attention_mask"]).unsqueeze(-1)
        summed = (features["token_embeddings"] * weights).sum(1)
        return {**features, "sentence_embedding": summed / weights.sum(1).clamp(min=1e-9)}


class ByWord(Weighted):
    """Weights that depend on the token alone."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table

    def weigh(self, features: dict[str, Any]) -> Tensor:
        """Return the entry of each token."""
        return self.table[features["input_ids"]]


class UnitChunks(nn.Module):
    """The mean of the unit means of chunks."""

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Add the vectors of texts to the features."""
        mask = features["attention_mask"].to(torch.float32)
        chunk = ((mask.cumsum(1) - 1) // CHUNK).clamp(min=0).long()
        count = int(chunk.max()) + 1
        shares = nn.functional.one_hot(chunk, count).to(torch.float32) * mask.unsqueeze(-1)  # [B, T, C]
        means = nn.functional.normalize(shares.mT @ features["token_embeddings"], dim=-1)
        there = (shares.sum(1) > 0).unsqueeze(-1)
        return {**features, "sentence_embedding": (means * there).sum(1) / there.sum(1)}


class MeanWithMax(nn.Module):
    """The sum of the unit mean and the unit maximum."""

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Add the vectors of texts to the features."""
        mask, tokens = features["attention_mask"].unsqueeze(-1).bool(), features["token_embeddings"]
        mean = (tokens * mask).sum(1) / mask.sum(1)
        largest = tokens.masked_fill(~mask, float("-inf")).amax(1)
        both = [nn.functional.normalize(one, dim=-1) for one in (mean, largest)]
        return {**features, "sentence_embedding": both[0] + both[1]}


def cures(model: SentenceTransformer, data: Iterable[Labelled]) -> dict[str, nn.Module]:
    """Return poolings that need no training; word weights are from the documents or texts of the data."""
    tokens = tokenise(model, list(dict.fromkeys(text for one in data for text in texts_of(one))))
    ends = tokens.offsets.tolist()
    rows = [tokens.columns["input_ids"][a:b].tolist() for a, b in pairwise(ends)]
    documents = Counter(one for row in rows for one in set(row))
    words = Counter(one for row in rows for one in row)
    size, total = model.tokenizer.vocab_size, sum(words.values())
    inverse = torch.tensor([max(0.0, len(rows) / (1 + documents[one])) for one in range(size)])
    root = inverse.clamp(min=1).log().sqrt()
    smooth = torch.tensor([SMOOTH / (SMOOTH + words[one] / total) for one in range(size)])
    return {
        "idf^.5": ByWord(root + 1e-3),
        "sif": ByWord(smooth),
        "unit chunks": UnitChunks(),
        "mean with max": MeanWithMax(),
    }


def texts_of(data: Labelled) -> Iterable[str]:
    """Return the texts that word weights are counted in."""
    if isinstance(data, Retrieval):
        return [f"{title} {text}".strip() for title, text in zip(data.titles, data.texts, strict=True)]
    if isinstance(data, Classification):
        return data.train.texts
    if isinstance(data, Sts):
        return [*data.first, *data.second]
    return data.texts


def main() -> None:
    """Print a row for each setting on each data set."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("poolings", "temperatures", "tuned"))
    parser.add_argument("--models", nargs="+", default=["minilm"])
    parser.add_argument("--data", nargs="+", help="folders of the suite, by default all")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="not of tuned")
    parser.add_argument("--together", action="store_true", help="one test for all data, and their mean")
    parser.add_argument("--by-length", action="store_true")
    parser.add_argument("--by-role", action="store_true")
    args = parser.parse_args()
    wanted = [one for one in SUITE if args.data is None or one[0] in args.data]
    for name in args.models:
        model = cenote.load(name, device="cpu")
        called = Path(name).name
        if args.what == "tuned":
            tuned(model, called, wanted, args)
            continue
        print("| model | data | kind | own | setting | score | change | p, of all | resolvable | verdict |", flush=True)
        print("|---|---|---|--:|---|--:|--:|--:|--:|---|")
        every = {
            f"{folder}, {kind}" if kind else folder: read_labelled(DATA / folder, kind) for folder, kind, _ in wanted
        }
        if args.quick:
            every = {folder: sample_labelled(data) for folder, data in every.items()}
        for some in [every] if args.together else [{name: data} for name, data in every.items()]:
            if args.what == "temperatures":
                grid: dict[str, Any] = {"temperatures": TEMPERATURES}
            else:
                plain = {one: pooling_for(model, one) for one in POOLINGS if one != pooling_of(model)}
                grid = {"poolings": {**plain, **cures(model, some.values())}}
            found = cenote.compare(model, some, names=[called], precision=args.precision, **grid)
            print("\n".join(rows(found)), flush=True)


def rows(found: Comparison) -> Iterable[str]:
    """Return a row for each setting but the model's own."""
    own = {cell.task: cell.score for cell in found.cells if cell.verdict == "baseline"}
    for cell in (cell for cell in found.cells if cell.verdict != "baseline"):
        change = score_estimate(cell.difference.value, cell.difference.low, cell.difference.high, sign="+")
        p = "" if cell.p is None else f"{cell.p:.4f}"
        least = "" if cell.resolvable is None else f"{cell.resolvable:.4f}"
        cells = (
            cell.model,
            cell.task,
            cell.kind,
            f"{own[cell.task]:.4f}",
            cell.setting,
            f"{cell.score:.4f}",
            change,
            p,
            least,
        )
        yield f"| {' | '.join(cells)} | {cell.verdict} |"


def tuned(model: SentenceTransformer, name: str, wanted: Any, args: argparse.Namespace) -> None:
    """Print what tuning on each data set ends in, and how many gains were confirmed."""
    print("| model | data | chosen | development | expected | held out | recommended | items needed |", flush=True)
    print("|---|---|---|--:|--:|--:|---|--:|")
    tunings = []
    for folder, kind, official in wanted:
        data = read_labelled(DATA / folder, kind)
        if args.by_role and not isinstance(data, Retrieval):
            continue
        data = sample_labelled(data) if args.quick else data
        found = cenote.tune(
            model,
            {folder: data},
            official=official,
            by_length=args.by_length,
            by_role=args.by_role,
            name=name,
            progress=Lines(partial(print, file=sys.stderr)),
        )
        tunings.append(found)
        best = next((one.gain.value for one in found.tried if one.temperature == found.chosen), 0.0)
        gain = "" if found.gain is None else relative_estimate(found.gain)
        cells = (
            name,
            folder,
            found.chosen or "its own",
            f"{100 * best:+.2f} %",
            f"{100 * found.expected.value:+.2f} %",
            gain,
        )
        recommended = "no" if found.recommendation is None else "yes"
        print(f"| {' | '.join(cells)} | {recommended} | {found.needed or ''} |", flush=True)
    chosen = [one for one in tunings if one.chosen is not None]
    confirmed = sum(one.recommendation is not None for one in chosen)
    print(f"\n{name}: {confirmed} of {len(chosen)} chosen temperatures are confirmed, on {len(tunings)} data sets.\n")


if __name__ == "__main__":
    main()
