"""The search of section 3.3: weights on W, architecture on A, the best epoch on V is decoded.

`search` is a generator of one record per epoch; notebooks `03_search_denoising` and `04_search_super_resolution`
show them. Each step draws its batch from the seed and its number, so a resumed search is the uninterrupted one.
"""

import json
import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from hinas_nb import data
from hinas_nb.experiment.config import SearchConfig
from hinas_nb.method import decode
from hinas_nb.method.genotype import Genotype, random_in
from hinas_nb.method.losses import restoration_loss
from hinas_nb.method.network import DerivedNetwork, upsample
from hinas_nb.method.operations import frozen, near_identity, seeded
from hinas_nb.method.supernet import Supernet
from hinas_nb.provenance import peak_memory_mib
from hinas_nb.speed import cost, latency
from hinas_nb.training.loops import (
    Nowhere,
    at_once,
    autocast,
    cosine,
    held_out,
    one_cycle,
    pack,
    score,
    sent,
    set_lr,
    unpack,
    validate,
)

#: Departs: the released supernet ends in a sigmoid, which tames its gradients; without it the published learning rate
#: diverges within ten steps. Gradients are clipped to this norm (to 1: the loss falls as it does at lr 0.003).
CLIP_NORM = 1.0


@dataclass(frozen=True)
class SearchRecord:
    """One epoch. Losses are means over its steps; entropies in nats; PSNR in dB on V.

    latency_ms: what the decoded cells and moves take by the table of latencies, where there is one.
    receptive_radius: how many pixels the decoded network sees to each side; searched_share: of its multiply-adds, those
    of cells and moves, which the search decides (stem and head are fixed), both at the published base width.
    op_margin: mean over the decoded edges of best minus second best operation weight; op_margin_min the smallest.
    input_margin_min: the narrowest choice of a node's inputs. width_margin: log-probability, best to second path.
    op_weights: `[layer][edge][operation]`; width_weights: per layer `[from, to, share]`.
    """

    epoch: int
    step: int
    weight_loss: float
    architecture_loss: float | None
    validation_psnr: float | None
    validation_ssim: float | None
    best: bool
    op_entropy: float
    width_entropy: float
    op_margin: float
    op_margin_min: float
    input_margin_min: float | None
    width_margin: float | None
    operation_counts: dict[str, int]
    skip_count: int
    latency_ms: float | None
    receptive_radius: int
    searched_share: float
    genotype: str
    op_weights: list
    width_weights: list
    seconds: float
    peak_memory_mib: float


def search(
    config: SearchConfig,
    splits,
    folder=None,
    device: str | torch.device = "cpu",
    latencies: latency.Table | None = None,
) -> Iterator[SearchRecord]:
    """Search, from the folder's last checkpoint on; writes `records.jsonl` and, at the end, `genotype.json`.

    With `candidates` also `candidates.json`: how the shared weights score random architectures on V.

    splits: the image sets W, A and V. folder: a `store.RunFolder`; None keeps nothing, the records have it all.
    latencies: milliseconds of operations and moves, where the config weighs them.
    """
    folder = folder or Nowhere()
    state = _State(config, splits, torch.device(device), latencies)
    first = state.resume(folder.load_checkpoint())
    for epoch in range(first, config.epochs):
        record = state.epoch(epoch)
        folder.append_records([record])
        folder.save_checkpoint(*state.checkpoint(epoch + 1))
        yield record
    best = state.best["genotype"]
    if config.candidates:
        scored = state.candidates()
        folder.write_text("candidates.json", json.dumps(scored, indent=1))
        if config.strategy == "random":
            best = max(scored, key=lambda one: score(one["psnr"], one["ssim"]))["genotype"]
    folder.write_text("genotype.json", Genotype.from_json(best).to_json(config.task))


