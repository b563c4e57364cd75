"""What a bar writes where nothing can be overwritten: few plain lines, the last one always."""

import pytest

from landscape import progress

pytest.importorskip("tqdm")


def test_a_log_gets_one_line_of_work_that_ends_within_half_a_minute(capsys):
    with progress.progress_bar(True, 372, unit="steps", desc="training") as bar:
        for step in range(372):
            bar.set_postfix_str(f"loss {step}")
            bar.update()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("training: 372/372 steps, ")


def test_long_work_in_a_log_is_one_line_every_half_minute(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    with progress.progress_bar(True, None, unit="draws") as bar:
        for _ in range(300):  # a second each
            now[0] += 1
            bar.update()
            bar.set_postfix_str("")  # redraws, whatever the interval
    lines = capsys.readouterr().err.splitlines()
    assert 10 <= len(lines) <= 11
    assert lines[-1].startswith("300 draws, ")


def interrupted(bar):
    bar.update(3)
    raise KeyboardInterrupt


def test_an_interrupt_leaves_the_last_line(capsys):
    with pytest.raises(KeyboardInterrupt), progress.progress_bar(True, 5, unit="images") as bar:
        interrupted(bar)
    assert capsys.readouterr().err.startswith("3/5 images")
