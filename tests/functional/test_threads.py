"""`one_thread_each`: one thread inside, nested and after an error, and the former number afterwards."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from cenote.functional.threads import one_thread_each, thread_count


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_one_thread_inside_and_the_former_number_afterwards():
    with one_thread_each():
        assert torch.get_num_threads() == 1
        assert thread_count() == 3
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 1
    assert torch.get_num_threads() == thread_count() == 3


def test_the_number_is_restored_when_the_last_caller_leaves():
    outer, inner = one_thread_each(), one_thread_each()
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)  # in the order of entry, as two threads may
    assert torch.get_num_threads() == 1
    assert thread_count() == 3
    inner.__exit__(None, None, None)
    assert torch.get_num_threads() == 3


def test_an_error_restores_the_number():
    with pytest.raises(KeyError, match="mine"), one_thread_each():
        raise KeyError("mine")
    assert torch.get_num_threads() == 3
