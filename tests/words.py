"""Words that the tokenizers of the tiny models know."""

WORDS = "the pool collapse water cave stone deep light a one two three query document".split()  # noqa: SIM905
