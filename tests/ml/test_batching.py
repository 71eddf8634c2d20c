"""`Batcher`: joining, fairness, priority, refusing, leaving."""

import threading
from collections import Counter
from concurrent.futures import CancelledError, ThreadPoolExecutor
from concurrent.futures import wait as wait_all

import pytest

from ml import errors
from ml.batching import Batcher
from ml.residency import ModelPool
from ml.types import Caller
from tests.ml.batching_support import MODEL, heard, held, occupy, order, stats, submit
from tests.ml.runtime_support import WAIT, Loader, PitchMeter, measure, outcome, spec, tones
from tests.ml.stt_support import wait_for

# ── Joining ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_concurrent_callers_share_calls_and_each_gets_his_own_result(runtime):
    batcher, engine = runtime(PitchMeter(max_batch=8), window_seconds=0.05)
    asked = [200 + 10 * number for number in range(64)]
    with ThreadPoolExecutor(16) as threads:
        got = list(threads.map(lambda hertz: submit(batcher, hertz).result(WAIT), asked))
    assert got == asked
    assert max(map(len, engine.batches)) > 1
    assert all(len(batch) <= 8 for batch in engine.batches)
    told = stats(batcher)
    assert (told.succeeded, told.failed, told.running) == (64, 0, 0)
    assert told.batches == len(engine.batches)
    assert told.batch_sizes == Counter(map(len, engine.batches))
    assert told.wait_seconds > 0


def test_batched_results_equal_single_ones(runtime):
    items = [tones(hertz)[0] for hertz in (120, 450, 990, 3000, 7000)]
    single = [PitchMeter().measure([item])[0] for item in items]
    batcher, engine = runtime(held(max_batch=8))
    first = occupy(batcher, engine)
    futures = [submit(batcher, item) for item in items]
    engine.gate.set()
    assert [future.result(WAIT) for future in futures] == single
    assert [len(batch) for batch in engine.batches] == [1, 5]
    assert first.result(WAIT) == 100


def test_only_equal_options_are_computed_together(runtime):
    batcher, engine = runtime(held(max_batch=8))
    occupy(batcher, engine)
    futures = [submit(batcher, 200 + 100 * n, options="even" if n % 2 == 0 else "odd") for n in range(6)]
    engine.gate.set()
    assert [future.result(WAIT) for future in futures] == [200, 300, 400, 500, 600, 700]
    assert [sorted(map(heard, batch)) for batch in engine.batches[1:]] == [[200, 400, 600], [300, 500, 700]]


def test_a_full_batch_does_not_wait_for_the_window(runtime):
    batcher, _ = runtime(PitchMeter(max_batch=4), window_seconds=600)
    wait_all([submit(batcher, 200 + 100 * n) for n in range(4)], WAIT)
    assert stats(batcher).succeeded == 4


def test_an_engine_of_single_items_does_not_wait_at_all(runtime):
    batcher, _ = runtime(window_seconds=600)
    assert submit(batcher, 200).result(WAIT) == 200


def test_calls_run_side_by_side_as_far_as_the_engine_allows(runtime):
    batcher, engine = runtime(held(concurrency=2))
    futures = [submit(batcher, 200 + 100 * n) for n in range(5)]
    wait_for(lambda: stats(batcher).running == 2)
    assert sum(stats(batcher).queued.values()) == 3
    engine.gate.set()
    assert [future.result(WAIT) for future in futures] == [200, 300, 400, 500, 600]


def test_a_model_may_set_its_own_batch_size():
    engine, pool = held(max_batch=8), ModelPool()
    pool.register(spec("a", lambda: engine, max_batch=2))
    batcher = Batcher(pool)
    occupy(batcher, engine)
    futures = [submit(batcher, 200 + 100 * n) for n in range(4)]
    engine.gate.set()
    wait_all(futures, WAIT)
    assert [len(batch) for batch in engine.batches] == [1, 2, 2]
    batcher.close()
    pool.close()


def test_runs_many_items_in_order_a_few_at_a_time(runtime):
    batcher, engine = runtime(PitchMeter(max_batch=4), window_seconds=0)
    asked = [100 + 10 * n for n in range(200)]
    taken = []

    def items():
        for hertz in asked:
            taken.append(hertz)
            yield tones(hertz)[0]

    results = batcher.run(MODEL, items(), call=measure, width=8)
    assert next(results) == 100
    assert len(taken) <= 9
    assert [100, *results] == asked
    assert len(engine.batches) < 200


