"""`cenote poolings`."""

import json

from cenote.cli import Exit, main
from cenote.functional.pooling import POOLINGS


def test_the_table_of_poolings_is_printed(capsys):
    assert main(["poolings"]) == Exit.SUCCESS
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == list(POOLINGS)
    assert max(map(len, lines)) <= 80
    shown = " ".join(" ".join(lines).split())
    assert all(row.meaning in shown for row in POOLINGS.values())
    assert main(["poolings", "--json"]) == Exit.SUCCESS
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(POOLINGS)
    assert rows[0].keys() == {"name", "aliases", "options", "meaning"}
