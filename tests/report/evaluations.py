"""Evaluations made by hand: a rich one of four tasks with texts that are hard to show, a bare one, and a large one."""

import re
from dataclasses import replace

from cenote import evaluation_records as records
from cenote.records import Estimate

from .diagnoses import ARABIC, EMOJI, MARKUP

ODD = "a | b\nc \\ `d` \x00 \ud800 *e* [f](g)"
LONG = "A cenote is a natural pit. " * 80
INTERVALS = ("0 to 99", "100 to 199", "200 to 299", "300 to 399", "400 to 499")
QUARTERS = ("7 to 10", "10 to 14", "14 to 21", "21 to 60")


def estimate(value, width=0.05):
    return Estimate(value, value - width, value + width)


def part(name, value, by="document", items=80, **fields):
    score = None if value is None else estimate(value)
    division = "quarter" if name.startswith("quarter") else "end" if "20 %" in name else "interval"
    low, *high = (float(number) for number in re.findall(r"(?<!quarter )\b\d+\b(?! %)", name) or [5, 9])
    high = high[0] if high else None
    return records.Part(by, division, name, low, high, items, score, **fields)


def parts(start, fall, by="document", **fields):
    """Parts whose score falls with length; only the quarters of a text that is always short have scores."""
    names = [f"{name} tokens" for name in INTERVALS] + ["500 tokens and more"]
    found = [part(name, start - fall * place, by, **fields) for place, name in enumerate(names)]
    found[1] = part(names[1], None, by, items=7, **fields)
    quarters = [f"quarter {number}, {ends} tokens" for number, ends in enumerate(QUARTERS, 1)]
    found += [part(name, start - fall * place, by, items=120, **fields) for place, name in enumerate(quarters)]
    return (*found, part("shortest 20 %", start, by, **fields), part("longest 20 %", start - 5 * fall, by, **fields))


def short_parts(start, fall, by):
    """Parts of texts that all fall into one interval of length."""
    return tuple(
        one for one in parts(start, fall, by) if "20 %" in one.name or one.name.startswith(("0 to", "quarter"))
    )


def setting(name, change, width=0.01, vectors=1.0):
    return records.Setting(name=name, score=estimate(0.6 + change), change=estimate(change, width), vectors=vectors)


def worst(place, text, expected="7", found="3, 4, 5"):
    return records.Worst(item=f"q{place}", text=text, value=place / 7 - 1.5, expected=expected, found=found)


def task(**fields):
    """A task whose score has an interval, and nothing else."""
    default = {
        "name": "scifact",
        "kind": "retrieval",
        "metric": "ndcg_at_10",
        "score": 0.6451,
        "low": 0.6012,
        "high": 0.6893,
        "items": 300,
        "interval": "other queries",
        "longest_rank": None,
        "texts": 5483,
        "cut": 3291,
        "scores": {"main_score": 0.6451, "map_at_10": 0.59817},
        "data": "ff4f3bc84704f63e",
        "split": "test",
    }
    empty = dict.fromkeys(("by_length", "settings", "positions", "worst", "notes"), ())
    return records.TaskScore(**default | empty | fields)


def bare_task(**fields):
    """A task of a kind whose single items are not known."""
    note = "The values of single items are not known for tasks of bitext mining: there is no interval."
    default = {"name": "tatoeba", "kind": "bitext mining", "metric": "f1", "score": 0.81, "low": None, "high": None}
    return task(**default | {"items": 0, "interval": "", "cut": 0, "scores": {}, "notes": (note,)} | fields)


def search(**fields):
    places = tuple(zip(("start", "middle", "end"), (0.91, 0.72, 0.44), strict=True))
    default = {
        "by_length": (*parts(0.81, 0.07), *short_parts(0.62, 0.03, "query")),
        "settings": (
            setting("window-mean", 0.031),
            setting("windows", -0.024, vectors=2.37),
            setting("segments 8", 0.004, vectors=1.9),
        ),
        "positions": tuple(
            records.Position(way=way, place=place, items=213, found=estimate(at - less))
            for way, less in (("truncate", 0.0), ("window-mean", 0.1))
            for place, at in places
        ),
        "worst": (worst(1, MARKUP), worst(2, ODD, expected=ARABIC), worst(3, LONG, found=EMOJI)),
        "longest_rank": 17.31,
        "notes": ("This is a fixed sample of 300 queries.", MARKUP),
    }
    return task(**default | fields)


def classes(**fields):
    default = {
        "name": 'own/<i>labels & "x"',
        "kind": "classification",
        "metric": "accuracy",
        "score": 0.5271,
        "low": 0.5003,
        "high": 0.5552,
        "items": 512,
        "interval": "other texts",
        "by_length": parts(0.6, 0.04, "text", entropy=1.7634),
        "worst": (worst(4, "What is caffeine ?", "1", "0 (0.22)"),),
        "texts": 1013,
        "cut": 41,
        "scores": {"accuracy": 0.5271, "f1": 0.49693},
        "data": "226b560684d98077",
    }
    return task(**default | fields)


def clusters(**fields):
    default = {
        "name": "news",
        "kind": "clustering",
        "metric": "v_measure",
        "score": 0.4123,
        "low": 0.39,
        "high": 0.4345,
    }
    return task(
        **default
        | {"items": 2048, "interval": "other draws", "by_length": short_parts(0.41, 0.02, "text")}
        | {"part_metric": "adjusted Rand index", "part_score": estimate(0.3377, 0.01)}
        | fields
    )


def evaluation(*tasks, **fields):
    default = {
        "schema": records.Evaluation.SCHEMA,
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "fingerprint": "d992eefed0fee922",
        "pooling": "mean of <tokens>",
        "temperature": "0.8",
        "limit": 256,
        "settings": {"long": "truncate", "quick": True, "seed": 3, "split": "dev", "note": MARKUP},
        "versions": {"cenote": "0.1.0", "mteb": "2.26.24"},
    }
    return records.Evaluation(**default | {"tasks": tasks} | fields)


def rich_evaluation():
    return evaluation(search(), classes(), clusters(), bare_task())


def large_evaluation():
    """An evaluation of ten tasks, each with as much as a task can have, and with long texts."""
    figures = {f"{name}_at_{depth}": 0.12345 for name in "abcdefghij" for depth in (1, 3, 5, 10, 20, 100, 1000)}
    items = tuple(worst(place, LONG) for place in range(5))
    tasks = [search(name=f"search {place}", scores=figures, worst=items) for place in range(5)]
    return evaluation(*tasks, *(replace(one, name=f"more {one.name}", positions=()) for one in tasks))
