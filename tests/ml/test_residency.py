"""`ModelPool`: loading, counting, freeing, swapping, failing."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ml import errors
from ml.residency import ModelPool
from tests.ml.runtime_support import WAIT, Clock, Loader, PitchMeter, outcome, spec, tones
from tests.ml.stt_support import wait_for


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pool(clock):
    pool = ModelPool({"host": 250}, idle_seconds=60, retry_after_failure_seconds=15, clock=clock)
    yield pool
    pool.close()


def add(pool, name, **options):
    loader = Loader()
    pool.register(spec(name, loader, **options))
    return loader


def use(pool, name):
    with pool.acquire(f"stt/{name}") as engine:
        return engine.measure(tones(440))[0]


def status(pool, name):
    return pool.state(f"stt/{name}").status


def test_nothing_loads_before_its_first_use(pool):
    loader = add(pool, "a")
    assert (status(pool, "a"), loader.engines) == ("registered", [])
    assert use(pool, "a") == pytest.approx(440, abs=10)
    state = pool.state("stt/a")
    assert (state.status, state.memory_bytes, state.users, state.last_error) == ("ready", 100, 0, None)
    assert state.loaded_at is not None


def test_one_load_for_fifty_threads(pool):
    loader = Loader(held=True)
    pool.register(spec("a", loader))
    together = threading.Barrier(51)

    def ask():
        together.wait(WAIT)
        with pool.acquire("stt/a") as engine:
            together.wait(WAIT)  # all hold it at once
            return engine

    with ThreadPoolExecutor(50) as threads:
        asked = [threads.submit(ask) for _ in range(50)]
        together.wait(WAIT)
        assert loader.started.wait(WAIT)
        assert status(pool, "a") == "loading"
        loader.gate.set()
        wait_for(lambda: pool.state("stt/a").users == 50)
        together.wait(WAIT)
        engines = {id(each.result(WAIT)) for each in asked}
    assert engines == {id(loader.engine)}
    assert len(loader.engines) == 1
    assert pool.state("stt/a").users == 0


def test_the_least_recently_used_goes_when_room_is_needed(pool, clock):
    a, b, c = (add(pool, name) for name in "abc")
    for name in "aba":
        clock.now += 1
        use(pool, name)
    use(pool, "c")
    assert [loader.engine.closed for loader in (a, b, c)] == [0, 1, 0]
    assert status(pool, "b") == "registered"
    assert pool.memory_bytes() == {"cpu": 200}
    use(pool, "b")
    assert len(b.engines) == 2


def test_what_is_in_use_is_never_freed_for_room(pool):
    a, b, _ = (add(pool, name) for name in "abc")
    with pool.acquire("stt/a"), pool.acquire("stt/b"):
        with pytest.raises(errors.EngineUnavailable, match="memory"):
            use(pool, "c")
        assert (a.engine.closed, b.engine.closed) == (0, 0)
    use(pool, "c")  # at once: having had no room is no failure to cool down from
    assert a.engine.closed + b.engine.closed == 1


def test_larger_than_estimated_pushes_others_out(pool, clock):
    small = add(pool, "small")
    use(pool, "small")
    clock.now += 1
    pool.register(spec("large", lambda: PitchMeter(memory=200)))
    use(pool, "large")
    assert small.engine.closed == 1
    assert pool.state("stt/large").memory_bytes == 200


def test_budget_is_each_devices_own(clock):
    pool = ModelPool({"host": 100, "cuda": 100}, clock=clock)
    loaders = [Loader() for _ in range(3)]
    for loader, device in zip(loaders, ("cpu", "cuda:0", "cuda:1"), strict=True):
        pool.register(spec(device.replace(":", "-"), loader, device=device))
        use(pool, device.replace(":", "-"))
    assert [loader.engine.closed for loader in loaders] == [0, 0, 0]
    pool.close()


def test_pinned_models_stay(pool, clock):
    pinned = add(pool, "pinned", pinned=True)
    add(pool, "a")
    add(pool, "b")
    for name in ("pinned", "a", "b"):
        use(pool, name)
    clock.now += 1000
    assert pool.evict_idle() == ("stt/b",)
    assert pinned.engine.closed == 0


def test_idle_models_are_freed_but_not_those_in_use(pool, clock):
    a, b = add(pool, "a"), add(pool, "b")
    use(pool, "a")
    with pool.acquire("stt/b"):
        clock.now += 59
        assert pool.evict_idle() == ()
        clock.now += 2
        assert pool.evict_idle() == ("stt/a",)
        assert (a.engine.closed, b.engine.closed) == (1, 0)
    assert status(pool, "a") == "registered"


def test_a_thread_frees_idle_models_and_ends_with_the_pool():
    pool = ModelPool(idle_seconds=0.05)
    loader = add(pool, "a")
    use(pool, "a")
    wait_for(lambda: loader.engine.closed)
    pool.close()
    assert not [thread for thread in threading.enumerate() if thread is pool._sweeper]


@pytest.mark.parametrize("failure", [errors.ModelInvalid("torn"), RuntimeError("no such operator"), SystemExit(3)])
def test_a_failed_load_is_told_cools_down_and_recovers(pool, clock, failure):
    loader, other = add(pool, "a"), add(pool, "b")
    loader.failure = failure
    with pytest.raises(errors.EngineUnavailable, match=str(failure)):
        use(pool, "a")
    assert str(failure) in pool.state("stt/a").last_error
    assert status(pool, "a") == "failed"
    use(pool, "b")
    assert other.engine.closed == 0
    loader.failure = None
    with pytest.raises(errors.EngineUnavailable, match="15 s"):
        use(pool, "a")
    assert loader.engines == []
    clock.now += 16
    use(pool, "a")
    assert (status(pool, "a"), pool.state("stt/a").last_error) == ("ready", None)


def test_all_who_wait_for_a_failing_load_hear_of_it(pool):
    loader = Loader(held=True)
    loader.failure = errors.ModelInvalid("torn")
    pool.register(spec("a", loader))
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(outcome, lambda: use(pool, "a")) for _ in range(8)]
        assert loader.started.wait(WAIT)
        loader.gate.set()
        assert {type(each.result(WAIT)) for each in asked} == {errors.EngineUnavailable}


def test_warming_loads_now_and_raises_what_loading_raised(pool):
    loader = add(pool, "a")
    loader.failure = errors.ModelInvalid("torn")
    with pytest.raises(errors.ModelInvalid, match="torn"):
        pool.warm("stt/a")
    loader.failure = None
    assert pool.warm("stt/a").status == "ready"  # an operator need not wait for the cool-down


def test_one_who_waits_for_a_load_can_leave(pool):
    loader = Loader(held=True)
    pool.register(spec("a", loader))
    cancel = threading.Event()
    with ThreadPoolExecutor(1) as threads:

        def ask():
            with pool.acquire("stt/a", cancel=cancel):
                pass

        asked = threads.submit(outcome, ask)
        assert loader.started.wait(WAIT)
        with pytest.raises(errors.EngineUnavailable, match="still"), pool.acquire("stt/a", timeout=0.01):
            pass
        cancel.set()
        assert isinstance(asked.result(WAIT), errors.Cancelled)
        loader.gate.set()
    use(pool, "a")
    assert len(loader.engines) == 1


def test_replacing_serves_the_new_one_and_closes_the_old_with_its_last_user(pool):
    old, new = add(pool, "a"), Loader(version="2")
    with pool.acquire("stt/a") as before, pool.acquire("stt/a"):
        state = pool.replace(spec("a", new, version="2"))
        assert (state.version, state.status, state.users) == ("2", "ready", 0)
        with pool.acquire("stt/a") as after:
            assert (before.version, after.version) == ("1", "2")
        assert old.engine.closed == 0
        assert pool.memory_bytes() == {"cpu": 200}
        assert before.measure(tones(440))
    wait_for(lambda: old.engine.closed == 1)
    wait_for(lambda: pool.memory_bytes() == {"cpu": 100})


def test_a_failing_replacement_leaves_the_old_one_serving(pool):
    old, new = add(pool, "a"), Loader()
    use(pool, "a")
    new.failure = RuntimeError("corrupt")
    with pytest.raises(errors.EngineFailed, match="corrupt"):
        pool.replace(spec("a", new, version="2"))
    state = pool.state("stt/a")
    assert (state.version, state.status) == ("1", "ready")
    assert "corrupt" in state.last_error
    use(pool, "a")
    assert len(old.engines) == 1


def test_a_replacement_does_not_push_out_what_it_replaces(clock):
    pool = ModelPool({"host": 150}, clock=clock)
    old = add(pool, "a")
    use(pool, "a")
    with pytest.raises(errors.EngineUnavailable, match="memory"):
        pool.replace(spec("a", Loader(), version="2"))
    assert (status(pool, "a"), old.engine.closed) == ("ready", 0)
    pool.close()


def test_replacing_under_load_fails_no_request():
    """16 threads without a pause through five swaps; every old version is closed once, and none in use."""
    pool = ModelPool()
    loaders = [Loader(version=str(number)) for number in range(6)]
    pool.register(spec("a", loaders[0], version="0"))
    served, done = threading.Semaphore(0), threading.Event()

    def client():
        seen = []
        while not done.is_set():
            with pool.acquire("stt/a") as engine:
                assert engine.measure(tones(1000)) == [pytest.approx(1000, abs=10)]
                seen.append(engine.version)
            served.release()
        return seen

    with ThreadPoolExecutor(16) as threads:
        clients = [threads.submit(client) for _ in range(16)]
        try:
            for number in range(1, 6):
                assert all(served.acquire(timeout=WAIT) for _ in range(150))
                pool.replace(spec("a", loaders[number], version=str(number)))
                with pool.acquire("stt/a") as engine:
                    assert engine.version == str(number)
            assert all(served.acquire(timeout=WAIT) for _ in range(150))
        finally:
            done.set()
        versions = [version for each in clients for version in each.result(WAIT)]
    assert len(versions) >= 900
    assert versions.count("0")
    wait_for(lambda: [loader.engine.closed for loader in loaders] == [1, 1, 1, 1, 1, 0])
    wait_for(lambda: pool.memory_bytes() == {"cpu": 100})
    pool.close()


def test_a_fault_drops_the_engine_and_loads_it_again_later(pool, clock):
    loader = add(pool, "a")
    with pool.acquire("stt/a") as broken:
        pool.mark_failed("stt/a", "CUDA error: an illegal memory access", engine=broken)
        assert status(pool, "a") == "failed"
        assert "illegal memory access" in pool.state("stt/a").last_error
        with pytest.raises(errors.EngineUnavailable, match="tried again"):
            use(pool, "a")
        assert broken.closed == 0
    wait_for(lambda: broken.closed == 1)
    clock.now += 16
    with pool.acquire("stt/a") as again:
        assert again is not broken
        pool.mark_failed("stt/a", "a late report", engine=broken)
        assert status(pool, "a") == "ready"
    assert len(loader.engines) == 2


def test_unregistering_frees_with_the_last_user(pool):
    loader = add(pool, "a")
    with pool.acquire("stt/a") as engine:
        pool.unregister("stt/a")
        with pytest.raises(errors.UnknownModel):
            use(pool, "a")
        assert engine.measure(tones(440))
    wait_for(lambda: loader.engine.closed == 1)


def test_unregistered_while_loading_is_closed_when_loaded(pool):
    loader = Loader(held=True)
    pool.register(spec("a", loader))
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(outcome, lambda: use(pool, "a"))
        assert loader.started.wait(WAIT)
        pool.unregister("stt/a")
        loader.gate.set()
        assert isinstance(asked.result(WAIT), errors.UnknownModel)
    wait_for(lambda: loader.engine.closed == 1)


def test_a_closed_pool_gives_nothing_and_frees_all(pool):
    a, b = add(pool, "a"), add(pool, "b")
    use(pool, "a")
    with pool.acquire("stt/b"):
        pool.close()
        assert (a.engine.closed, b.engine.closed) == (1, 0)
        with pytest.raises(errors.EngineUnavailable):
            use(pool, "a")
    wait_for(lambda: b.engine.closed == 1)
    assert pool.memory_bytes() == {}
