"""Small labelled data of every kind, with texts that a tiny tokenizer knows."""

import json
import random

from cenote.data.labelled import Classification, Clustering, Labels, Retrieval, Sts, Summarisation

WORDS = ("a", "pool", "cave", "deep", "light", "water", "stone", "that", "collapse", "made", "price", "bread", "rose")


def texts(count, words, seed):
    """Return texts of `words` random words, or of numbers of words drawn from a range."""
    generator = random.Random(seed)
    return tuple(
        " ".join(generator.choices(WORDS, k=words if isinstance(words, int) else generator.randint(*words)))
        for _ in range(count)
    )


def retrieval(queries=40, documents=60, words=(4, 30), candidates=False, seed=0):
    generator = random.Random(seed)
    ids = tuple(f"d{row}" for row in range(documents))
    names = tuple(f"q{row}" for row in range(queries))
    judgments = {name: {one: generator.randint(1, 2) for one in generator.sample(ids, 2)} for name in names}
    for name in names[:5]:  # judged, and not relevant
        judgments[name][generator.choice(ids)] = 0
    ranked = {name: [*generator.sample(ids, 8), *judgments[name]] for name in names} if candidates else None
    ranked = ranked and {name: list(dict.fromkeys(some)) for name, some in ranked.items()}
    titles = tuple("a cave" if row % 2 else "" for row in range(documents))
    contents = texts(documents, words, seed)
    asked = tuple(" ".join(contents[int(next(iter(judgments[name]))[1:])].split()[:3]) + " query" for name in names)
    return Retrieval(ids, titles, contents, names, asked, judgments, ranked)


def classification(train=60, test=45, labels=3, seed=0):
    def some(count, start):
        return Labels(texts(count, (3, 20), start), tuple(f"label {row % labels}" for row in range(count)))

    return Classification(some(train, seed), some(test, seed + 1))


def solved(count=160):
    """Return texts of two classes that no model confuses: one word each, with white space that no tokenizer sees."""
    words = tuple(("pool", "bread")[row % 2] for row in range(count))
    texts = tuple(word + " " * row for row, word in enumerate(words))
    return Classification(Labels(texts[:40], words[:40]), Labels(texts, words))


def clustering(count=60, labels=3, seed=0):
    return Clustering(texts(count, (3, 20), seed), tuple(f"label {row % labels}" for row in range(count)))


def sts(count=50, seed=0):
    generator = random.Random(seed)
    scores = tuple(round(generator.uniform(0, 5), 2) for _ in range(count))
    return Sts(texts(count, (3, 12), seed), texts(count, (3, 12), seed + 1), scores)


def summarisation(count=35, seed=0):
    generator = random.Random(seed)
    some = [texts(4, (3, 9), seed + row) for row in range(2 * count)]
    scores = [tuple(generator.choice((1.0, 2.0, 3.0, 4.0, 5.0)) for _ in range(4)) for _ in range(count)]
    scores[3] = (2.0, 2.0, 2.0, 2.0)  # mteb passes over it
    ids = tuple(map(str, range(count)))
    return Summarisation(ids, texts(count, 20, seed), tuple(some[:count]), tuple(some[count:]), tuple(scores))


EVERY = {
    "retrieval": retrieval(),
    "reranking": retrieval(candidates=True),
    "classification": classification(),
    "clustering": clustering(),
    "sts": sts(),
    "summarisation": summarisation(),
}


def write_folder(data, folder):
    """Write a search, a classification or pairs with scores as files that `read_labelled` reads; return the folder."""
    if isinstance(data, Retrieval):
        corpus = zip(data.corpus_ids, data.titles, data.texts, strict=True)
        queries = zip(data.query_ids, data.queries, strict=True)
        files = {
            "corpus": [{"id": one, "title": title, "text": text} for one, title, text in corpus],
            "queries": [{"id": one, "text": text} for one, text in queries],
        }
        judged = [f"{query}\t{one}\t{grade}" for query, some in data.judgments.items() for one, grade in some.items()]
        folder.mkdir(exist_ok=True)
        (folder / "qrels.tsv").write_text("\n".join(["query_id\tdoc_id\tscore", *judged]) + "\n", "utf-8")
    elif isinstance(data, Classification):
        sides = {"train": data.train, "test": data.test}
        pairs = {name: zip(side.texts, side.labels, strict=True) for name, side in sides.items()}
        files = {name: [{"text": text, "label": label} for text, label in some] for name, some in pairs.items()}
    else:
        rows = zip(data.first, data.second, data.scores, strict=True)
        files = {"test": [{"text1": one, "text2": two, "score": score} for one, two, score in rows]}
    folder.mkdir(exist_ok=True)
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return folder
