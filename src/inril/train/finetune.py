"""IN-RIL's loop: reinforcement updates, every m-th of them joined by imitation."""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from inril.algos.base import Algorithm
from inril.algos.idql import ranker_of
from inril.algos.make import make_algorithm
from inril.config.algos import IDQLConfig, ResidualPPOConfig
from inril.config.base import Execution, OnMismatch
from inril.config.numerics import finetune_versions
from inril.config.policy import DiffusionConfig
from inril.config.runs import FinetuneConfig
from inril.data.chunks import SplitDemos, split_demos
from inril.data.demo_file import read_demos, read_provenance
from inril.device import resolve
from inril.envs import make_env
from inril.errors import InputError
from inril.evaluate import Evaluation, evaluate
from inril.interleave.diagnostics import gradient_angle
from inril.learning.update import Info
from inril.metrics import MetricsLog
from inril.policies.acting import Actor
from inril.policies.policy_file import PolicySpec, load_policy, save_policy
from inril.progress import progress
from inril.seeding import subseed, torch_stream
from inril.tensor_file import file_digest, pack
from inril.train.interleaving import imitation_loss, make_interleaver
from inril.train.origin import origin_here
from inril.train.pretrain import fixed_probe
from inril.train.run_folder import RunFolder, open_run

log = logging.getLogger(__name__)
_OUT_OF_RANGE = 0.01  # share of observations that is worth a warning


def run(
    cfg: FinetuneConfig,
    demos: Path,
    policy: Path,
    out: Path,
    on_mismatch: OnMismatch = "error",
    execution: Execution = Execution(),
) -> None:
    """Fine-tune one policy, resuming where an earlier call was interrupted.

    Args:
        cfg: resolved settings.
        demos: demonstration file.
        policy: pre-trained policy file.
        out: folder of the run; gets policy.safetensors, metrics.csv and config.yaml, and best.safetensors if the policy
            that did best on the way is to be kept.
        on_mismatch: what to do if the folder holds another run.
        execution: on what to compute.

    Raises:
        InputError: something is wrong with the inputs or the folder, a loss is no longer finite, or too many
            episodes diverged.
    """
    torch.set_num_threads(cfg.torch_threads)
    device = resolve(execution.device)
    pretrained, spec = load_policy(policy, cfg.task)
    pretrained.to(device)
    pretrained.normalizer.clip = cfg.clip
    split = split_demos(
        read_demos(demos, cfg.task), spec.horizon_steps, cfg.holdout, normalizer=pretrained.normalizer, device=device
    )
    inputs = {
        "demos": read_provenance(demos)["content_sha256"],
        "policy": file_digest(policy),
        **finetune_versions(cfg),
    }
    with open_run(out, cfg, inputs, on_mismatch, origin_here(device)) as folder:
        algorithm = make_algorithm(cfg, pretrained, split)
        tuning = Finetuning(cfg, spec, algorithm, split, folder, execution)
        try:
            tuning.run()
        finally:
            tuning.env.close()


def finetuned_spec(spec: PolicySpec, cfg: FinetuneConfig) -> PolicySpec:
    """Say how to build the fine-tuned policy from how the pre-trained one is built."""
    if isinstance(cfg.algo, ResidualPPOConfig):
        return spec.model_copy(update={"residual": cfg.algo.residual})
    policy = spec.policy
    if isinstance(policy, DiffusionConfig):  # what these algorithms fine-tune is the whole chain
        policy = policy.model_copy(update={"ddim_steps": None})
    ft_denoising_steps = getattr(cfg.algo, "ft_denoising_steps", 0)
    ranker = ranker_of(cfg.algo) if isinstance(cfg.algo, IDQLConfig) else None
    return spec.model_copy(update={"policy": policy, "ft_denoising_steps": ft_denoising_steps, "ranker": ranker})


class BestPolicy(NamedTuple):
    """The policy that did best in the evaluations on the way.

    Attributes:
        score: mean of the task's metric in that evaluation.
        itr: when that was.
        env_steps: the same in environment steps.
        state: `Algorithm.acting_state` of that time.
    """

    score: float
    itr: int
    env_steps: int
    state: dict[str, torch.Tensor]


