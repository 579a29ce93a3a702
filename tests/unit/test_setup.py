"""Kernels are compiled once for what the sources are."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from cli.setup import compile_kernels


def test_kernels_are_compiled_again_only_when_a_source_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr("models.pipeline.warm_up", compiled.append)
    (tmp_path / "sources").mkdir()
    source = tmp_path / "sources" / "item_cf.py"
    source.write_text("one")

    def compiles() -> bool:
        compiled.clear()
        compile_kernels(Console(quiet=True), tmp_path)
        return bool(compiled)

    assert compiles()
    assert not compiles()
    source.write_text("another")
    assert compiles()
    assert not compiles()


def test_kernels_are_compiled_again_after_it_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_configuration: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr("models.pipeline.warm_up", fail)
        compile_kernels(Console(quiet=True), tmp_path)
    compiled = []
    monkeypatch.setattr("models.pipeline.warm_up", compiled.append)
    compile_kernels(Console(quiet=True), tmp_path)

    assert compiled
