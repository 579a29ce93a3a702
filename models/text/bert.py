"""The forward pass of a BERT encoder over one text, and nothing else of it.

Devlin et al., "BERT: pre-training of deep bidirectional transformers for language understanding", 2019. Inference of one text
without padding needs a tenth of what the libraries bring: their import takes ten seconds, and a third of the time of a short text is
their Python around the arithmetic. What is left is mostly reading the matrices, so they are kept in half precision where this can be
computed with. A test holds the vectors to those of sentence-transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from msgspec import Struct
from torch.nn import functional

_EMBEDDINGS = "embeddings."
# Half precision needs FBGEMM, which PyTorch has on x86 alone.
PRECISION = "float16" if "fbgemm" in torch.backends.quantized.supported_engines else "float32"


class BertConfig(Struct, frozen=True):
    """What a model's ``config.json`` says of its shape."""

    model_type: str
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    hidden_act: str = "gelu"
    position_embedding_type: str = "absolute"
    layer_norm_eps: float = 1e-12

    @property
    def is_plain(self) -> bool:
        """Whether `Bert` computes what this model does."""
        return (self.model_type, self.hidden_act, self.position_embedding_type) == ("bert", "gelu", "absolute")


class _Linear:
    """x W' + b in float32, of a matrix W that is kept in `PRECISION`."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self._weight, self._bias = weight, bias
        if PRECISION == "float16":
            self._weight = torch.ops.quantized.linear_prepack_fp16(weight, bias)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if PRECISION == "float16":
            return cast(torch.Tensor, torch.ops.quantized.linear_dynamic_fp16(x, self._weight))
        return functional.linear(x, self._weight, self._bias)


class _Layer:
    """One layer: attention and a network of two layers, each added to its input and normalised."""

    def __init__(self, weights: Mapping[str, torch.Tensor], config: BertConfig) -> None:
        def pair(name: str) -> tuple[torch.Tensor, torch.Tensor]:
            return weights[f"{name}.weight"], weights[f"{name}.bias"]

        queries_keys_values = [pair(f"attention.self.{name}") for name in ("query", "key", "value")]
        # one product of matrices instead of three
        self._joint = _Linear(*(torch.cat(part) for part in zip(*queries_keys_values, strict=True)))
        self._attended, self._attended_norm = _Linear(*pair("attention.output.dense")), pair("attention.output.LayerNorm")
        self._inner, self._outer = _Linear(*pair("intermediate.dense")), _Linear(*pair("output.dense"))
        self._norm = pair("output.LayerNorm")
        self._heads, self._eps = config.num_attention_heads, config.layer_norm_eps

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        tokens, width = x.shape
        parts = self._joint(x).view(tokens, 3, self._heads, width // self._heads)
        queries, keys, values = parts.permute(1, 2, 0, 3).unsqueeze(1)
        attended = functional.scaled_dot_product_attention(queries, keys, values)
        attended = attended.squeeze(0).transpose(0, 1).reshape(tokens, width)
        x = functional.layer_norm(x + self._attended(attended), (width,), *self._attended_norm, self._eps)
        inner = functional.gelu(self._inner(x))
        return functional.layer_norm(x + self._outer(inner), (width,), *self._norm, self._eps)


class Bert:
    """A BERT encoder.

    Parameters
    ----------
    config : its shape
    weights : by the names that its file gives them

    Attributes
    ----------
    width : numbers of a vector
    """

    def __init__(self, config: BertConfig, weights: Mapping[str, torch.Tensor]) -> None:
        # saved as part of a larger model, the names begin with that of the part
        prefix = next(name for name in weights if name.endswith(_EMBEDDINGS + "word_embeddings.weight"))
        prefix = prefix.removesuffix(_EMBEDDINGS + "word_embeddings.weight")
        own = {name.removeprefix(prefix): tensor.float() for name, tensor in weights.items() if name.startswith(prefix)}
        self._words = own[_EMBEDDINGS + "word_embeddings.weight"]
        # a single text is all of the first type
        self._places = own[_EMBEDDINGS + "position_embeddings.weight"] + own[_EMBEDDINGS + "token_type_embeddings.weight"][0]
        self._norm = own[_EMBEDDINGS + "LayerNorm.weight"], own[_EMBEDDINGS + "LayerNorm.bias"]
        self._eps = config.layer_norm_eps
        self.width = self._words.shape[1]
        self._layers = [
            _Layer({name.removeprefix(start): tensor for name, tensor in own.items() if name.startswith(start)}, config)
            for start in (f"encoder.layer.{number}." for number in range(config.num_hidden_layers))
        ]

    @torch.inference_mode()
    def __call__(self, token_ids: list[int]) -> torch.Tensor:
        """What the last layer makes of the tokens of one text, float32[tokens, width]."""
        x = self._words[torch.tensor(token_ids)] + self._places[: len(token_ids)]
        x = functional.layer_norm(x, (self.width,), *self._norm, self._eps)
        for layer in self._layers:
            x = layer(x)
        return x
