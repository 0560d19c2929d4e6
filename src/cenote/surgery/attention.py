"""How each family of models scales its attention: one table, read by live tempering and by baking.

The `places` of a row are the sub-modules of an attention module in whose output the logits are linear. Multiplying
that output, or dividing the weights that make it, divides the logits; the mask is added later and stays unchanged.
A row without such a place says `softmax`: there the softmax of the module is intercepted as torch runs it.

To add an architecture, add a row. Attention modules without a row are found by a probe of a few tokens.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from cenote._nn.modules import eval_mode
from cenote.errors import BadInput, UnsupportedModel, some


@dataclass(frozen=True)
class Place:
    """A sub-module of an attention module, or one of its parameters, in which the logits are linear."""

    path: str
    part: Callable[[Any], int] | None = None  # of a fused projection: the number of leading outputs that are the query
    plus: float = 0.0  # effective weight minus stored weight: Gemma's norms store 1 less
    tokens: int = 1  # axis of the tokens in the output
    texts: int = 0  # axis of the texts
    bias: bool = False  # an additive position bias, not a query
    optional: bool = False  # not every attention module of the family has it


@dataclass(frozen=True)
class Family:
    """One row of the table: how one kind of attention module is tempered."""

    kind: str
    places: tuple[Place, ...]  # divided by baking, and by live tempering unless `softmax` is set
    softmax: bool = False  # live tempering intercepts the softmax
    bias: str = ""  # how a position bias enters: "argument" (of forward) or "handed on" (from layer to layer)
    capped: str = ""  # attribute of the module and its config that caps the logits; divided with them
    bakes: bool = True
    guessed: bool = False  # inferred from the module's children, and still to be confirmed


_PLAIN, _NORMALISED, _BIASED = "plain scale", "query-normalised", "additive position bias"
_OWN = "own code"

_QUERY = Family(_PLAIN, (Place("query"),))
_Q_PROJ = Family(_PLAIN, (Place("q_proj"),))
_Q_NORM = Family(_NORMALISED, (Place("q_norm"),))
_T5 = Family(_BIASED, (Place("q"), Place("relative_attention_bias", bias=True, optional=True)), bias="handed on")

# transformers' package and class -> row. The class name alone is ambiguous: it is reused with other projections.
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
    # A norm after the query projection undoes a factor in the projection's weights: divide the norm's own weight.
    "qwen3.Qwen3Attention": _Q_NORM,
    "gemma3.Gemma3Attention": Family(_NORMALISED, (Place("q_norm", plus=1.0, tokens=2),)),
    "embedding_gemma2.EmbeddingGemma2Attention": Family(_NORMALISED, (Place("q_norm", tokens=2),)),
    "t5.T5Attention": _T5,
    "mt5.MT5Attention": _T5,
    "mpnet.MPNetSelfAttention": Family(_BIASED, (Place("q"),), bias="argument"),
    # With share_att_key the query projection also makes the positions' queries, and pos_query_proj does not exist.
    "deberta_v2.DisentangledSelfAttention": Family(
        "disentangled", (Place("query_proj"), Place("pos_query_proj", optional=True)), softmax=True
    ),
    "xlnet.XLNetRelativeAttention": Family(
        _OWN, tuple(Place(path) for path in ("q", "r_w_bias", "r_r_bias", "r_s_bias")), softmax=True
    ),
    # c tanh(x / c) / tau = c' tanh(x / tau / c') with c' = c / tau.
    "gemma2.Gemma2Attention": Family(_OWN, (Place("q_proj"),), softmax=True, capped="attn_logit_softcapping"),
}

# Modules outside the attention that hold a position bias for all layers: baked, not hooked.
SHARED_BIASES: dict[str, Place] = {"mpnet.MPNetEncoder": Place("relative_attention_bias", bias=True)}

# Usual names of the query projection, for attention modules without a row.
_USUAL = ("query", "q_proj", "q_lin", "q")
UNPLACED = Family("softmax", (), softmax=True, bakes=False)


@dataclass(frozen=True)
class Site:
    """An attention module of a model and its row."""

    name: str
    module: nn.Module
    family: Family
    calls: int = 1  # in one forward pass; more where layers share the module

    def places(self) -> Iterator[tuple[Place, Any]]:
        """Yield the places of the row, each with its sub-module or parameter."""
        for place in self.family.places:
            if not place.optional or hasattr(self.module, place.path):
                yield place, getattr(self.module, place.path)


def address(module: nn.Module) -> str:
    """Return the key of a transformers module in `FAMILIES`, or the full class path of any other module.

    >>> address(nn.Linear(1, 1))
    'torch.nn.modules.linear.Linear'
    """
    path, name = type(module).__module__.split("."), type(module).__name__
    native = path[:2] == ["transformers", "models"] and len(path) == 4 and path[3] == f"modeling_{path[2]}"
    return f"{path[2]}.{name}" if native else ".".join((*path, name))


@dataclass(frozen=True)
class Probe:
    """A few token ids for trying a model: two texts, the second one shorter and padded on the right."""

    ids: Tensor
    mask: Tensor

    @classmethod
    def of(cls, network: nn.Module) -> Probe:
        """Make a probe within the model's vocabulary."""
        table = getattr(network, "get_input_embeddings", lambda: None)()
        size = getattr(table, "num_embeddings", 0)
        if not isinstance(size, int) or size < 2:
            raise UnsupportedModel(f"{type(network).__name__} has no token embeddings: it does not read text.")
        device = next(network.parameters()).device
        ids = (torch.arange(2 * 7, device=device).view(2, 7) * 37 + 11) % size
        mask = torch.ones_like(ids)
        mask[1, 4:] = 0
        pad = getattr(getattr(network, "config", None), "pad_token_id", None)
        pad = pad if isinstance(pad, int) and 0 <= pad < size else 0
        # No real token may equal the padding token, by which some families number their positions.
        ids = torch.where(ids == pad, (pad + 1) % size, ids).masked_fill(mask == 0, pad)
        return cls(ids, mask)

    def otherwise_padded(self) -> Probe:
        """Return the same texts with another token as padding."""
        return replace(self, ids=torch.where(self.mask == 0, self.ids[0, 3], self.ids))

    def on_the_left(self) -> Probe:
        """Return the same texts padded on the left: causal models do not see padding on the right."""
        ids = torch.stack([self.ids[0], self.ids[1].roll(int((self.mask[1] == 0).sum()))])
        return Probe(ids, self.mask.flip(1))

    def read(self, network: nn.Module) -> Tensor:
        """Return the network's output for the real tokens, without gradients, dropout or random numbers."""
        try:
            with eval_mode(network), torch.no_grad():
                out: Tensor = network(input_ids=self.ids, attention_mask=self.mask)[0]
        except UnsupportedModel:
            raise
        except Exception as error:  # of any kind: this model does not take ids and a mask
            raise UnsupportedModel(
                f"{type(network).__name__} fails on a few token ids and their mask: {error}"
            ) from error
        return (out[self.mask.bool()] if out.shape[:2] == self.mask.shape else out).float()


