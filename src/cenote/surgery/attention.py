"""How each family of models scales its attention: one table, read by live tempering and by baking alike.

A row says which sub-modules of an attention module give an output that the logits are linear in (its `places`).
Multiplying that output, or dividing the weights that make it, divides the logits; the mask, added later, stays.
Where no such place exists the row says `softmax`: there the softmax of this module is reached as torch runs it.

To add an architecture, add a row. One that has none is looked at while it reads a few tokens, and gets what fits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from cenote.errors import BadInput, UnsupportedModel, some


@dataclass(frozen=True)
class Place:
    """A sub-module of an attention module, or a parameter of its own, that the logits are linear in."""

    path: str
    part: Callable[[Any], int] | None = None  # of a fused projection: how many leading outputs are the query
    plus: float = 0.0  # the weight in effect is what is stored plus this: Gemma's norms store 1 less
    tokens: int = 1  # axis of the tokens in the output
    texts: int = 0  # axis of the texts
    bias: bool = False  # an additive position bias, not a query
    optional: bool = False  # not every attention module of the family has it


@dataclass(frozen=True)
class Family:
    """One row: how a kind of attention module is tempered."""

    kind: str
    places: tuple[Place, ...]  # what baking divides, and live tempering too unless `softmax` is set
    softmax: bool = False  # live by way of the softmax
    bias: str = ""  # how a position bias comes in: "argument" (of forward) or "handed on" (from layer to layer)
    capped: str = ""  # a number of the module and its config that caps the logits, and is divided with them
    bakes: bool = True
    guessed: bool = False  # by the form of the module alone, and still to be confirmed


_PLAIN, _NORMALISED, _BIASED = "plain scale", "query-normalised", "additive position bias"
_OWN = "own code"

_QUERY = Family(_PLAIN, (Place("query"),))
_Q_PROJ = Family(_PLAIN, (Place("q_proj"),))
_Q_NORM = Family(_NORMALISED, (Place("q_norm"),))
_T5 = Family(_BIASED, (Place("q"), Place("relative_attention_bias", bias=True, optional=True)), bias="handed on")

# transformers' package and class -> row. The class alone would not do: names are reused with other projections.
FAMILIES: dict[str, Family] = {
    "bert.BertSelfAttention": _QUERY,
    "roberta.RobertaSelfAttention": _QUERY,
    "xlm_roberta.XLMRobertaSelfAttention": _QUERY,
    "camembert.CamembertSelfAttention": _QUERY,
    "electra.ElectraSelfAttention": _QUERY,
    "ernie.ErnieSelfAttention": _QUERY,
    "albert.AlbertAttention": _QUERY,
    "big_bird.BigBirdSelfAttention": _QUERY,
    "distilbert.DistilBertSelfAttention": Family(_PLAIN, (Place("q_lin"),)),
    "nomic_bert.NomicBertAttention": _Q_PROJ,
    "eurobert.EuroBertAttention": _Q_PROJ,
    "gte.GteAttention": _Q_PROJ,
    "jina_embeddings_v3.JinaEmbeddingsV3Attention": _Q_PROJ,
    "qwen2.Qwen2Attention": _Q_PROJ,
    "llama.LlamaAttention": _Q_PROJ,
    "mistral.MistralAttention": _Q_PROJ,
    "gemma.GemmaAttention": _Q_PROJ,
    "granite.GraniteAttention": _Q_PROJ,
    "bart.BartAttention": _Q_PROJ,
    "modernbert.ModernBertAttention": Family(_PLAIN, (Place("Wqkv", part=lambda m: int(m.Wqkv.out_features) // 3),)),
    "phi3.Phi3Attention": Family(
        _PLAIN, (Place("qkv_proj", part=lambda m: int(m.config.num_attention_heads * m.head_dim)),)
    ),
    "longformer.LongformerSelfAttention": Family(
        _PLAIN, tuple(Place(path, tokens=0, texts=1) for path in ("query", "query_global"))
    ),
    # A norm after the query projection undoes any factor in its weights: the norm's own weight is the place.
    "qwen3.Qwen3Attention": _Q_NORM,
    "gemma3.Gemma3Attention": Family(_NORMALISED, (Place("q_norm", plus=1.0, tokens=2),)),
    "embedding_gemma2.EmbeddingGemma2Attention": Family(_NORMALISED, (Place("q_norm", tokens=2),)),
    "t5.T5Attention": _T5,
    "mt5.MT5Attention": _T5,
    "mpnet.MPNetSelfAttention": Family(_BIASED, (Place("q"),), bias="argument"),
    # With share_att_key the query projection makes the positions' queries too, and there is no second one.
    "deberta_v2.DisentangledSelfAttention": Family(
        "disentangled", (Place("query_proj"), Place("pos_query_proj", optional=True)), softmax=True
    ),
    "xlnet.XLNetRelativeAttention": Family(
        _OWN, tuple(Place(path) for path in ("q", "r_w_bias", "r_r_bias", "r_s_bias")), softmax=True
    ),
    # c tanh(x / c) / tau = c' tanh(x / tau / c') with c' = c / tau.
    "gemma2.Gemma2Attention": Family(_OWN, (Place("q_proj"),), softmax=True, capped="attn_logit_softcapping"),
}

# Modules outside the attention that hold a position bias for all layers: nothing to hook, but to bake.
SHARED_BIASES: dict[str, Place] = {"mpnet.MPNetEncoder": Place("relative_attention_bias", bias=True)}

# What an attention module without a row may call its query projection.
_USUAL = ("query", "q_proj", "q_lin", "q")
UNPLACED = Family("softmax", (), softmax=True, bakes=False)


@dataclass(frozen=True)
class Site:
    """An attention module of a model and the row that it goes by."""

    name: str
    module: nn.Module
    family: Family
    calls: int = 1  # in one forward; more where layers share it

    def places(self) -> Iterator[tuple[Place, Any]]:
        """The row's places with what stands there."""
        for place in self.family.places:
            if not place.optional or hasattr(self.module, place.path):
                yield place, getattr(self.module, place.path)


