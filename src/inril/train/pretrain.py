"""Behaviour cloning: demonstrations in, the best of several candidate checkpoints out."""

from __future__ import annotations

import copy
import logging
import math
from pathlib import Path
from typing import Any

import torch

from inril.config.base import Execution, OnMismatch
from inril.config.numerics import pretrain_versions
from inril.config.runs import OptimConfig, PretrainConfig
from inril.data.chunks import SplitDemos, fixed_probe, split_demos
from inril.data.demo_file import read_demos, read_provenance
from inril.device import resolve
from inril.errors import InputError
from inril.evaluate import Evaluation, evaluate
from inril.learning.optimizer import AdamW, load_optimizer_state, optimizer_state
from inril.policies.acting import PolicyActor
from inril.policies.ema import update_ema
from inril.policies.policy_file import ChunkedPolicy, PolicySpec, save_policy
from inril.progress import progress
from inril.seeding import subseed, torch_stream
from inril.train.origin import origin_here
from inril.train.run_folder import open_run
from inril.train.run_log import flushed, resumed_log

log = logging.getLogger(__name__)
_PROBE_SIZE = 4096


def run(
    cfg: PretrainConfig,
    demos: Path,
    out: Path,
    on_mismatch: OnMismatch = "error",
    execution: Execution = Execution(),
) -> None:
    """Pre-train one policy, resuming where an earlier call was interrupted.

    Args:
        cfg: resolved settings.
        demos: demonstration file.
        out: folder of the run; gets policy.safetensors, metrics.csv and config.yaml.
        on_mismatch: what to do if the folder holds another run.
        execution: on what to compute.

    Raises:
        InputError: something is wrong with the inputs or the folder, or the loss is no longer finite.
    """
    torch.set_num_threads(cfg.torch_threads)
    device = resolve(execution.device)
    data = split_demos(
        read_demos(demos, cfg.task),
        cfg.horizon_steps,
        cfg.holdout,
        device=device,
        range_floor=cfg.range_floor,
        clip=cfg.clip,
    )
    inputs = {"demos": read_provenance(demos)["content_sha256"], **pretrain_versions(cfg.task.suite)}
    with open_run(out, cfg, inputs, on_mismatch, origin_here(device)) as folder:
        cloning = Cloning(cfg, data, execution)
        if folder.state is not None:
            cloning.load_state_dict(folder.state)
            log.info("resuming at gradient step %d", cloning.step)
        row = {"task": cfg.task.id, "method": cfg.policy_name, "separation": "", "m": "", "seed": cfg.seed}
        metrics = resumed_log(folder.progress, row, folder.state or {}, "metrics")
        with progress("pretrain", cfg.optim.max_steps, cloning.step) as advance:
            while not cloning.finished:
                cloning.train_block(out)
                values = cloning.check()
                metrics.add(cloning.step, 0, "train", values)
                advance(cfg.plateau.check_every)
                log.info("step %d: %s", cloning.step, ", ".join(f"{k} {v:.4g}" for k, v in values.items()))
                folder.check()
                folder.save({**cloning.state_dict(), **flushed(metrics, "metrics")})
        report = cloning.report()
        folder.check()
        for episode in report.episodes(cfg.task.metric):
            metrics.add(cloning.best_step, 0, "report", episode)
        metrics.flush()
        origin: dict[str, Any] = {"step": cloning.best_step, "mean_return": float(report.episode_return.mean())}
        if cfg.clip is not None:
            origin["config"] = {"clip": cfg.clip}
        save_policy(out / "policy.safetensors", cloning.spec, cloning.best.state_dict(), origin)
        folder.finish()


