"""The command line: one command per step of the pipeline, each a plain call that can be repeated by hand.

Modules are imported inside the commands, so that none waits for what it does not use.
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, get_args

from inril.config.base import Device, Execution, M, Model
from inril.config.runs import DemosConfig, ExpertJob, FinetuneConfig, PretrainConfig
from inril.config.shown import ComparisonSpec, FigureSpec, FilmSpec, TableSpec, separation_of_arm
from inril.errors import InputError
from inril.plan import Plan
from inril.project import Project, require
from inril.settings import Layer, read_yaml, validate

if TYPE_CHECKING:  # argparse's private class has a parameter in type stubs only
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

ModelT = TypeVar("ModelT", bound=Model)
CommandFunction = Callable[[argparse.Namespace], None]

INTERRUPTED = 130
# What the machine refuses and the user can put right; any other OSError is a defect and keeps its traceback.
_REFUSALS = {
    errno.ENOSPC: "Free some space and run again",
    errno.EDQUOT: "Free some space and run again",
    errno.EACCES: "Check the permissions",
    errno.EPERM: "Check the permissions",
    errno.EROFS: "Choose a folder that can be written",
    errno.ENOTDIR: "Choose another path",
    errno.EEXIST: "Choose another path",
    errno.EISDIR: "Choose another path",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit status: 0, 1 after an error that the user can act on, 130 after an interruption.
    """
    args = _parser().parse_args(argv)
    os.environ["MPLBACKEND"] = "agg"  # a job draws into files, also where a notebook started it
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=_StandardError())
    logging.getLogger("inril").setLevel(logging.INFO)  # libraries have much to say below a warning
    try:
        args.command(args)
    except InputError as error:
        return _fail(str(error))
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        where = error.filename or getattr(args, "out", None) or "file system"
        expected = "room to write" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "a path that can be used"
        return _fail(
            str(InputError(str(where), expected=expected, got=os.strerror(error.errno), hint=_REFUSALS[error.errno]))
        )
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


