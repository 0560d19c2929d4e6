"""What `make demo` runs until `cenote diagnose` exists: one model, every pooling, how well each tells texts apart."""

import warnings

import cenote
from cenote.errors import CenoteWarning
from cenote.functional.pooling import POOLINGS

# Each pair says the same thing twice; the pairs have nothing to do with each other.
PAIRS = [
    ("How do I reset my password?", "I forgot my login and need a new one."),
    ("The cat is asleep on the warm window sill.", "A kitten naps in the sun by the window."),
    ("Shares fell after the bank reported a loss.", "The lender's stock dropped on weak results."),
    ("Boil the pasta for nine minutes.", "Cook the noodles in boiling water until tender."),
]


def main() -> None:
    """Print the table."""
    print("There is no diagnosis yet; this is the main thing there is: one model under every pooling operator.\n")
    print("Cosine of paraphrases and of unrelated texts, all-MiniLM-L6-v2 (trained with mean):\n")
    print(f"{'pooling':<14} {'paraphrases':>11} {'unrelated':>10} {'gap':>7}")
    for name in POOLINGS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CenoteWarning)  # that most of these are the wrong choice is the point
            model = cenote.load("minilm", pooling=name)
        first, second = (model.encode([pair[side] for pair in PAIRS], convert_to_tensor=True) for side in (0, 1))
        cosines = cenote.similarity(first, second)
        same = cosines.diagonal().mean().item()
        other = ((cosines.sum() - cosines.diagonal().sum()) / (cosines.numel() - len(PAIRS))).item()
        print(f"{name:<14} {same:>11.3f} {other:>10.3f} {same - other:>7.3f}")
    print("\nEight sentences show the idea, not a ranking. Next: `cenote --help`, README.md, docs/.")


if __name__ == "__main__":
    main()
