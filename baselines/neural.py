"""Base of every learnt method: a network, its sizes, and the predictor that trains it and predicts with it.

Conventions
-----------
A method is a file in ``baselines/methods`` with two classes. The network derives from :class:`GazeModel`: a small module from a
:class:`~baselines.data.batch.Batch` to an :class:`~baselines.data.batch.Output`. The predictor derives from
:class:`NeuralPredictor`: the method's card, its options, its sizes, and how the network is made from them. Everything else
(data, losses, optimiser, checkpoints, decoding) is shared. A run holds ``settings.json``,
``model.safetensors`` and ``log.csv``.
"""

from __future__ import annotations

import abc
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field
from torch import nn

from baselines.data.batch import Batch, Output
from baselines.data.loader import TrainingLoader, query_batches, validation_batches
from baselines.data.prepared import PreparedSplit
from baselines.nets.decode import decode, densities
from baselines.training.checkpoints import discard_checkpoints, read_model, write_model
from baselines.training.course import AfterStep, Course, Fit
from baselines.training.devices import mixed_precision, resolve_device, seeded, torch_seed
from baselines.training.parallel import Team, teamwork
from baselines.training.resolve import checked, resolve
from baselines.training.settings import Part, Settings
from baselines.training.trainer import fit
from srgaze360 import sphere
from srgaze360.console import progress, say
from srgaze360.dataset import Dataset
from srgaze360.errors import EnvironmentProblem
from srgaze360.files import read_json, write_text
from srgaze360.predictors import Guess, Predictor, Query, TrainingJob

SETTINGS_FILE = "settings.json"
CACHE = "cache"  # folder in a run, where no other was given


class Options(Part):
    """What can be set about a network: ``width`` scales its channels. Methods add to it."""

    width: int = Field(16, ge=4, le=512, multiple_of=4, description="channels of the finest features")


class GazeModel(nn.Module, abc.ABC):
    """A network from a batch to an output. ``equivariant`` says that turning panorama and head turns the answer."""

    equivariant: ClassVar[bool] = False

    @abc.abstractmethod
    def forward(self, batch: Batch) -> Output:
        """Say where the people of a batch look."""

    def after_step(self, optimiser: torch.optim.Optimizer, step: int, generator: torch.Generator) -> None:
        """Change weights between two steps of training, the same in every process; most methods do not."""

    def facts(self) -> dict[str, Any]:
        """What the run's record should say of the network besides its settings."""
        return {}


