"""Training a network: the loop that every method shares, from the first batch to the weights that are kept.

Conventions
-----------
A *step* is one change of the weights, from one batch over all processes. At every look (:mod:`baselines.training.course`) the
averaged weights are scored on val and a checkpoint is written. What is kept is what scored best on val; without a val split,
what came last. The test split has no way in here. On a CPU, a training that was stopped and goes on ends with the same bits as
one that was not: batches, random numbers, rates and decays are functions of (seed, step).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor, nn

from baselines.data.batch import Batch
from baselines.training.checkpoints import State, moving, read_checkpoint, settings_digest, write_checkpoint
from baselines.training.course import MEGABYTE, Course, Fit, TrainingBatches, best_look, looks, out_of_patience
from baselines.training.devices import forget_peak_memory, mixed_precision, peak_memory, seeded, torch_seed
from baselines.training.logs import Log
from baselines.training.losses import TERMS, counts, means, objective, sums
from baselines.training.optimiser import adamw, moments_of, put_moments, set_rate, trainable
from baselines.training.parts import cut
from baselines.training.schedule import Average, rate
from baselines.training.tensors import put_weights, weights_of
from baselines.training.validation import Scores, validate
from srgaze360.console import progress, say, silent
from srgaze360.errors import CheckFailed, EnvironmentProblem, InputError, first_ids
from srgaze360.files import digest

LOG_EVERY = 10  # steps; numbers leave the GPU this often, and no oftener


@dataclass
class _Row:
    """What happened since the last line of the log; numbers stay on the device until then."""

    started: float = field(default_factory=time.perf_counter)
    waited: float = 0.0
    values: list[Tensor] = field(default_factory=list)
    ids: list[list[str]] = field(default_factory=list)


def fit(network: nn.Module, training: TrainingBatches, validation: Callable[[], Iterable[Batch]] | None, course: Course) -> Fit:
    """Train a network, or go on where the same training was stopped; it ends with the weights that are kept.

    Parameters
    ----------
    network
        With its first weights, on any device; it is moved to the course's, and left in evaluation mode.
    training
        Batches of the train split.
    validation
        Gives the batches of the val split, the same each time; None without one.
    course
        Everything else. Its folder holds the log and the checkpoints, which stay until
        :func:`~baselines.training.checkpoints.discard_checkpoints`.

    Returns
    -------
    Fit
        How it went.

    Raises
    ------
    CheckFailed
        A loss, a gradient or a score on val is no longer finite.
    InputError
        Batches cannot be learnt from, or the folder holds the checkpoint of another training.
    EnvironmentProblem
        The disk is full, or processes do not see the same folder.
    """
    with seeded(course.device, course.seed, "training"):
        try:
            return _Training(network.to(course.device), training, validation, course).run()
        except torch.OutOfMemoryError:
            raise EnvironmentProblem(
                f"Expected a batch of {course.method} to fit in the memory of {course.device}, but it does not. Cut batches "
                "into parts (`--set train.accumulate=2`, the same result), train a smaller size, or free memory."
            ) from None


class _Training:
    """The state of a training between its steps."""

    def __init__(
        self, network: nn.Module, training: TrainingBatches, validation: Callable[[], Iterable[Batch]] | None, course: Course
    ) -> None:
        settings = course.settings.train
        self.network, self.training, self.validation, self.course = network, training, validation, course
        self.wrapped = course.team.wrap(network)  # first: it gives every process rank 0's weights
        self.optimiser = adamw(network, settings.lr, settings.weight_decay)
        self.average = Average(network, settings.ema)
        self.best: dict[str, Tensor] = {}
        self.saved: Path | None = None
        self.names: set[str] = set()
        text = self._restore()
        self.log = Log(course.folder, text) if course.team.leads else None

    def _restore(self) -> str:
        """Take up the last checkpoint, if there is one; return the log so far."""
        course = self.course
        found = read_checkpoint(course.folder, course.method, course.settings, course.seed)
        steps = course.team.gathered(found.state.step if found else 0)
        if len(set(steps)) > 1:
            raise EnvironmentProblem(
                f"Expected every process to find the same checkpoint in {course.folder}, found steps {steps} by rank. Give a "
                "folder that all machines share."
            )
        if found is None:
            self.state = State(
                method=course.method,
                settings=settings_digest(course.settings),
                seed=course.seed,
                step=0,
                history=[],
                seconds=0.0,
                waited=0.0,
                looking=0.0,
                people=0,
                log=digest(""),
            )
            return ""
        self.state, self.best, self.saved = found.state, found.best, found.path
        put_weights(self.network, found.weights, f"weights in {found.path}")
        put_weights(self.average.network, self._whole(found.average), f"averaged weights in {found.path}")
        put_moments(self.network, self.optimiser, found.moments, f"moments in {found.path}")
        return found.log

    def _whole(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of a checkpoint together with the weights that are not trained."""
        mine = weights_of(self.network)
        changing = moving(self.network, mine)
        return {**{name: tensor for name, tensor in mine.items() if name not in changing}, **tensors}

    def run(self) -> Fit:
        """All steps that are left, and the choice of the weights."""
        course, settings = self.course, self.course.settings.train
        forget_peak_memory(course.device)
        marks = set(looks(settings.steps, settings.validations))
        shown = progress(f"train {course.method}", settings.steps) if course.team.leads else nullcontext(silent)
        with shown as advance:
            advance(self.state.step)
            step, row = self.state.step, _Row()
            batches = self.training.batches(step)
            while step < settings.steps and not out_of_patience(self.state.history, settings.patience):
                self._step(step, self._next(batches, step, row), row)
                step += 1
                advance(1)
                if step in marks or step % LOG_EVERY == 0:
                    line = self._line(step, row)
                    if step in marks:
                        line |= self._look(step)
                        self._write(line)
                        self._save()
                    else:
                        self._write(line)
                    row = _Row()
        return self._finish()

    def _next(self, batches: Iterator[Batch], step: int, row: _Row) -> Batch:
        """The next batch of this process; the wait for it counts."""
        asked = time.perf_counter()
        batch = next(batches, None)
        row.waited += time.perf_counter() - asked
        if batch is None or not len(batch):
            world = self.course.team.world
            raise InputError(
                f"Expected people to learn from in every batch and process, found none at step {step} in process "
                f"{self.course.team.rank} of {world}. Train on a split with people, with at least {world} panoramas in a batch "
                "(`--set train.panoramas=N`)."
            )
        row.ids.append(list(batch.ids))
        return batch

    def _step(self, step: int, batch: Batch, row: _Row) -> None:
        """Change the weights once."""
        course, settings = self.course, self.course.settings.train
        torch.manual_seed(torch_seed(course.seed, "step", step, course.team.rank))
        self.wrapped.train()
        here = {kind: number.to(course.device) for kind, number in counts(batch).items()}
        numbers = dict(zip(here, course.team.added(torch.stack(list(here.values()))), strict=True))
        values = torch.zeros(len(TERMS) + 1, device=course.device)
        parts = cut(batch, settings.accumulate)
        for number, part in enumerate(parts):
            there = part.to(course.device)
            with nullcontext() if number == len(parts) - 1 else course.team.not_yet(self.wrapped):
                with mixed_precision(course.device, settings.precision):
                    output = self.wrapped(there)
                totals = sums(output, there, course.settings.loss)
                loss = objective(totals, numbers, course.settings.loss)
                (loss * course.team.world).backward()  # gradients are averaged over the processes; losses are shares of a sum
            self.names.update(totals)
            found = [totals[name] if name in totals else loss.new_zeros(()) for name in TERMS]
            values += torch.stack([*found, loss]).detach()
        norm = nn.utils.clip_grad_norm_(list(trainable(self.network).values()), settings.clip)
        set_rate(self.optimiser, settings.lr * rate(step, settings.steps, settings.warmup))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if course.after_step is not None:
            course.after_step(self.network, self.optimiser, step + 1)
        self.average.update(self.network, step)
        people = values.new_tensor(float(len(batch)))
        row.values.append(torch.stack([*values, *here.values(), people, norm / course.team.world]))

    def _line(self, step: int, row: _Row) -> dict[str, float | None]:
        """A line of the log; losses and gradients that are no longer finite end the training here."""
        course, settings = self.course, self.course.settings.train
        mine = torch.stack(row.values)
        values = course.team.added(mine).double().cpu()
        finite = torch.isfinite(values).all(-1)
        if not finite.all():
            self._diverged(step, int(torch.nonzero(~finite)[0]), mine, row)
        seconds = time.perf_counter() - row.started
        whole = values.sum(0)
        numbers = dict(zip(("gaze", "in_frame"), whole[len(TERMS) + 1 :], strict=False))
        totals = {name: value for name, value in zip(TERMS, whole, strict=False) if name in self.names}
        people = int(whole[-2])
        memory = peak_memory(course.device)
        self.state = self.state.model_copy(
            update={
                "step": step,
                "seconds": self.state.seconds + seconds,
                "waited": self.state.waited + row.waited,
                "people": self.state.people + people,
            }
        )
        return {
            "step": step,
            "epoch": step * settings.panoramas / course.panoramas,
            "lr": settings.lr * rate(step - 1, settings.steps, settings.warmup),
            "loss": float(values[:, len(TERMS)].mean()),
            **{name: float(value) for name, value in means(totals, numbers).items()},
            "grad_norm": float(values[:, -1].mean()),
            "people_per_s": people / seconds,
            "waiting": row.waited / seconds,
            "peak_memory_mb": None if memory is None else memory / MEGABYTE,
        }

    def _diverged(self, step: int, bad: int, mine: Tensor, row: _Row) -> NoReturn:
        """End the training: say at which step, on whom, and what is still good."""
        # who is to blame is the process whose own loss is not finite; with none, the gradient is
        blamed = not bool(torch.isfinite(mine[bad, : len(TERMS) + 1]).all())
        said = self.course.team.gathered((blamed, row.ids[bad]))
        ids = [name for guilty, names in said if guilty or not any(other for other, _ in said) for name in names]
        self._stop("loss and gradient", f"step {step - len(row.values) + bad + 1} on {first_ids(ids)}")

    def _stop(self, what: str, where: str) -> NoReturn:
        good = f"the last good checkpoint is {self.saved}" if self.saved else "there is no checkpoint yet"
        raise CheckFailed(
            f"Expected {what} to be finite, found NaN or infinity at {where}; {good}. Look at these samples; if they are "
            f"sound, train anew with a lower rate (`--set train.lr=...`, now {self.course.settings.train.lr:g})."
        )

    def _look(self, step: int) -> dict[str, float | None]:
        """Score the averaged weights on val, keep them if they are the best; the val columns of the log."""
        if self.validation is None:
            return {}
        course, started = self.course, time.perf_counter()
        scores: Scores = course.team.told(
            validate(self.average.network, self.validation, course.settings, course.device, course.team)
        )
        if not math.isfinite(scores.degrees + scores.total):
            self._stop("the score on val", f"step {step} on {scores.people} people of the val split")
        history = [*self.state.history, (step, scores.degrees)]
        looking = self.state.looking + time.perf_counter() - started
        self.state = self.state.model_copy(update={"history": history, "looking": looking})
        if best_look(history) == len(history) - 1:
            now = moving(self.network, weights_of(self.average.network))
            self.best = {name: tensor.cpu().clone() for name, tensor in now.items()}
        if course.team.leads:
            best = history[best_look(history)]
            say(f"{course.method} at step {step}: {scores.degrees:.2f}° on val (best {best[1]:.2f}° at step {best[0]})")
        return {
            "val_deg": scores.degrees,
            "val_loss": scores.total,
            **{f"val_{name}": value for name, value in scores.losses.items()},
        }

    def _write(self, line: dict[str, float | None]) -> None:
        if self.log is not None:
            self.log.add(line)

    def _save(self) -> None:
        """Write a checkpoint; every process waits until it is there."""
        course = self.course
        if self.log is not None:
            tensors = {
                "weights": weights_of(self.network),
                "average": moving(self.network, weights_of(self.average.network)),
                "moments": moments_of(self.network, self.optimiser),
                **({"best": self.best} if self.state.history else {}),
            }
            self.state = self.state.model_copy(update={"log": digest(self.log.text)})
            self.saved = write_checkpoint(course.folder, self.state, tensors, self.log.text)
        self.saved = course.team.told(self.saved)

    def _finish(self) -> Fit:
        """Put the weights that are kept into the network."""
        course, history = self.course, self.state.history
        step, by = self.state.step, "the last step: there is no val split to choose by"
        kept = moving(self.network, weights_of(self.average.network))
        if history:
            step, by, kept = history[best_look(history)][0], "the best score on val", self.best
        put_weights(self.network, self._whole(kept), "the weights that are kept")
        self.network.eval()
        return Fit(
            steps=self.state.step,
            chosen_step=step,
            chosen_by=by,
            history=history,
            stopped_early=self.state.step < course.settings.train.steps,
            seconds=self.state.seconds,
            waited=self.state.waited,
            looking=self.state.looking,
            people=self.state.people,
            peak_memory=peak_memory(course.device),
        )
