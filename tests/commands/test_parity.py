"""`cenote parity`: its lines, its files, its exit codes, its refusals."""

import json
from contextlib import suppress

import pytest

from cenote.cli import Exit, main, parser
from cenote.commands import parity
from cenote.parity_records import Parity

from ..auditing.servers import App, serving
from ..loopback import allow_loopback

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def loopback(no_network, monkeypatch):
    allow_loopback(monkeypatch)


@pytest.fixture(scope="module")
def folder(tiny_st):
    return str(tiny_st("bert"))


@pytest.fixture(scope="module")
def model(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(folder, device="cpu")


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"the deep cave {'stone ' * count}\n" for count in range(1, 41)))
    return str(path)


def test_agreement_is_exit_code_0_and_every_file_is_written(folder, model, texts, tmp_path, capsys):
    files = [tmp_path / name for name in ("out.json", "page.html", "page.md")]
    with serving(App(model)) as url:
        written = ["--json", str(files[0]), "-o", str(files[1])]
        assert main(["parity", folder, url, texts, "--quick", *written]) == Exit.SUCCESS
        shown, said = capsys.readouterr()
        assert main(["parity", folder, url, texts, "--quick", "-o", str(files[2])]) == Exit.SUCCESS
    assert shown.splitlines()[1] == "agrees"
    assert "8 requests at once" in shown
    assert "asking the server: 40" in said
    found = json.loads(files[0].read_text())
    assert found["agrees"] is True
    assert found["cause"] is None
    assert found["least_cosine"] > 0.99999
    assert Parity.from_json(files[0].read_text()).agrees
    page = files[1].read_text()
    assert "Both sides give the same vectors" in page
    assert "default-src 'none'" in page
    assert "Both sides give the same vectors" in files[2].read_text()


def test_a_difference_is_exit_code_1_with_its_cause(folder, model, texts, tmp_path, capsys):
    page = tmp_path / "page.md"
    with serving(App(model)) as url:
        arguments = ["parity", folder, url, texts, "--quick", "--pooling", "cls", "--json", "-", "-o", str(page)]
        assert main(arguments) == Exit.FAILURE
        shown, said = capsys.readouterr()
        assert main(["parity", folder, url, texts, "--quick", "--pooling", "cls"]) == Exit.FAILURE
    found = json.loads(shown)
    assert found["agrees"] is False
    assert "with pooling `mean`, not `cls`" in found["cause"]
    assert "do not agree" in said
    lines = capsys.readouterr().out
    assert "does not agree" in lines
    assert "pooling `mean`" in " ".join(lines.split())
    assert "least cosine" in lines
    assert "The sides give different vectors" in page.read_text()


def test_options_may_stand_before_the_texts(folder, model, texts, capsys):
    with serving(App(model)) as url:
        for arguments in ([folder, url, "--quick", texts], ["--quick", folder, "--sample", "9", url, texts]):
            assert main(["parity", *arguments]) == Exit.SUCCESS, capsys.readouterr().err
            assert "agrees" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["parity", folder, url, "--quick", texts, "--no-such"])
    assert "unrecognized arguments: " in capsys.readouterr().err


def test_a_key_in_the_address_is_not_shown(folder, model, texts, tmp_path, monkeypatch, capsys):
    page, figures = tmp_path / "page.html", tmp_path / "out.json"
    with serving(App(model)) as url:
        address = f"{url}/v1/embeddings?api_key=abcdefgh"
        arguments = ["parity", folder, address, texts, "--quick", "-o", str(page), "--json", str(figures)]
        monkeypatch.setattr("sys.argv", ["cenote", *arguments])
        assert main(arguments) == Exit.SUCCESS
        assert main(["parity", address, folder]) == Exit.USAGE
    shown = "".join([*capsys.readouterr(), page.read_text(), figures.read_text()])
    assert "abcdefgh" not in shown
    assert f"{url}/v1/embeddings" in shown


def test_the_exit_code_is_known_before_the_lines_are_read(folder, texts):
    arguments = parser().parse_args(["parity", folder, folder, texts, "--pooling", "cls"])
    parity.check(arguments)
    assert next(parity.run(arguments)).endswith("on 40 texts")
    assert arguments.failed


def test_two_local_models(folder, texts, capsys):
    assert main(["parity", folder, folder, texts]) == Exit.SUCCESS
    assert "agrees" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{model}"], Exit.USAGE, "the following arguments are required: OTHER"),
        (["http://localhost:1", "{model}"], Exit.USAGE, "name the local model first, then the server"),
        (["{model}", "{model}", "--served-model", "a"], Exit.USAGE, "are for a server"),
        (
            ["{model}", "http://127.0.0.1:9"],
            Exit.FAILURE,
            "no server answers at http://127.0.0.1:9: connection refused",
        ),
        (["{model}", "http://127.0.0.1:9", "no-such.txt"], Exit.FAILURE, "no such file or folder: no-such.txt"),
        (["{model}", "http://127.0.0.1:9", "-o", "page.pdf"], Exit.USAGE, "name a file that ends in .html or .md"),
        (["{model}", "http://127.0.0.1:9", "--key-variable", "NO_SUCH"], Exit.FAILURE, "'NO_SUCH' is not set or empty"),
        (["{model}", "http://127.0.0.1:9", "--prompt", "qery"], Exit.USAGE, "did you mean 'query'?"),
        (["{model}", "http://a..b:80"], Exit.FAILURE, "'http://a..b:80' is no address: no host can be named 'a..b'"),
        (["{model}", "http://127.0.0.1:9", "--timeout", "1e10"], Exit.USAGE, "give at most 86,400 seconds (a day)"),
        (["{model}", "http://127.0.0.1:9", "--least", "1.5"], Exit.USAGE, "give a cosine below 1"),
        (["no/such/model", "http://127.0.0.1:9"], Exit.FAILURE, "no such folder: 'no/such/model'"),
    ],
)
def test_wrong_arguments_and_servers_are_explained_in_a_line(folder, arguments, code, message, capsys):
    arguments = [folder if one == "{model}" else one for one in arguments]
    with suppress(SystemExit):  # of argparse
        assert main(["parity", *arguments]) == code
    assert message in capsys.readouterr().err


def test_the_code_of_both_models_is_trusted_but_only_the_first_gets_flags_of_reading(
    folder, texts, monkeypatch, capsys
):
    from cenote.models import loading

    real, given = loading.load, []

    def load(model, **options):
        given.append(options)
        return real(model, **options)

    monkeypatch.setattr(loading, "load", load)
    flags = ["--trust-remote-code", "--max-seq-length", "20"]
    main(["parity", folder, folder, texts, "--quick", *flags])
    capsys.readouterr()
    assert [one["trust_remote_code"] for one in given] == [True, True]
    assert ["max_seq_length" in one for one in given] == [True, False]


def test_a_prompt_that_the_other_model_lacks_is_an_error_before_any_is_loaded(folder, texts, capsys, tmp_path):
    from sentence_transformers import SentenceTransformer

    prompted = SentenceTransformer(folder, device="cpu", prompts={"search": "search: "})
    prompted.save(str(tmp_path / "prompted"))
    assert main(["parity", str(tmp_path / "prompted"), folder, texts, "--prompt", "search"]) == Exit.USAGE
    assert f"unknown prompt of {folder}: 'search'" in capsys.readouterr().err