def test_leaving_a_run_early_drops_what_was_queued(runtime):
    batcher, engine = runtime()
    results = batcher.run(MODEL, (tones(100 + n)[0] for n in range(0, 500, 10)), call=measure, width=50)
    next(results)
    engine.gate = threading.Event()
    results.close()
    engine.gate.set()
    wait_for(lambda: stats(batcher).running == 0)
    assert sum(stats(batcher).queued.values()) == 0


def test_a_swapped_model_serves_the_next_batch(runtime):
    pool = ModelPool()
    old, new = held(version="1"), Loader(version="2")
    pool.register(spec("a", lambda: old))
    batcher = Batcher(pool)
    first = occupy(batcher, old)
    second = submit(batcher, 200)
    pool.replace(spec("a", new, version="2"))
    old.gate.set()
    assert (first.result(WAIT), second.result(WAIT)) == (100, 200)
    assert (order(old), order(new.engine)) == ([100], [200])
    wait_for(lambda: old.closed == 1)
    batcher.close()
    pool.close()


# ── Fairness and priority ───────────────────────────────────────────────────────────────────────────────────────────


def test_ten_times_the_load_does_not_starve_another_tenant(runtime):
    batcher, engine = runtime(held())
    occupy(batcher, engine)
    greedy = [submit(batcher, 1000, caller=Caller("greedy")) for _ in range(100)]
    modest = [submit(batcher, 2000, caller=Caller("modest")) for _ in range(10)]
    engine.gate.set()
    wait_all(greedy + modest, WAIT)
    turns = order(engine)[1:]
    assert turns[:20].count(2000) == 10
    assert turns[20:] == [1000] * 90


def test_tenants_share_each_batch(runtime):
    batcher, engine = runtime(held(max_batch=4))
    occupy(batcher, engine)
    futures = [submit(batcher, 1000, caller=Caller("greedy")) for _ in range(8)]
    futures += [submit(batcher, 2000, caller=Caller("modest")) for _ in range(4)]
    engine.gate.set()
    wait_all(futures, WAIT)
    assert [Counter(map(heard, batch)) for batch in engine.batches[1:3]] == [{1000: 2, 2000: 2}] * 2


def test_weight_is_a_share_and_cost_counts(runtime):
    batcher, engine = runtime(held())
    occupy(batcher, engine)
    futures = []
    for _ in range(30):
        futures.append(submit(batcher, 1000, caller=Caller("a", weight=2)))
        futures.append(submit(batcher, 2000, caller=Caller("b")))
        futures.append(submit(batcher, 3000, caller=Caller("c"), cost=2))
    engine.gate.set()
    wait_all(futures, WAIT)
    turns = Counter(order(engine)[1:36])
    assert turns[1000] == pytest.approx(20, abs=1)
    assert turns[2000] == pytest.approx(10, abs=1)
    assert turns[3000] == pytest.approx(5, abs=1)


def test_one_who_was_away_gets_no_credit_for_it(runtime):
    batcher, engine = runtime(held())
    occupy(batcher, engine)
    futures = [submit(batcher, 1000, caller=Caller("a")) for _ in range(20)]
    engine.gate.set()
    wait_all(futures, WAIT)
    engine.gate, engine.entered, before = threading.Event(), threading.Event(), len(engine.batches)
    occupy(batcher, engine)
    futures = [
        submit(batcher, hertz, caller=Caller(name)) for _ in range(5) for hertz, name in ((1000, "a"), (2000, "b"))
    ]
    engine.gate.set()
    wait_all(futures, WAIT)
    assert Counter(order(engine)[before + 1 : before + 5]) == {1000: 2, 2000: 2}


def test_realtime_before_synchronous_before_batch_work(runtime):
    batcher, engine = runtime(held())
    occupy(batcher, engine)
    kinds = {"batch": 3000, "synchronous": 2000, "realtime": 1000}
    futures = [submit(batcher, hertz, caller=Caller("t", kind)) for kind, hertz in kinds.items() for _ in range(3)]
    assert stats(batcher).queued == {"realtime": 3, "synchronous": 3, "batch": 3}
    engine.gate.set()
    wait_all(futures, WAIT)
    assert order(engine)[1:] == [1000] * 3 + [2000] * 3 + [3000] * 3