class Cloning:
    """State of a pre-training and its steps.

    Args:
        cfg: resolved settings.
        data: split and normalised demonstrations.
        execution: on what to compute.
    """

    def __init__(self, cfg: PretrainConfig, data: SplitDemos, execution: Execution = Execution()) -> None:
        self.cfg = cfg
        self.data = data
        self.sim_threads = execution.sim_threads
        self.spec = PolicySpec(task=cfg.task, policy=cfg.policy, horizon_steps=cfg.horizon_steps)
        torch.manual_seed(subseed(cfg.seed, "init"))
        self.policy = self.spec.build_chunked().to(data.normalizer.device)
        self.policy.normalizer.load_state_dict(data.normalizer.state_dict())
        self.policy.normalizer.clip = cfg.clip
        self.ema = copy.deepcopy(self.policy).requires_grad_(False)
        self.best = copy.deepcopy(self.ema)
        trained = [parameter for parameter in self.policy.parameters() if parameter.requires_grad]
        self.optimizer = AdamW(trained, cfg.optim.lr, cfg.optim.weight_decay)
        self.step = 0
        self.best_step, self.best_score, self.best_loss = 0, -math.inf, math.inf
        self.lowest_loss, self.checks_without_gain = math.inf, 0
        self.probes = {
            "train": fixed_probe(data.train, _PROBE_SIZE),
            "holdout": fixed_probe(data.holdout, _PROBE_SIZE),
        }

    @property
    def finished(self) -> bool:
        """Whether the cap or the plateau has been reached."""
        stalled = self.checks_without_gain >= self.cfg.plateau.patience
        return self.step >= self.cfg.optim.max_steps or stalled

    @property
    def candidate(self) -> ChunkedPolicy:
        """The weights that would be handed on now."""
        return self.ema if self.cfg.use_ema else self.policy

    def train_block(self, where: Path) -> None:
        """Take the gradient steps up to the next check.

        Raises:
            InputError: the loss or a weight is not finite.
        """
        cfg = self.cfg
        generator = torch_stream(cfg.seed, "pretrain", self.step)
        for _ in range(min(cfg.plateau.check_every, cfg.optim.max_steps - self.step)):
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(cfg.optim, self.step)
            batch = self.data.train.sample(generator, cfg.optim.batch_size)
            self.optimizer.zero_grad()
            loss = self.policy.bc_loss(batch.obs, batch.action_chunk, generator)
            loss.backward()
            self.optimizer.step()
            self.step += 1
            if self.step % cfg.ema.every == 0:
                update_ema(self.ema, self.policy, cfg.ema.decay if self.step > cfg.ema.start_step else 0.0)
        hint = "Lower the learning rate; the last good checkpoint is kept"
        if not math.isfinite(loss.item()):
            raise InputError(where, field="loss", expected="a finite number", got=str(loss.item()), hint=hint)
        if not all(parameter.isfinite().all() for parameter in self.policy.parameters()):  # by the very last step
            raise InputError(where, field="weights", expected="finite numbers", got="others", hint=hint)

    @torch.no_grad()
    def check(self) -> dict[str, float]:
        """Measure the losses, score the candidate, and remember it if it is the best so far.

        Equal scores, such as no success at all, leave the choice to the held-out loss.
        """
        losses = {}
        for name, probe in self.probes.items():
            generator = torch_stream(self.cfg.seed, "probe_noise")
            losses[f"{name}_loss"] = self.candidate.bc_loss(probe.obs, probe.action_chunk, generator).item()
        gain = 1 - losses["holdout_loss"] / self.lowest_loss if self.lowest_loss > 0 else 0.0
        if math.isinf(self.lowest_loss) or gain > self.cfg.plateau.min_improvement:
            self.lowest_loss, self.checks_without_gain = losses["holdout_loss"], 0
        else:
            self.checks_without_gain += 1
        metric = self.cfg.task.metric
        score = self._evaluate(self.candidate, "select", self.cfg.select_episodes).score(metric)
        if (score, -losses["holdout_loss"]) > (self.best_score, -self.best_loss):
            self.best_step, self.best_score, self.best_loss = self.step, score, losses["holdout_loss"]
            self.best.load_state_dict(self.candidate.state_dict())
        return {**losses, f"select_{metric}": score}

    def report(self) -> Evaluation:
        """Evaluate the chosen checkpoint on episodes that had no part in the choice."""
        return self._evaluate(self.best, "report", self.cfg.report_episodes)

    def _evaluate(self, policy: ChunkedPolicy, purpose: str, n_episodes: int) -> Evaluation:
        seed = subseed(self.cfg.seed, purpose, self.step)
        return evaluate(PolicyActor(policy), self.cfg.task, n_episodes, seed, threads=self.sim_threads)

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resume needs."""
        return {
            "policy": self.policy.state_dict(),
            "ema": self.ema.state_dict(),
            "best": self.best.state_dict(),
            "optimizer": optimizer_state(self.optimizer),
            "step": self.step,
            "best_step": self.best_step,
            "best_score": self.best_score,
            "best_loss": self.best_loss,
            "lowest_loss": self.lowest_loss,
            "checks_without_gain": self.checks_without_gain,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name in ("policy", "ema", "best"):
            getattr(self, name).load_state_dict(state[name])
        load_optimizer_state(self.optimizer, state["optimizer"])
        for name in ("step", "best_step", "best_score", "best_loss", "lowest_loss", "checks_without_gain"):
            setattr(self, name, state[name])


def learning_rate(cfg: OptimConfig, step: int) -> float:
    """Linear warm-up from the lower rate, then cosine decay back to it over the capped number of steps."""
    if step < cfg.warmup_steps:
        return cfg.lr_min + (cfg.lr - cfg.lr_min) * step / cfg.warmup_steps
    progress = (step - cfg.warmup_steps) / max(1, cfg.max_steps - cfg.warmup_steps)
    return cfg.lr_min + (cfg.lr - cfg.lr_min) * 0.5 * (1 + math.cos(math.pi * progress))