def address(module: nn.Module) -> str:
    """The key of a module in `FAMILIES`, if it is one of transformers' own; else its full class path.

    >>> address(nn.Linear(1, 1))
    'torch.nn.modules.linear.Linear'
    """
    path, name = type(module).__module__.split("."), type(module).__name__
    native = path[:2] == ["transformers", "models"] and len(path) == 4 and path[3] == f"modeling_{path[2]}"
    return f"{path[2]}.{name}" if native else ".".join((*path, name))


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Inside, no part of the model is in training; after it, those are that were: one just loaded may have both."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def kept_in(model: nn.Module) -> torch.dtype:
    """The dtype of the weights."""
    return next((value.dtype for value in model.parameters() if value.is_floating_point()), torch.float32)


@dataclass(frozen=True)
class Probe:
    """A few token ids on which a model is looked at: two texts, the second shorter and padded on the right."""

    ids: Tensor
    mask: Tensor

    @classmethod
    def of(cls, network: nn.Module) -> Probe:
        """One that suits the model's vocabulary."""
        table = getattr(network, "get_input_embeddings", lambda: None)()
        size = getattr(table, "num_embeddings", 0)
        if not isinstance(size, int) or size < 2:
            raise UnsupportedModel(f"{type(network).__name__} has no table of token embeddings: it reads no text.")
        device = next(network.parameters()).device
        ids = (torch.arange(2 * 7, device=device).view(2, 7) * 37 + 11) % size
        mask = torch.ones_like(ids)
        mask[1, 4:] = 0
        pad = getattr(getattr(network, "config", None), "pad_token_id", None)
        pad = pad if isinstance(pad, int) and 0 <= pad < size else 0
        # No real token may be taken for padding, by which some families number their positions.
        ids = torch.where(ids == pad, (pad + 1) % size, ids).masked_fill(mask == 0, pad)
        return cls(ids, mask)

    def otherwise_padded(self) -> Probe:
        """The same texts over other padding."""
        return replace(self, ids=torch.where(self.mask == 0, self.ids[0, 3], self.ids))

    def on_the_left(self) -> Probe:
        """The same texts with the padding before them: what comes after a text is hidden from causal models anyway."""
        ids = torch.stack([self.ids[0], self.ids[1].roll(int((self.mask[1] == 0).sum()))])
        return Probe(ids, self.mask.flip(1))

    def read(self, network: nn.Module) -> Tensor:
        """What the model makes of the real tokens. Nothing of it stays: no gradient, no dropout, no random number."""
        try:
            with at_rest(network), torch.no_grad():
                out: Tensor = network(input_ids=self.ids, attention_mask=self.mask)[0]
        except UnsupportedModel:
            raise
        except Exception as error:  # whatever a model may object to, it is not one that reads ids and a mask
            raise UnsupportedModel(
                f"{type(network).__name__} does not read a few token ids and their mask: {error}"
            ) from error
        return (out[self.mask.bool()] if out.shape[:2] == self.mask.shape else out).float()


SOFTMAXES = (nn.functional.softmax, torch.softmax, Tensor.softmax)
SDPA = nn.functional.scaled_dot_product_attention


