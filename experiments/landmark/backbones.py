"""Backbones to train: no pooling may have an advantage from what a backbone was trained with before."""

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

MODELS = Path("~/.cache/cenote-models").expanduser()


def reset(source: Path, folder: Path, keep: int, seed: int = 0) -> Path:
    """Write a BERT whose layers above the first `keep` are random again."""
    model, tokenizer = BertForMaskedLM.from_pretrained(source), AutoTokenizer.from_pretrained(source)
    torch.manual_seed(seed)
    for layer in model.bert.encoder.layer[keep:]:
        layer.apply(model._init_weights)
    return _save(model.bert, tokenizer, folder)


def adapted(source: Path, folder: Path, texts: list[str], steps: int, batch: int, length: int, seed: int = 0) -> Path:
    """Write a BERT with all layers random again and then trained by masked language modelling alone."""
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = BertForMaskedLM.from_pretrained(source)
    torch.manual_seed(seed)
    for part in (model.bert.encoder, model.cls):
        part.apply(model._init_weights)
    model.tie_weights()
    model_masked(model, tokenizer, folder, texts, steps, batch, length, seed, 5e-4)
    return _save(model.bert, tokenizer, folder)


def rotary(
    source: Path,
    folder: Path,
    texts: list[str],
    steps: int,
    batch: int,
    length: int,
    layers: int,
    width: int,
    seed: int = 0,
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
    model_masked(model, tokenizer, folder, texts, steps, batch, length, seed, 8e-4)
    return _save(model.model, tokenizer, folder)


def model_masked(
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
    """Train by masked language modelling on texts joined and cut to one length; goes on after a stop."""
    ids = [token for text in texts for token in [*tokenizer(text, verbose=False)["input_ids"]]]
    rows = [{"input_ids": ids[at : at + length]} for at in range(0, len(ids) - length, length)]
    checkpoints = folder.with_name(f"{folder.name}-checkpoints")
    cuda = torch.cuda.is_available()
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
        bf16=cuda,
        disable_tqdm=True,
        dataloader_num_workers=4 if cuda else 0,
    )
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.3)
    trainer = Trainer(model, arguments, data_collator=collate, train_dataset=rows)  # type: ignore[arg-type]
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None)
    shutil.rmtree(checkpoints)


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
