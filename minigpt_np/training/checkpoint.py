"""A run on disk: everything that its next step depends on, in one .npz file that is always whole."""
import json
import zipfile
from dataclasses import asdict, dataclass

import numpy as np

from ..config import GPTConfig
from ..files.atomic import whole_file
from .optim import WarmupCosine

FORMAT = "minigpt_np run 1"


@dataclass(frozen=True)
class Run:
    """What a file holds: `arrays` by name (params and the optimizer's), and `state`, plain data."""
    path: str
    arrays: dict
    state: dict

    @property
    def config(self):
        return GPTConfig(**self.state["config"])

    @property
    def notes(self):
        """What was given to `save` as notes."""
        return self.state["notes"]

    def restore(self, trainer, generators=()):
        """Put `trainer` and `generators` where they were: the next step gives the same bits.

        trainer      of a model of the same config and an optimizer of the same kind
        generators   dict of name -> Generator, the same names as were saved
        Raises ValueError, changing nothing, if they do not fit what was saved.
        """
        generators = dict(generators)
        if trainer.model.config != self.config:
            raise ValueError(f"{self.path}: a run of {self.config} given, expected one of {trainer.model.config}")
        kind = type(trainer.optimizer).__name__
        if kind != self.state["optimizer"]["kind"]:
            raise ValueError(f"{self.path}: a run with {self.state['optimizer']['kind']} given, expected {kind}")
        if set(generators) != set(self.state["generators"]):
            raise ValueError(f"generators: {sorted(generators)} given, expected {sorted(self.state['generators'])}")
        targets = _arrays(trainer)
        for name, array in targets.items():
            saved = self.arrays[name]
            if saved.shape != array.shape or saved.dtype != array.dtype:
                raise ValueError(f"{self.path}: {name} of {saved.dtype} {saved.shape} given, "
                                 f"expected {array.dtype} {array.shape}")
        for name, array in targets.items():
            array[...] = self.arrays[name]
        for name, value in self.state["optimizer"]["settings"].items():
            setattr(trainer.optimizer, name, tuple(value) if isinstance(value, list) else value)
        trainer.steps = self.state["steps"]
        trainer.clip, trainer.micro_batches = self.state["clip"], self.state["micro_batches"]
        schedule = self.state["schedule"]
        trainer.schedule = WarmupCosine(**schedule) if schedule else None
        if trainer.rng is not None:
            trainer.rng.bit_generator.state = self.state["dropout"]
        for name, generator in generators.items():
            generator.bit_generator.state = self.state["generators"][name]


def save(path, trainer, generators=(), notes=None):
    """Write the run to `path`, beside and then moved into place: at any moment it is old or new, whole.

    trainer      with a schedule that is None or a WarmupCosine
    generators   dict of name -> Generator that the run draws from besides the trainer's own
    notes        anything JSON can hold: what the caller needs to go on (the tokenizer, the options)
    """
    if trainer.schedule is not None and not isinstance(trainer.schedule, WarmupCosine):
        raise ValueError(f"trainer.schedule: {trainer.schedule!r} given, expected a WarmupCosine or None")
    optimizer = trainer.optimizer
    state = {
        "format": FORMAT,
        "config": asdict(trainer.model.config),
        "steps": trainer.steps, "clip": trainer.clip, "micro_batches": trainer.micro_batches,
        "schedule": asdict(trainer.schedule) if trainer.schedule else None,
        "optimizer": {"kind": type(optimizer).__name__, "settings": optimizer.settings()},
        "dropout": trainer.rng.bit_generator.state if trainer.rng is not None else None,
        "generators": {name: g.bit_generator.state for name, g in dict(generators).items()},
        "notes": notes,
    }
    text = np.frombuffer(json.dumps(state).encode(), np.uint8)
    with whole_file(path) as file:
        np.savez(file, state=text, **_arrays(trainer))


def load(path):
    """The Run in the file. Raises OSError if it cannot be read, ValueError if it is not a whole run."""
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        state = json.loads(arrays.pop("state").tobytes())
        fits = state["format"] == FORMAT
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise ValueError(f"{path}: not a saved run ({error})") from error
    if not fits:
        raise ValueError(f"{path}: format {state['format']!r} given, expected {FORMAT!r}")
    return Run(str(path), arrays, state)


def _arrays(trainer):
    """Name -> array of everything large that a step changes."""
    return {"params": trainer.model.params.flat} | trainer.optimizer.arrays()
