"""Policies as agents: they decide what the same policy written as a function decides, and their logs replay."""

import pytest
from hill import SPACE, campaign, height, slow
from test_campaign import as_json, kinds, virtual

from scilab.steering import CampaignError, Thinker, agent, event_responder, never, result_processor, task_submitter
from scilab.steering.records import CampaignFinished, Evaluated, Failed, Learned


class Streams(Thinker):
    """`Streaming` with `every(5)` after the first ten, as agents."""

    def __init__(self):
        super().__init__()
        self.last = 0

    @result_processor()
    def judge(self, result):
        known = self.state.results
        if known - self.last >= (5 if self.last else 10) and self.state.left and not self.state.training:
            self.set("enough")

    @event_responder("enough")
    def learn(self):
        if self.train():
            self.last = self.state.results

    @task_submitter("simulate")
    def submit(self):
        self.simulate()


def test_agents_decide_as_the_policy_they_spell_out():
    found = []
    for policy in (None, Streams):
        with virtual(train_s=1.0) as engine:
            records = list(campaign(policy=policy, engine=engine))
        found.append([(r.candidate, r.ended) for r in kinds(records, Evaluated)])
    assert found[0] == found[1] and len(found[0]) == 40
    assert campaign(policy=Streams).replay(as_json(records)) == 40 + len(kinds(records, Learned))


class Lends(Streams):
    """A slot is lent to learning until the model is there; a generator counts what it has seen."""

    def __init__(self):
        super().__init__()
        self.seen = []

    @agent(startup=True)
    def watch(self):
        while len(self.seen) < 25:
            event = yield
            if isinstance(event, Evaluated):
                self.seen.append(event.candidate)

    @event_responder("enough", reallocate=("simulate", "learn", 1))
    def learn(self):
        super().learn()


def slots_along(records):
    slots = [{"simulate": 2, "learn": 0}]
    for decision in (each for record in records for each in getattr(record, "then", ())):
        if decision.what == "reallocate":
            now = dict(slots[-1])
            now[decision.source] -= decision.n
            now[decision.to] += decision.n
            slots.append(now)
    return slots


def test_slots_are_lent_while_a_model_is_made_and_none_is_lost(threads):
    one = campaign(slow, policy=Lends, slots={"simulate": 2, "learn": 0},
                   retrain=never(untrained=True), engine=threads)  # fmt: skip
    records = list(one)
    slots = slots_along(records)
    assert len(kinds(records, Learned)) >= 3
    assert slots[:3] == [{"simulate": 2, "learn": 0}, {"simulate": 1, "learn": 1}, {"simulate": 2, "learn": 0}]
    assert slots[-1] == {"simulate": 2, "learn": 0} == one._state.slots
    done = [r.candidate for r in kinds(records, Evaluated)]
    assert len(done) == len(set(done)) == 40 and one._decider.seen == done[:25]
    assert one.replay(as_json(records)) == sum(len(getattr(r, "then", ())) for r in records)


def test_taken_up_again_agents_remember_what_they_heard(threads):
    one, seen = campaign(slow, policy=Lends, engine=threads), []
    for record in one:
        seen.append(record)
        if len(kinds(seen, Evaluated)) == 17:
            break
    one.close()
    other = campaign(slow, policy=Lends, engine=threads)
    other.load_records(as_json(seen))
    assert other._decider.seen == [r.candidate for r in kinds(seen, Evaluated)]
    rest = list(other)
    done = [r.candidate for r in kinds(seen + rest, Evaluated)]
    assert len(done) == len(set(done)) == 40 and other._decider.seen == done[:25]
    assert campaign(policy=Lends).replay(as_json(seen + rest)) > 40


class Chooses(Thinker):
    """Names candidates itself, and ends when its agent does."""

    @agent
    def choose(self):
        for candidate in ("0.1", "0.9", "0.5"):
            self.simulate(candidate, why="mine")
        while not (isinstance((yield), Evaluated) and self.state.results == 3):
            pass
        self.simulate(SPACE[-1])


def test_the_end_of_an_agent_is_the_end_of_submitting(threads):
    records = list(campaign(policy=Chooses, engine=threads))
    assert {r.candidate for r in kinds(records, Evaluated)} == {"0.1", "0.9", "0.5", "1.0"}
    assert {d.why for d in records[0].then} == {"mine"} and isinstance(records[-1], CampaignFinished)
    assert records[-1].reason == "the policy had nothing more to do"


class Fails(Streams):
    @result_processor()
    def careless(self, result):
        if self.state.results == 3:
            raise KeyError("a key of mine")


class FailsWithin(Streams):
    @agent
    def plan(self):
        yield
        raise ZeroDivisionError("in a plan")


class Repeats(Streams):
    @task_submitter("simulate")
    def submit(self):
        self.simulate("0.5")


@pytest.mark.parametrize(
    ("policy", "says"),
    [(Fails, "agent careless failed: KeyError: 'a key of mine'"), (FailsWithin, "agent plan failed: Zero.*in a plan"),
     (Repeats, "agent submit failed: ValueError: '0.5' is banned, or its simulation has been started")],
)  # fmt: skip
def test_an_agent_that_raises_ends_the_campaign_with_its_name(policy, says, threads):
    with pytest.raises(CampaignError, match=says):
        list(campaign(slow, policy=policy, engine=threads))
    assert threads.store.count() == 0


def test_processors_hear_failures_and_of_their_own_fidelity_only(threads):
    heard = []

    class Hears(Streams):
        @result_processor("full")
        def full(self, result):
            heard.append(type(result))

        @result_processor("cheap")
        def cheap(self, result):
            heard.append("cheap")

    def moody(candidate):
        if SPACE.index(candidate) % 2:
            raise RuntimeError("odd")
        return height(candidate)

    records = list(campaign(moody, policy=Hears, engine=threads))
    assert heard == [type(r) for r in records if isinstance(r, Evaluated | Failed)] and len({*heard}) == 2


def test_decorators_refuse_what_makes_no_sense():
    with pytest.raises(ValueError, match="slots of simulate or learn, got 1 of 'gpu'"):
        task_submitter("gpu")
    with pytest.raises(ValueError, match="slots move between simulate and learn"):
        event_responder("x", reallocate=("simulate", "gpu", 1))