# ── Refusing and leaving ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_full_queue_refuses(runtime):
    batcher, engine = runtime(held(), max_queue=3, max_queue_per_tenant=2)
    occupy(batcher, engine)
    futures = [submit(batcher, 200, caller=Caller("a")) for _ in range(2)]
    with pytest.raises(errors.EngineUnavailable, match="Too many"):
        submit(batcher, 200, caller=Caller("a"))
    futures.append(submit(batcher, 300, caller=Caller("b")))
    with pytest.raises(errors.EngineUnavailable):
        submit(batcher, 300, caller=Caller("b"))
    futures.append(submit(batcher, 400, caller=Caller("b", "realtime")))  # its line is its own
    assert stats(batcher).rejected == 2
    engine.gate.set()
    assert [future.result(WAIT) for future in futures] == [200, 200, 300, 400]


def test_batch_work_waits_for_room_instead(runtime):
    batcher, engine = runtime(held(), max_queue=2)
    occupy(batcher, engine)
    futures = [submit(batcher, 200, caller=Caller("a", "batch")) for _ in range(2)]
    with ThreadPoolExecutor(1) as threads:
        results = threads.submit(list, batcher.run(MODEL, tones(300, 400), call=measure, caller=Caller("b", "batch")))
        engine.gate.set()
        assert results.result(WAIT) == [300, 400]
    wait_all(futures, WAIT)
    assert stats(batcher).rejected == 0


def test_who_leaves_before_his_turn_is_dropped(runtime):
    batcher, engine = runtime(held(), max_queue=2)
    occupy(batcher, engine)
    cancel = threading.Event()
    by_event, by_future = submit(batcher, 200, cancel=cancel), submit(batcher, 300)
    assert by_future.cancel()
    stays = submit(batcher, 400)  # in the place that became free
    cancel.set()
    engine.gate.set()
    assert stays.result(WAIT) == 400
    with pytest.raises(errors.Cancelled):
        by_event.result(WAIT)
    with pytest.raises(CancelledError):
        by_future.result(WAIT)
    assert order(engine) == [100, 400]
    assert stats(batcher).cancelled == 2


def test_no_model_is_loaded_for_those_who_have_left():
    pool, loader, other = ModelPool(), Loader(), Loader(held=True)
    pool.register(spec("a", loader))
    pool.register(spec("b", other))
    batcher = Batcher(pool, max_threads=1)
    cancel = threading.Event()
    busy = batcher.submit("stt/b", tones(100)[0], call=measure)
    assert other.started.wait(WAIT)
    left = submit(batcher, 200, cancel=cancel)
    cancel.set()
    other.gate.set()
    assert busy.result(WAIT) == 100
    with pytest.raises(errors.Cancelled):
        left.result(WAIT)
    assert not loader.started.is_set()
    batcher.close()
    pool.close()


def test_cancelling_reaches_the_engine_when_all_of_a_batch_have_left(runtime):
    batcher, engine = runtime(held(max_batch=2))
    occupy(batcher, engine)
    cancels = [threading.Event(), threading.Event()]
    futures = [submit(batcher, 200, cancel=cancel) for cancel in cancels]
    engine.gate.set()
    wait_all(futures, WAIT)
    joint = engine.cancels[1]
    assert not joint.is_set()
    cancels[0].set()
    assert not joint.is_set()
    cancels[1].set()
    assert joint.is_set()
    assert joint.wait(1)
    assert engine.cancels[0] is None


def test_a_run_ends_soon_after_its_cancellation(runtime):
    batcher, engine = runtime(held())
    cancel = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        run = threads.submit(outcome, lambda: list(batcher.run(MODEL, tones(200, 300), call=measure, cancel=cancel)))
        assert engine.entered.wait(WAIT)
        cancel.set()
        assert isinstance(run.result(WAIT), errors.Cancelled)
    engine.gate.set()
    wait_for(lambda: stats(batcher).running == 0)
    assert order(engine) == [200]
