"""Folders whose files were changed by hand, by a copy or by a disk: refused by name, or read as they were written."""

import json
import random
import shutil
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import cenote
from cenote.embedding.folder import opened
from cenote.embedding.integrity import footer_checksum, refuse_damaged
from cenote.embedding.manifest import MANIFEST, manifest_of
from cenote.embedding.parts import Part
from cenote.embedding.reading import read_embeddings
from cenote.errors import BadInput
from cenote.functional.quantisation import quantise
from cenote.json_records import to_json
from cenote.listener import Listener, silent

ROWS, WIDTH = 60, 4
CUTS = (0, 20, 40, ROWS)
SETTINGS = {"dtype": "float32", "model": "a name", "fingerprint": "m"}
VECTORS = np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(np.float32)
FIRST, SECOND, THIRD = (f"part-0000{index}.parquet" for index in range(3))


def write(folder, vectors=VECTORS, dtype="float32", cuts=CUTS, model="m"):
    """Three parts of the same settings, without a model."""
    with opened(folder, {"dtype": dtype, "model": "a name", "fingerprint": model}, {}, restart=False) as out:
        for index, (start, end) in enumerate(pairwise(cuts)):
            numbers, scales = quantise(vectors[start:end]) if dtype == "int8" else (vectors[start:end], None)
            kinds = {"float32": pa.float32(), "int8": pa.int8()}
            lists = pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel(), kinds[dtype]), vectors.shape[1])
            columns = {"id": [f"i{row}" for row in range(start, end)], "embedding": lists}
            columns |= {} if scales is None else {"scale": pa.array(scales)}
            columns |= {"n_tokens": pa.array(range(start, end), pa.int64())}
            out.write(Part(index, start, end - start, end - start, str(index), 0, 0, 0), pa.table(columns))
        out.finish()
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "out")


def edit(folder, **counts):
    """Change the counts of the manifest, as an editor would."""
    manifest = manifest_of(folder)
    (folder / MANIFEST).write_text(to_json(replace(manifest, counts=replace(manifest.counts, **counts))))


def everything(folder):
    """All that can be read: by rows, by ids, in batches, by parts, and as columns."""
    found = read_embeddings(folder)
    batches = list(found.batches(16))
    return [
        found.shape,
        found.columns,
        found[:],
        found[[5, 45]],
        found.of(["i3", "i50"]),
        [name for ids, _ in batches for name in ids],
        np.concatenate([vectors for _, vectors in batches]),
        found.describe([3, 50]),
        *(found.part(number, "n_tokens")[0] for number in range(3)),
        *(found[name].tolist() for name in found.columns),
    ]


def same(one, other):
    """Return whether two results of `everything` agree to the last bit."""
    return all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))


def test_checksums_of_footers_are_in_the_manifest(folder):
    counts = manifest_of(folder).counts
    assert counts.footers == tuple(footer_checksum(folder / name, 20) for name in (FIRST, SECOND, THIRD))
    assert len(set(counts.footers)) == 3
    assert footer_checksum(folder / FIRST, 21) != counts.footers[0]


# Parts that are not those of the manifest. Each would give wrong rows without a word.


def copied(folder):
    shutil.copy(folder / FIRST, folder / SECOND)


def swapped(folder):
    (folder / FIRST).rename(folder / "x")
    (folder / SECOND).rename(folder / FIRST)
    (folder / "x").rename(folder / SECOND)


def shortened(folder):
    """Written again by pyarrow, with its metadata and a row less."""
    table = parquet.read_table(folder / SECOND)
    parquet.write_table(table.slice(0, 19), folder / SECOND)


def reordered(folder):
    table = parquet.read_table(folder / SECOND)
    parquet.write_table(table.take(list(range(19, -1, -1))), folder / SECOND)


def renamed_column(folder):
    table = parquet.read_table(folder / SECOND)
    named = table.rename_columns(["hd", "embedding", "n_tokens"])
    parquet.write_table(named.replace_schema_metadata(table.schema.metadata), folder / SECOND)


def of_another_folder(folder):
    """Of the same settings, rows and names, but of other texts."""
    write(folder.parent / "other", VECTORS[::-1], model="m")
    write(folder.parent / "longer", VECTORS[::-1], cuts=(0, 20, 41, ROWS))
    shutil.copy(folder.parent / "longer" / SECOND, folder)


def of_another_model(folder):
    write(folder.parent / "other", model="n")
    shutil.copy(folder.parent / "other" / SECOND, folder)


def of_another_precision(folder):
    write(folder.parent / "other", dtype="int8")
    shutil.copy(folder.parent / "other" / SECOND, folder)


def foreign(folder):
    parquet.write_table(pa.table({"text": ["a"] * 20}), folder / SECOND)


