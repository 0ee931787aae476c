"""A run on disk: everything that its next step depends on, in one .npz file, written atomically."""
import json
from dataclasses import asdict, dataclass

import numpy as np

from ..checks import check_each, check_generator, check_path, raise_value_error, show
from ..config import GPTConfig
from ..files.atomic import atomic_write
from .optim import WarmupCosine
from .trainer import Trainer

FORMAT = "minigpt_np run 1"
FIELDS = ("config", "steps", "clip", "micro_batches", "schedule", "optimizer", "dropout",
          "generators", "notes")


@dataclass(frozen=True)
class Run:
    """A saved run: `arrays` by name (params and the optimizer's) and `state`, plain data."""
    path: str
    arrays: dict
    state: dict

    @property
    def config(self):
        return GPTConfig(**self.state["config"])

    @property
    def notes(self):
        return self.state["notes"]

    def restore(self, trainer, generators=None):
        """Restore `trainer` and `generators`: with as many threads the next step is the same.

        trainer      of a model of the same config and an optimizer of the same kind, with a
                     generator of dropout if the run had one
        generators   dict of name -> Generator, the same names and kinds as were saved
        Raises ValueError, changing nothing, if they do not fit what was saved.
        """
        _, generators = check_run(trainer, generators)
        state, saved, ours = self.state, asdict(self.config), asdict(trainer.model.config)
        for name in ours:
            self._expect(f"config: {name}", saved[name], ours[name])
        self._expect("optimizer", state["optimizer"]["kind"], type(trainer.optimizer).__name__)

        saved = dict(state["generators"])
        if state["dropout"] is not None:
            saved["trainer.rng"] = state["dropout"]
        self._expect("generators", sorted(saved), sorted(generators))
        for generator_state in saved.values():
            self._check(lambda: setattr(np.random.PCG64(), "state", generator_state))

        arrays = _arrays(trainer)
        self._expect("arrays", sorted(self.arrays), sorted(arrays))
        for name, array in arrays.items():
            self._expect(name, *(f"{a.dtype.name} {a.shape}" for a in (self.arrays[name], array)))
        settings = self._check(lambda: check_each(trainer.SETTINGS, state))
        optimizer_settings = self._check(
            lambda: check_each(trainer.optimizer.SETTINGS, state["optimizer"]["settings"]))
        schedule = None if state["schedule"] is None else self._check(
            lambda: WarmupCosine(**state["schedule"]))

        for name, array in arrays.items():
            array[...] = self.arrays[name]
        for name, generator in generators.items():
            generator.bit_generator.state = saved[name]
        vars(trainer.optimizer).update(optimizer_settings)
        vars(trainer).update(settings, schedule=schedule, half_updated=False)

    def _expect(self, name, given, expected):
        if given != expected:
            raise ValueError(f"{self.path}: {name}: {show(given)} given, expected {show(expected)}")

    def _check(self, check):
        """What check() returns; ValueError naming the file if the state is not what it expects."""
        try:
            return check()
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise ValueError(f"{self.path}: not a saved run that fits ({error})") from error


def save(path, trainer, generators=None, notes=None):
    """Write the run to `path`, which at any moment is the old file or the new one.

    trainer      with a schedule that is None or a WarmupCosine
    generators   dict of name -> Generator, of default_rng, that the run draws from besides the
                 trainer's own
    notes        anything JSON can hold: what the caller needs to go on (the tokenizer, the options)
    Raises ValueError for what cannot be saved, RuntimeError after half an update.
    """
    check_path("path", path)
    settings, generators = check_run(trainer, generators)
    trainer.refuse_half_updated()
    if trainer.schedule is not None and type(trainer.schedule) is not WarmupCosine:
        raise ValueError(f"trainer.schedule: {trainer.schedule!r} given, "
                         "expected a WarmupCosine or None")
    optimizer = trainer.optimizer
    states = {name: generator.bit_generator.state for name, generator in generators.items()}
    state = {
        "format": FORMAT,
        "config": asdict(trainer.model.config),
        **settings,
        "schedule": asdict(trainer.schedule) if trainer.schedule else None,
        "optimizer": {"kind": type(optimizer).__name__, "settings": optimizer.check()},
        "dropout": states.pop("trainer.rng", None),
        "generators": states,
        "notes": notes,
    }
    try:
        text = json.dumps(state).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"notes: a value that is not JSON given ({error})") from error
    with atomic_write(path) as file:
        np.savez(file, state=np.frombuffer(text, np.uint8), **_arrays(trainer))


def load(path):
    """The Run in the file. Raises OSError if it cannot be opened, ValueError if it is not a saved
    run, or has numbers that no run can have: not finite, or second moments (AdamW's v) below 0.
    """
    with open(check_path("path", path), "rb") as file:
        try:
            with np.load(file) as archive:
                arrays = dict(archive)
            state = json.loads(arrays.pop("state").tobytes())
            file_format = state["format"]
        except Exception as error:      # whatever NumPy, zipfile and json raise for a damaged file
            raise ValueError(f"{path}: not a saved run ({error})") from error
    if file_format != FORMAT:
        raise ValueError(f"{path}: format {show(file_format)} given, expected {FORMAT!r}")
    run = Run(str(path), arrays, state)
    run._check(lambda: (run.config, [state[field] for field in FIELDS], state["generators"].items(),
                        state["optimizer"]["kind"], state["optimizer"]["settings"].items()))
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(f"{path}: {name}: {show(array)} given, expected real numbers, none "
                             "of them NaN or infinite")
        if name == "v" and (array < 0).any():
            raise ValueError(f"{path}: v: {array.min()} given, expected second moments of at least "
                             "0")
    return run


def check_run(trainer, generators):
    """The trainer's settings; name -> Generator of default_rng, trainer.rng too. Or ValueError."""
    if not isinstance(trainer, Trainer):
        raise_value_error("trainer", trainer, "a Trainer")
    settings, generators = trainer.check(), {} if generators is None else generators
    if not isinstance(generators, dict) or not all(isinstance(name, str) for name in generators):
        raise_value_error("generators", generators, "a dict of name -> Generator, or None")
    if "trainer.rng" in generators:
        raise_value_error("generators", generators, "another name than the trainer's own rng has")
    if trainer.rng is not None:
        generators = generators | {"trainer.rng": trainer.rng}
    for name, generator in generators.items():
        kind = type(check_generator(name, generator).bit_generator).__name__
        if kind != "PCG64":
            raise ValueError(
                f"{name}: a Generator of {kind} given, expected default_rng's, of PCG64")
    return settings, generators


def _arrays(trainer):
    """Name -> array of everything large that a step changes."""
    return {"params": trainer.model.params.flat} | trainer.optimizer.arrays()
