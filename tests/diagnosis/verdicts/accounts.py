"""Accounts made by hand, and what else verdicts need that is not in `tests/builders.py`."""

from cenote import records

from ... import builders
from ...builders import spread


def estimate(value, reach=0.01):
    return records.Estimate(value, value - reach, value + reach)


def shares(found=0.9, cut=0.0, pooling=0.06, reach=0.01):
    """The four shares, with intervals; what is missing to 1 is not found at all."""
    values = {"found": found, "lost_to_cut": cut, "lost_to_pooling": pooling, "not_found": 1 - found - cut - pooling}
    return {name: estimate(value, reach) for name, value in values.items()}


def setting(change=0.0, reach=0.01, *, left_out=0.0, rows=1.0):
    return records.Setting(
        **shares(0.9 + change),
        left_out=estimate(0.7 + left_out),
        change=estimate(change, reach),
        change_left_out=estimate(left_out, reach),
        of_cut=0.05,
        of_pooling=0.02,
        rows=rows,
    )


def part(by, name, found=0.9, sentences=100):
    return records.Part(**shares(found), by=by, name=name, sentences=sentences)


PARTS = (part("position", "first", 0.95), part("position", "last", 0.8), part("length", "10 to 90 tokens", 0.97))
READING = (part("length", "cut", 0.7), part("reading", "read", 0.97, 250), part("reading", "not read", 0.4, 50))


def account(*, reach=0.01, parts=PARTS, settings=None, found=0.9, cut=0.0, pooling=0.06, **fields):
    """An account of 300 sentences of 100 texts."""
    beside = records.Beside(slope=None, tokens=80.0, tokens_of_ten=90.0, hubness=1.0, never=0.0)
    figures = {name: estimate(value) for name, value in (("reciprocal_rank", 0.93), ("in_ten", 0.97))}
    removed = {"left_out": estimate(0.7), "left_out_reciprocal_rank": estimate(0.8)}
    counts = {"documents": 100, "sentences": 300, "few": 0, "unsplit": 0, "repeated": 0.0}
    default = {"parts": parts, "settings": settings or {}, "examples": (), "beside": beside}
    return records.Account(**shares(found, cut, pooling, reach) | figures | removed | counts | default | fields)


def run(temperature="1", **fields):
    return builders.run(temperature, **{"cut_lengths": None, "null": None, "repeated": ()} | fields)


def model(*runs, **fields):
    return builders.model(*(runs or (run(),)), **{"account": account(), "queries": None} | fields)


def pairs(socm=0.01, **fields):
    return builders.pairs(socm, **{"normalised": spread(0.7)} | fields)


def cut_lengths(first=0.1, last=0.3, reach=0.05):
    """The same 90 texts cut at 32, 64 and 256 tokens."""
    cosines = {32: first, 64: (first + last) / 2, 256: last}
    cuts = tuple(records.CutLength(tokens=tokens, cosine=estimate(cosine)) for tokens, cosine in cosines.items())
    return records.CutLengths(texts=90, cuts=cuts, change=estimate(last - first, reach))
