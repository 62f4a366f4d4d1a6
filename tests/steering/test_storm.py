"""A thousand simulations with everything going wrong that can; `benchmarks/steering_torture.py` does 100,000."""

from storm import stormed


def test_every_simulation_ends_once_whatever_happens():
    found = stormed(1_000, kills=3)
    ends = found["ends"]
    assert (ends["raised"], ends["unsendable"], ends["not a number"]) >= (15, 4, 8) and ends["timeout"] >= 1
    assert ends["lost"] >= 1 and found["workers_killed_from_outside"] >= 1 and found["cancels_asked"] == 10
    assert found["decisions_replayed"] >= 1_000
