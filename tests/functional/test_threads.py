"""`one_thread_each`: what it holds, nested and after an error, and what it gives back."""

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


def test_one_inside_and_the_same_as_before_after():
    with one_thread_each():
        assert torch.get_num_threads() == 1
        assert thread_count() == 3
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 1
    assert torch.get_num_threads() == thread_count() == 3


def test_the_last_one_leaves():
    outer, inner = one_thread_each(), one_thread_each()
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)  # in the order of entry, as two threads may
    assert torch.get_num_threads() == 1
    assert thread_count() == 3
    inner.__exit__(None, None, None)
    assert torch.get_num_threads() == 3


def test_an_error_gives_back_too():
    with pytest.raises(KeyError, match="mine"), one_thread_each():
        raise KeyError("mine")
    assert torch.get_num_threads() == 3
