"""Backbones to train, of which as little as possible was trained with a pooling before."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

import cenote
from cenote.encoding.backends import obstacle

MODELS = Path("~/.cache/cenote-models").expanduser()


def whole(source: str, folder: Path) -> Path:
    """Write a model unchanged, but with the mean as its pooling, which those of the arms replace."""
    cenote.load(source, pooling="mean", device="cpu", dtype="float32").save_pretrained(str(folder))
    return folder


def reset(source: Path, folder: Path, keep: int, seed: int) -> Path:
    """Write a BERT whose layers above the first `keep` are random; embeddings and lower layers are those of the source.

    What is kept was trained with mean pooling, and may favour it.
    """
    model = _partly_random(
        source, ("bert.embeddings.", *(f"bert.encoder.layer.{layer}." for layer in range(keep))), seed
    )
    return _save(model.bert, AutoTokenizer.from_pretrained(source), folder)


def adapted(source: Path, folder: Path, texts: list[str], steps: int, batch: int, length: int, seed: int) -> Path:
    """Write a BERT whose layers were random and were then trained by masked language modelling alone.

    Word embeddings are those of the source to begin with. Positions beyond `length` are not trained again.
    """
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = _partly_random(source, ("bert.embeddings.",), seed)
    train_masked(model, tokenizer, folder, texts, steps, batch, length, seed, 5e-4)
    return _save(model.bert, tokenizer, folder)


def _partly_random(source: Path, kept: tuple[str, ...], seed: int) -> BertForMaskedLM:
    """Return a BERT with the source's weights under the kept names, and random ones elsewhere."""
    trained = BertForMaskedLM.from_pretrained(source)
    torch.manual_seed(seed)
    model = BertForMaskedLM(trained.config)
    before = model.state_dict()
    weights = {name: weight for name, weight in trained.state_dict().items() if name.startswith(kept)}
    model.load_state_dict(before | weights)
    model.tie_weights()
    for name, weight in model.bert.state_dict(prefix="bert.").items():
        same = torch.equal(weight, trained.state_dict()[name])
        constant = name.endswith(".bias") or "LayerNorm" in name
        if same is not name.startswith(kept) and not constant:
            raise RuntimeError(f"{name} is {'still' if same else 'no longer'} that of the source")
    return model


def rotary(
    source: Path,
    folder: Path,
    texts: list[str],
    steps: int,
    batch: int,
    length: int,
    layers: int,
    width: int,
    seed: int,
) -> Path:
    """Write a ModernBERT, which has rotary positions, trained from nothing by masked language modelling alone."""
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.model_max_length = 8192
    config = ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 2,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        max_position_embeddings=8192,
        pad_token_id=tokenizer.pad_token_id,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
    )
    torch.manual_seed(seed)
    model = ModernBertForMaskedLM(config)
    train_masked(model, tokenizer, folder, texts, steps, batch, length, seed, 8e-4)
    return _save(model.model, tokenizer, folder)


def train_masked(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    texts: list[str],
    steps: int,
    batch: int,
    length: int,
    seed: int,
    rate: float,
) -> None:
    """Train by masked language modelling on texts joined and cut to one length; goes on after a stop.

    Every row begins with CLS, ends with SEP, and has neither within it.
    """
    ids = [token for text in texts for token in tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]]
    room = length - 2
    cut = (ids[at : at + room] for at in range(0, len(ids) - room, room))
    rows = [{"input_ids": [tokenizer.cls_token_id, *part, tokenizer.sep_token_id]} for part in cut]
    checkpoints = folder.with_name(f"{folder.name}-checkpoints")
    cuda = torch.cuda.is_available()
    model.to("cuda" if cuda else "cpu")  # where its precision is asked for
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        max_steps=steps,
        per_device_train_batch_size=batch,
        learning_rate=rate,
        warmup_steps=steps // 10,
        save_steps=max(1, steps // 5),
        save_total_limit=1,
        logging_steps=max(1, steps // 20),
        report_to="none",
        seed=seed,
        use_cpu=not cuda,
        bf16=precision_of(model) == "bfloat16",
        disable_tqdm=True,
        dataloader_num_workers=4 if cuda else 0,
    )
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.3)
    trainer = Trainer(model, arguments, data_collator=collate, train_dataset=rows)  # type: ignore[arg-type]
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None)
    shutil.rmtree(checkpoints)


def precision_of(model: torch.nn.Module) -> str:
    """Return the precision that a model is trained and scored in: bfloat16 where this machine computes in it."""
    return "float32" if obstacle(model, "torch", "bfloat16", None) else "bfloat16"


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
