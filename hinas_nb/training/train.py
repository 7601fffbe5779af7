"""Training of a derived network from scratch (section 4.1), by SGD as published or AdamW for short budgets.

`train` is a generator of one record per validation; notebook `05_train_and_restore` shows them. Each step draws its
batch from the seed and its number, so a resumed training is the uninterrupted one.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hinas_nb import comparators, data
from hinas_nb.experiment.config import Comparator, TrainConfig
from hinas_nb.method.genotype import Genotype
from hinas_nb.method.network import DerivedNetwork
from hinas_nb.method.operations import near_identity, seeded
from hinas_nb.provenance import peak_memory_mib
from hinas_nb.training import loops
from hinas_nb.training.checkpoints import Nowhere, pack, unpack
from hinas_nb.training.hardware import autocast, compiled, to_device
from hinas_nb.training.loops import score, validate

RANGE_LEVELS = 5  # a range of sigmas is validated at so many, evenly spaced


@dataclass(frozen=True)
class TrainRecord:
    """Holds the steps since the last validation: their mean loss and last learning rate; PSNR (dB) and SSIM on V."""

    step: int
    loss: float
    lr: float
    validation_psnr: float
    validation_ssim: float
    best: bool
    seconds: float
    peak_memory_mib: float


def train(
    config: TrainConfig,
    genotype: Genotype | None,
    images,
    validation,
    folder=None,
    device: str | torch.device = "cpu",
    teacher: nn.Module | None = None,
) -> Iterator[TrainRecord]:
    """Train, from the folder's last checkpoint on; writes `records.jsonl` and, at the end, the weights best on V.

    genotype: None for a comparator. images, validation: image sets. folder: a `store.RunFolder`; None
    keeps nothing, the records have the scores. teacher: the trained network of `config.teacher`, for distillation.
    """
    folder = folder or Nowhere()
    state = _State(config, genotype, images, validation, torch.device(device), teacher)
    saved = folder.load_checkpoint()
    first = state.resume(*saved) if saved else 0
    while first < config.steps:
        last = min(first + config.validate_every, config.steps)
        record = state.interval(first, last)
        folder.append_records([record])
        folder.save_checkpoint(*state.checkpoint(last))
        first = last
        yield record
    metadata = state.net.metadata() | {"sigma": config.sigma, "data": config.data, "split": config.split}
    metadata |= {"sigma_range": list(config.sigma_range)} if config.sigma_range else {}
    folder.write_tensors("weights.safetensors", state.best, metadata | {"steps": config.steps})


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return SGD's learning rate, a polynomial decay of power 0.9 as released, or AdamW's, one cycle of all steps."""
    progress = step / config.steps
    if config.optimizer == "sgd":
        return config.lr * (1 - progress) ** 0.9
    return loops.one_cycle(progress, config.lr)


