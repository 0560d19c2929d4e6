"""Every number at which a check fails, with its reason. Tables of the documentation repeat them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Threshold:
    """A number at which a check fails, and why it is that number."""

    value: float
    reason: str


THRESHOLDS = {
    "same": Threshold(
        0.9999,
        "the least cosine of vectors that count as the same: rounding of float32 alone leaves more than 0.999999",
    ),
    "rounding": Threshold(
        1e-4,
        "the largest difference of a number, relative to the length of the vector, that padding or a batch may make in "
        "float32: other orders of the same sums differ by about 1e-6",
    ),
    "half rounding": Threshold(
        0.99,
        "the least cosine of vectors at half precision with those at float32: rounding to bfloat16 leaves 0.99998 in "
        "encoders of 6 layers and less in deep decoders",
    ),
    "times rounding": Threshold(
        4.0,
        "how many times as far from 1 as that cosine the one with padding or in a batch may be: both vectors of a pair "
        "are rounded, so their angle may be twice that of one, and 1 minus its cosine four times as large; of an "
        "encoder of 6 layers it is 1.3 times",
    ),
    "least rounding": Threshold(
        1e-5, "and the least of that distance that counts: below it a cosine is itself made of a few roundings"
    ),
    "share found": Threshold(
        0.5, "of the sentences that another pooling finds, the share below which the pooling cannot fit the weights"
    ),
    "points lost": Threshold(
        0.2, "and the least difference of both shares: smaller ones occur between poolings that a model was trained for"
    ),
    "sure": Threshold(
        0.001, "the probability of the difference by chance, by the sign test, above which nothing fails"
    ),
    "doubtful": Threshold(
        0.01, "the same probability, below which the pooling does not pass: the weights may fit another one better"
    ),
    "largest": Threshold(65504, "the largest number of float16"),
    "unread": Threshold(
        1e-3,
        "the change of vectors by other words at the end of a text, in parts of that by other words at its beginning, "
        "below which the end is not read: sound encoders have 0.4 and more, words that were cut have 0",
    ),
    "content kept": Threshold(
        0.25,
        "the part of the differences between texts that remains when a token is inserted, relative to the median of "
        "random tokens: of three sound encoders the worst of 1,500 tokens keeps 0.7, of one that was fine-tuned on a "
        "narrow subject 0.54, and a token whose state outweighs all others keeps nothing",
    ),
    "untrained": Threshold(
        0.6,
        "the part that random tokens must keep for a comparison: they keep 0.8 and more in trained encoders, and 0.1 "
        "to 0.5 in random networks, where any token hides the text",
    ),
    "hub": Threshold(1 / 3, "the share of all other texts that have one text among their nearest"),
    "above null": Threshold(
        2.0, "and how many times as often as the largest hub of random vectors with the same covariance"
    ),
}


def value_of(name: str) -> float:
    """Return a threshold.

    >>> value_of("largest")
    65504
    """
    return THRESHOLDS[name].value
