"""Comparisons made by hand: a rich one of two models on two tasks with names that are hard to show, and a bare one."""

from cenote import comparison_records as records
from cenote.records import Estimate, Shares

from .diagnoses import MARKUP

EVIL_TASK = 'own/<i>labels & "x"'
VERDICTS = (
    "baseline",
    "better",
    "worse",
    "not told apart",
    "equal",
    "cannot be resolved",
    "too few items",
    "items not known",
)
# Of each setting: pooling, temperature, limit, way to read longer texts, difference, verdict.
ARMS = (
    ("mean", "1", 256, "truncate", 0.0, "baseline"),
    ("cls", "1", 256, "truncate", -0.0412, "worse"),
    ("landmark", "1", 256, "truncate", 0.0273, "better"),
    ("mean+cls", "1", 256, "truncate", 0.0041, "not told apart"),
    ("mean", "0.9", 256, "truncate", 0.0002, "cannot be resolved"),
    (
        "<b>own | module</b>",
        "linear(start=1, end=0.8, shortest=32, longest=256)",
        None,
        "window-mean",
        0.0117,
        "better",
    ),
)


def cell(setting="cls", difference=-0.0412, verdict="worse", *, width=0.013, **fields):
    """A cell of a retrieval, whose figures depend on the difference."""
    base, few = verdict == "baseline", verdict == "too few items"
    ends = (None, None) if base or few else (difference - width, difference + width)
    default = {
        "setting": setting,
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "pooling": "cls",
        "temperature": "1",
        "limit": 256,
        "long": "truncate",
        "task": "scifact",
        "kind": "retrieval",
        "metric": "ndcg_at_10",
        "score": 0.6451 + difference,
        "baseline": setting if base else "MiniLM: mean",
        "difference": Estimate(difference, *ends),
        "relative": 0.0 if base else difference / 0.6451,
        "p": None if base or few else 0.0004 if verdict in ("better", "worse") else 0.3217,
        "p_alone": None if base or few else 0.0001 if verdict in ("better", "worse") else 0.0876,
        "effect": None if base else difference * 7,
        "wins": 0 if base else 81,
        "losses": 0 if base else 1064,
        "ties": 0 if base else 155,
        "resolvable": None if base or few else 0.0187,
        "verdict": verdict,
        "neighbours": None if base else 0.7431,
        "by_length": (),
        "items": 300,
    }
    return records.Cell(**default | fields)


def quarters(difference, by="document"):
    names = (
        "quarter 1, 7 to 40 tokens",
        "quarter 2, 40 to 91 tokens",
        "quarter 3, 91 to 180 tokens",
        "quarter 4, 180 and more",
    )
    return tuple(
        records.ByLength(
            by, name, 75 + place, Estimate(difference * place, difference * place - 0.02, difference * place + 0.02)
        )
        for place, name in enumerate(names)
    )


def cells(task="scifact", model="MiniLM", scale=1.0, **fields):
    """The cells of all settings of a model on a task."""
    base = "MiniLM: mean"
    found = []
    for pooling, temperature, limit, long, difference, verdict in ARMS:
        name = ", ".join(
            [pooling] + [f"temperature {temperature}"] * (temperature != "1") + [long] * (long != "truncate")
        )
        arm = {"model": model, "pooling": pooling, "temperature": temperature, "limit": limit, "long": long}
        lengths = quarters(difference) if verdict in ("worse", "better") and task == "scifact" else ()
        found.append(
            cell(
                f"{model}: {name}",
                scale * difference,
                verdict,
                task=task,
                by_length=lengths,
                baseline=base,
                **arm,
                **fields,
            )
        )
    return tuple(found)


def cost(setting="MiniLM: mean", **fields):
    default = {"dimensions": 384, "vectors": 1.0, "seconds": 7.31, "texts": 5483}
    return records.Cost(setting=setting, **default | fields)


def comparison(*found, **fields):
    default = {
        "schema": records.Comparison.SCHEMA,
        "models": ("sentence-transformers/all-MiniLM-L6-v2",),
        "costs": (cost(),),
        "labelled": True,
        "warnings": (),
        "notes": (),
        "settings": {"quick": False, "seed": 3},
        "versions": {"cenote": "0.1.0", "mteb": "2.26.24"},
    }
    return records.Comparison(**default | {"cells": found} | fields)


def rich_comparison(**fields):
    """Six settings of one model and one of another, on two tasks and their mean."""
    other = {"model": 'evil/<i>e5 & "x"', "pooling": "cls", "baseline": "MiniLM: mean"}
    name = 'evil/<i>e5 & "x": cls'
    found = (
        *cells(),
        cell(name, 0.0093, "not told apart", **other),
        *cells(EVIL_TASK, scale=0.5, kind="classification", metric="accuracy"),
        cell(name, 0.2, "too few items", task=EVIL_TASK, kind="classification", metric="accuracy", **other),
        *cells("all", scale=0.75, kind="all", metric="mean of scores", neighbours=None),
        cell(name, 0.0511, "better", task="all", kind="all", metric="mean of scores", neighbours=None, **other),
    )
    settings = dict.fromkeys(one.setting for one in found)
    default = {
        "models": ("sentence-transformers/all-MiniLM-L6-v2", 'evil/<i>e5 & "x"'),
        "costs": tuple(
            cost(name, dimensions=384 * (1 + place % 2), vectors=1 + place / 4, seconds=7.31 + place)
            for place, name in enumerate(settings)
        ),
        "warnings": (
            "On scifact, pooling landmark is better than the declared mean of MiniLM: ndcg_at_10 +0.0273 "
            "(+0.0143 to +0.0403).",
            MARKUP,
        ),
        "notes": ("scifact: this is a fixed sample of 300 queries.", MARKUP),
        "settings": {"quick": True, "seed": 3, "split": "dev", "baseline": None, "note": MARKUP},
    }
    return comparison(*found, **default | fields)


def own_sentences():
    """Two settings on sentences of the texts themselves, with what becomes of the sentences."""
    found = []
    for task, kept in (("sentence left out", False), ("sentence kept", True)):
        for name, verdict, less in (("mean", "baseline", 0.0), ("cls", "worse", 0.1)):
            shares = [Estimate(one, one - 0.02, one + 0.02) for one in (0.6 - less, 0.2, 0.15 + less, 0.05)]
            account = {"reciprocal_rank": Estimate(0.71 - less, 0.68 - less, 0.74 - less)}
            account |= {"fates": Shares(*shares)} if kept else {}
            named = {"task": task, "kind": "own sentences", "metric": "share found", "baseline": "mean"}
            named |= {} if verdict == "baseline" else {"resolvable": 0.03}
            found.append(cell(name, -less, verdict, **named, **account))
    return comparison(*found, labelled=False)


def bare_comparison(**fields):
    """Two settings that nothing is claimed of."""
    own = cell("mean", 0.0, "baseline", pooling="mean")
    few = {"effect": None, "wins": 0, "losses": 0, "ties": 0, "neighbours": None, "relative": None}
    return comparison(own, cell("cls", 0.01, "too few items", baseline="mean", **few), costs=(), **fields)


def large_comparison():
    """Twenty tasks, each with the cells of six settings."""
    return comparison(*(one for place in range(20) for one in cells(f"task {place}")))