class NeuralPredictor(Predictor):
    """A predictor that is a network.

    ``sizes`` maps a size to settings that depart from the defaults (nested, as in a configuration file); ``options`` validates
    ``settings.model``; ``changes`` says what was changed for the sphere, one line each.
    """

    trained = True
    options: ClassVar[type[Options]] = Options
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"tiny": {}}
    changes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, network: GazeModel, settings: Settings, facts: Mapping[str, Any] | None = None) -> None:
        self.model = network.eval()
        self.settings = settings
        self.device = torch.device("cpu")
        self._facts = dict(facts or {})

    @classmethod
    @abc.abstractmethod
    def network(cls, options: Any, settings: Settings) -> GazeModel:  # noqa: ANN401 - an instance of cls.options
        """Make the network with fresh weights (drawn from torch's global generator, which the trainer seeds)."""

    @classmethod
    def card(cls) -> dict[str, Any]:
        """Sizes with their numbers of parameters, options, and what was changed for the sphere."""
        options = {
            name: {"default": field.get_default(call_default_factory=True), "meaning": field.description or ""}
            for name, field in cls.options.model_fields.items()
        }
        return {
            "sizes": {size: cls._size(size) for size in cls.sizes},
            "options": options,
            "changes": list(cls.changes),
        }

    @classmethod
    def outline(cls, size: str) -> Settings:
        """Settings of a size for a network of the same form that needs no weights from anywhere."""
        return cls.settings_of({"size": size})

    @classmethod
    def _size(cls, size: str) -> int:
        """Trainable parameters of a size; computes none of them."""
        with torch.device("meta"):
            return parameters(cls.make(cls.outline(size)))

    # --- training ---

    @classmethod
    def settings_of(cls, user: Mapping[str, Any]) -> Settings:
        """The complete settings of a run from those of the user (:func:`baselines.training.resolve.resolve`)."""
        return resolve(cls.name, cls.sizes, cls.options, user)

    @classmethod
    def check(cls, settings: Mapping[str, Any], device: str) -> None:
        """Check settings, options and device of a training before it begins."""
        cls.settings_of(settings)
        resolve_device(device)

    @classmethod
    def make(cls, settings: Settings) -> GazeModel:
        """Make the network of some complete settings."""
        return cls.network(checked(cls.options, settings.model, f"options of {cls.name}"), settings)

    @classmethod
    def train(cls, job: TrainingJob) -> Self:
        """Train on the train split, choose on val; go on where the same training was stopped."""
        settings = cls.settings_of(job.settings)
        with teamwork(job.device) as (team, device):
            with seeded(device, job.seed, "network"):
                network = cls.make(settings)
            train = _prepared(job, job.data, settings, team)
            val = None if job.val is None else _prepared(job, job.val, settings, team)
            course = Course(
                method=cls.name,
                settings=settings,
                seed=job.seed,
                folder=job.folder,
                device=device,
                panoramas=len(train),
                team=team,
                after_step=_after_step(network, job.seed),
            )
            loader = TrainingLoader(train, settings, job.seed, team.rank, team.world)
            done = fit(network, loader, None if val is None else lambda: validation_batches(val, settings), course)
        predictor = cls(network, settings, _report(done, network, device, train, val))
        predictor.device = device
        return predictor

    def facts(self) -> dict[str, Any]:
        """How the training went."""
        return self._facts

    # --- a run on disk ---

    def save(self, run: Path) -> None:
        """Write settings and weights."""
        write_text(run / SETTINGS_FILE, self.settings.model_dump_json(indent=2) + "\n")
        write_model(run, self.model, self.name, self.settings)

    def finish(self, run: Path) -> None:
        """Remove checkpoints, and what was prepared in the run's own folder."""
        discard_checkpoints(run)
        shutil.rmtree(run / CACHE, ignore_errors=True)

    @classmethod
    def load(cls, run: Path) -> Self:
        """Read settings and weights."""
        settings = checked(Settings, read_json(run / SETTINGS_FILE, "settings of a run"), f"settings in {run / SETTINGS_FILE}")
        with seeded(torch.device("cpu"), 0, "network"):
            network = cls.make(settings)
        read_model(run, network, cls.name, settings)
        return cls(network, settings)

    # --- prediction ---

    def place(self, device: str) -> None:
        """Move the network to a device."""
        self.device = resolve_device(device)
        self.model.to(self.device)

    def predict(self, queries: Sequence[Query]) -> Guess:
        """Say where each person looks."""
        return next(self.predict_batches([queries]))

    def predict_batches(self, batches: Iterable[Sequence[Query]]) -> Iterator[Guess]:
        """Answer batch after batch; on a GPU, processes read the panoramas ahead."""
        workers = self.settings.train.workers if self.device.type == "cuda" else 0
        for batch in query_batches(batches, self.settings.data, workers, self.cache):
            yield self._answer(batch)

    @torch.inference_mode()
    def _answer(self, batch: Batch) -> Guess:
        """Answer a batch; where it does not fit in the GPU's memory, in halves."""
        try:
            return self._answer_at_once(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise EnvironmentProblem(
                    f"Expected one person's answer to fit in the memory of {self.device}, but it does not ({batch.ids[0]}). "
                    "Free memory on the GPU, take `--device cpu`, or train a smaller size."
                ) from None
        # out here: the exception holds all that the failed attempt had in memory
        torch.cuda.empty_cache()
        say(f"{self.name}: {len(batch)} people at once do not fit in the memory of {self.device}; taking half as many.")
        middle = len(batch) // 2
        return _joined([self._answer(_some(batch, 0, middle)), self._answer(_some(batch, middle, len(batch)))])

    def _answer_at_once(self, batch: Batch) -> Guess:
        there = batch.to(self.device)
        with mixed_precision(self.device, self.settings.train.precision):
            output = self.model(there)
        points = decode(output.heatmap) if output.points is None else output.points
        maps = densities(output.heatmap)
        scores = None if output.in_frame is None else torch.sigmoid(output.in_frame.float())
        directions = sphere.normalise(points.double().cpu().numpy())
        return Guess(directions, maps.cpu().numpy(), None if scores is None else scores.double().cpu().numpy().clip(0.0, 1.0))


def _some(batch: Batch, first: int, last: int) -> Batch:
    """People ``first`` to ``last`` - 1 of a batch without targets, with the panoramas they are on."""
    panoramas, owner = torch.unique(batch.owner[first:last], return_inverse=True)
    fields = {name: getattr(batch, name)[first:last] for name in ("heads", "frames", "radii", "crops", "reach")}
    return replace(batch, ids=batch.ids[first:last], panoramas=batch.panoramas[panoramas], owner=owner, **fields)


def _joined(guesses: Sequence[Guess]) -> Guess:
    parts = zip(*guesses, strict=True)
    directions, maps, scores = (None if part[0] is None else np.concatenate(part) for part in parts)
    return Guess(np.asarray(directions), maps, scores)


def _prepared(job: TrainingJob, data: Dataset, settings: Settings, team: Team) -> PreparedSplit:
    """A split, prepared in the cache; what cannot be read is named."""
    cache = (job.cache or job.folder / CACHE) if settings.train.cache else None
    panoramas = int(data.annotations["panorama_id"].nunique())
    split = str(data.annotations["split"].iloc[0]) if len(data) else "empty"
    with progress(f"prepare {split}", panoramas) as advance:
        prepared = PreparedSplit.open(
            data, settings.data, cache, photos=settings.loss.photo > 0.0, workers=settings.train.workers, advance=advance
        )
    if prepared.skipped and team.leads:
        named = "; ".join(f"{path}: {reason}" for path, reason in prepared.skipped[:5])
        say(f"[yellow]{len(prepared.skipped)} of {panoramas} panoramas of {split} cannot be read and are left out:[/] {named}")
    return prepared


def _after_step(network: GazeModel, seed: int) -> AfterStep | None:
    """What the method does between steps, with random numbers that are a function of (seed, step)."""
    if type(network).after_step is GazeModel.after_step:
        return None

    def after(_: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
        network.after_step(optimiser, step, torch.Generator().manual_seed(torch_seed(seed, "after step", step)))

    return after


def _report(
    done: Fit, network: GazeModel, device: torch.device, train: PreparedSplit, val: PreparedSplit | None
) -> dict[str, Any]:
    """What the record of a run says of its training."""
    skipped = [path for split in (train, val) if split is not None for path, _ in split.skipped]
    return {
        **done.facts(),
        **network.facts(),
        "parameters": parameters(network),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "panoramas": len(train),
        "skipped_panoramas": skipped,
    }


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
