"""What `make demo` runs until `cenote diagnose` exists: one model, every pooling, how well each tells texts apart."""

import warnings

from transformers.utils.logging import disable_progress_bar

import cenote
from cenote.corpus import sample
from cenote.errors import CenoteWarning
from cenote.functional.pooling import POOLINGS
from cenote.loading import repool

COUNT, WORDS = 30, 120  # docstrings, each at least this long


def main() -> None:
    """Print the table."""
    disable_progress_bar()
    print("There is no diagnosis yet; this is the main thing there is: one model under every pooling operator.\n")
    long = (text.text.split() for text in sample() if len(text.text.split()) >= WORDS)
    halves = [
        (" ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :]))
        for words, _ in zip(long, range(COUNT), strict=False)
    ]
    print(f"{COUNT} docstrings of Python's standard library, each cut in two: does the first half find the second?")
    print("all-MiniLM-L6-v2, which was trained with mean; landmarks every 32 tokens.\n")
    print(f"{'pooling':<14} {'own half':>9} {'others':>7}   first half finds its second")
    model = cenote.load("minilm")
    for name in POOLINGS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CenoteWarning)  # that most of these are the wrong choice is the point
            repool(model, name)
        first, second = (model.encode([half[side] for half in halves], convert_to_tensor=True) for side in (0, 1))
        cosines = cenote.similarity(first, second)
        own = cosines.diagonal()
        others = (cosines.sum() - own.sum()) / (COUNT * (COUNT - 1))
        found = int((cosines.argmax(1) == cosines.argmax(1).new_tensor(range(COUNT))).sum())
        print(f"{name:<14} {own.mean():>9.3f} {others:>7.3f}   {found:>3} of {COUNT}", flush=True)
    print("\nThe model ends with a normalisation, so mean_sqrt_len is mean. Landmark pooling is learned: a model that")
    print("never learned it loses. Thirty texts show the idea, not a ranking.")
    print("Next: `.venv/bin/cenote --help`, README.md, docs/.")


if __name__ == "__main__":
    main()
