"""Modules in Go under load: many calls, calls at once, and an engine that is killed while it builds."""

import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from kit import Rondel, ask, eventually, let_time_pass, serve_module, short_folder, write_go_module
from kit.kills import kill
from kit.leaks import LeakCheck

pytestmark = pytest.mark.once

# How many calls are made in a row, and how often the engine is killed.
CALLS = int(os.environ.get("RONDEL_GO_CALLS", "100"))
ROUNDS = int(os.environ.get("RONDEL_GO_KILLS", "3"))
AT_ONCE = 50
SEED = 1
MAIN = """package main

type Probe struct{ Count int }

func (p *Probe) Say(text string) string { return text + text }

func (p *Probe) Add(by int) *Probe {
	p.Count += by
	return p
}

func (p *Probe) Version() string { return "%s" }
"""


@pytest.fixture(scope="module")
def rondel():
    """An engine of these tests alone, whose caches the first test fills."""
    rondel = Rondel(short_folder())
    yield rondel
    rondel.remove()


def test_a_killed_engine_leaves_sound_go_caches(rondel, folder):
    """The engine is killed while it builds. The next build works, and finished results stay."""
    dice = random.Random(SEED)
    module = write_go_module(folder / "probe", {"main.go": MAIN % "0"})
    version = lambda: rondel.run("call", "-m", module, "version")
    for turn in range(1, ROUNDS + 1):
        (module / "main.go").write_text(MAIN % turn)
        building = rondel.start("--progress", "plain", "call", "-m", module, "version")
        eventually(lambda: rondel.engines() or building.poll() is not None, within=20, what="an engine")
        # The first build of an engine compiles the standard library, the next ones take a second.
        let_time_pass(dice.uniform(0.2, 8 if turn == 1 else 1.5))
        kill(rondel, rondel.engines())
        building.communicate(timeout=60)
        if turn % 5 == 1:
            assert version().ok().out.strip() == str(turn)
            rondel.verify()
    assert version().ok().out.strip() == str(ROUNDS)
    before = rondel.execs()
    assert version().ok().out.strip() == str(ROUNDS)
    assert rondel.execs() == before, "a finished result was made again"
    rondel.verify()


def test_many_calls_in_a_row_and_at_once_leave_nothing(rondel, folder):
    """Each answer is that of its own call."""
    rondel.stop()
    module = write_go_module(folder / "probe", {"main.go": MAIN % "1"})
    leaks = LeakCheck(rondel)
    try:
        with rondel.session() as session:
            serve_module(session, module)
            assert ask(session, "probe", 'say(text: "first")') == "firstfirst"
            leaks.learn_names()
            for at in range(CALLS):
                assert ask(session, "probe", f'say(text: "{at}-")') == f"{at}-{at}-"
            names = [f"at once {at}, " for at in range(AT_ONCE)]
            with ThreadPoolExecutor(AT_ONCE) as pool:
                answers = pool.map(lambda name: ask(session, "probe", f'say(text: "{name}")'), names)
                assert list(answers) == [name * 2 for name in names]
                counts = pool.map(lambda by: ask(session, "probe", f"add(by: {by})", "add(by: 1000)", "count"), range(AT_ONCE))
                assert list(counts) == [by + 1000 for by in range(AT_ONCE)]
        rondel.verify()
        rondel.stop()
        leaks.check()
    finally:
        leaks.close()