class _Watch(TorchFunctionMode):
    """Sees which module runs each softmax over tokens, and how often each module is called."""

    def __init__(self, network: nn.Module, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.names = {module: name for name, module in network.named_modules()}
        self.calls: dict[nn.Module, int] = {}
        self.owners: dict[nn.Module, tuple[str, ...]] = {}  # a module that runs softmax -> its chain of parents
        self.odd: set[str] = set()
        self.stack: list[nn.Module] = []
        self.thread = threading.get_ident()  # others may use the model meanwhile

    def watched(self, read: Callable[[], object]) -> None:
        """Look while `read` runs."""
        handles = [module.register_forward_pre_hook(self._push) for module in self.names]
        handles += [module.register_forward_hook(self._pop, always_call=True) for module in self.names]
        try:
            with self:
                read()
        finally:
            for handle in handles:
                handle.remove()

    def _push(self, module: nn.Module, _: Any) -> None:
        if self.thread == threading.get_ident():
            self.stack.append(module)
            self.calls[module] = self.calls.get(module, 0) + 1

    def _pop(self, *_: Any) -> None:
        if self.thread == threading.get_ident():
            self.stack.pop()

    def _may_attend(self, logits: Tensor) -> bool:
        """Whether a softmax is one over tokens: of four axes, or of texts and heads in one, [B * H, T, T]."""
        return logits.ndim == 4 or (logits.ndim == 3 and tuple(logits.shape[1:]) == (self.tokens, self.tokens))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        logits = args[0] if func in SOFTMAXES and args else kwargs.get("input") if func in SOFTMAXES else None
        if self.stack and (func is SDPA or (isinstance(logits, Tensor) and self._may_attend(logits))):
            owner = self.stack[-1]
            self.owners[owner] = tuple(self.names[module] for module in self.stack)
            square = isinstance(logits, Tensor) and tuple(logits.shape[2:]) == (self.tokens, self.tokens)
            if func is not SDPA and not square:
                self.odd.add(self.names[owner])  # not heads of tokens by tokens: what tau means there nobody has said
        elif self.stack and func is nn.functional.multi_head_attention_forward:
            self.owners[self.stack[-1]] = tuple(self.names[module] for module in self.stack)
            self.odd.add(self.names[self.stack[-1]])  # runs its softmax where no mode sees it
        return func(*args, **kwargs)


def networks_of(model: Any) -> list[tuple[Any, list[nn.Module]]]:
    """The transformers models in a model, each with the modules by which texts come in."""
    if isinstance(model, SentenceTransformer):
        readers = [module for module in model.modules() if isinstance(module, Transformer)]
        if odd := [type(reader.model).__name__ for reader in readers if not isinstance(reader.model, nn.Module)]:
            raise UnsupportedModel(f"{odd[0]} has no attention of a torch transformer.")
        if not readers:
            raise UnsupportedModel(
                f"this SentenceTransformer starts with {type(model[0]).__name__} and holds no Transformer module of "
                "sentence-transformers, so it has no attention that could be reached."
            )
        return [(reader.model, [reader.model, reader]) for reader in readers]
    if not isinstance(model, PreTrainedModel):
        raise BadInput(f"a {type(model).__name__} is neither a SentenceTransformer nor a transformers model.")
    return [(model, [model])]


def find_sites(network: nn.Module) -> list[Site]:
    """Every attention module that a text passes through, in the model's order.

    Those without a row are found by their softmax; what cannot be placed raises `UnsupportedModel`.
    """
    if hasattr(network, "encoder") and hasattr(network, "decoder") and callable(getattr(network, "get_encoder", None)):
        raise UnsupportedModel(
            f"{type(network).__name__} has an encoder and a decoder: pass the encoder, model.get_encoder()."
        )
    if getattr(getattr(network, "config", None), "attention_type", None) == "block_sparse":
        raise UnsupportedModel(
            f"{type(network).__name__} attends to blocks, and changes itself for good when it reads a short text: "
            "load it with attention_type='original_full'."
        )
    known = {name: FAMILIES[address(m)] for name, m in network.named_modules() if address(m) in FAMILIES}
    probe = Probe.of(network)
    watch = _Watch(network, probe.ids.shape[1])
    watch.watched(lambda: probe.read(network))
    unknown = {
        watch.names[owner]: _guess(owner) for owner, chain in watch.owners.items() if not set(chain) & known.keys()
    }
    if odd := sorted(unknown.keys() & watch.odd):
        modules = dict(network.named_modules())
        raise UnsupportedModel(f"cannot place {some(f'{name} ({address(modules[name])})' for name in odd)}.")
    rows = known | unknown
    sites = [
        Site(name, module, rows[name], watch.calls[module])
        for name, module in network.named_modules()
        if name in rows and module in watch.calls
    ]
    if not sites:
        raise UnsupportedModel(
            f"{type(network).__name__} has no attention that can be found: no known attention module, and no softmax "
            "over tokens. (With an attention implementation other than eager or sdpa only known ones are seen.)"
        )
    return sites


def _guess(module: nn.Module) -> Family:
    """A row for a module without one, to be proven: its query projection if that is plain to see, else its softmax."""
    children = dict(module.named_children())
    names = [name for name in _USUAL if type(children.get(name)) is nn.Linear]
    if len(names) != 1 or any("norm" in name for name in children):
        return UNPLACED
    return Family(_PLAIN, (Place(names[0]),), guessed=True)
