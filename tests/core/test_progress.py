import io

from freehold.core import progress


def test_the_time_left_goes_by_this_run_alone() -> None:
    taken_up = progress.Event("tuning", done=75, total=100, unit="steps", elapsed_s=10.0, before=50)
    assert taken_up.left_s == 10.0
    assert (
        progress.Event("tuning", done=50, total=100, unit="steps", elapsed_s=10.0, before=50).left_s is None
    )
    assert progress.Event("tuning", done=50, total=0, unit="steps", elapsed_s=10.0).left_s is None


def test_a_log_has_the_start_and_the_end() -> None:
    stream = io.StringIO()
    with progress.task(progress.for_stream(stream), "copying", 2_000_000, "bytes") as running:
        running.resume(1_000_000)
        running.more(1_000_000)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "copying  0 of 2 MB"
    assert lines[-1].startswith("copying  2 of 2 MB  0 s")
    assert "\x1b" not in stream.getvalue()


def test_a_spark_falls_as_the_loss_does() -> None:
    assert progress.spark([8.0, 4.0, 2.0, 1.0]) == "█▄▂▁"
    assert progress.spark([]) == ""
    assert progress.spark([1.0, 1.0]) == "▁▁"
    assert len(progress.spark([float(i) for i in range(1000)], 12)) == 12


def test_a_program_without_a_terminal_or_notebook_shows_nothing() -> None:
    assert progress.automatic() is progress.silent
