"""The key under which a score is kept."""

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from cenote.evaluation.configuration import configuration_of
from cenote.evaluation.reading import TextReader


def configuration(folder, pooling="mean", **settings):
    sides = [[Transformer(str(folder)), Pooling(32, one)] for one in ("mean", pooling)]
    for name, value in settings.items():
        setattr(sides[1][0].model.config, name, value)
    model = SentenceTransformer(modules=[Router.for_query_document(*sides)], device="cpu")
    return configuration_of(TextReader(model, "torch", "float32"))


def test_routers_of_other_poolings_or_networks_have_other_keys(tiny):
    first = configuration(tiny("bert"))
    assert configuration(tiny("bert")) == first
    for other in (configuration(tiny("bert"), "cls"), configuration(tiny("bert"), layer_norm_eps=0.1)):
        assert other != first
        assert other["weights"] == first["weights"]
