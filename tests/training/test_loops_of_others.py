"""Whatever PyTorch offers around an optimizer: fused and compiled steps, scaled gradients, accumulation, ranks, Lightning, TensorBoard."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from loops import LOSS, blobs, flat, network, sgd, train

import phdyn
from phdyn import training
from phdyn.events import TimeReached
from phdyn.training import EnergyObserver, GoalScheduler

GOAL = phdyn.LossGoal(reduction=0.2)


def parts(optimizer, exploit=None):
    return GoalScheduler(optimizer, GOAL, exploit or {"momentum": 0.5}), EnergyObserver(optimizer)


@pytest.mark.parametrize("options", [{"foreach": True}, {"fused": True}, {"differentiable": False, "foreach": False}])
@pytest.mark.parametrize("exploit", [{"momentum": 0.5}, {"friction": 3.0}])
def test_the_implementations_of_sgd_are_one(options, exploit):
    results = []
    for chosen in ({}, options):
        model = network()
        optimizer = sgd(model, **chosen)
        scheduler, observer = parts(optimizer, exploit)
        train(model, optimizer, 60, scheduler, observer)
        results.append((flat(model), observer.energy, scheduler.switches))
    (one, energy, switches), (other, energies, others) = results
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    np.testing.assert_allclose(energy.residual, energies.residual, rtol=0, atol=1e-12)
    assert str(switches) == str(others) and len(switches) == 1


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_a_compiled_step_sees_the_switch():
    results = []
    for compiled in (False, True):
        model = network()
        optimizer = sgd(model)
        scheduler, observer = parts(optimizer)
        if compiled:
            optimizer.step = torch.compile(optimizer.step, backend="eager")
        train(model, optimizer, 40, scheduler, observer)
        results.append((flat(model), observer.energy.residual, str(scheduler.switches)))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=0, atol=1e-12)
    assert results[0][2] == results[1][2]


def test_a_step_by_closure_is_a_step():
    model, twin = network(), network()
    optimizer, other = sgd(model), sgd(twin)
    observer, plain = EnergyObserver(optimizer, full_gradient=training.full_batch(model, LOSS, *blobs())), EnergyObserver(other)

    def closure():
        optimizer.zero_grad()
        loss = LOSS(model(blobs()[0]), blobs()[1])
        loss.backward()
        return loss

    for k in range(30):
        observer.step(optimizer.step(closure) if k % 2 else optimizer.step(closure=closure))
    train(twin, other, 30, plain)
    np.testing.assert_allclose(observer.energy.residual, plain.energy.residual, rtol=0, atol=1e-13)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_scaled_gradients_are_read_unscaled_and_skipped_steps_are_none(fused, weight_decay):
    """A GradScaler: in one step the loss overflows, and the optimizer makes none."""
    model, twin = network(dtype=torch.float32), network(dtype=torch.float32)
    optimizer, other = sgd(model, fused=fused, weight_decay=weight_decay), sgd(twin, weight_decay=weight_decay)
    (scheduler, observer), (expected, plain) = parts(optimizer), parts(other)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    x, y = blobs()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the scheduler's, about the loss that is not finite
        for k in range(41):
            optimizer.zero_grad()
            loss = LOSS(model(x.float()), y) * (float("inf") if k == 5 else 1.0)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            scheduler.step(loss)
            observer.step(loss)
    train(twin, other, 40, expected, plain)
    torch.testing.assert_close(flat(model), flat(twin), rtol=0, atol=1e-5)
    np.testing.assert_allclose(observer.energy.residual, plain.energy.residual, rtol=0, atol=1e-5)
    assert 5 < expected.switches[0].step < 35 and scheduler.switches[0].step == expected.switches[0].step + 1
    assert observer.switches[0].injected == pytest.approx(plain.switches[0].injected, rel=1e-3)


@pytest.mark.parametrize("every", [1, 3])
def test_settings_that_change_in_a_skipped_step_are_entered_with_the_next(every):
    model, twin = network(dtype=torch.float32), network(dtype=torch.float32)
    optimizer, other = sgd(model, fused=True), sgd(twin)
    observer, plain = EnergyObserver(optimizer, every=every), EnergyObserver(other)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    x, y = blobs()
    for k in range(31):
        optimizer.param_groups[0]["lr"] = 0.05 if k < 15 else 0.0125
        optimizer.zero_grad()
        loss = LOSS(model(x.float()), y)
        scaler.scale(loss * (float("inf") if k == 15 else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        observer.step(loss)
    train(twin, other, 30, plain, change={15: lambda optimizer: optimizer.param_groups[0].update(lr=0.0125)})
    assert observer.switches[0].injected == pytest.approx(plain.switches[0].injected, rel=1e-4)


def test_accumulated_gradients_make_one_step():
    model, twin = network(), network()
    optimizer, other = sgd(model), sgd(twin)
    (scheduler, observer), (expected, plain) = parts(optimizer), parts(other)
    x, y = blobs()
    for _ in range(40):
        optimizer.zero_grad()
        total = torch.zeros((), dtype=torch.float64)
        for rows in torch.arange(len(x)).split(30):
            loss = LOSS(model(x[rows]), y[rows]) / 4
            loss.backward()
            total += loss.detach()
        optimizer.step()
        scheduler.step(total)
        observer.step(total)
    train(twin, other, 40, expected, plain)
    torch.testing.assert_close(flat(model), flat(twin), rtol=0, atol=1e-12)
    np.testing.assert_allclose(observer.energy.residual, plain.energy.residual, rtol=0, atol=1e-12)
    assert str(scheduler.switches) == str(expected.switches)


def test_a_loss_that_is_written_over_was_noted_before():
    optimizer = sgd(network())
    scheduler = GoalScheduler(optimizer, GOAL, {"momentum": 0.5}, every=4, estimate=training.LastBatch())
    loss = torch.tensor(2.0)
    for value in (2.0, 1.0, 2.0, 2.0):
        loss.fill_(value)
        scheduler.step(loss)
    assert scheduler.switches[0].loss == 1.0


def test_all_ranks_switch_on_the_same_step(tmp_path):
    """Two processes whose own losses would switch at different steps: both switch when the mean of the losses does."""
    script = tmp_path / "rank.py"
    script.write_text(
        textwrap.dedent("""
            import os, sys, torch, phdyn
            import torch.distributed as dist
            from phdyn.training import FullLoss, GoalScheduler, LastBatch
            rank = int(sys.argv[1])
            dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
            torch.manual_seed(0)
            model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3, 2))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
            scheduler = GoalScheduler(optimizer, phdyn.LossGoal(value=1.0), {"momentum": 0.5}, estimate=LastBatch(), every=2)
            for k in range(1, 21):
                optimizer.zero_grad()
                model(torch.randn(4, 3)).square().mean().backward()
                optimizer.step()
                scheduler.step(torch.tensor(2.0 - 0.1 * k if rank else 3.0 - 0.1 * k))
            full = GoalScheduler(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), phdyn.LossGoal(value=1.0), {"momentum": 0.5},
                                 estimate=FullLoss(lambda: 2.0 - 0.1 * full.count + (0.0 if rank else 1.0), every=1))
            for k in range(1, 21):
                full.step(0.0)
            print(scheduler.switches[0].step, full.switches[0].step, float(next(model.parameters()).sum()))
            dist.destroy_process_group()
        """),
        encoding="utf-8",
    )
    command = [sys.executable, "-W", "ignore", str(script)]
    ranks = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "meeting")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    said = [rank.communicate(timeout=120) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    (step, full, total), (other, also, twin) = (out.split() for out, _ in said)
    assert full == also == "15"
    assert step == other == "16"  # the mean is 2.5 - 0.1 k, at the goal from step 15 on, and read at even steps
    assert total == twin


def test_tensorboard_gets_the_rows(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    model = network()
    optimizer = sgd(model)
    observer = EnergyObserver(optimizer)
    with SummaryWriter(tmp_path) as writer:
        for _ in range(5):
            train(model, optimizer, 1, observer)
            observer.log(writer)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    written = events.Scalars("energy/hamiltonian")
    assert [event.step for event in written] == [1, 2, 3, 4, 5]
    np.testing.assert_allclose([event.value for event in written], observer.energy.hamiltonian, rtol=1e-6)


LIGHTNING = """
    import sys, warnings, logging
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    sys.path.insert(0, {tests!r})
    import lightning, torch, phdyn
    from loops import LOSS, blobs, flat, network, sgd
    from phdyn.training import EnergyObserver, GoalScheduler, LightningCallback

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()
        def training_step(self, batch, index):
            return LOSS(self.net(batch[0]), batch[1])
        def configure_optimizers(self):
            return sgd(self.net)

    def fit(epochs, callbacks, checkpoint=None, **options):
        module = Module()
        trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=callbacks,
                                    enable_checkpointing=False, enable_model_summary=False, precision=64, **options)
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*blobs()), batch_size=30)
        trainer.fit(module, loader, ckpt_path=checkpoint)
        return trainer, module

    def callback():
        return LightningCallback(lambda optimizer: GoalScheduler(optimizer, phdyn.LossGoal(reduction=0.2), {{"momentum": 0.5}}),
                                 EnergyObserver)

    whole = callback()
    _, module = fit(12, [whole])
    first = callback()
    trainer, _ = fit(5, [first])
    trainer.save_checkpoint({checkpoint!r})
    second = callback()
    _, resumed = fit(12, [second], {checkpoint!r})
    few = callback()
    fit(12, [few], accumulate_grad_batches=3)
    means = LightningCallback(EnergyObserver)
    fit(1, [means], accumulate_grad_batches=4)
    halves = callback()
    trainer, _ = fit(5, [halves], accumulate_grad_batches=2)
    trainer.save_checkpoint({checkpoint!r})
    later = callback()
    fit(12, [later], {checkpoint!r}, accumulate_grad_batches=2)
    resumed_steps = later.parts[0].count, len(later.parts[1].energy.t)
    fit(3, [later])
    alone, = (Module(),)
    scheduler, observer = GoalScheduler(o := sgd(alone.net), phdyn.LossGoal(reduction=0.2), {{"momentum": 0.5}}), EnergyObserver(o)
    for _ in range(12):
        for rows in torch.arange(120).split(30):
            o.zero_grad()
            loss = LOSS(alone.net(blobs()[0][rows]), blobs()[1][rows])
            loss.backward()
            o.step()
            scheduler.step(loss)
            observer.step(loss)
    same = [torch.equal(flat(module.net), flat(other.net)) for other in (resumed, alone)]
    same += [str(whole.parts[0].switches) == str(other) for other in (second.parts[0].switches, scheduler.switches)]
    same += [bool((whole.parts[1].energy.residual == other.energy.residual).all()) for other in (second.parts[1], observer)]
    start = network()
    mean = float(LOSS(start(blobs()[0]), blobs()[1]))
    same.append(abs(float(means.parts[0].energy.potential[0]) - mean) < 1e-12)
    lone = few.parts[1].energy.potential  # of 4 batches 3 make a step, and the last one another
    same.append(bool(0.5 < lone[1] / lone[0] < 2.0))
    print(*same, len(whole.parts[0].switches), len(whole.parts[1].energy.t), few.parts[0].count, len(few.parts[1].energy.t),
          *resumed_steps, later.parts[0].count, len(later.parts[1].energy.t))
