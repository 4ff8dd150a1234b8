"""tests/campaigns/kills.py: whether it would tell a command that leaves half a file. Short kills of
a training, a search and a worker are in test_training.py, test_search.py and test_chief.py."""

import json

import pytest

from campaigns import kills

SCRIPT = """
import os, pathlib, sys, time
file = pathlib.Path(sys.argv[1]) / "file"
place = file.with_name("new") if sys.argv[2] == "beside" else file
with open(place, "w") as out:
    for _ in range(20):
        print("a line", file=out, flush=True)
        time.sleep(0.02)
os.replace(place, file)
"""


class Writer:
    """A command that writes a file of twenty lines, in place or beside it."""

    name = "write"

    def __init__(self, script, where):
        self.script, self.where = script, where

    def prepare(self, place):
        pass

    def words(self, folder):
        return str(self.script), str(folder), self.where

    def check(self, folder):
        file = folder / "file"
        if file.exists() and file.read_text().count("\n") != 20:
            raise kills.InputError("half a file")

    def outcome(self, folder):
        return (folder / "file").read_text()


def test_it_tells_a_file_that_is_not_whole(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    for where, expected in (("beside", "equal"), ("place", "half a file")):
        place = tmp_path / where
        place.mkdir()
        found = kills.Campaign(place).kill(Writer(script, where), 0.6)
        assert found == (True, expected)


@pytest.mark.slow
def test_a_hundred_kills(capsys, tmp_path):
    code = kills.main(["--count", "100", "--log", str(tmp_path / "log")])
    found = json.loads(capsys.readouterr().out)
    assert code == 0 and set(found["outcomes"]) == {"equal"}, found
    assert found["outcomes"]["equal"] > 80
