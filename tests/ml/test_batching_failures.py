"""`Batcher` where items, engines and models fail, and where it is closed."""

import random
import threading
from collections import Counter
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from ml import errors
from ml.batching import FAULTS_IN_A_ROW, Batcher
from ml.residency import ModelPool
from ml.types import Caller
from tests.ml.batching_support import MODEL, held, occupy, stats, submit
from tests.ml.runtime_support import WAIT, Clock, Loader, PitchMeter, measure, outcome, spec, tones
from tests.ml.stt_support import wait_for


@pytest.mark.parametrize("failure", [errors.InvalidRequest("odd audio", param="file"), ValueError("odd audio")])
def test_a_failing_item_fails_alone(runtime, failure):
    batcher, engine = runtime(held(max_batch=8))
    occupy(batcher, engine)
    good, bad, fine = submit(batcher, 200), submit(batcher, failure), submit(batcher, 300)
    engine.gate.set()
    assert (good.result(WAIT), fine.result(WAIT)) == (200, 300)
    with pytest.raises(errors.MlError, match="odd audio") as caught:
        bad.result(WAIT)
    assert type(caught.value) is (errors.InvalidRequest if isinstance(failure, errors.MlError) else errors.EngineFailed)
    assert (stats(batcher).succeeded, stats(batcher).failed) == (3, 1)
    assert submit(batcher, 400).result(WAIT) == 400


def test_too_few_results_are_an_error_and_nobody_gets_anothers(runtime):
    batcher, engine = runtime(held(max_batch=4))

    def lossy(engine, items, cancel):
        return measure(engine, items, cancel)[:1]

    occupy(batcher, engine)
    futures = [batcher.submit(MODEL, item, call=lossy) for item in tones(200, 300)]
    engine.gate.set()
    assert [future.result(WAIT) for future in futures] == [200, 300]  # each was computed again, alone
    assert [len(batch) for batch in engine.batches] == [1, 2, 1, 1]


def test_a_fault_reloads_the_model():
    clock, loader = Clock(), Loader()
    pool = ModelPool(retry_after_failure_seconds=15, clock=clock)
    pool.register(spec("a", loader))
    batcher = Batcher(pool)
    with pytest.raises(errors.EngineUnavailable, match="broke"):
        submit(batcher, errors.EngineFault("CUDA error")).result(WAIT)
    with pytest.raises(errors.EngineUnavailable, match="CUDA error"):
        submit(batcher, 200).result(WAIT)
    clock.now += 16
    assert submit(batcher, 200).result(WAIT) == 200
    assert len(loader.engines) == 2
    wait_for(lambda: loader.engines[0].closed == 1)
    batcher.close()
    pool.close()


def test_odd_items_in_a_row_do_not_take_the_model_away(runtime):
    batcher, engine = runtime()
    for _ in range(3 * FAULTS_IN_A_ROW):
        future = submit(batcher, RuntimeError("hostile"), probe=lambda: tones(500)[0])
        assert isinstance(outcome(lambda future=future: future.result(WAIT)), errors.EngineFailed)
    assert submit(batcher, 200).result(WAIT) == 200
    assert engine.closed == 0


def test_an_engine_that_fails_its_probe_is_reloaded():
    clock, loader = Clock(), Loader()
    pool = ModelPool(clock=clock)
    pool.register(spec("a", loader))
    batcher = Batcher(pool)
    for _ in range(FAULTS_IN_A_ROW):
        future = submit(batcher, RuntimeError("sticky"), probe=lambda: RuntimeError("sticky"))
        assert isinstance(outcome(lambda future=future: future.result(WAIT)), errors.EngineFailed)
    wait_for(lambda: pool.state(MODEL).status == "failed")
    batcher.close()
    pool.close()


def test_all_who_wait_for_a_model_that_cannot_load_are_told():
    pool, loader = ModelPool(), Loader(held=True)
    loader.failure = errors.ModelInvalid("torn")
    pool.register(spec("a", loader))
    batcher = Batcher(pool)
    futures = [submit(batcher, 200) for _ in range(5)]
    assert loader.started.wait(WAIT)
    loader.gate.set()
    assert {type(future.exception(WAIT)) for future in futures} == {errors.EngineUnavailable}
    with pytest.raises(errors.UnknownModel):
        batcher.submit("stt/nobody", tones(100)[0], call=measure).result(WAIT)
    batcher.close()
    pool.close()


def test_closing_fails_what_waits_and_refuses_the_rest(runtime):
    batcher, engine = runtime(held())
    first, waiting = occupy(batcher, engine), submit(batcher, 200)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    with pytest.raises(errors.EngineUnavailable, match="shutting down"):
        waiting.result(WAIT)
    with pytest.raises(errors.EngineUnavailable, match="shutting down"):
        submit(batcher, 300)
    engine.gate.set()
    closing.join(WAIT)
    assert not closing.is_alive()
    assert first.result(WAIT) == 100


def test_every_request_of_a_random_crowd_is_settled_once(runtime):
    """Twenty tenants that submit, fail and leave as they like: nobody waits for ever, nobody gets another's result."""
    batcher, engine = runtime(PitchMeter(max_batch=4, concurrency=3), window_seconds=0.001)

    def tenant(number):
        rng, results = random.Random(number), Counter()
        for _ in range(25):
            hertz = rng.randrange(100, 7000, 10)
            caller = Caller(str(number), rng.choice(["realtime", "synchronous", "batch"]))
            cancel = threading.Event()
            future = submit(batcher, ValueError("bad") if rng.random() < 0.1 else hertz, caller=caller, cancel=cancel)
            if rng.random() < 0.2:
                rng.choice([cancel.set, future.cancel])()
            try:
                assert future.result(WAIT) == hertz
                results["right"] += 1
            except (errors.Cancelled, CancelledError, errors.EngineFailed, errors.EngineUnavailable) as error:
                results[type(error).__name__] += 1
        return results

    with ThreadPoolExecutor(20) as threads:
        total = sum(threads.map(tenant, range(20)), Counter())
    assert total.total() == 500
    assert total["right"] > 300
    told = stats(batcher)
    assert (told.running, sum(told.queued.values())) == (0, 0)
    assert told.succeeded >= total["right"]
    assert max(map(len, engine.batches)) <= 4