class Finetuning:
    """State of a fine-tuning run and its loop.

    Args:
        cfg: resolved settings.
        spec: of the pre-trained policy.
        algorithm: what interleaving is plugged into.
        demos: split and normalised demonstrations.
        folder: where the run lives; a state found there is resumed.
        execution: on what to compute.
    """

    def __init__(
        self,
        cfg: FinetuneConfig,
        spec: PolicySpec,
        algorithm: Algorithm,
        demos: SplitDemos,
        folder: RunFolder,
        execution: Execution = Execution(),
    ) -> None:
        self.cfg, self.spec, self.algorithm, self.demos, self.folder = cfg, spec, algorithm, demos, folder
        self.sim_threads = execution.sim_threads
        self.env = make_env(cfg.task, cfg.n_envs, algorithm.act_steps, self.sim_threads)
        self.il_loss = imitation_loss(algorithm, demos.train)
        self.interleaver = make_interleaver(cfg, algorithm, self.il_loss)
        self.itr = self.env_steps = self.n_diverged = 0
        self.best: BestPolicy | None = None
        self.warned = False
        size = cfg.il.probe_size
        self.probes = {
            "probe_train": fixed_probe(demos.train, size),
            "probe_holdout": fixed_probe(demos.holdout, size),
        }
        self.seconds: dict[str, float] = defaultdict(float)
        self.cpu_start_s = time.process_time()
        length = 0 if folder.state is None else self._load(folder.state)
        row = {column: getattr(cfg, column) for column in ("method", "separation", "m", "seed")}
        self.metrics = MetricsLog(folder.progress, {"task": cfg.task.id, **row}, length)
        kept = 0 if folder.state is None else int(folder.state.get("diagnostics_length", 0))
        self.diagnostics = MetricsLog(folder.path / "diagnostics.csv", {"task": cfg.task.id, **row}, kept)
        timing = folder.path / "timing.csv"
        kept = timing.stat().st_size if length and timing.exists() else 0
        self.timing = MetricsLog(timing, {"task": cfg.task.id, **row}, kept)

    def run(self) -> None:
        """Train up to the budget, evaluate on fresh episodes and publish the results."""
        if self.itr == 0:
            self._log_evaluation()
            self._log_probes()
        with progress("finetune", self.cfg.env_steps, self.env_steps) as advance:
            while not self.finished:
                before = self.env_steps
                info = self.iteration()
                advance(self.env_steps - before)
                self._log_iteration(info)
                if self.itr % self.cfg.checkpoint_every == 0:
                    self._save()
        self._publish()

    @property
    def finished(self) -> bool:
        """Whether the budget has been reached."""
        return self.env_steps >= self.cfg.env_steps

    def iteration(self) -> Info:
        """Collect one rollout and take its gradient steps; returns scalars to log."""
        self.itr += 1
        with self._clock("rollout"):
            info = self.algorithm.collect(self.env, self.itr)
        self.env_steps += int(info.pop("env_steps"))
        self._check_divergence(int(info["n_diverged"]))
        # Gradients of different networks have no angle.
        if self.cfg.separation != "network" and self.itr % self.cfg.il.diagnose_every == 0:
            with self._clock("diagnose"):
                info |= self._gradient_angle()
        sums: dict[str, list[float]] = defaultdict(list)
        learning_itr = self.itr - self.cfg.algo.critic_warmup_itr
        for update in self.interleaver.updates(self.algorithm.updates(self.itr), self.itr, learning_itr):
            with self._clock(f"update_{update.name}"):
                update.zero_grad()
                for name, value in update.backward().items():
                    sums[name].append(value)
                    self._check_finite(update.name, name, value)
                update.apply()
        self._check_state()
        self._log_diagnostics(info, sums)
        info |= {name: float(np.mean(values)) for name, values in sums.items()}
        info["n_rl_updates"] = self.interleaver.n_rl_updates
        info["n_il_updates"] = self.interleaver.n_il_updates
        return info

    def _log_iteration(self, info: Info) -> None:
        self.metrics.add(self.itr, self.env_steps, "train", info)
        if self.itr % self.cfg.eval.every == 0 or self.finished:
            self._log_evaluation()
        self._log_probes()
        log.info("itr %d, %d env steps: return %.1f", self.itr, self.env_steps, info.get("return", math.nan))

    def _gradient_angle(self) -> Info:
        generator = torch_stream(self.cfg.seed, "diagnose", self.itr)
        halves = iter((0, 1))
        return gradient_angle(
            lambda: self.algorithm.rl_loss(self.cfg.il.batch_size, next(halves), generator),
            lambda: self.il_loss(self.cfg.il.batch_size, generator),
            self.algorithm.il_parameters(),
        )

    def _log_diagnostics(self, info: Info, sums: Mapping[str, Sequence[float]]) -> None:
        """Log what tells whether the iteration taught anything (docs/diagnosing.md)."""
        told = self.algorithm.diagnose()
        for name in ("grad_norm_rl", "grad_norm_il"):
            if name in sums:
                told |= {f"{name}_median": float(np.median(sums[name])), f"{name}_largest": max(sums[name])}
        if "grad_norm_rl_corrected" in info:  # 0 where two halves of the rollout do not agree on a direction
            told["halves_agree"] = float(info["grad_norm_rl_corrected"] > 0)
        if self.cfg.task.metric == "success":
            told["successes_per_env"] = info.get("success", 0.0) * info["n_episodes"] / self.cfg.n_envs
        self.diagnostics.add(self.itr, self.env_steps, "train", told)
        self._warn(told)

    def _warn(self, told: Info) -> None:
        """Say once when the networks see other numbers than they were trained on."""
        if told["out_of_range"] > _OUT_OF_RANGE and not self.warned:
            self.warned = True
            bound = "not bounded" if self.cfg.clip is None else f"bounded at {self.cfg.clip:g}"
            log.warning(
                "itr %d: %.1f %% of the observations leave the normaliser's range (up to %.0f, %s): docs/diagnosing.md",
                self.itr, 100 * told["out_of_range"], told["largest_obs"], bound,
            )  # fmt: skip

    def _log_probes(self) -> None:
        with self._clock("probe"), torch.no_grad():
            for split, probe in self.probes.items():
                generator = torch_stream(self.cfg.seed, "probe_noise")
                values = self.algorithm.probe(probe.obs, probe.action_chunk, generator)
                self.metrics.add(self.itr, self.env_steps, split, values)

    def _log_evaluation(self) -> None:
        with self._clock("evaluate"):
            result = self._evaluate(self.algorithm, "eval", self.cfg.eval.n_envs)
        if self.cfg.report_best:
            self._remember_best(result.score(self.cfg.task.metric))
        values = {"return": result.episode_return.mean(), "episode_length": result.episode_length.mean()}
        if self.cfg.task.metric == "success":
            values["success"] = result.success.mean()
        self.metrics.add(self.itr, self.env_steps, "eval", values)
        if self.cfg.eval.choices == "always":
            self._log_choices("eval", self.cfg.eval.n_envs)
        log.info("itr %d: evaluation return %.1f", self.itr, values["return"])

    def _log_choices(self, purpose: str, n_episodes: int) -> None:
        """Evaluate the other ways to act, in the same episodes."""
        for name, actor in self.algorithm.choices.items():
            with self._clock("evaluate"):
                result = self._evaluate(actor, purpose, n_episodes)
            values = {"return": result.episode_return.mean(), "success": result.success.mean()}
            self.diagnostics.add(self.itr, self.env_steps, f"{purpose}_{name}", values)

    def _remember_best(self, score: float) -> None:
        if self.best is None or score > self.best.score:
            state = {name: tensor.detach().clone() for name, tensor in self.algorithm.acting_state().items()}
            self.best = BestPolicy(score, self.itr, self.env_steps, state)

    def _evaluate(self, actor: Actor, purpose: str, n_episodes: int) -> Evaluation:
        seed = subseed(self.cfg.seed, purpose, self.itr)
        return evaluate(actor, self.cfg.task, n_episodes, seed, threads=self.sim_threads)

    def _publish(self) -> None:
        with self._clock("report"):
            report = self._evaluate(self.algorithm, "report", self.cfg.report_episodes)
        if self.cfg.eval.choices != "never":
            self._log_choices("report", self.cfg.report_episodes)
        self.folder.check()
        for episode in report.episodes(self.cfg.task.metric):
            self.metrics.add(self.itr, self.env_steps, "report", episode)
        final_policy = {name: tensor.clone() for name, tensor in self.algorithm.policy_state().items()}
        if self.best is not None:
            self._report_best(self.best)
            self._save_policy("best.safetensors", self.algorithm.policy_state(), self.best.itr, self.best.env_steps)
        self.metrics.flush()
        self.diagnostics.flush()
        self._flush_timing()
        self._save_policy("policy.safetensors", final_policy, self.itr, self.env_steps)
        self.folder.finish()

    def _save_policy(self, name: str, state: dict[str, torch.Tensor], itr: int, env_steps: int) -> None:
        made = {"itr": itr, "env_steps": env_steps, "config": self.cfg.model_dump(mode="json")}
        save_policy(self.folder.path / name, finetuned_spec(self.spec, self.cfg), state, made)

    def _report_best(self, best: BestPolicy) -> None:
        """Evaluate the policy that looked best on the way, on fresh episodes: its score was picked for being high."""
        self.algorithm.load_acting_state(best.state)
        with self._clock("report"):
            report = self._evaluate(self.algorithm, "report_best", self.cfg.report_episodes)
        for episode in report.episodes(self.cfg.task.metric):
            self.metrics.add(best.itr, best.env_steps, "report_best", episode)

    def _check_state(self) -> None:
        """Refuse what the iteration's last steps may have blown up, before a checkpoint keeps it."""
        tensors, _ = pack(self.algorithm.state_dict())
        for name, tensor in tensors.items():
            if not tensor.isfinite().all():
                self._check_finite("state", name, math.nan)

    def _check_finite(self, what: str, name: str, value: float) -> None:
        if not math.isfinite(value):
            raise InputError(
                self.folder.path,
                field=f"{what}, {name}, iteration {self.itr}",
                expected="a finite number",
                got=str(value),
                hint="Lower the learning rate; the last good checkpoint is kept",
            )

    def _check_divergence(self, n_diverged: int) -> None:
        self.n_diverged += n_diverged
        if self.n_diverged > self.cfg.max_diverged_rate * self.env_steps:
            raise InputError(
                self.folder.path,
                field=f"diverged episodes, iteration {self.itr}",
                expected=f"at most {self.cfg.max_diverged_rate:g} per environment step",
                got=f"{self.n_diverged} in {self.env_steps} steps",
                hint="The simulation is unstable under this policy's actions; the last good checkpoint is kept",
            )

    @contextmanager
    def _clock(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - start

    def _flush_timing(self) -> None:
        self.timing.add(self.itr, self.env_steps, "seconds", self.seconds)
        now_s = time.process_time()
        self.timing.add(self.itr, self.env_steps, "cpu_seconds", {"all": now_s - self.cpu_start_s})
        self.cpu_start_s = now_s
        self.timing.flush()
        self.seconds.clear()

    def _save(self) -> None:
        self.folder.check()
        state: dict[str, Any] = {
            "algorithm": self.algorithm.state_dict(),
            "env": self.env.get_state(),
            **self.interleaver.state_dict(),
            "itr": self.itr,
            "env_steps": self.env_steps,
            "n_diverged": self.n_diverged,
            "metrics_length": self.metrics.flush(),
            "diagnostics_length": self.diagnostics.flush(),
        }
        if self.best is not None:
            state["best"] = self.best._asdict()
        self.folder.save(state)
        self._flush_timing()

    def _load(self, state: dict[str, Any]) -> int:
        """Restore a saved state; returns the length of its metrics in bytes."""
        self.algorithm.load_state_dict(state["algorithm"])
        self.env.set_state({name: np.asarray(value) for name, value in state["env"].items()})
        self.interleaver.load_state_dict(state)
        self.itr, self.env_steps, self.n_diverged = state["itr"], state["env_steps"], state["n_diverged"]
        self.best = BestPolicy(**state["best"]) if "best" in state else None
        log.info("resuming at iteration %d, %d env steps", self.itr, self.env_steps)
        return int(state["metrics_length"])