CHANGES = {
    copied: rf"{SECOND} is a damaged part \(it was written as {FIRST}\): delete it",
    swapped: rf"{FIRST} is a damaged part \(it was written as {SECOND}\): delete it",
    shortened: rf"{SECOND} is a damaged part \(it has 19 rows, and its footer counts 20\)",
    reordered: rf"{SECOND} changed after it was written \(its footer is not that of manifest\.json\): delete it",
    renamed_column: rf"{SECOND} changed after it was written",
    of_another_folder: rf"{SECOND} has 21 rows, and manifest\.json counts 20",
    of_another_model: rf"{SECOND} has other settings than manifest\.json: it belongs to another folder",
    of_another_precision: rf"{SECOND} has other settings than manifest\.json",
    foreign: rf"{SECOND} is a damaged part \(embed did not write it\): delete it",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_parts_that_the_manifest_does_not_describe_are_refused(folder, change):
    change(folder)
    with pytest.raises(BadInput, match=CHANGES[change]):
        read_embeddings(folder)
    with (
        pytest.raises(BadInput, match=CHANGES[change]),
        opened(folder, SETTINGS, {}, restart=False),
    ):
        pass


@pytest.mark.parametrize("change", [copied, swapped, shortened, of_another_model, of_another_folder, foreign])
def test_folders_without_checksums_are_compared_by_their_footers(folder, change):
    """Folders of earlier versions."""
    before = everything(folder)
    edit(folder, footers=None)
    assert same(before, everything(folder))
    change(folder)
    with pytest.raises(BadInput, match=CHANGES[change]):
        read_embeddings(folder)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"rows": (20, 21, 19)}, rf"{SECOND} has 20 rows, and manifest\.json counts 21"),
        ({"rows": (20, -20, 20)}, rf"{SECOND} has 20 rows, and manifest\.json counts -20"),
        ({"rows": (20, 20), "footers": None}, rf"{THIRD} is not counted in manifest\.json"),
        ({"rows": (20, 20)}, r"manifest\.json is damaged: its counts have 2 parts"),
        ({"rows": (), "footers": None}, r"manifest\.json is damaged: its counts have 0 parts"),
        ({"rows": (20, 20, 20, 1), "footers": None}, r"part-00003\.parquet is a damaged part"),
        ({"rows": (20, 10**30, 20)}, rf"{SECOND} has 20 rows, and manifest\.json counts 1,000,000"),
    ],
)
def test_counts_that_were_edited_are_refused(folder, counts, message):
    edit(folder, **counts)
    with pytest.raises(BadInput, match=message):
        read_embeddings(folder)


# Bits that a disk lost.


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path, dtype):
    folder = write(tmp_path / "out", dtype=dtype)
    path, expected = folder / SECOND, everything(folder)
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    bits = random.Random(0)
    places = [*bits.choices(range(8 * footer), k=150), *bits.choices(range(8 * footer, 8 * len(whole)), k=100)]
    refused = 0
    for place in places:
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        try:
            found = everything(folder)
        except BadInput as error:
            refused += SECOND in str(error)
        else:
            assert same(found, expected), f"bit {place} changes what is read"
    assert refused > 200  # the others are in the index of the pages, which we do not read


def test_a_cut_part_is_refused_wherever_it_is_cut(folder):
    path = folder / SECOND
    whole = path.read_bytes()
    for size in random.Random(0).sample(range(len(whole)), k=60):
        path.write_bytes(whole[:size])
        with pytest.raises(BadInput, match=rf"{SECOND} is a damaged part"):
            read_embeddings(folder)


def test_a_manifest_with_a_flipped_bit_is_refused_or_changes_no_vector(folder):
    path = folder / MANIFEST
    whole, expected = path.read_bytes(), everything(folder)
    for place in random.Random(0).sample(range(8 * len(whole)), k=200):
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        with suppress(BadInput):
            assert same(everything(folder), expected), place
    path.write_bytes(whole)
    assert json.loads(whole)["counts"]["footers"]


def flip(path, column, group=0):
    """Flip a bit in the last data of a column."""
    about = parquet.read_metadata(path).row_group(group)
    places = {about.column(at).path_in_schema: about.column(at) for at in range(about.num_columns)}
    data = bytearray(path.read_bytes())
    data[places[column].data_page_offset + places[column].total_compressed_size - 3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("column", ["id", "embedding.list.element", "n_tokens", "truncated"])
def test_a_second_run_says_what_it_checked_and_verifies_all_pages_if_asked(tmp_path, tiny_bert, column):
    texts, notes = ["a pool", "the deep cave", "water"], []
    cenote.embed(tiny_bert, texts, tmp_path / "out")
    path, whole = tmp_path / "out" / FIRST, {one.name: one.read_bytes() for one in (tmp_path / "out").iterdir()}
    cenote.embed(tiny_bert, texts, tmp_path / "out", verify=True, notify=notes.append)
    assert notes.pop() == "all 3 texts are embedded already: every page of the parts was checked"
    flip(path, column)
    cenote.embed(tiny_bert, texts, tmp_path / "out", notify=notes.append)
    assert notes.pop().endswith("already: the footers of the parts were checked (--verify reads every page)")
    with pytest.raises(BadInput, match=rf"{FIRST} cannot be read .*CRC.*: delete it, and run the same embed again"):
        cenote.embed(tiny_bert, texts, tmp_path / "out", verify=True)
    path.unlink()
    assert cenote.embed(tiny_bert, texts, tmp_path / "out", verify=True).complete
    assert {one.name: one.read_bytes() for one in (tmp_path / "out").iterdir()} == whole


def test_verifying_finds_a_flipped_bit_anywhere_in_the_pages(folder):
    path, expected = folder / SECOND, everything(folder)
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for place in random.Random(1).choices(range(8 * footer), k=150):
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        try:
            refuse_damaged(path, silent)
        except BadInput:
            continue
        assert same(everything(folder), expected), place


def test_verifying_reports_its_progress(folder):
    told = []
    with opened(folder, SETTINGS, {}, restart=False) as out:
        out.verify(Listener(progress=lambda *step: told.append(step)))
    assert told == [("verifying", done, 60) for done in (0, 20, 40, 60)]
