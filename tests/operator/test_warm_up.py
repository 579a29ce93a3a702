"""What `open` warms up: no event and no request is the first to need a kernel, and waits for the compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from models.validation import parse_configuration
from operators.warm import be_warm

ROOT = Path(__file__).resolve().parents[2]
# In a process of its own: in this one other tests have compiled by now whatever there is.
ASKED = """
import sys
from numba.core.dispatcher import Dispatcher
from models.config import Configuration
from tests import synthetic
from tests.operator.test_requests_operator import Asked

def compiled():
    modules = [module for name, module in sys.modules.items() if name.startswith("models")]
    kernels = {id(kernel): kernel for module in modules for kernel in vars(module).values() if isinstance(kernel, Dispatcher)}
    return {(kernel.__module__, kernel.__name__): set(map(str, kernel.signatures)) for kernel in kernels.values()}

recommend = Asked(configuration=Configuration())
for event in synthetic.events(30, users=3):
    recommend.event(event)
before = compiled()
answers = 0
for user in ("user-1", "a stranger"):
    only, never = {"restrict": ["item-1"]}, {"exclude": ["item-2"]}
    for number, asked in enumerate(({}, only, never, only | never)):
        for again in "ab":
            answers += len(recommend.ask(f"r{number}{again}", user=user, **asked).slates)
assert answers == 16 and before
print({name: signatures - before.get(name, set()) for name, signatures in compiled().items() if signatures != before.get(name)})
"""


def test_requests_of_every_kind_find_their_kernels_compiled():
    ran = subprocess.run([sys.executable, "-c", ASKED], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "{}"


def test_a_process_is_warmed_up_once_for_what_it_computes_and_again_where_that_failed(monkeypatch):
    def warm(topics, epsilon):
        be_warm(parse_configuration({"kafka": {"topic_prefix": topics}, "policy": {"epsilon": epsilon}}, "the test"))

    def warm_up(configuration):
        ran.append(configuration.policy.epsilon)
        if len(ran) == 1:
            raise MemoryError

    ran: list[float] = []
    monkeypatch.setattr("operators.warm._warm", set())
    monkeypatch.setattr("models.pipeline.warm_up", warm_up)
    monkeypatch.setattr("operators.warm.settle", lambda: None)
    with pytest.raises(MemoryError):
        warm("a-", 0.25)
    for topics, epsilon in (("a-", 0.25), ("b-", 0.25), ("a-", 0.5), ("a-", 0.25)):
        warm(topics, epsilon)
    assert ran == [0.25, 0.25, 0.5]
