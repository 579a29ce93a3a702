"""A small encoder as an ONNX file, with its tokenizer: a table of one vector a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = ["[CLS]", "[UNK]", "red", "tea", "cup", "winter", "tyres"]
_DIMENSION = 16


def write_onnx_model(directory: Path) -> Path:
    """Write ``model.onnx`` and ``tokenizer.json``; the path of the former."""
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 0)])
    tokenizer.save(str(directory / "tokenizer.json"))
    table = np.random.default_rng(1).normal(size=(len(WORDS), _DIMENSION)).astype(np.float32)
    table[1] *= 0.1
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        "words",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["texts", "tokens"])],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["texts", "tokens", _DIMENSION])],
        [numpy_helper.from_array(table, "table")],
    )
    path = directory / "model.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path
