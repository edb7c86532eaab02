"""The loop of training: rates, averages, decay, parts, val, patience, NaN, and what the log says."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from toys import CPU, Toy, ToyBatches, course, state_of, toy, toy_batch, toy_settings, toy_val

from baselines.data.batch import Batch, Output
from baselines.training.checkpoints import checkpoints_in
from baselines.training.course import looks, out_of_patience
from baselines.training.devices import mixed_precision, peak_memory, resolve_device, seeded, torch_seed
from baselines.training.logs import COLUMNS, LOG_FILE, Log, read_log
from baselines.training.losses import counts, objective, sums
from baselines.training.optimiser import adamw
from baselines.training.schedule import Average, ema_decay, rate
from baselines.training.trainer import fit
from baselines.training.validation import validate
from srgaze360.errors import CheckFailed, EnvironmentProblem, InputError

# --- schedule ------------------------------------------------------------------------------------------------------------


def test_rate_rises_in_a_line_and_falls_in_half_a_cosine() -> None:
    assert [rate(step, 100, 0.1) for step in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert rate(55, 100, 0.1) == pytest.approx(0.5)
    assert rate(40, 100, 0.1) == pytest.approx(0.75)  # cos 60 degrees
    assert 0.0 < rate(99, 100, 0.1) < 1e-3
    assert rate(0, 1, 0.0) == 1.0
    assert rate(0, 1, 0.9) == 1.0
    falling = [rate(step, 100, 0.1) for step in range(9, 100)]
    assert falling == sorted(falling, reverse=True)


def test_average_follows_its_definition() -> None:
    assert ema_decay(0, 0.99) == pytest.approx(0.1)
    assert ema_decay(10**6, 0.99) == 0.99
    network = toy()
    average = Average(network, 0.5)
    start = state_of(network)
    expected = {name: tensor.double() for name, tensor in start.items()}
    rng = torch.Generator().manual_seed(0)
    for step in range(5):
        with torch.no_grad():
            for name, weight in network.named_parameters():
                if weight.requires_grad:
                    weight += torch.randn(weight.shape, generator=rng)
                    decay = ema_decay(step, 0.5)
                    expected[name] = decay * expected[name] + (1 - decay) * weight.double()
            network.seen += 1
        average.update(network, step)
    expected["seen"] = network.seen.double()
    for name, tensor in average.network.state_dict().items():
        assert torch.allclose(tensor.double(), expected[name], atol=1e-5), name
    assert average.network.frozen.weight is network.frozen.weight  # not trained, not stored twice
    assert not torch.equal(average.network.heatmap.weight, network.heatmap.weight)
    assert not average.network.training


def test_no_decay_means_the_weights_themselves() -> None:
    network = toy()
    average = Average(network, 0.0)
    with torch.no_grad():
        network.heatmap.weight += 1.0
    average.update(network, 100)
    assert torch.equal(average.network.heatmap.weight, network.heatmap.weight)


def test_biases_and_norms_do_not_decay() -> None:
    network = toy()
    decays = {id(p): group["weight_decay"] for group in adamw(network, 0.1, 0.3).param_groups for p in group["params"]}
    for name, weight in network.named_parameters():
        if not weight.requires_grad:
            assert id(weight) not in decays
        else:
            norm = name.startswith(("features.1", "direction.1"))
            assert decays[id(weight)] == (0.0 if norm or name.endswith("bias") else 0.3), name
    with pytest.raises(InputError, match="weights to train, found none that is not frozen"):
        adamw(network.requires_grad_(requires_grad=False), 0.1, 0.3)


def test_looks_are_spread_and_the_last_is_at_the_end() -> None:
    assert looks(100, 4) == [25, 50, 75, 100]
    assert looks(10, 3) == [4, 7, 10]
    assert looks(2, 10) == [1, 2]


def test_patience_counts_looks_without_a_better_score() -> None:
    history = [(1, 9.0), (2, 5.0), (3, 6.0), (4, 5.0)]
    assert not out_of_patience(history[:2], 1)
    assert out_of_patience(history[:3], 1)
    assert not out_of_patience(history[:3], 2)
    assert out_of_patience(history, 2)  # as good is not better
    assert not out_of_patience(history, 0)
    assert not out_of_patience([], 1)


# --- the loop ------------------------------------------------------------------------------------------------------------


def test_training_learns_and_keeps_what_was_best_on_val(tmp_path: Path) -> None:
    network, settings = toy(), toy_settings(steps=30, validations=3)
    untrained = validate(toy().eval(), toy_val, settings, CPU)
    assert untrained.degrees > 20.0
    done = fit(network, ToyBatches(), toy_val, course(tmp_path, settings))
    best = min(score for _, score in done.history)
    assert best < 0.5 * untrained.degrees
    assert [step for step, _ in done.history] == [10, 20, 30]
    assert not network.training
    assert dict(done.history)[done.chosen_step] == best
    assert validate(network, toy_val, settings, CPU).degrees == pytest.approx(best, rel=1e-6)
    facts = done.facts()
    assert facts["val_deg"] == best
    assert facts["chosen_by"] == "the best score on val"
    assert facts["peak_memory_mb"] is None
    assert 0.0 <= facts["waiting"] <= 1.0


def test_the_log_says_what_happened(tmp_path: Path) -> None:
    settings = toy_settings(steps=24, validations=2, accumulate=3, loss={"distance": 0.2})
    done = fit(toy(), ToyBatches(), toy_val, course(tmp_path, settings))
    rows = read_log(tmp_path / LOG_FILE)
    assert tuple(rows[0]) == COLUMNS
    assert [row["step"] for row in rows] == [10, 12, 20, 24]
    assert [row["val_deg"] for row in rows] == [
        None,
        pytest.approx(done.history[0][1]),
        None,
        pytest.approx(done.history[1][1]),
    ]
    for row in rows:
        assert row["epoch"] == pytest.approx(row["step"] / 10)  # 4 of 40 panoramas a step
        assert row["lr"] == pytest.approx(0.02 * rate(int(row["step"]) - 1, 24, 0.1))
        weighted = row["heatmap"] + row["direction"] + 0.1 * row["in_frame"] + 0.2 * row["distance"]
        assert row["loss"] == pytest.approx(weighted, rel=0.1)  # the mean over steps, not over people
        assert row["deep"] is None
        assert row["peak_memory_mb"] is None
        assert row["grad_norm"] > 0
        assert row["people_per_s"] > 0
        assert 0 <= row["waiting"] <= 1
    seen = sum(len(batch) for batch, _ in zip(ToyBatches().batches(0), range(24), strict=False))
    assert done.people == seen
    assert rows[-1]["val_loss"] == pytest.approx(
        rows[-1]["val_heatmap"] + rows[-1]["val_direction"] + 0.1 * rows[-1]["val_in_frame"] + 0.2 * rows[-1]["val_distance"],
        rel=1e-4,
    )


def test_parts_make_the_same_steps_as_whole_batches(tmp_path: Path) -> None:
    def trained(accumulate: int) -> dict[str, torch.Tensor]:
        network = toy(dropout=0.0)
        settings = toy_settings(steps=5, validations=1, accumulate=accumulate)
        fit(network, ToyBatches(), None, course(tmp_path / str(accumulate), settings))
        return state_of(network)

    whole, parts = trained(1), trained(4)
    start = toy(dropout=0.0).state_dict()
    for name, tensor in whole.items():
        if name != "seen":
            assert torch.allclose(parts[name], tensor, atol=2e-5), name
    assert not torch.allclose(whole["heatmap.weight"], start["heatmap.weight"], atol=1e-2)


def test_one_step_is_one_step_of_adamw_on_the_clipped_gradient(tmp_path: Path) -> None:
    settings = toy_settings(steps=1, validations=1, clip=0.01, ema=0.0, weight_decay=0.5, warmup=0.0)
    network = toy(dropout=0.0)
    fit(network, ToyBatches(), None, course(tmp_path, settings))
    reference = toy(dropout=0.0).train()
    batch = toy_batch("train", 0).to(CPU)
    objective(sums(reference(batch), batch, settings.loss), counts(batch), settings.loss).backward()
    moved = [p for p in reference.parameters() if p.grad is not None]
    norm = math.sqrt(sum(float((p.grad.double() ** 2).sum()) for p in moved))
    assert norm > 0.01
    for name, weight in reference.named_parameters():
        if weight.grad is None:
            expected = weight  # neither frozen weights nor those that no loss reaches decay
        else:
            gradient = weight.grad.double() * 0.01 / (norm + 1e-6)
            decayed = weight.double() * (1 - 0.02 * 0.5 if weight.ndim > 1 else 1.0)
            expected = decayed - 0.02 * gradient / (gradient.abs() + 1e-8)  # the first step of Adam
        assert torch.allclose(network.get_parameter(name).double(), expected.double(), atol=2e-5), name


def test_without_a_val_split_the_last_weights_are_kept_and_the_record_says_so(tmp_path: Path) -> None:
    network = toy()
    done = fit(network, ToyBatches(), None, course(tmp_path, toy_settings(steps=6, validations=2)))
    assert done.history == []
    assert done.chosen_step == 6
    assert "no val split" in done.chosen_by
    assert done.facts()["val_deg"] is None
    assert read_log(tmp_path / LOG_FILE)[-1]["val_deg"] is None


class Scripted(Toy):
    """Answers worse and worse from its sixth step on."""

    def forward(self, batch: Batch) -> Output:
        output = super().forward(batch)
        known = torch.nan_to_num(batch.gazes, nan=1.0)
        aside = torch.roll(batch.gazes, 1, dims=-1) * (self.seen.clamp_min(6.0) - 6.0) * 0.1
        return replace(output, points=nn.functional.normalize(known + aside, dim=-1))


def test_training_stops_early_on_val(tmp_path: Path) -> None:
    settings = toy_settings(steps=60, validations=20, patience=3)
    network = Scripted()
    done = fit(network, ToyBatches(), toy_val, course(tmp_path, settings))
    assert done.stopped_early
    assert done.chosen_step == 3  # 3 and 6 are equally good: the earliest
    assert done.steps == 12
    assert int(network.seen) == 3
    # the same command again finds that it is finished
    again = fit(Scripted(), ToyBatches(), toy_val, course(tmp_path, settings))
    assert (again.steps, again.history) == (12, done.history)


def test_a_val_split_without_known_targets_is_an_error(tmp_path: Path) -> None:
    def nobody() -> list[Batch]:
        batch = toy_batch("val", 0)
        return [replace(batch, gazes=torch.full_like(batch.gazes, np.nan))]

    with pytest.raises(InputError, match="known target in the val split, found none"):
        fit(toy(), ToyBatches(), nobody, course(tmp_path, toy_settings(steps=4, validations=1)))


class Poisoned(ToyBatches):
    """A batch whose second panorama cannot be learnt from."""

    def __init__(self, at: int, what: str) -> None:
        super().__init__()
        self.at, self.what = at, what

    def batches(self, start_step: int) -> Any:
        for step, batch in enumerate(super().batches(start_step), start_step):
            if step != self.at:
                yield batch
            elif self.what == "empty":
                yield replace(batch, ids=[])
            else:
                yield replace(batch, crops=torch.full_like(batch.crops.float(), float(self.what)))


@pytest.mark.parametrize("what", ["nan", "inf"])
def test_a_loss_that_is_not_finite_stops_with_ids_and_the_last_good_checkpoint(tmp_path: Path, what: str) -> None:
    settings = toy_settings(steps=20, validations=4)
    batch = toy_batch("train", 12)
    named = ", ".join(batch.ids[:5])
    with pytest.raises(CheckFailed, match=f"NaN or infinity at step 13 on {named}.* checkpoint is .*step-00000010.*lower rate"):
        fit(toy(), Poisoned(12, what), toy_val, course(tmp_path, settings))
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step-00000010"]
    assert [row["step"] for row in read_log(tmp_path / LOG_FILE)] == [5, 10]
    with pytest.raises(CheckFailed, match="at step 1 on train-0-0.*there is no checkpoint yet"):
        fit(toy(), Poisoned(0, what), toy_val, course(tmp_path / "other", settings))


def test_a_score_that_is_not_finite_stops(tmp_path: Path) -> None:
    def broken() -> list[Batch]:
        batch = toy_batch("val", 0, unknown=0.0)
        return [replace(batch, panoramas=torch.full_like(batch.panoramas.float(), np.nan))]

    with pytest.raises(CheckFailed, match="score on val to be finite, found NaN or infinity at step 4 on"):
        fit(toy(), ToyBatches(), broken, course(tmp_path, toy_settings(steps=4, validations=1)))
    assert checkpoints_in(tmp_path) == []


def test_batches_that_end_or_are_empty_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="people to learn from in every batch and process, found none at step 2"):
        fit(toy(), Poisoned(2, "empty"), None, course(tmp_path, toy_settings(steps=4)))


def test_a_hook_after_each_step_can_change_weights(tmp_path: Path) -> None:
    called: list[int] = []

    def hook(network: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
        called.append(step)
        with torch.no_grad():
            network.get_parameter("unused.bias").fill_(step)
        assert optimiser.param_groups

    network = toy()
    fit(network, ToyBatches(), None, course(tmp_path, toy_settings(steps=3, ema=0.0), after_step=hook))
    assert called == [1, 2, 3]
    assert network.unused.bias.tolist() == [3.0, 3.0]


def test_training_leaves_the_generators_of_others_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    fit(toy(), ToyBatches(), None, course(tmp_path, toy_settings(steps=2, validations=1)))
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_differ_by_run_and_step(tmp_path: Path) -> None:
    assert torch_seed(0, "step", 1) != torch_seed(0, "step", 2) != torch_seed(1, "step", 1)
    assert 0 <= torch_seed(0, "network") < 2**63
    assert torch.equal(toy(1).heatmap.weight, toy(1).heatmap.weight)
    assert not torch.equal(toy(1).heatmap.weight, toy(2).heatmap.weight)
    with seeded(CPU, 0, "a"):
        first = torch.rand(2)
    with seeded(CPU, 0, "a"):
        assert torch.equal(torch.rand(2), first)
    networks = [toy(), toy()]
    for seed, network in enumerate(networks):  # the same first weights: dropout alone differs
        fit(network, ToyBatches(), None, course(tmp_path / str(seed), toy_settings(steps=3, validations=1), seed=seed))
    assert not torch.equal(networks[0].heatmap.weight, networks[1].heatmap.weight)


def test_bf16_trains_on_a_cpu_too(tmp_path: Path) -> None:
    network = toy()
    done = fit(network, ToyBatches(), toy_val, course(tmp_path, toy_settings(steps=20, validations=1, precision="bf16")))
    assert done.history[0][1] < 20.0
    assert network.heatmap.weight.dtype == torch.float32


# --- devices and the log's file -------------------------------------------------------------------------------------------


def test_devices_are_found_or_refused() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert peak_memory(CPU) is None
    gpus = torch.cuda.device_count()
    assert resolve_device("auto").type == ("cuda" if gpus else "cpu")
    with pytest.raises(InputError, match="device auto, cpu, cuda or cuda:N, found 'gpu'"):
        resolve_device("gpu")
    with pytest.raises(EnvironmentProblem, match=f"Expected a GPU cuda:{gpus} for device 'cuda:{gpus}', found"):
        resolve_device(f"cuda:{gpus}")


def test_a_process_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto", 1) == resolve_device("cuda", 1) == torch.device("cuda", 1)
    assert resolve_device("cuda:0", 1) == torch.device("cuda", 0)
    with pytest.raises(
        EnvironmentProblem, match="cuda:2 for device 'auto', found 2 of them .cuda:0 to cuda:1.*no more processes"
    ):
        resolve_device("auto", 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "an old one")
    with pytest.raises(EnvironmentProblem, match="computes in bf16, found an old one, which does not"):
        mixed_precision(torch.device("cuda", 0), "bf16")


def test_a_full_disk_is_said_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(tmp_path)
    log.add({"step": 1, "loss": 2.5})
    with pytest.raises(KeyError, match="typo"):
        log.add({"typo": 1.0})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("baselines.training.logs.os.fsync", full)
    with pytest.raises(EnvironmentProblem, match="add a line to .*log.csv.*No space left on device"):
        log.add({"step": 2})
