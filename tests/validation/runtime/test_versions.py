"""What a page says of when and by what it was made."""

import re
import shutil
import subprocess

import pytest

from lattice.version import __version__
from validation.runtime import versions


def test_date_version_and_commit_are_told():
    made = versions.made_now()
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d UTC", made["date"])
    assert made["pilcro"] == __version__
    assert re.fullmatch(r"([0-9a-f]{10,}\+?)?", made["commit"])


@pytest.mark.skipif(shutil.which("git") is None, reason="no git here")
def test_the_commit_is_that_of_the_clone_and_says_when_files_differ(tmp_path, monkeypatch):
    def git(*words):
        names = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", *names, *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    (tmp_path / "file").write_text("one")
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    monkeypatch.setattr(versions, "ROOT", tmp_path)
    assert git("rev-parse", "HEAD").startswith(versions.commit())
    (tmp_path / "file").write_text("two")
    assert versions.commit().endswith("+")


def test_a_repository_around_an_installation_is_not_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "ROOT", tmp_path / "site-packages")
    monkeypatch.setattr(
        versions.metadata, "distribution", lambda name: type("Of", (), {"read_text": lambda self, file: None})()
    )
    assert versions.commit() == ""
