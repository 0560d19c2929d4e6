"""The options of `embed`, declared once: signature, help, flags and manifest derive from the fields of `Request`."""

import argparse
import inspect
from dataclasses import fields

import pytest

import cenote
from cenote.commands import embed as command
from cenote.embedding.options import HELP, WRITTEN, Options, Request
from cenote.errors import BadInput, UnknownName

OPTIONS = {one.name: one for one in fields(Request)}
# Flags of the command that are not options of `embed`: they say what to read, which model to load, what to print.
OTHERS = {"model", "texts", "columns", "id_column", "device", "max_seq_length", "trust_remote_code", "json", "help"}


@pytest.fixture(scope="module")
def flags():
    """The arguments of `cenote embed` by their names."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return {action.dest: action for action in parser._actions}


# Declared once.


def test_the_signature_of_embed_is_that_of_the_request():
    model, texts, *options = inspect.signature(cenote.embed).parameters.values()
    assert (model.name, texts.name) == ("model", "texts")
    assert {one.name: one.default for one in options} == {name: one.default for name, one in OPTIONS.items()}
    kinds = {one.name: one.kind for one in options}
    assert kinds.pop("output") is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert set(kinds.values()) == {inspect.Parameter.KEYWORD_ONLY}


def test_the_help_of_embed_describes_every_option():
    shown = " ".join(inspect.getdoc(cenote.embed).split())
    for name, meaning in HELP.items():
        assert f" {name}: {meaning}." in shown
    assert set(HELP) == set(OPTIONS)
    assert "OPTIONS" not in shown


def test_every_flag_of_the_command_is_an_option_and_the_other_way_round(flags):
    assert set(flags) - OTHERS == {name for name, one in OPTIONS.items() if one.metadata["flag"]}
    for name in set(flags) - OTHERS - {"output"}:
        assert flags[name].option_strings == [OPTIONS[name].metadata["flag"]]
        assert flags[name].default == OPTIONS[name].default
        assert flags[name].help.startswith(OPTIONS[name].metadata["help"])


def test_the_command_passes_its_options_on(flags):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args(["m", "t", "-o", "out", "--prompt", "ask", "--on-error", "skip", "--window", "9"])
    passed = command._options(args)
    assert passed.keys() == flags.keys() - OTHERS
    assert (passed["prompt_name"], passed["on_error"], passed["window"]) == ("ask", "skip", 9)
    assert passed["dtype"] == "float32"
    args = parser.parse_args(["m", "t", "-o", "out", "--keep", "title,url", "--limit", "5", "--temperature", "0.5"])
    assert {"keep": ("title", "url"), "limit": 5, "temperature": 0.5, "pooling": None}.items() <= command._options(
        args
    ).items()


def test_the_manifest_holds_the_recorded_options(tiny_st, tmp_path):
    recorded = {name for name, one in OPTIONS.items() if one.metadata["recorded"]}
    assert recorded == {one.name for one in fields(Options)} - {"on_error"}  # the rows that are kept are the same
    model = cenote.load(tiny_st("bert", prompts={"query": "query: "}), device="cpu")
    chosen = {"task": "query", "dtype": "float16", "dimensions": 8, "normalize": True, "long": "windows", "window": 20}
    manifest = cenote.embed(model, ["a pool"], tmp_path / "out", **chosen)
    expected = chosen | {"prompt_name": "query", "overlap": 2, "on_truncate": "warn", "vectors": None}
    expected |= {"limit": None, "keep": None}
    assert {name: manifest.settings[name] for name in recorded} == expected


def test_the_options_of_a_worker_are_part_of_the_request():
    request = Request("out", dtype="int8", on_error="skip", backend="torch")
    assert request.options == Options(dtype="int8", on_error="skip")
    assert type(request.options) is Options
    assert request.options.skips


@pytest.mark.parametrize(
    ("given", "kept", "recorded"),
    [
        ((), (), None),
        ([], (), None),
        ("title", ("title",), ["title"]),
        (["title", "url"], ("title", "url"), ["title", "url"]),
        ("all", "all", "all"),
        (["all"], ("all",), ["all"]),  # a column of this name
    ],
)
def test_kept_columns_are_names_or_all(given, kept, recorded):
    options = Options(keep=given)
    assert (options.keep, options.recorded()["keep"]) == (kept, recorded)
    assert ("keep" in options.known()) == (given != "all")  # those of all are known to the texts


def test_the_listener_takes_what_the_request_was_given():
    heard = []
    request = Request(progress=lambda *report: heard.append(report), notify=heard.append, stop=lambda: True)
    request.listener.step("embedding", 3)
    request.listener.notify("a choice")
    assert heard == [("embedding", 0, 3), "a choice"]
    assert request.listener.stop()


def test_options_are_keywords():
    assert [one.name for one in fields(Request) if not one.kw_only] == ["output"]
    with pytest.raises(TypeError, match="positional"):
        Request("out", "torch")
    with pytest.raises(UnknownName, match="unknown option 'dtyp'; did you mean 'dtype'"):
        cenote.embed("nowhere", ["a"], dtyp="int8")


@pytest.mark.filterwarnings("ignore::cenote.errors.CenoteWarning")
def test_no_column_of_a_part_can_be_kept(tiny_st, tmp_path):
    model, columns = cenote.load(tiny_st("bert"), device="cpu"), {"embedding"}
    for number, options in enumerate(({"dtype": "int8"}, {"long": "windows"}, {"long": "segments"})):
        cenote.embed(model, ["a pool " * 300], tmp_path / str(number), **options)
        columns |= {*cenote.read_embeddings(tmp_path / str(number)).columns}
    assert columns == set(WRITTEN)


# Refused before anything else is done.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"long": "window"}, "unknown way to read long texts 'window'; did you mean"),
        ({"task": "qury"}, "unknown task 'qury'; did you mean 'query'"),
        ({"dtype": "int4"}, "unknown dtype 'int4'"),
        ({"on_truncate": "raise"}, "unknown on_truncate 'raise'"),
        ({"on_error": "warn"}, "unknown on_error 'warn'"),
        ({"window": 10}, "window and overlap .* need long='windows', 'segments' or 'window-mean'"),
        ({"overlap": 0}, "window and overlap .* need long="),
        ({"long": "windows", "on_truncate": "error"}, "with 'windows' nothing is cut"),
        ({"dimensions": 2.5}, r"dimensions=2\.5: pass a whole number"),
        ({"dimensions": 0}, "dimensions=0: pass a whole number of at least 1"),
        ({"long": "windows", "window": 7}, "window=7: pass a whole number of at least 8"),
        ({"engine": "ray", "workers": True}, "workers=True: pass a whole number"),
        ({"long": "windows", "window": "10"}, "window='10': pass a whole number"),
        ({"long": "windows", "overlap": True}, "overlap=True: pass a whole number"),
        ({"backend": "openvimo"}, "unknown backend 'openvimo'; did you mean 'openvino'"),
        ({"precision": "bf16"}, "unknown precision 'bf16'"),
        ({"engine": "rya"}, "unknown engine 'rya'; did you mean 'ray'"),
        ({"workers": 2}, "workers=2 is for engine='ray'"),
        ({"engine": "ray", "workers": 0}, "workers=0: pass a whole number of at least 1"),
        ({"engine": "ray", "workers": "2"}, "workers='2': pass a whole number"),
        ({"limit": 0}, "limit=0: pass a whole number of at least 1"),
        ({"keep": ["title", "title"]}, "keep: 'title' is named twice. Name it once"),
        ({"keep": ["title", ""]}, "keep: '' is no name of a column. Give a name, or a list of names"),
        ({"keep": [5]}, "keep: 5 is no name of a column"),
        *(
            ({"keep": name}, rf"the column '{name}' cannot be kept under its name, since embed writes id, .*\(--keep\)")
            for name in WRITTEN
        ),
    ],
)
def test_bad_values_are_refused_before_the_model_is_loaded(tmp_path, options, message):
    with pytest.raises(BadInput, match=message):
        cenote.embed("nowhere", ["a"], tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"long": "windows"}, "several rows for a text, so it needs a folder"),
        ({"on_error": "skip"}, "needs a folder: pass output="),
        ({"dtype": "int8"}, "a scale beside each vector"),
        ({"restart": True}, "restart=True deletes the parts of an earlier run, so it needs a folder"),
        ({"verify": True}, "verify=True reads the parts of an earlier run, so it needs a folder"),
        ({"keep": ["title"]}, r"keep=\('title',\) writes columns beside the vectors, so it needs a folder"),
    ],
)
def test_options_that_need_a_folder_are_refused_without_one(options, message):
    with pytest.raises(BadInput, match=message):
        cenote.embed("nowhere", ["a"], **options)