class _StandardError:
    """Standard error of the moment a line is written: a progress bar stands in for it, to keep lines off itself."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def read_config(model: type[ModelT], text: str) -> ModelT:
    """Build a model from `--config`: a YAML file, or JSON if it starts with a brace.

    Raises:
        InputError: neither, or not what the model allows.
    """
    if not text.lstrip().startswith("{"):
        return validate(model, [Layer(Path(text), read_yaml(Path(text)))])
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError("--config", expected="a file or valid JSON", got=f"{error}") from None
    return validate(model, [Layer(Path("--config"), values)])


def schemas() -> dict[str, str]:
    """Return the JSON schema of every setting, by file name."""
    from inril.config.root import RootConfig

    models: dict[str, type[Model]] = {
        "config": RootConfig,
        "demos": DemosConfig,
        "expert": ExpertJob,
        "finetune": FinetuneConfig,
        "pretrain": PretrainConfig,
    }
    return {
        f"{name}.schema.json": json.dumps(model.model_json_schema(), indent=2) + "\n" for name, model in models.items()
    }


def _demos(args: argparse.Namespace) -> None:
    config = read_config(DemosConfig, args.config)
    from inril.data import make_demos

    make_demos(config, args.out, args.sim_threads)


def _pretrain(args: argparse.Namespace) -> None:
    config = read_config(PretrainConfig, args.config)
    from inril.train import pretrain

    pretrain.run(config, args.demos, args.out, args.on_mismatch, _execution(args))


def _finetune(args: argparse.Namespace) -> None:
    config = read_config(FinetuneConfig, args.config)
    from inril.train import finetune

    finetune.run(config, args.demos, args.policy, args.out, args.on_mismatch, _execution(args))


def _execution(args: argparse.Namespace) -> Execution:
    return Execution(device=args.device, sim_threads=args.sim_threads)


def _expert(args: argparse.Namespace) -> None:
    job = read_config(ExpertJob, args.config)
    from inril.train import expert

    expert.run(job.expert, job.task, args.out)


def _evaluate(args: argparse.Namespace) -> None:
    from inril.evaluate import evaluate
    from inril.policies.acting import PolicyActor
    from inril.policies.files import load_policy

    policy, spec = load_policy(args.policy)
    result = evaluate(PolicyActor(policy), spec.task, args.episodes, args.seed)
    error = result.episode_return.std() / len(result.episode_return) ** 0.5
    print(
        f"{spec.task.id}: return {result.episode_return.mean():.1f} +- {error:.1f} (standard error), "
        f"length {result.episode_length.mean():.0f}, {len(result.episode_return)} episodes"
    )


def _aggregate(args: argparse.Namespace) -> None:
    spec = read_config(TableSpec, args.config)
    from inril.report import aggregate

    aggregate.run(spec, args.metrics, args.published, args.out)


def _figure(args: argparse.Namespace) -> None:
    spec = read_config(FigureSpec, args.config)
    from inril.report import figures

    figures.run(spec, args.table, args.out)


def _film(args: argparse.Namespace) -> None:
    spec = read_config(FilmSpec, args.config)
    from inril.report import film

    film.run(spec, args.policy, args.out, args.gif, _execution(args))


def _gains(args: argparse.Namespace) -> None:
    from inril.report import gains

    gains.run(args.finetune, args.pretrain, args.rl_only, args.out)


def _claims(args: argparse.Namespace) -> None:
    from inril.report import claims

    claims.run(args.metrics, args.pretrain, args.out)


def _compare(args: argparse.Namespace) -> None:
    spec = read_config(ComparisonSpec, args.config)
    from inril.report import comparison

    comparison.run(spec, args.metrics, args.published, args.out)


def _record(args: argparse.Namespace) -> None:
    from inril import publish

    publish.record(args.budget, args.phase)


def _publish(args: argparse.Namespace) -> None:
    from inril import publish

    publish.run(args.budgets, args.figures, args.limit_mb, args.added_mb, args.drop)


def _status(args: argparse.Namespace) -> None:
    root = read_yaml(args.config_dir / "config.yaml")
    plan = Plan(Project(args.config_dir, root | ({"budget": args.budget} if args.budget else {})))
    from inril.report import status_table

    status_table.show(plan, args.figure, args.results, args.watch)


def _ledger(args: argparse.Namespace) -> None:
    from inril import ledger

    ledger.run(args.budget, args.results, args.out)


def _pull(args: argparse.Namespace) -> None:
    from inril import publish

    publish.pull(args.targets)


def _schemas(args: argparse.Namespace) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (args.out / name).write_text(text)
    if args.readme is not None:
        from inril.config.reference import Page

        args.readme.write_text(Page(args.readme.read_text()).written())


def _check(args: argparse.Namespace) -> None:
    root = read_yaml(args.config_dir / "config.yaml")
    budgets = sorted(path.stem for path in (args.config_dir / "budgets").glob("*.yaml"))
    for budget in budgets:
        Project(args.config_dir, root | {"budget": budget}).check()
    print(f"{args.config_dir}: in order, budgets {', '.join(budgets)}")


def _resolve(args: argparse.Namespace) -> None:
    from inril.report import origins

    root = read_yaml(args.config_dir / "config.yaml")
    project = Project(args.config_dir, root if args.budget is None else root | {"budget": args.budget})
    if args.what in project.all_methods:
        separation = separation_of_arm(args.m, args.separation)
        run = (args.task, args.what, separation, args.m, args.seed)
        config: Model = project.finetune(*run)
        layers = project.finetune_layers(*run)
    else:
        require("METHOD or POLICY", args.what, (*project.all_methods, *project.policies(args.task)))
        config = project.pretrain(args.task, args.what, args.seed)
        layers = project.pretrain_layers(args.task, args.what, args.seed)
    print("\n".join(origins.lines(config, layers, args.config_dir)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="inril", description="Interleaved reinforcement and imitation learning for policy fine-tuning."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_runs(commands)
    _add_shown(commands)
    _add_project(commands)
    return parser


def _add_runs(commands: Commands) -> None:
    demos = _configured(commands, "demos", _demos, "make the demonstrations of a task")
    _path(demos, "--out", "HDF5 file to write")

    pretrain = _configured(commands, "pretrain", _pretrain, "clone demonstrations; resumes where it was interrupted")
    finetune = _configured(commands, "finetune", _finetune, "fine-tune a policy; resumes where it was interrupted")
    _path(finetune, "--policy", "pre-trained policy.safetensors")
    for sub in (pretrain, finetune):
        _path(sub, "--demos", "demonstrations, HDF5")
        _path(sub, "--out", "folder of the run")
        sub.add_argument(
            "--on-mismatch",
            choices=("error", "restart"),
            default="error",
            help="what to do when the folder holds the state of another run (default: error)",
        )

    film = _configured(
        commands, "film", _film, "show episodes of a policy, a success and a failure, as strips of frames"
    )
    _path(film, "--policy", "policy.safetensors of a run")
    _path(film, "--out", "file to draw, pdf or png by suffix")
    film.add_argument("--gif", type=Path, help="animation to write")

    for sub in (pretrain, finetune, film):
        sub.add_argument(
            "--device", choices=get_args(Device), default="auto", help="of the networks; default: a GPU if there is one"
        )
    for sub in (demos, pretrain, finetune, film):
        sub.add_argument("--sim-threads", type=int, default=1, help="threads of the simulator; default: 1")

    evaluate = _command(
        commands, "evaluate", _evaluate, "run a policy, pre-trained or fine-tuned, and print its return"
    )
    _path(evaluate, "--policy", "policy.safetensors of a run")
    evaluate.add_argument("--episodes", type=int, default=200, help="default: 200")
    evaluate.add_argument("--seed", type=int, default=0, help="of environments and noise; default: 0")

    expert = _configured(commands, "expert", _expert, "train a demonstrator from scratch")
    _path(expert, "--out", "safetensors file to write")


def _add_shown(commands: Commands) -> None:
    aggregate = _configured(commands, "aggregate", _aggregate, "collect runs into the table behind a figure")
    _path(aggregate, "--metrics", "metrics.csv of each run", nargs="*")
    _path(aggregate, "--published", "folder of published tables, <budget>/<figure>.csv")
    _path(aggregate, "--out", "CSV file to write")

    figure = _configured(commands, "figure", _figure, "draw a figure from its table")
    _path(figure, "--table", "CSV file made by aggregate")
    _path(figure, "--out", "files to draw, format by suffix (pdf, png)", nargs="+")

    gains = _command(commands, "gains", _gains, "compare runs with the policies that they started from")
    _path(gains, "--finetune", "metrics.csv of each run", nargs="+")
    _path(gains, "--pretrain", "metrics.csv of the policy of each run, in the same order", nargs="+")
    gains.add_argument("--rl-only", nargs="*", default=[], help="methods that learn from rewards alone")

    claims = _command(commands, "claims", _claims, "test the paper's claims on runs")
    _path(claims, "--metrics", "metrics.csv of each run", nargs="+")
    _path(claims, "--pretrain", "metrics.csv of the policy of each run, in the same order", nargs="+")

    compare = _configured(commands, "compare", _compare, "compare methods or pre-trained policies task by task")
    _path(compare, "--metrics", "metrics.csv of each run", nargs="*")
    _path(compare, "--published", "folder of published tables, <budget>/<comparison>.csv")
    for sub in (gains, claims, compare):
        _path(sub, "--out", "files to write, format by suffix (csv, html, md, tex)", nargs="+")


def _add_project(commands: Commands) -> None:
    record = _command(commands, "record", _record, "copy a phase's complete results to where DVC tracks them")
    record.add_argument("budget")
    record.add_argument("phase", help="a stage of dvc.yaml")

    publish = _command(commands, "publish", _publish, "record, commit, push and check the stages of dvc.yaml")
    publish.add_argument("budgets", nargs="*", help="default: all of dvc.yaml")
    publish.add_argument("--figures", nargs="+", default=(), help="whose runs to publish; default: all")
    publish.add_argument("--drop", action="store_true", help="let go what is published and no longer current")
    publish.add_argument("--limit-mb", type=float, default=100, help="size that the store may have; default: 100")
    publish.add_argument("--added-mb", type=float, default=20, help="size of what may be new in it; default: 20")

    status = _command(commands, "status", _status, "show where every run of a figure stands")
    status.add_argument("figure", nargs="?", default="fig8", help="default: fig8")
    status.add_argument("--budget", help="default: the one in config.yaml")
    status.add_argument("--results", type=Path, default=Path(), help="folder that holds results/; default: this one")
    status.add_argument("--watch", action="store_true", help="refresh until all are finished or Ctrl-C")

    ledger = _command(commands, "ledger", _ledger, "list what the runs of a budget cost, and where they were made")
    ledger.add_argument("--budget", required=True)
    ledger.add_argument("--results", type=Path, default=Path(), help="folder that holds results/; default: this one")
    _path(ledger, "--out", "CSV file; rows of other runs stay")

    pull = _command(
        commands, "pull", _pull, "fetch published results (dvc pull), naming files that are missing or damaged"
    )
    pull.add_argument("targets", nargs="*", help="stages or paths of published results; default: everything")

    schemas = _command(commands, "schemas", _schemas, "write the JSON schemas of all settings, and their tables")
    _path(schemas, "--out", "folder to write")
    schemas.add_argument("--readme", type=Path, help="page whose tables are written anew")

    resolve = _command(commands, "resolve", _resolve, "print a job's settings and the file that each value comes from")
    resolve.add_argument("task")
    resolve.add_argument("what", metavar="METHOD or POLICY", help="to fine-tune with, or to pre-train")
    resolve.add_argument("--m", type=_m, default="inf", help="default: inf, no interleaving")
    resolve.add_argument("--separation", default="surgery", help="where m is finite; default: surgery")
    resolve.add_argument("--seed", type=int, default=0, help="default: 0")
    resolve.add_argument("--budget", help="default: the one in config.yaml")

    check = _command(commands, "check", _check, "check the whole configuration folder, every budget")
    for sub in (status, resolve, check):
        sub.add_argument("--config-dir", type=Path, default=Path("config"), help="default: config")


def _command(commands: Commands, name: str, function: CommandFunction, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=function)
    return parser


def _configured(commands: Commands, name: str, function: CommandFunction, text: str) -> argparse.ArgumentParser:
    parser = _command(commands, name, function, text)
    parser.add_argument("--config", required=True, help="resolved settings: a YAML file, or JSON in place")
    return parser


def _m(text: str) -> M:
    if text == "inf":
        return "inf"
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a positive number or inf, got {text!r}")


def _path(parser: argparse.ArgumentParser, flag: str, text: str, nargs: str | None = None) -> None:
    parser.add_argument(flag, type=Path, required=True, nargs=nargs, help=text)


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 1
