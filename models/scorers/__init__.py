"""Scorers: networks that re-rank the candidates of a slate. One file each, `base.Scorer` is what they have in common."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING

from models.config import BUILT_IN_SCORERS, ConfigurationError
from models.config import Scorer as ScorerConfig

if TYPE_CHECKING:
    from models.scorers.base import Scorer

# A learner has a network even where nothing is scored; no example reaches it then.
_CLASSES = {
    "none": "models.scorers.mlp:MLP",
    "mlp": "models.scorers.mlp:MLP",
    "fism": "models.scorers.fism:FISM",
    "gru": "models.scorers.gru:GRU",
    "cnn": "models.scorers.cnn:CNN",
    "text": "models.scorers.text:TextFISM",
}


def scorer_class(name: str) -> type[Scorer]:
    """The class behind scorer.name.

    Parameters
    ----------
    name : mlp, fism, gru, cnn, text, or ``MODULE:CLASS`` of a class of your own

    Raises
    ------
    ConfigurationError
        When the module cannot be imported, or holds no such subclass of `models.scorers.base.Scorer`.
    """
    from models.scorers.base import Scorer

    module_name, _, class_name = _CLASSES.get(name, name).partition(":")
    try:
        found = getattr(importlib.import_module(module_name), class_name, None)
    # whatever a module of somebody else's raises when it is imported: it is said, with its key
    except Exception as error:
        raise _unusable(f"a module that can be imported ({type(error).__name__}: {error})", name) from error
    if not (inspect.isclass(found) and issubclass(found, Scorer)):
        raise _unusable(f"a subclass of models.scorers.base.Scorer named {class_name} in {module_name}", name)
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise _unusable(f"a class that has {missing}", name)
    return found


def make_scorer(config: ScorerConfig, *, seed: int = 0) -> Scorer:
    """The configured scorer, untrained.

    Parameters
    ----------
    config : section ``scorer``
    seed : of its first weights; the generator of everybody else is left alone. Who serves and who learns begin with the same

    Raises
    ------
    ConfigurationError
        When its class cannot be used, or does not take the configuration.
    """
    import torch

    found = scorer_class(config.name)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = found(config)
    # whatever a class of somebody else's raises is said, with its key; what ours raise is ours to mend
    except Exception as error:
        if config.name in BUILT_IN_SCORERS:
            raise
        raise _unusable(f"a class that takes section scorer ({type(error).__name__}: {error})", config.name) from error
    made.prepare()
    return made


def _unusable(expected: str, name: str) -> ConfigurationError:
    return ConfigurationError(file="the configuration", key="scorer.name", expected=expected, got=repr(name))
