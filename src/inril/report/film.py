"""Films of a policy: strips of frames of a success and of a failure, how long episodes took, and an animation.

Shown are the first success and the first failure of the evaluated episodes, or the first few of one outcome, so nothing
was picked; where the suite knows no success, an episode that reached the time limit and one that ended early. Frames
are evenly spaced from the start to the step before the task was solved, or the episode ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw

from inril.config.base import Execution, Metric
from inril.config.shown import FilmSpec, Outcomes
from inril.device import resolve
from inril.envs.gymnasium_api import control_rate_hz
from inril.envs.rendering import load_opengl
from inril.errors import InputError
from inril.files import write_atomically
from inril.policies.acting import PolicyActor
from inril.policies.policy_file import load_policy
from inril.report.levels import interval_text
from inril.report.recording import RecordedEpisode, Round, record
from inril.report.statistics import wilson
from inril.report.style import default_style, require_formats, write_figure
from inril.seeding import subseed

OUTCOMES: dict[Metric, dict[bool, str]] = {
    "success": {True: "success", False: "failure"},
    "return": {True: "time limit reached", False: "ended early"},
}
_ENDINGS: dict[Outcomes, tuple[bool, ...]] = {"both": (True, False), "successes": (True,), "failures": (False,)}
_DURATION: dict[Metric, str] = {"success": "Completion time (s)", "return": "Length of the episode (s)"}
_SIZE_PX = 240  # of a frame
_GIF_HZ = 10  # about so many frames per simulated second, shown at their own speed
_GIF_COLORS = 64
_INCHES = 1.3  # of a frame
_NOTE_CHARACTERS = 26  # that fit below a frame
_BINS = 20


class Clip(NamedTuple):
    """What is seen of one episode.

    Attributes:
        outcome: how it ended.
        strip: seconds and frame, evenly spaced.
        film: the same, in short steps.
    """

    outcome: str
    strip: list[tuple[float, Image.Image]]
    film: list[tuple[float, Image.Image]]


class Durations(NamedTuple):
    """The evaluated episodes.

    Attributes:
        succeeded: (n,) whether each did.
        seconds: simulated time that each took.
    """

    succeeded: list[bool]
    seconds: list[float]


def run(spec: FilmSpec, policy: Path, out: Path, gif: Path | None = None, execution: Execution = Execution()) -> None:
    """Evaluate a policy and make its films.

    Args:
        spec: what is shown.
        policy: policy file, pre-trained or fine-tuned.
        out: strips and histogram, .pdf or .png by suffix.
        gif: animation; None makes none.
        execution: on what to compute.

    Raises:
        InputError: the policy cannot be read, a file format is unknown, or nothing can be rendered on this machine.
    """
    require_formats([out])
    if gif is not None and gif.suffix != ".gif":
        raise InputError(gif, expected="a file name ending in .gif", got=gif.suffix)
    load_opengl()  # before hours of episodes that nobody could see
    trained, policy_spec = load_policy(policy)
    actor, task = PolicyActor(trained.to(resolve(execution.device))), policy_spec.task
    hz = control_rate_hz(task.id)
    play = partial(record, actor, task, threads=execution.sim_threads)
    shown, durations = choose(spec, play, hz)
    names = OUTCOMES[task.metric]
    clips = [_clip(names[episode.succeeded], recorded, episode, spec.frames, hz) for recorded, episode in shown]
    with default_style(), mpl.rc_context({"font.size": 8, "font.family": "DejaVu Sans", "pdf.fonttype": 42}):
        write_figure(draw(spec, clips, durations, task.metric), [out])
    if gif is not None:
        write_atomically(gif, animate(clips, hz))


def choose(
    spec: FilmSpec, play: Callable[[int, int], Round], hz: int
) -> tuple[list[tuple[Round, RecordedEpisode]], Durations]:
    """Evaluate, some episodes at a time, until those that are asked for were seen.

    Args:
        spec: what is shown.
        play: evaluates and records a number of episodes with a seed.
        hz: environment steps per second.

    Returns:
        The first episodes of each outcome that is asked for, or of the other one if there are none; and how all went.
    """
    wanted = _ENDINGS[spec.outcomes]
    first: dict[bool, list[tuple[Round, RecordedEpisode]]] = {True: [], False: []}
    durations = Durations([], [])
    while len(durations.succeeded) < spec.max_episodes and any(len(first[ended]) < spec.examples for ended in wanted):
        n_episodes = min(spec.episodes, spec.max_episodes - len(durations.succeeded))
        recorded = play(n_episodes, subseed(spec.seed, "film", len(durations.succeeded)))
        for episode in recorded.episodes():
            if len(first[episode.succeeded]) < spec.examples:
                first[episode.succeeded].append((recorded, episode))
            durations.succeeded.append(episode.succeeded)
            durations.seconds.append(episode.n_steps / hz)
    seen = [ended for ended in wanted if first[ended]] or list(first)
    return [episode for ended in seen for episode in first[ended]], durations


def _clip(outcome: str, recorded: Round, episode: RecordedEpisode, n_frames: int, hz: int) -> Clip:
    last = episode.n_steps - 1
    evenly = np.linspace(0, last, n_frames).round().astype(int).tolist()
    fine = [*range(0, last, _stride(hz)), last]
    frames = {
        step: Image.fromarray(image).resize((_SIZE_PX, _SIZE_PX), Image.Resampling.LANCZOS)
        for step, image in recorded.images(episode.env_index, {*evenly, *fine})
    }
    return Clip(outcome, *([(step / hz, frames[step]) for step in steps] for steps in (evenly, fine)))


def _stride(hz: int) -> int:
    """Return the environment steps between frames of an animation."""
    return max(1, round(hz / _GIF_HZ))


def draw(spec: FilmSpec, clips: Sequence[Clip], durations: Durations, metric: Metric) -> Figure:
    """Draw one strip per episode and below them how long episodes took.

    Args:
        spec: title, and whose episodes these are.
        clips: what is seen of the shown episodes.
        durations: of all evaluated episodes.
        metric: headline metric of the task.
    """
    size = (_INCHES * spec.frames, (_INCHES + 0.35) * len(clips) + 2.2)
    figure = plt.figure(figsize=size, layout="constrained")
    figure.suptitle(spec.title)
    grid = figure.add_gridspec(len(clips) + 1, spec.frames, height_ratios=[*(_INCHES for _ in clips), 1.1])
    for row, clip in enumerate(clips):
        for column, (seconds, frame) in enumerate(clip.strip):
            ax = figure.add_subplot(grid[row, column])
            ax.imshow(np.asarray(frame))
            ax.set_xticks([])
            ax.set_yticks([])
            ax.set_title(f"{seconds:.1f} s", fontsize="small")
            if column == 0:
                ax.set_ylabel(clip.outcome)
    _draw_durations(figure.add_subplot(grid[len(clips), :]), durations, metric)
    note = fill(_note(spec, clips, durations, metric), _NOTE_CHARACTERS * spec.frames)
    figure.supxlabel(note, fontsize="small", color="0.35")
    return figure


def _draw_durations(ax: Axes, durations: Durations, metric: Metric) -> None:
    """Draw a histogram: of successes, or of all episodes where there is no such thing."""
    counted = [metric == "return" or succeeded for succeeded in durations.succeeded]
    seconds = [time for time, counts in zip(durations.seconds, counted, strict=True) if counts]
    ax.hist(seconds, bins=np.linspace(0, max(durations.seconds), _BINS + 1), color="0.45")  # type: ignore[arg-type]
    ax.set_ylim(bottom=0, top=None if seconds else 1)
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.set_xlabel(_DURATION[metric])
    ax.set_ylabel("Episodes")
    ax.set_title(f"{len(seconds)} of {len(counted)} episodes", fontsize="small")


def _note(spec: FilmSpec, clips: Sequence[Clip], durations: Durations, metric: Metric) -> str:
    """Return whose episodes these are, how many, how they ended and which are shown."""
    n_episodes, name = len(durations.succeeded), OUTCOMES[metric][True]
    share = interval_text(wilson(np.array(durations.succeeded, float)), "success")
    parts = [f"{spec.subject}.", f"{n_episodes} episodes, {name}: {share} (95 % Wilson interval)."]
    if n_episodes > spec.episodes:
        parts.append(f"{spec.episodes} at a time until these were seen, at most {spec.max_episodes}.")
    counts = Counter(clip.outcome for clip in clips)
    parts.append(f"Shown: the first of each outcome ({', '.join(f'{outcome}: {n}' for outcome, n in counts.items())}).")
    return " ".join(parts)


def animate(clips: Sequence[Clip], hz: int) -> bytes:
    """Return an animated GIF of episodes side by side; one that is over stands still.

    Args:
        clips: what is seen of each.
        hz: environment steps per second.
    """
    frames = []
    for number in range(max(len(clip.film) for clip in clips)):
        canvas = Image.new("RGB", (_SIZE_PX * len(clips), _SIZE_PX))
        for column, clip in enumerate(clips):
            seconds, frame = clip.film[min(number, len(clip.film) - 1)]
            canvas.paste(frame, (column * _SIZE_PX, 0))
            where, label = (column * _SIZE_PX + 6, 4), f"{clip.outcome}  {seconds:.1f} s"
            ImageDraw.Draw(canvas).text(where, label, "white", stroke_width=1, stroke_fill="black")
        frames.append(canvas.quantize(_GIF_COLORS, dither=Image.Dither.NONE))  # a quarter as large as with dithering
    buffer = BytesIO()
    duration_ms = round(1000 * _stride(hz) / hz)
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=duration_ms, loop=0)
    return buffer.getvalue()
