"""The search of section 3.3: weights on W, architecture on A, the best epoch on V is decoded.

`search` is a generator of one record per epoch; notebooks `03_search_denoising` and `04_search_super_resolution`
show them. Each step draws its batch from the seed and its number, so a resumed search is the uninterrupted one.
"""

import json
import math
import time
from collections.abc import Iterator
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from hinas_nb import data
from hinas_nb.experiment.config import SearchConfig
from hinas_nb.method.genotype import Genotype, random_in
from hinas_nb.method.network import upsample
from hinas_nb.method.operations import frozen, near_identity, seeded
from hinas_nb.method.supernet import Supernet
from hinas_nb.provenance import peak_memory_mib
from hinas_nb.speed import latency
from hinas_nb.training import loops, unrolled
from hinas_nb.training.checkpoints import Nowhere, pack, unpack
from hinas_nb.training.loops import score, validate
from hinas_nb.training.search_records import SearchRecord, decoded_now, mean

_REMEDY = "; lower weight_lr or raise warmup_epochs"  # where a loss is not finite


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
    saved = folder.load_checkpoint()
    first = state.resume(*saved) if saved else 0
    for epoch in range(first, config.epochs):
        record = state.epoch(epoch)
        folder.append_records([record])
        folder.save_checkpoint(*state.checkpoint(epoch + 1))
        yield record
    best = state.best["genotype"]
    if config.candidates:
        scored = state.scored_candidates()
        folder.write_text("candidates.json", json.dumps(scored, indent=1))
        if config.strategy == "random":
            best = max(scored, key=lambda one: score(one["psnr"], one["ssim"]))["genotype"]
    folder.write_text("genotype.json", Genotype.from_json(best).to_json(config.task))


def candidate(config: SearchConfig, index: int) -> Genotype:
    """Return the random architecture that a search with `candidates` scores as number `index`, from 0."""
    return _random(config, "candidates", index)


