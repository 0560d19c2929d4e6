"""Files of a result: which of them would be read with the inputs."""

from argparse import Namespace

import pytest

from cenote.commands.outputs import check_outputs
from cenote.data import labelled_files
from cenote.errors import Usage


@pytest.fixture
def docs(tmp_path):
    for name in ("one.md", "results/two.txt", "qrels/test.tsv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a text")
    return tmp_path


def check(docs, name, **options):
    check_outputs(Namespace(output=None, json=str(docs / name)), (), [docs], **options)


def test_deeper_files_of_many_texts_are_not_read_with_a_folder(docs):
    check(docs, "results/figures.json")
    for name in ("results/new.md", "new.jsonl"):
        with pytest.raises(Usage, match="would be an input of the next run"):
            check(docs, name)


def test_labelled_data_are_read_from_their_own_folders_alone(docs):
    for name in ("results/new.jsonl", "new.json", ".new.jsonl", "results/qrels.jsonl"):
        check(docs, name, is_read=labelled_files.is_read)
    for name in ("new.jsonl", "qrels/new.tsv"):
        with pytest.raises(Usage, match="would be an input of the next run"):
            check(docs, name, is_read=labelled_files.is_read)


def test_a_link_that_leads_nowhere_yet_stays(tmp_path):
    link, there = tmp_path / "figures.json", tmp_path / "there.json"
    link.symlink_to(there)
    check_outputs(Namespace(output=None, json=str(link)), (), [])
    assert link.is_symlink()
    assert not there.exists()
