"""Settings to compare, and a model that is given one for a while."""

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router

from cenote.evaluation.arms import check_grid, passes_of, set_to
from cenote.models.properties import limit_of
from cenote.models.repooling import repool

from ..bags import load_bags


def limits(model, *tried):
    return [one.arms[0].limit for one in passes_of(model, "bags", check_grid(None, None, tried, None))]


def test_the_limit_that_is_tried_is_that_of_documents(bag_model):
    bag_model[0].document_length = 40
    assert limits(bag_model, 40, 512) == [40, 512]
    with set_to(bag_model, None, 512):
        assert limit_of(bag_model, "document") == 512
    assert limit_of(bag_model, "document") == 40


def test_a_models_own_pooling_is_no_other_setting(bag_model):
    repool(bag_model, "mean_sqrt_len")
    for name in ("mean_sqrt_len", "mean_sqrt_len_tokens"):
        (one,) = passes_of(bag_model, "bags", check_grid([name], None, None, None))
        assert [arm.pooling for arm in one.arms] == ["mean_sqrt_len"]


def test_a_router_may_have_no_route_without_a_task_or_none_for_documents(bag_folder):
    sides = [[*load_bags(bag_folder)] for _ in range(2)]
    sides[1][0].max_seq_length = 40
    for names in (("query", "document"), ("one", "other")):
        default = None if "document" in names else "other"
        router = Router(dict(zip(names, sides, strict=True)), default, allow_empty_key=False)
        assert limits(SentenceTransformer(modules=[router], device="cpu").eval(), 20) == [40, 20]
