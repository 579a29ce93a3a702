"""What a package of policies or scorers holds: every class of its modules that has the methods of the contract."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType


def implementations(package: ModuleType, *methods: str, besides: frozenset[str] = frozenset()) -> dict[str, type]:
    """Classes by module name; a module that holds none fails the audit, so that no algorithm escapes the contract.

    A module of abstract classes is what the others share; `besides` names modules that hold something else.
    """
    found = {}
    for info in pkgutil.iter_modules(package.__path__):
        if info.name in besides:
            continue
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        classes = [
            one
            for one in vars(module).values()
            if inspect.isclass(one) and one.__module__ == module.__name__ and all(hasattr(one, name) for name in methods)
        ]
        concrete = [one for one in classes if not inspect.isabstract(one)]
        if classes and not concrete:
            continue
        classes = concrete
        assert len(classes) == 1, f"{module.__name__}: expected one class with {', '.join(methods)}, got {classes}"
        found[info.name] = classes[0]
    return found
