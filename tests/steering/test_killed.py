"""Kernels that are killed in the middle of a campaign: nothing that was kept is lost or done again."""

from fuzz import fuzzed


def test_kill_9_at_random_points_loses_nothing_and_repeats_only_what_was_under_way(tmp_path):
    found = fuzzed(tmp_path, kills=20, budget=150)
    assert found["kills"] == 20 and found["resumes"] >= 10 and found["models"] >= 3
