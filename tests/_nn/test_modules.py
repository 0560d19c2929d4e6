"""The training mode and the dtype of modules."""

import pytest
import torch
from torch import nn

from cenote._nn.modules import eval_mode, weights_dtype


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_each_module_gets_its_training_mode_back(error):
    model = nn.Sequential(nn.Dropout(), nn.Linear(2, 2)).train()
    model[1].eval()
    try:
        with eval_mode(model):
            assert not any(module.training for module in model.modules())
            if error is not None:
                raise error
    except KeyboardInterrupt:
        pass
    assert [module.training for module in model.modules()] == [True, True, False]


def test_the_dtype_is_that_of_the_floating_weights():
    assert weights_dtype(nn.Linear(2, 2).half()) == torch.float16
    assert weights_dtype(nn.Dropout()) == torch.float32
    whole = nn.Module()
    whole.index = nn.Parameter(torch.zeros(2, dtype=torch.long), requires_grad=False)
    assert weights_dtype(whole) == torch.float32
