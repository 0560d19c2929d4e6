"""Models are trained and scored by one command; scores become tables, and the claims on landmarks read from them."""

import gzip
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

pytest.importorskip("matplotlib")
sys.path.insert(0, str(Path(__file__).parents[1]))

import cenote
from cenote.data.labelled import read_labelled
from cenote.errors import BadInput
from cenote.models.properties import positions_of
from experiments import all as everything
from experiments import data_sets
from experiments.claims import INDEX, RESULTS, TRAINED, rows_of_trainings
from experiments.landmark import backbones, material, run
from experiments.landmark.plan import ARMS, MAIN, READINGS, SIZES, UNTRAINED, WHOLE, of_model, trainings
from experiments.landmark.summary import summarise
from experiments.page import build_page

from .evaluation import labelled

POSTS, EVIDENCE = 90, 40
PARTS = ["short", "middle", "long"] * (POSTS // 3)


def write_scores(folder, size, means):
    """Write score files of all trainings; `means(arm, search)` is the mean score, of which queries differ a little."""
    folder.mkdir()
    short, *longer = size.lengths
    counts = {f"posts {length}": POSTS for length in (short, longer[0])}
    counts |= {f"evidence {length} {place}": EVIDENCE for length in longer for place in ("start", "middle", "end")}
    generator = np.random.default_rng(0)
    for start, arm, seed in trainings(size):
        values = {}
        for reading in ("", *READINGS.get(arm, {})):
            values[reading] = {
                name: {
                    "items": [f"q{row}" for row in range(count)],
                    "values": (means(arm, name) + generator.normal(0, 0.002, count)).tolist(),
                    "parts": PARTS if name.startswith("posts") else [None] * count,
                }
                for name, count in counts.items()
                if not reading or name.split()[1] == str(longer[0])
            }
        (folder / f"{start}, {arm}, {seed}.json").write_text(json.dumps({"values": values}))


@pytest.fixture(params=[[64, 128], [512, 2048, 8192]], ids=str)
def size(request):
    """A size of which the lengths come in another order as words."""
    toy, lengths = SIZES["toy"], request.param
    starts = {"reset": toy.starts["reset"]}
    return replace(toy, starts=starts, ablations="reset", seeds=2, lengths=lengths, train_length=lengths[0])


def verdicts(folder, size, means):
    write_scores(folder / "landmark-toy", size, means)
    summarise(folder, "toy", size)
    rows = {row.text.split(":")[0]: row for row in rows_of_trainings([folder / "landmark-toy.json"])}
    return rows, json.loads((folder / "landmark-toy.json").read_text())["starts"]["reset"]


def test_claims_are_decided_by_the_searches_that_were_chosen_before(size, tmp_path):
    def means(arm, search):
        late = 0.2 if search.endswith("end") and arm == "cls" else 0.0
        better = 0.1 if search.startswith("evidence") and arm in ("landmark", "landmark, sentences") else 0.0
        return 0.5 + better - late

    rows, record = verdicts(tmp_path, size, means)
    positions = "in part" if len(size.lengths) > 2 else "undecided, one for"  # with fixed intervals nothing differs
    assert [row.verdict for row in rows.values()] == ["holds", "holds", "undecided", "holds", "holds", positions]
    alike = next(row for text, row in rows.items() if "matches" in text)
    assert {one.data for one in alike.values} == {f"posts {size.train_length} short"}
    longer = next(row for text, row in rows.items() if "better than CLS" in text)
    assert [one.data for one in longer.values] == [f"evidence {length}" for length in size.lengths[1:]]
    short = record[f"posts {size.train_length} short"]
    assert {*short["scores"]} == {*ARMS, *UNTRAINED}
    assert [len(short["scores"][arm]) for arm in (*MAIN, "every_k")] == [2, 2, 2, 1]
    assert {"cls", "mean", "every_k", "temperature 0.8"} <= {*record[f"posts {size.lengths[1]}"]["from landmark"]}


def test_a_difference_of_one_arm_is_decided_by_that_arm_alone(tmp_path):
    late = {"cls": {"value": -0.2, "low": -0.3, "high": -0.1, "p": 0.001}}
    search = {"chance": 0.071, "scores": {"cls": [0.4], "landmark": [0.13]}, "end minus start": late}
    path = tmp_path / "landmark-toy.json"
    path.write_text(json.dumps({"train_length": 128, "starts": {"reset": {"evidence 512": search}}}))
    (row,) = (row for row in rows_of_trainings([path]) if row.text.startswith("CLS gathers"))
    assert [one.holds for one in row.values] == [True]


def test_the_mean_is_not_worse_on_short_posts_of_the_models_that_were_trained():
    rows = rows_of_trainings([RESULTS / "landmark-cpu.json"])
    (row,) = (row for row in rows if "on short texts it does worse" in row.text)
    assert [one.holds for one in row.values] == [False, False]


def test_longer_posts_are_tested_in_the_seeds_after_those_that_were_known(size, tmp_path):
    size = replace(size, known=1)
    longest = f"posts {size.lengths[1]} long"

    def means(arm, search):
        return 0.6 if search.startswith(f"posts {size.lengths[1]}") and arm == "landmark" else 0.5

    _, record = verdicts(tmp_path, size, means)
    found = record[longest]["landmark minus, later seeds"]
    assert {*found} == {"1"}
    assert found["1"]["cls"]["value"] == pytest.approx(0.1, abs=0.002)
    assert found["1"]["mean"]["p"] < 0.001
    assert "landmark minus, later seeds" not in record[f"posts {size.lengths[0]} long"]


def test_an_arm_that_did_not_learn_a_search_decides_nothing(size, tmp_path):
    def means(arm, search):
        return 0.12 if search.startswith("evidence") and arm == "landmark, fixed" else 0.5

    rows, _ = verdicts(tmp_path, size, means)
    positions = next(row for text, row in rows.items() if "depends on the positions" in text)
    assert {one.holds for one in positions.values if one.model.endswith("fixed")} == {None}


def test_what_was_kept_of_other_settings_is_not_taken_up(tmp_path):
    cpu = SIZES["cpu"]
    names = {run.digest(one) for one in (cpu, replace(cpu, steps=cpu.steps + 1), SIZES["toy"])}
    assert len(names) == 3
    assert run.digest(cpu) == run.digest(replace(cpu)) == run.digest(replace(cpu, known=0))
    assert len({run.digest(cpu, more) for more in ([], ["weights"], ["others"])}) == 3
    scored = tmp_path / "cls, 0.json"
    assert not run.is_by("a", scored)
    scored.write_text(json.dumps({"made_by": "a"}))
    assert (run.is_by("a", scored), run.is_by("b", scored)) == (True, False)


@pytest.mark.parametrize("name", ["cpu", "confirm"])
def test_committed_tables_are_those_of_the_committed_scores(name, tmp_path):
    shutil.copytree(RESULTS / f"landmark-{name}", tmp_path / f"landmark-{name}")
    summarise(tmp_path, name, SIZES[name])
    for kind in ("json", "md"):
        made, committed = (folder / f"landmark-{name}.{kind}" for folder in (tmp_path, RESULTS))
        assert made.read_text("utf-8") == committed.read_text("utf-8")


def compress(path, content):
    """Write rows as lines of JSON, or lines of text."""
    path.parent.mkdir(exist_ok=True)
    lines = [one if isinstance(one, str) else json.dumps(one) for one in content]
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The folder of the data that the experiment reads, with few texts of words that tiny models know."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setattr(data_sets, "DATA", folder)
    for seed, split in enumerate(("train", "test")):
        bodies = [text for words in (40, 200, 600) for text in labelled.texts(6, words, seed)]
        subjects = [f"a {split} post {row}" for row in range(len(bodies))]
        posts = [f"Subject: {subject}\n\n{body}" for subject, body in zip(subjects, bodies, strict=True)]
        compress(folder / f"20news_full/{split}.jsonl.gz", [{"text": text} for text in posts])
    abstracts = labelled.texts(24, 30, seed=2)
    claims = [{"id": f"{row}", "text": f"a claim {row}"} for row in range(len(abstracts))]
    for split, some in (("_train", claims[:8]), ("", claims[8:])):
        compress(folder / f"scifact/queries{split}.jsonl.gz", some)
        judged = [f"{one['id']}\t{one['id']}\t1" for one in some]
        compress(folder / f"scifact/qrels{split}.tsv.gz", ["query_id\tdoc_id\tscore", *judged])
    rows = [{"id": f"{row}", "title": "cave", "text": text} for row, text in enumerate(abstracts)]
    compress(folder / "scifact/corpus.jsonl.gz", rows)
    for path in ("imdb/test", "text_imdb_unsup/text", "text_wikitext2/text"):
        texts = [{"text": ". ".join(labelled.texts(6, 30, seed=len(path) + row))} for row in range(8)]
        compress(folder / f"{path}.jsonl.gz", texts)
    compress(folder / "qmsum/corpus.jsonl.gz", [{"id": "train 1", "text": "deep light"}])
    compress(folder / "qmsum/queries.jsonl.gz", [{"id": "q_s1", "text": "a price"}])
    compress(folder / "qmsum/qrels.tsv.gz", ["query_id\tdoc_id\tscore", "q_s1\ttrain 1\t1"])
    for path in labelled.write_folder(labelled.retrieval(), folder / "cranfield").iterdir():
        compress(path.with_name(f"{path.name}.gz"), path.read_text("utf-8").splitlines())
        path.unlink()
    return folder


def command(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["run", *map(str, words)])
    run.main()


@pytest.mark.filterwarnings("ignore::cenote.errors.CenoteWarning")  # landmarks are read without training, too
def test_a_backbone_is_trained_in_each_way_and_each_claim_is_said_to_hold_or_not(
    data, tiny_st, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("mteb")
    for arm in ("every_k", "multi_cls", "mean, spread"):  # of which no claim is, to save time
        monkeypatch.delitem(ARMS, arm)
    monkeypatch.delitem(READINGS, "mean")
    bert, output = tiny_st("bert"), tmp_path / "out"
    labelled.write_folder(labelled.retrieval(seed=1), tmp_path / "asked")
    words = ["--quick", "--model", bert, "--data", tmp_path / "asked", "-o", output, "--work", tmp_path / "work"]
    command(monkeypatch, *words)
    name, printed = f"landmark-toy-{bert.name}-on-asked", capsys.readouterr().out
    assert {path.name for path in output.iterdir()} == {
        name,
        *(f"{name}.{kind}" for kind in ("json", "md")),
        *(f"{name}-{WHOLE}.{kind}" for kind in ("svg", "png")),
    }
    assert "<text" in (output / f"{name}-{WHOLE}.svg").read_text("utf-8")
    assert (output / f"{name}-{WHOLE}.png").read_bytes().startswith(b"\x89PNG")
    size = of_model(SIZES["toy"], bert)
    assert {path.stem for path in (output / name).iterdir()} == {run.name_of(one) for one in trainings(size)}
    record = json.loads((output / f"{name}.json").read_text("utf-8"))
    assert record["machine"] == run.machine_in_words()
    assert [*record["starts"]] == [WHOLE]
    assert {*record["starts"][WHOLE]["asked"]["scores"]} == {*ARMS, *UNTRAINED}
    rows = [*rows_of_trainings([output / f"{name}.json"])]
    for claim, row in zip(TRAINED, rows, strict=True):
        assert f"**{claim.text}** (arXiv 2601.21525, {claim.place}): {row.verdict}. {claim.measure}" in printed
        assert len(row.values) == len(claim.arms)
    values = re.findall(rf"^- {name.removeprefix('landmark-')}, {WHOLE}, (.*): [✓✗○] [+-]", printed, re.MULTILINE)
    assert len(values) == sum(len(row.values) for row in rows)
    assert "cls, posts 64 short" in values

    monkeypatch.setattr(run, "train_and_score", None)  # the same command trains nothing again
    command(monkeypatch, *words)
    tables = printed[printed.index("# Landmark pooling, trained") :]
    assert capsys.readouterr().out.endswith(tables)


# Backbones.


@pytest.fixture
def source(copy_of):
    """A BERT with an entry for masked words."""
    folder = copy_of("bert", plain=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.mask_token = tokenizer.unk_token
    tokenizer.save_pretrained(folder)
    return folder


PLAIN = ["the deep cave holds light and water under the stone"] * 60


def differences_by_layer(model, other):
    """Which layers of two BERT models have other weights, and whether the word embeddings do."""
    one, two = (AutoModel.from_pretrained(folder).state_dict() for folder in (model, other))
    assert one.keys() == two.keys()
    changed = {name for name in one if not torch.equal(one[name], two[name])}
    layers = {int(name.split(".")[2]) for name in changed if name.startswith("encoder.layer.")}
    return layers, any(name.startswith("embeddings.") for name in changed)


def test_layers_above_those_that_are_kept_are_random(source, tmp_path):
    layers = AutoConfig.from_pretrained(source).num_hidden_layers
    made = backbones.reset(source, tmp_path / "made", 1, 5)
    assert differences_by_layer(source, made) == ({*range(1, layers)}, False)
    same = backbones.reset(source, tmp_path / "same", 1, 5)
    assert differences_by_layer(made, same) == (set(), False)
    other = backbones.reset(source, tmp_path / "other", 1, 6)
    assert differences_by_layer(made, other) == ({*range(1, layers)}, False)


def test_masked_words_train_a_random_backbone_and_go_on_after_a_stop(source, tmp_path, monkeypatch):
    given = PLAIN, 4, 2, 16, 5  # texts, steps, texts of a step, tokens, seed
    whole = backbones.adapted(source, tmp_path / "whole", *given)
    layers, embeddings = differences_by_layer(source, whole)
    assert layers == {*range(AutoConfig.from_pretrained(source).num_hidden_layers)}
    assert embeddings
    step, left = backbones.Trainer.training_step, [1, 1]
    monkeypatch.setattr(backbones.Trainer, "training_step", lambda *some, **more: (left.pop(), step(*some, **more))[1])
    with pytest.raises(IndexError):  # it is killed in its third step
        backbones.adapted(source, tmp_path / "killed", *given)
    assert (tmp_path / "killed-checkpoints").is_dir()
    left += [1, 1, 1]
    backbones.adapted(source, tmp_path / "killed", *given)
    assert len(left) == 1  # two of four steps were left
    assert differences_by_layer(source, tmp_path / "killed") == (layers, True)
    assert not (tmp_path / "killed-checkpoints").exists()


def test_a_rotary_backbone_is_trained_from_nothing(source, tmp_path):
    made = backbones.rotary(source, tmp_path / "made", PLAIN, 2, 2, 16, 2, 64, 0)
    model = cenote.load(made, pooling="mean", device="cpu")
    config = model[0].model.config
    assert (config.model_type, config.num_hidden_layers, config.hidden_size) == ("modernbert", 2, 64)
    assert positions_of(model) is None or positions_of(model) >= 8192
    assert np.isfinite(model.encode(PLAIN[0] * 40)).all()


def test_data_that_are_missing_are_named_in_a_line(data, monkeypatch, tmp_path):
    shutil.rmtree(data / "text_wikitext2")
    with pytest.raises(SystemExit, match="error: there is no data set 'text_wikitext2'"):
        command(monkeypatch, "--quick", "-o", tmp_path / "out")


def test_two_models_of_one_name_are_refused(data, copy_of, monkeypatch, tmp_path):
    model = copy_of("bert")
    other = shutil.copytree(model, tmp_path / "other" / model.name)
    with pytest.raises(SystemExit, match=r"error: models .*: two folders have one name"):
        command(monkeypatch, "--quick", "--model", model, "--model", other, "-o", tmp_path / "out")


def test_a_search_whose_texts_are_trained_on_is_refused(data):
    pairs = material.training_pairs(SIZES["toy"].pairs)
    assert {*material.judged_searches(["cranfield", "scifact"], pairs, sampled=True)} == {"cranfield", "scifact"}
    with pytest.raises(BadInput, match="'qmsum': 2 of its queries and relevant texts are trained on, such as 'a pr"):
        material.judged_searches(["qmsum"], pairs, sampled=True)
    search = read_labelled(data / "cranfield")
    titled = [(row, title) for row, title in enumerate(search.titles) if title and f"d{row}" in judged_in(search)]
    row, title = titled[0]
    with pytest.raises(BadInput, match="'cranfield': 1 of its"):
        material.judged_searches(["cranfield"], [("asked", f"{title} {search.texts[row]}")], sampled=False)


def judged_in(search):
    return {name for grades in search.judgments.values() for name, grade in grades.items() if grade > 0}


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("sts", "pairs", "holds sts: give data with queries and judgments"),
        ("retrieval", "evidence of mine", "'evidence-of-mine' is the name of another search"),
    ],
)
def test_data_that_are_no_further_search_are_refused(kind, name, message, tmp_path):
    folder = labelled.write_folder(labelled.EVERY[kind], tmp_path / name)
    with pytest.raises(BadInput, match=message):
        material.judged_searches([str(folder)], [], sampled=False)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--quick"], ("toy", (), ())),
        (["--quick", "--model", "a", "--data", "d"], ("toy", ["a"], ())),  # which searches it has is fixed
        (["--only", "length-cosine", "--quick"], None),
        ([], None),
    ],
)
def test_all_experiments_train_at_toy_size_where_they_are_quick(words, expected, monkeypatch, tmp_path):
    given, output = [], tmp_path / "out"
    monkeypatch.setattr(run, "measure", lambda *words: given.append(words))
    monkeypatch.setattr(everything, "measure", lambda *_: None)
    monkeypatch.setattr(everything, "refuse_missing_data", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["all", "-o", str(output), *words])
    everything.main()
    assert given == ([(*expected, output)] if expected else [])