class _State:
    """The network, its optimizer and the weights that were best on V."""

    def __init__(self, config: TrainConfig, genotype, images, validation, device: torch.device, teacher=None):
        self.config, self.device, self.teacher = config, device, teacher
        common = dict(task=config.task, scale=config.scale, noise_map=config.noise_map)
        sigmas = config.sigma_range or (None if config.sigma is None else (config.sigma,))
        self.pairs = data.Pairs(
            images, stream="train", patch=config.patch, batch=config.batch, seed=config.seed, rescale=config.rescale,
            sigmas=sigmas, sigma_range=config.sigma_range is not None, **common,
        )  # fmt: skip
        if config.sigma_range:
            sigmas = tuple(torch.linspace(*config.sigma_range, RANGE_LEVELS).tolist())
        # Given V, its noise is the same for every training seed.
        self.validation = loops.validation_pairs(validation, config, seed=0, sigmas=sigmas, **common)
        with seeded(data.stream(config.seed, "network").initial_seed()):
            self.net = _network(config, genotype)
        if config.near_identity:
            near_identity(self.net.output)
        for layer in self.net.modules():
            if isinstance(layer, nn.BatchNorm2d) and config.norm_momentum is not None:
                layer.momentum = config.norm_momentum
        self.net.to(device, memory_format=torch.channels_last)
        self.stepped = compiled(self.net) if config.compiled else self.net  # the same weights
        self.optimizer = _optimizer(self.net, config)
        self.best: dict[str, Tensor] = {}
        self.best_score = -math.inf

    def interval(self, first: int, last: int) -> TrainRecord:
        """Take the steps from `first` to `last`, score the network on V and keep its weights if they are the best."""
        began, losses = time.perf_counter(), []
        self.net.train()
        for step in range(first, last):
            losses.append(self._step(step))
        psnr, ssim = validate(self.net.eval(), self.validation, self.config, self.device)
        better = score(psnr, ssim) > self.best_score
        if better:
            self.best_score = score(psnr, ssim)
            self.best = {name: value.detach().cpu().clone() for name, value in self.net.state_dict().items()}
        return TrainRecord(
            step=last,
            loss=sum(losses) / len(losses),
            lr=learning_rate(self.config, last - 1),
            validation_psnr=psnr,
            validation_ssim=ssim,
            best=better,
            seconds=time.perf_counter() - began,
            peak_memory_mib=peak_memory_mib(str(self.device)),
        )

    def _step(self, step: int) -> float:
        loops.set_lr(self.optimizer, learning_rate(self.config, step))
        network = lambda image: self.stepped(image.contiguous(memory_format=torch.channels_last))  # noqa: E731
        pair, parameters = self.pairs.batch(step), list(self.net.parameters())
        remedy = f" at step {step}; lower lr={self.config.lr}"
        if self.teacher:
            return self._taught_step(network, pair, parameters, remedy)
        return loops.step(network, pair, self.optimizer, parameters, self.config, self.device, remedy=remedy)

    def _taught_step(self, network, pair: tuple[Tensor, Tensor], parameters: list[nn.Parameter], remedy: str) -> float:
        """Take a step on eq. 7 plus the mean absolute difference from what the teacher makes, times its weight.

        The simplest published form of distillation: the teacher's supervision of He et al. (ICIP 2020).
        """
        restored: list[Tensor] = []
        remembered = lambda image: restored.append(network(image)) or restored[0]  # noqa: E731
        self.optimizer.zero_grad(set_to_none=True)
        value = loops.loss(remembered, pair, self.config, self.device)
        with torch.no_grad(), autocast(self.device, self.config.precision):
            wanted = self.teacher(to_device(pair[0], self.device))
        (value + self.config.teacher_weight * (restored[0] - wanted).abs().mean()).backward()
        return loops.clipped_step(self.optimizer, parameters, value, remedy)

    def checkpoint(self, steps_done: int) -> tuple[dict[str, Tensor], dict]:
        """Return all that a later process needs to go on: tensors, and what is no tensor."""
        tensors = pack(net=self.net, optimizer=self.optimizer, best=self.best)
        return tensors, {"steps_done": steps_done, "best_score": self.best_score}

    def resume(self, tensors: dict[str, Tensor], meta: dict) -> int:
        """Restore a checkpoint and return the number of steps done."""
        unpack(tensors, net=self.net, optimizer=self.optimizer, best=self.best)
        self.best_score = meta["best_score"]
        return meta["steps_done"]


def _network(config: TrainConfig, genotype: Genotype | None) -> nn.Module:
    if isinstance(config.genotype, Comparator):
        other = config.genotype
        return comparators.build(other.name, config.task, config.scale, width=other.width)
    return DerivedNetwork(
        genotype, config.task, config.base_width, config.width_factors, config.scale, config.residual,
        config.fold, config.noise_map, not config.without_norms,
    )  # fmt: skip


def _optimizer(net: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    decayed = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    plain = [parameter for parameter in net.parameters() if parameter.ndim <= 1]  # biases, batch norms
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, config.lr, momentum=0.9)
    return torch.optim.AdamW(groups, config.lr)
