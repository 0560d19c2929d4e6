"""Tunings made by hand: a rich one with all forms of temperature and names that are hard to show, and a bare one."""

from cenote import tuning_records as records
from cenote.records import Estimate

from .diagnoses import MARKUP

EVIL_TASK = 'own/<i>labels & "x"'
EVIL_MODEL = 'evil/<i>mini & "l6" | x'
TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9)


def estimate(value, width=0.006):
    return Estimate(value, value - width, value + width)


def gain_at(query, document):
    return 0.0091 - 0.12 * (query - 0.8) ** 2 - 0.09 * (document - 0.9) ** 2


def tried(first, second=None, **fields):
    """A temperature of the constant form, or of the form by role if both are given."""
    constant = second is None
    query, document = first, first if constant else second
    gain = gain_at(query, document)
    default = {
        "temperature": f"{query:g}" if constant else f"{query:g} for a query and {document:g} for a document",
        "form": "constant" if constant else "role",
        "query": query,
        "document": document,
        "gain": estimate(gain),
        "tasks": (gain + 0.0013, gain - 0.0013),
    }
    return records.Tried(**default | fields)


def confirmed(**fields):
    default = {
        "task": "scifact",
        "kind": "retrieval",
        "metric": "ndcg_at_10",
        "items": 1150,
        "before": 0.6451,
        "after": 0.6489,
        "difference": estimate(0.0038, 0.0031),
        "relative": 0.00589,
        "p": 0.0171,
        "resolvable": 0.0044,
    }
    return records.Confirmed(**default | fields)


def tuning(*found, **fields):
    default = {
        "schema": records.Tuning.SCHEMA,
        "model": EVIL_MODEL,
        "pooling": "mean",
        "own": "1",
        "recommendation": 0.8,
        "answer": "Use temperature 0.8: on 2,300 held-out items it changes the score by +0.47 % (+0.08 to +0.86 %).",
        "chosen": "0.8",
        "gain": estimate(0.0047, 0.0039),
        "expected": estimate(0.0029, 0.0042),
        "tasks": ("scifact", EVIL_TASK),
        "held_out": (
            confirmed(),
            confirmed(task=EVIL_TASK, kind="classification", metric="accuracy", p=0.2131, relative=0.00351),
            confirmed(
                task="all",
                kind="all",
                metric="mean of relative changes",
                difference=estimate(0.0047, 0.0039),
                relative=0.0047,
            ),
        ),
        "needed": 1743,
        "notes": ("scifact: this is a fixed sample of 300 queries.", MARKUP),
        "settings": {"by_role": True, "seed": 3, "note": MARKUP},
        "versions": {"cenote": "0.1.0", "mteb": "2.26.24"},
    }
    return records.Tuning(**default | {"tried": found} | fields)


def rich_tuning(**fields):
    """A tuning with temperatures of all forms."""
    length = {"form": "length", "query": None, "document": None, "gain": estimate(0.0011), "tasks": (0.002, 0.0002)}
    every = (*TEMPERATURES, 1.0)
    return tuning(
        *map(tried, TEMPERATURES),
        tried(0.9, temperature="1 up to 84 tokens and <0.8> beyond", **length),
        *(tried(query, document) for query in every for document in every if query != document),
        **fields,
    )


def bare_tuning(**fields):
    """A tuning that found nothing."""
    default = {
        "model": "mini",
        "recommendation": None,
        "answer": "No temperature helps here: on the development half none was better than 1.",
        "chosen": None,
        "gain": None,
        "expected": Estimate(0.0, None, None),
        "tasks": ("scifact",),
        "held_out": (),
        "needed": None,
        "notes": (),
        "settings": {},
        "versions": {},
    }
    return tuning(tried(0.9, gain=estimate(-0.01), tasks=(-0.01,)), **default | fields)