SOFTMAXES = (nn.functional.softmax, torch.softmax, Tensor.softmax)
SDPA = nn.functional.scaled_dot_product_attention


class _Watch(TorchFunctionMode):
    """Records which module runs each softmax over tokens, and how often each module is called."""

    def __init__(self, network: nn.Module, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.names = {module: name for name, module in network.named_modules()}
        self.calls: dict[nn.Module, int] = {}
        self.owners: dict[nn.Module, tuple[str, ...]] = {}  # a module that runs softmax -> its chain of parents
        self.unplaceable: set[str] = set()
        self.stack: list[nn.Module] = []
        self.thread = threading.get_ident()  # other threads may use the model at the same time

    def watched(self, read: Callable[[], object]) -> None:
        """Call `read` and record."""
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

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        attends = placeable = func is SDPA
        if func is nn.functional.multi_head_attention_forward:
            attends = True  # and runs its softmax where no mode sees it
        elif func in SOFTMAXES:
            logits = args[0] if args else kwargs["input"]
            square = logits.shape[-2:] == (self.tokens, self.tokens)
            attends = logits.ndim == 4 or (logits.ndim == 3 and square)  # [B, H, T, T] or [B * H, T, T]
            placeable = logits.ndim == 4 and square
        if self.stack and attends:
            self.owners[self.stack[-1]] = tuple(self.names[module] for module in self.stack)
            if not placeable:
                self.unplaceable.add(self.names[self.stack[-1]])
        return func(*args, **kwargs)


def networks_of(model: Any) -> list[tuple[Any, list[nn.Module]]]:
    """Return the transformers models in a model, each once, with the modules that a batch enters by."""
    if isinstance(model, SentenceTransformer):
        readers = [module for module in model.modules() if isinstance(module, Transformer)]
        if others := [type(reader.model).__name__ for reader in readers if not isinstance(reader.model, nn.Module)]:
            raise UnsupportedModel(f"{others[0]} is no torch module: its attention cannot be reached.")
        if not readers:
            raise UnsupportedModel(
                f"this SentenceTransformer starts with {type(model[0]).__name__} and holds no Transformer module of "
                "sentence-transformers, so it has no attention."
            )
        entries: dict[Any, list[nn.Module]] = {reader.model: [reader.model] for reader in readers}
        for reader in readers:  # of the routes of a Router, some may share a network
            entries[reader.model].append(reader)
        return list(entries.items())
    if not isinstance(model, PreTrainedModel):
        raise BadInput(f"a {type(model).__name__} is neither a SentenceTransformer nor a transformers model.")
    return [(model, [model])]


def features_of(args: Any, kwargs: dict[str, Any]) -> Mapping[str, Any]:
    """Return the features of a batch by name, from the arguments of a model's forward."""
    # A sentence-transformers module takes one mapping of features; a transformers model takes them by name.
    if args and isinstance(args[0], Mapping):
        return args[0]
    return {**dict(zip(("input_ids", "attention_mask"), args, strict=False)), **kwargs}


def mask_of(features: Mapping[str, Any], purpose: str) -> Tensor:
    """Return the mask of the real tokens of a padded batch, [B, T], bool. `purpose` begins the error message."""
    mask = features.get("attention_mask")
    if mask is None:
        inputs = (features.get(name) for name in ("input_ids", "inputs_embeds"))
        if (ids := next((value for value in inputs if value is not None), None)) is not None:
            return torch.ones(ids.shape[:2], dtype=torch.bool, device=ids.device)
    if not isinstance(mask, Tensor) or mask.ndim != 2:
        given = f"{list(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise BadInput(f"{purpose} an attention_mask [B, T]; this one is {given}.")
    return mask != 0


def find_sites(network: nn.Module) -> list[Site]:
    """Return every attention module that a forward pass runs, in the model's order.

    Modules without a row are found by their softmax. Raise `UnsupportedModel` if one of them cannot be tempered.
    """
    if hasattr(network, "encoder") and hasattr(network, "decoder") and callable(getattr(network, "get_encoder", None)):
        raise UnsupportedModel(
            f"{type(network).__name__} has an encoder and a decoder: pass the encoder, model.get_encoder(). A "
            "SentenceTransformer that holds both cannot be tempered."
        )
    if getattr(getattr(network, "config", None), "attention_type", None) == "block_sparse":
        raise UnsupportedModel(
            f"{type(network).__name__} attends to blocks, and switches its attention for good when it reads a short "
            "text: load it with attention_type='original_full'."
        )
    known = {name: FAMILIES[address(m)] for name, m in network.named_modules() if address(m) in FAMILIES}
    probe = Probe.of(network)
    watch = _Watch(network, probe.ids.shape[1])
    watch.watched(lambda: probe.read(network))
    unknown = {
        watch.names[owner]: _guess(owner) for owner, chain in watch.owners.items() if not set(chain) & known.keys()
    }
    if unplaceable := sorted(unknown.keys() & watch.unplaceable):
        modules = dict(network.named_modules())
        found = some(f"{name} ({address(modules[name])})" for name in unplaceable)
        raise UnsupportedModel(f"cannot temper {found}: its softmax is not one over all tokens, or cannot be seen.")
    rows = known | unknown
    sites = [
        Site(name, module, rows[name], watch.calls[module])
        for name, module in network.named_modules()
        if name in rows and module in watch.calls
    ]
    if not sites:
        raise UnsupportedModel(
            f"no attention found in {type(network).__name__}: no known attention module, and no softmax over tokens. "
            "(With an attention implementation other than eager or sdpa only known modules are found.)"
        )
    return sites


def _guess(module: nn.Module) -> Family:
    """Guess a row for a module without one: by its query projection if it has just one, else by its softmax."""
    children = dict(module.named_children())
    names = [name for name in _USUAL if type(children.get(name)) is nn.Linear]
    if len(names) != 1 or any("norm" in name for name in children):
        return UNPLACED
    return Family(_PLAIN, (Place(names[0]),), guessed=True)