"""


def test_lightning_trains_as_a_plain_loop_and_resumes(tmp_path):
    """In a process of its own: lightning's imports warn."""
    tests = str(Path(__file__).parents[1])
    code = textwrap.dedent(LIGHTNING.format(tests=tests, checkpoint=str(tmp_path / "at.ckpt")))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-16:] == ["True"] * 8 + ["1", "48", "24", "24", "24", "24", "12", "12"]


def test_without_lightning_the_error_names_the_extra():
    code = "import sys; sys.modules['lightning'] = None; from phdyn import training; training.LightningCallback"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError: LightningCallback needs lightning: pip install 'phdyn[training]'" in done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_on_an_accelerator_no_step_waits_but_every_tenth():
    model = network(dtype=torch.float32).cuda()
    optimizer = sgd(model)
    scheduler = GoalScheduler(optimizer, TimeReached(30), {"momentum": 0.5}, every=10)
    observer = EnergyObserver(optimizer)
    x, y = (part.cuda() for part in blobs())
    x = x.float()
    try:
        for k in range(1, 51):
            torch.cuda.set_sync_debug_mode("default" if k % 10 == 0 or k == 1 else "error")
            optimizer.zero_grad()
            loss = LOSS(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step(loss)
            observer.step(loss)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert scheduler.switches[0].step == 30 and observer.energy_balance().verdict == "balanced"