def weight_lr(config: SearchConfig, step: int, steps_per_epoch: int) -> float:
    """Return the weights' learning rate: SGD's falls as half a cosine, epoch by epoch, AdamW's makes one cycle."""
    if config.weight_optimizer == "adamw":
        return loops.one_cycle(step / (config.epochs * steps_per_epoch), config.weight_lr)
    return loops.cosine(step // steps_per_epoch / config.epochs, config.weight_lr, config.weight_lr_final)


class _State:
    """The supernet, its optimizers and the best epoch so far."""

    def __init__(self, config: SearchConfig, splits, device: torch.device, latencies: latency.Table | None = None):
        weights, architecture, validation = splits
        self.config, self.device, self.latencies = config, device, latencies
        common = dict(task=config.task, scale=config.space.scale, sigmas=config.sigmas, seed=config.seed)
        sampling = dict(patch=config.patch, batch=config.batch, crops_per_image=config.crops_per_image)
        self.weight_pairs = data.Pairs(weights, stream="search W", **common, **sampling)
        self.architecture_pairs = data.Pairs(architecture, stream="search A", **common, **sampling)
        self.validation = loops.validation_pairs(validation, config, **common)
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
        """Alternate a step on A, after the warm-up, with one on W; then score what is there on V."""
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
            psnr, ssim = validate(self.net.eval(), self.validation, config, self.device)
        early = watched and psnr is not None and psnr >= self.input_psnr + config.warmup_gain
        self.warmed_up = self.warmed_up or early or epoch + 1 >= config.warmup_epochs
        decoded = decoded_now(self.net, self.latencies)
        best = psnr is not None and epoch >= config.validate_from and score(psnr, ssim) > self.best["score"]
        if best:
            self.best = {"score": score(psnr, ssim), "genotype": decoded["genotype"]}
        return SearchRecord(
            epoch=epoch + 1,
            step=(epoch + 1) * steps,
            weight_loss=mean(weight_losses),
            architecture_loss=mean(architecture_losses) if architecture_losses else None,
            validation_psnr=psnr,
            validation_ssim=ssim,
            best=best,
            **decoded,
            seconds=time.perf_counter() - began,
            peak_memory_mib=peak_memory_mib(str(self.device)),
        )

    def weight_step(self, step: int) -> float:
        """Take one step on W and return its loss; alpha and beta get no gradient."""
        loops.set_lr(self.weight_optimizer, weight_lr(self.config, step, self.weight_pairs.steps_per_epoch))
        with frozen(self.architecture_parameters):
            weights = ()
            if self.config.strategy == "random":
                weights = self.net.one_hot(_random(self.config, "architectures", step))
            pair = self.weight_pairs.batch(step)
            return self._step(pair, self.weight_optimizer, self.weight_parameters, *weights)

    def architecture_step(self, step: int) -> float:
        """Take one Adam step on A and return its loss, without penalties; the weights get no gradient."""
        penalties = list(self.penalties(step))
        penalty = sum(penalties) if penalties else None
        if self.config.second_order:
            return self._second_order_step(step, penalty)
        with frozen(self.weight_parameters):
            pair = self.architecture_pairs.batch(step)
            return self._step(pair, self.architecture_optimizer, self.architecture_parameters, penalty=penalty)

    def scored_candidates(self) -> list[dict]:
        """Return random architectures, each alone with the shared weights: genotype (JSON), PSNR (dB), SSIM on V."""
        found = []
        self.net.train()  # batch statistics: the running ones mix all architectures
        for index in range(self.config.candidates):
            genotype = candidate(self.config, index)
            weights = self.net.one_hot(genotype)
            alone = lambda image: self.net(image, *weights)  # noqa: B023, E731
            psnr, ssim = validate(alone, self.validation, self.config, self.device)
            found.append({"genotype": genotype.to_json(), "psnr": psnr, "ssim": ssim})
        return found

    @cached_property
    def input_psnr(self) -> float:
        """Return the PSNR (dB) of V's degraded images themselves, the low-resolution ones up-sampled."""
        scale = self.config.space.scale
        same = (lambda image: upsample(image, scale)) if scale else (lambda image: image)
        return validate(same, self.validation, self.config, self.device)[0]

    def _step(self, pair, optimizer, parameters: list[nn.Parameter], *weights, penalty: Tensor | None = None) -> float:
        network = lambda image: self.net(image, *weights)  # noqa: E731
        return loops.step(network, pair, optimizer, parameters, self.config, self.device, penalty, _REMEDY)

    def _second_order_step(self, step: int, penalty: Tensor | None) -> float:
        """Take the step on A by the loss that the weights would have after their next step; see `unrolled`.

        The passes at other weights count in the running statistics of the batch norms too.
        """
        rate = weight_lr(self.config, step, self.weight_pairs.steps_per_epoch)
        losses = [
            partial(loops.loss, self.net, pairs.batch(step), self.config, self.device)
            for pairs in (self.weight_pairs, self.architecture_pairs)
        ]
        own = self.architecture_parameters
        value, found = unrolled.gradients(*losses, self.weight_parameters, own, rate, loops.CLIP_NORM)
        self.architecture_optimizer.zero_grad(set_to_none=True)
        if penalty is not None:
            penalty.backward()
        for parameter, gradient in zip(own, found):
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return loops.clipped_step(self.architecture_optimizer, own, value, _REMEDY)

    def penalties(self, step: int) -> Iterator[Tensor]:
        """Yield what is added to eq. 7 on A, where the config asks for it.

        beta_decay: Ye et al.'s (CVPR 2022), the edges' mean log-sum-exp of alpha, times a weight that grows: it keeps
        the alphas, and how far they spread, from growing large, so that no operation takes over early.
        latency: the expected milliseconds as a share of those of equal alphas and betas, times their weight.
        """
        config = self.config
        if config.beta_decay is not None:
            progress = step // self.weight_pairs.steps_per_epoch / config.epochs
            yield config.beta_decay * progress * self.net.architecture.op_logits.logsumexp(-1).mean()
        if self.latencies is not None:
            weights = self.net.op_weights(), self.net.width_weights()
            expected = latency.expected(self.latencies, *weights, config.space)
            yield config.latency_weight * expected / self._latency_at_first

    @cached_property
    def _latency_at_first(self) -> float:
        space, operations = self.config.space, self.net.op_weights().detach()
        equal = torch.full_like(operations, 1 / len(space.operations))
        shares = [
            {move: equal.new_tensor(1 / sum(move[0] == other[0] for other in moves)) for move in moves}
            for moves in self.net.moves
        ]
        return float(latency.expected(self.latencies, equal, shares, space))

    def checkpoint(self, epochs_done: int) -> tuple[dict[str, Tensor], dict]:
        """Return all that a later process needs to go on: tensors, and what is no tensor."""
        tensors = pack(net=self.net, weight=self.weight_optimizer, architecture=self.architecture_optimizer)
        return tensors, {"epochs_done": epochs_done, "best": json.dumps(self.best), "warmed_up": self.warmed_up}

    def resume(self, tensors: dict[str, Tensor], meta: dict) -> int:
        """Restore a checkpoint and return the number of epochs done."""
        unpack(tensors, net=self.net, weight=self.weight_optimizer, architecture=self.architecture_optimizer)
        self.best = json.loads(meta["best"])
        self.warmed_up = meta.get("warmed_up", meta["epochs_done"] >= self.config.warmup_epochs)  # older: epochs alone
        return meta["epochs_done"]


def _random(config: SearchConfig, stream: str, index: int) -> Genotype:
    return random_in(config.space, data.stream(config.seed, stream, index))


def _weight_optimizer(parameters: list[nn.Parameter], config: SearchConfig) -> torch.optim.Optimizer:
    if config.weight_optimizer == "adamw":
        return torch.optim.AdamW(parameters, config.weight_lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(parameters, config.weight_lr, config.momentum, weight_decay=config.weight_decay)
