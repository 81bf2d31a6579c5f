"""IN-RIL's loop: reinforcement updates, every m-th of them joined by imitation."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from inril.algos.base import Algorithm
from inril.algos.make import make_algorithm
from inril.config.base import Execution, OnMismatch
from inril.config.numerics import finetune_versions
from inril.config.runs import FinetuneConfig
from inril.data.chunks import SplitDemos, fixed_probe, split_demos
from inril.data.demo_file import read_demos, read_provenance
from inril.device import resolve
from inril.envs import make_env
from inril.evaluate import Evaluation, evaluate
from inril.interleave.diagnostics import gradient_angle
from inril.learning.update import Info
from inril.policies.acting import Actor
from inril.policies.operations import small_products_by_onednn
from inril.policies.policy_file import PolicySpec, load_policy, save_policy
from inril.progress import progress
from inril.seeding import subseed, torch_stream
from inril.tensor_file import file_digest
from inril.train.checks import check_divergence, check_finite, check_state
from inril.train.interleaving import imitation_loss, make_interleaver
from inril.train.origin import origin_here
from inril.train.run_folder import RunFolder, open_run
from inril.train.run_log import RunLog, diagnosed

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
    with open_run(out, cfg, inputs, on_mismatch, origin_here(device)) as folder, small_products_by_onednn():
        algorithm = make_algorithm(cfg, pretrained, split)
        tuning = Finetuning(cfg, spec, algorithm, split, folder, execution)
        try:
            tuning.run()
        finally:
            tuning.env.close()


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
        self.log = RunLog(cfg, folder)
        if folder.state is not None:
            self._load(folder.state)

    def run(self) -> None:
        """Train up to the budget, evaluate on fresh episodes and publish the results."""
        if self.itr == 0:
            self._log_evaluation()
            self.interleaver.follow(self._log_probes())
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
        with self.log.clock("rollout"):
            info = self.algorithm.collect(self.env, self.itr)
        self.env_steps += int(info.pop("env_steps"))
        self.n_diverged += int(info["n_diverged"])
        check_divergence(self.folder.path, self.itr, self.n_diverged, self.env_steps, self.cfg.max_diverged_rate)
        # Gradients of different networks have no angle.
        if self.cfg.separation != "network" and self.itr % self.cfg.il.diagnose_every == 0:
            with self.log.clock("diagnose"):
                info |= self._gradient_angle()
        sums: dict[str, list[float]] = defaultdict(list)
        learning_itr = self.itr - self.cfg.algo.critic_warmup_itr
        for update in self.interleaver.updates(self.algorithm.updates(self.itr), self.itr, learning_itr):
            with self.log.clock(f"update_{update.name}"):
                update.zero_grad()
                scalars = update.backward()
                check_finite(self.folder.path, self.itr, update.name, scalars)
                for name, value in scalars.items():
                    sums[name].append(value)
                update.apply()
        check_state(self.folder.path, self.itr, self.algorithm.state_dict())
        self._log_diagnostics(info, sums)
        info |= {name: float(np.mean(values)) for name, values in sums.items()}
        return info | self.interleaver.told()

    def _log_iteration(self, info: Info) -> None:
        self.log.metrics.add(self.itr, self.env_steps, "train", info)
        if self.itr % self.cfg.eval.every == 0 or self.finished:
            self._log_evaluation()
        self.interleaver.follow(info | self._log_probes())
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
        told = diagnosed(self.cfg, self.algorithm.diagnose(), info, sums)
        self.log.diagnostics.add(self.itr, self.env_steps, "train", told)
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

    def _log_probes(self) -> Info:
        """Log imitation losses; returns the held-out ones."""
        with self.log.clock("probe"), torch.no_grad():
            for split, probe in self.probes.items():
                generator = torch_stream(self.cfg.seed, "probe_noise")
                values = self.algorithm.probe(probe.obs, probe.action_chunk, generator)
                self.log.metrics.add(self.itr, self.env_steps, split, values)
        return values  # of the last probe, which is held out

    def _log_evaluation(self) -> None:
        with self.log.clock("evaluate"):
            result = self._evaluate(self.algorithm, "eval", self.cfg.eval.n_envs)
        if self.cfg.report_best:
            self._remember_best(result.score(self.cfg.task.metric))
        values = {"return": result.episode_return.mean(), "episode_length": result.episode_length.mean()}
        if self.cfg.task.metric == "success":
            values["success"] = result.success.mean()
        self.log.metrics.add(self.itr, self.env_steps, "eval", values)
        if self.cfg.eval.choices == "always":
            self._log_choices("eval", self.cfg.eval.n_envs)
        log.info("itr %d: evaluation return %.1f", self.itr, values["return"])

    def _log_choices(self, purpose: str, n_episodes: int) -> None:
        """Evaluate the other ways to act, in the same episodes."""
        for name, actor in self.algorithm.choices.items():
            with self.log.clock("evaluate"):
                result = self._evaluate(actor, purpose, n_episodes)
            values = {"return": result.episode_return.mean(), "success": result.success.mean()}
            self.log.diagnostics.add(self.itr, self.env_steps, f"{purpose}_{name}", values)

    def _remember_best(self, score: float) -> None:
        if self.best is None or score > self.best.score:
            state = {name: tensor.detach().clone() for name, tensor in self.algorithm.acting_state().items()}
            self.best = BestPolicy(score, self.itr, self.env_steps, state)

    def _evaluate(self, actor: Actor, purpose: str, n_episodes: int) -> Evaluation:
        seed = subseed(self.cfg.seed, purpose, self.itr)
        return evaluate(actor, self.cfg.task, n_episodes, seed, threads=self.sim_threads)

    def _publish(self) -> None:
        with self.log.clock("report"):
            report = self._evaluate(self.algorithm, "report", self.cfg.report_episodes)
        if self.cfg.eval.choices != "never":
            self._log_choices("report", self.cfg.report_episodes)
        self.folder.check()
        for episode in report.episodes(self.cfg.task.metric):
            self.log.metrics.add(self.itr, self.env_steps, "report", episode)
        final_policy = {name: tensor.clone() for name, tensor in self.algorithm.policy_state().items()}
        if self.best is not None:
            self._report_best(self.best)
            self._save_policy("best.safetensors", self.algorithm.policy_state(), self.best.itr, self.best.env_steps)
        self.log.flush()
        self.log.flush_timing(self.itr, self.env_steps)
        self._save_policy("policy.safetensors", final_policy, self.itr, self.env_steps)
        self.folder.finish()

    def _save_policy(self, name: str, state: dict[str, torch.Tensor], itr: int, env_steps: int) -> None:
        made = {"itr": itr, "env_steps": env_steps, "config": self.cfg.model_dump(mode="json")}
        save_policy(self.folder.path / name, self.spec.finetuned(self.cfg.algo), state, made)

    def _report_best(self, best: BestPolicy) -> None:
        """Evaluate the policy that looked best on the way, on fresh episodes: its score was picked for being high."""
        self.algorithm.load_acting_state(best.state)
        with self.log.clock("report"):
            report = self._evaluate(self.algorithm, "report_best", self.cfg.report_episodes)
        for episode in report.episodes(self.cfg.task.metric):
            self.log.metrics.add(best.itr, best.env_steps, "report_best", episode)

    def _save(self) -> None:
        self.folder.check()
        state: dict[str, Any] = {
            "algorithm": self.algorithm.state_dict(),
            "env": self.env.get_state(),
            **self.interleaver.state_dict(),
            "itr": self.itr,
            "env_steps": self.env_steps,
            "n_diverged": self.n_diverged,
            **self.log.flush(),
        }
        if self.best is not None:
            state["best"] = self.best._asdict()
        self.folder.save(state)
        self.log.flush_timing(self.itr, self.env_steps)

    def _load(self, state: dict[str, Any]) -> None:
        self.algorithm.load_state_dict(state["algorithm"])
        self.env.set_state({name: np.asarray(value) for name, value in state["env"].items()})
        self.interleaver.load_state_dict(state)
        self.itr, self.env_steps, self.n_diverged = state["itr"], state["env_steps"], state["n_diverged"]
        self.best = BestPolicy(**state["best"]) if "best" in state else None
        log.info("resuming at iteration %d, %d env steps", self.itr, self.env_steps)