def test_trainings_of_full_size_are_another_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["all", "--only", "landmark"])
    with pytest.raises(SystemExit):
        everything.main()
    assert "in full: python -m experiments.landmark.run" in capsys.readouterr().err


def test_the_page_shows_trainings_that_are_committed_and_those_of_the_folder(size, tmp_path):
    (tmp_path / INDEX).write_text("[]")
    assert "trainings in this folder" not in build_page(tmp_path)
    write_scores(tmp_path / "landmark-toy", size, lambda *_: 0.5)
    for path in (tmp_path / "landmark-toy").iterdir():
        path.write_text(json.dumps({**json.loads(path.read_text()), "machine": "two <cores>"}))
    summarise(tmp_path, "toy", size)
    committed, toy = build_page(tmp_path).split('<section id="trained')[1:]
    assert "cpu, reset, cls" in committed
    assert "toy, reset, cls" not in committed
    assert "toy, reset, cls" in toy
    assert "two &lt;cores&gt;" in toy
    assert "<code>python -m experiments.landmark.run --quick</code>" in toy
    assert toy.count("<svg") == 1
    shutil.copytree(tmp_path / "landmark-toy", tmp_path / "landmark-cpu")
    summarise(tmp_path, "cpu", size)
    full = build_page(tmp_path).split('<section id="trained')[2]
    assert "cpu, reset, cls" in full
    assert "toy, reset, cls" not in full
    assert "--quick" not in full