def weight_lr(config: SearchConfig, step: int, steps_per_epoch: int) -> float:
    """Learning rate of the weights: SGD's falls by epochs as half a cosine, AdamW's makes one cycle of all steps."""
    if config.weight_optimizer == "adamw":
        return one_cycle(step / (config.epochs * steps_per_epoch), config.weight_lr)
    return cosine(step // steps_per_epoch / config.epochs, config.weight_lr, config.weight_lr_final)


def candidate(config: SearchConfig, index: int) -> Genotype:
    """The random architecture that a search with `candidates` scores as number `index`, from 0; known beforehand."""
    return _drawn(config, "candidates", index)


def _drawn(config: SearchConfig, stream: str, index: int) -> Genotype:
    """A uniform draw from the search's space."""
    return random_in(config.space, data.stream(config.seed, stream, index))


class _State:
    """The supernet, its optimizers and the best epoch so far."""

    def __init__(self, config: SearchConfig, splits, device: torch.device, latencies: latency.Table | None = None):
        weights, architecture, validation = splits
        self.config, self.device, self.latencies = config, device, latencies
        common = dict(task=config.task, scale=config.space.scale, sigmas=config.sigmas, seed=config.seed)
        sampling = dict(patch=config.patch, batch=config.batch, crops_per_image=config.crops_per_image)
        self.weight_pairs = data.Pairs(weights, stream="search W", **common, **sampling)
        self.architecture_pairs = data.Pairs(architecture, stream="search A", **common, **sampling)
        self.validation = held_out(validation, config, **common)
        with seeded(data.stream(config.seed, "supernet").initial_seed()):
            self.net = Supernet(config.space)
        if config.near_identity:
            near_identity(self.net.head.output)
        self.net.checkpointing = config.checkpointing
        self.net.to(device)
        self.weight_parameters = self.net.network_parameters()
        self.architecture_parameters = list(self.net.architecture.parameters())
        self.weight_optimizer = _weight_optimizer(self.weight_parameters, config)
        self.architecture_optimizer = torch.optim.Adam(
            self.architecture_parameters,
            config.architecture_lr,
            weight_decay=config.architecture_weight_decay,
        )
        self.best = {"score": -math.inf, "genotype": None}
        self.warmed_up = config.warmup_epochs == 0  # whether alphas move

    def epoch(self, epoch: int) -> SearchRecord:
        config, began = self.config, time.perf_counter()
        searching = config.strategy == "gradient"
        self.net.train()
        weight_losses, architecture_losses = [], []
        steps = self.weight_pairs.steps_per_epoch
        for step in range(epoch * steps, (epoch + 1) * steps):
            if self.warmed_up and searching:
                architecture_losses.append(self.architecture_step(step))
            weight_losses.append(self.weight_step(step))
        psnr = ssim = None
        watched = config.warmup_gain is not None and not self.warmed_up
        if searching and (epoch >= config.validate_from or watched):
            psnr, ssim = validate(self.net.eval(), self.validation, self.device, at_once(config), config.precision)
        early = watched and psnr is not None and psnr >= self.input_psnr + config.warmup_gain
        self.warmed_up = self.warmed_up or early or epoch + 1 >= config.warmup_epochs
        return self._record(epoch, weight_losses, architecture_losses, psnr, ssim, began)

    @cached_property
    def input_psnr(self) -> float:
        """PSNR (dB) of V's degraded images themselves, the low-resolution ones up-sampled."""
        scale = self.config.space.scale
        same = (lambda image: upsample(image, scale)) if scale else (lambda image: image)
        return validate(same, self.validation, self.device, at_once(self.config))[0]

    def weight_step(self, step: int) -> float:
        """One step on W; alpha and beta get no gradient."""
        set_lr(self.weight_optimizer, weight_lr(self.config, step, self.weight_pairs.steps_per_epoch))
        with frozen(self.architecture_parameters):
            weights = ()
            if self.config.strategy == "random":
                weights = self.net.one_hot(self._random("architectures", step))
            return self._step(self.weight_pairs.batch(step), self.weight_optimizer, *weights)

    def architecture_step(self, step: int) -> float:
        """One Adam step on A; the weights get no gradient."""
        with frozen(self.weight_parameters):
            pair = self.architecture_pairs.batch(step)
            penalties = [one for one in (self._beta_decay(step), self._latency()) if one is not None]
            return self._step(pair, self.architecture_optimizer, penalty=sum(penalties) if penalties else None)

    def candidates(self) -> list[dict]:
        """Random architectures, each alone with the shared weights: genotype (JSON), PSNR (dB) and SSIM on V."""
        found = []
        self.net.train()  # batch statistics: the running ones mix all architectures
        for index in range(self.config.candidates):
            genotype = self._random("candidates", index)
            weights = self.net.one_hot(genotype)
            psnr, ssim = validate(lambda image: self.net(image, *weights), self.validation, self.device,  # noqa: B023
                                  at_once(self.config), self.config.precision)  # fmt: skip
            found.append({"genotype": genotype.to_json(), "psnr": psnr, "ssim": ssim})
        return found

    def _beta_decay(self, step: int) -> Tensor | None:
        """Ye et al., CVPR 2022: the mean over the edges of log-sum-exp of the alphas, times a weight that grows.

        It keeps the alphas, and how far they spread, from growing large, so that no operation takes over early.
        """
        if self.config.beta_decay is None:
            return None
        progress = step // self.weight_pairs.steps_per_epoch / self.config.epochs
        return self.config.beta_decay * progress * self.net.architecture.op_logits.logsumexp(-1).mean()

    def expected_latency(self) -> Tensor | None:
        """Mean milliseconds of what alphas and betas stand for now (see `latency.expected`), where there is a table."""
        if self.latencies is None:
            return None
        return latency.expected(self.latencies, self.net.op_weights(), self.net.width_weights(), self.config.space)

    def _latency(self) -> Tensor | None:
        """The expected milliseconds in units of those of the first, equal alphas and betas, times their weight."""
        expected = self.expected_latency()
        return None if expected is None else self.config.latency_weight * expected / self.latency_at_first

    @cached_property
    def latency_at_first(self) -> float:
        space, operations = self.config.space, self.net.op_weights().detach()
        equal = torch.full_like(operations, 1 / len(space.operations))
        shares = [
            {move: equal.new_tensor(1 / sum(move[0] == other[0] for other in moves)) for move in moves}
            for moves in self.net.moves
        ]
        return float(latency.expected(self.latencies, equal, shares, space))

    def _step(
        self, pair: tuple[Tensor, Tensor], optimizer: torch.optim.Optimizer, *weights, penalty: Tensor | None = None
    ) -> float:
        """One step of the optimizer; the loss without the penalty."""
        degraded, clean = (sent(images, self.device) for images in pair)
        optimizer.zero_grad(set_to_none=True)
        with autocast(self.device, self.config.precision):
            restored = self.net(degraded, *weights)
        loss = restoration_loss(restored, clean, self.config.loss.fidelity, self.config.loss.ssim_weight)
        (loss if penalty is None else loss + penalty).backward()
        nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], CLIP_NORM)
        optimizer.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ValueError(f"loss must stay finite, got {value}; lower weight_lr or raise warmup_epochs")
        return value

    def _random(self, stream: str, index: int) -> Genotype:
        return _drawn(self.config, stream, index)

    def _record(self, epoch, weight_losses, architecture_losses, psnr, ssim, began) -> SearchRecord:
        alphas, betas = decode.tables(self.net)
        decision = decode.decide(alphas, betas, self.config.space)
        validated = psnr is not None and epoch >= self.config.validate_from
        better = validated and score(psnr, ssim) > self.best["score"]
        if better:
            self.best = {"score": score(psnr, ssim), "genotype": decision.genotype.to_json()}
        space = self.config.space
        with torch.device("meta"):
            decoded = DerivedNetwork(
                decision.genotype, space.task, None, space.width_factors, space.scale, space.residual, space.fold
            )
        operations = Counter(name for cell in decision.genotype.cells for node in cell for name, _ in node)
        shares = [[share for a, _, share in layer if a == s] for layer in betas for s in {a for a, *_ in layer}]
        return SearchRecord(
            epoch=epoch + 1,
            step=(epoch + 1) * self.weight_pairs.steps_per_epoch,
            weight_loss=_mean(weight_losses),
            architecture_loss=_mean(architecture_losses) if architecture_losses else None,
            validation_psnr=psnr,
            validation_ssim=ssim,
            best=better,
            op_entropy=_mean([_entropy(edge) for layer in alphas for edge in layer]),
            width_entropy=_mean([_entropy(source) for source in shares]),
            op_margin=_mean(decision.op_margins),
            op_margin_min=min(decision.op_margins),
            input_margin_min=min(decision.input_margins, default=None),
            width_margin=decision.width_margin if math.isfinite(decision.width_margin) else None,
            operation_counts=dict(sorted(operations.items())),
            skip_count=operations["skip"],
            latency_ms=self.latencies and latency.of_genotype(self.latencies, decision.genotype),
            receptive_radius=decoded.halo,
            searched_share=cost.searched_share(decoded),
            genotype=decision.genotype.to_json(),
            op_weights=alphas,
            width_weights=betas,
            seconds=time.perf_counter() - began,
            peak_memory_mib=peak_memory_mib(str(self.device)),
        )

    def checkpoint(self, epochs_done: int) -> tuple[dict[str, Tensor], dict]:
        tensors = pack(net=self.net, weight=self.weight_optimizer, architecture=self.architecture_optimizer)
        return tensors, {"epochs_done": epochs_done, "best": json.dumps(self.best), "warmed_up": self.warmed_up}

    def resume(self, saved: tuple[dict[str, Tensor], dict] | None) -> int:
        """Restore a checkpoint; the number of epochs done."""
        if saved is None:
            return 0
        tensors, meta = saved
        unpack(tensors, net=self.net, weight=self.weight_optimizer, architecture=self.architecture_optimizer)
        self.best = json.loads(meta["best"])
        self.warmed_up = meta.get("warmed_up", meta["epochs_done"] >= self.config.warmup_epochs)  # older: epochs alone
        return meta["epochs_done"]


def _weight_optimizer(parameters: list[nn.Parameter], config: SearchConfig) -> torch.optim.Optimizer:
    if config.weight_optimizer == "adamw":
        return torch.optim.AdamW(parameters, config.weight_lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(parameters, config.weight_lr, config.momentum, weight_decay=config.weight_decay)


def _mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def _entropy(shares: list[float]) -> float:
    return -sum(share * math.log(share) for share in shares if share > 0)
