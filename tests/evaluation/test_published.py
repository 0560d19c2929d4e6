"""Published figures of the demo model come back through the command, where the labelled data are at hand."""

import json
import os
from pathlib import Path

import pytest

from cenote.cli import main

DATA = Path(os.environ.get("CENOTE_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.mark.parametrize(
    ("name", "published"),
    [("stsbenchmark", 0.8203), ("sts14", 0.756), ("sts15", 0.854), ("sts16", 0.79), ("banking77", 0.8004)],
)
def test_published_figures_come_back_within_three_thousandths(name, published, tmp_path):
    if not (DATA / name).is_dir():
        pytest.skip(f"no folder {name} in {DATA}: set CENOTE_DATA to a folder that has it")
    main(["evaluate", "minilm", "--data", str(DATA / name), "--json", str(tmp_path / "found.json"), "--no-cache"])
    (task,) = json.loads((tmp_path / "found.json").read_text())["tasks"]
    assert task["score"] == pytest.approx(published, abs=0.003)
