"""`audit`: checks whether a model is served as it was made, one line each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer

from cenote._nn.modules import weights_dtype
from cenote.audit_records import Audit, AuditedTexts, Check, passes
from cenote.auditing.checks.files import quiet_transformers
from cenote.auditing.checks.subject import FULL, QUICK, Finding, Subject
from cenote.auditing.checks.table import CHECKS
from cenote.choices import CheckName, PoolingName
from cenote.data.builtin import BUILTIN, read_builtin
from cenote.data.sampling import sample_texts
from cenote.data.texts import Texts
from cenote.encoding.batches import is_out_of_memory
from cenote.errors import BadInput, CenoteError, choose, first_line
from cenote.functional.pooling import canonical
from cenote.listener import Listener, Progress, silent
from cenote.models.fingerprints import fingerprint_of_weights
from cenote.models.loading import load
from cenote.models.properties import limit_of
from cenote.models.provenance import folder_of, name_of, pooling_of, temperature_of, versions_of

# Fewer texts show nothing.
FEWEST_TO_AUDIT = 4
_LOAD = partial(load, strict=False)  # weights that the files lack are a finding
_POOLING = "pooling"  # the check that compares the pooling that is asked for
_MEND = "Encode the same texts with the model alone to see the whole error, and mend it first."


def audit(
    model: SentenceTransformer | str | Path,
    texts: Texts | None = None,
    *,
    pooling: PoolingName | Sequence[PoolingName] | None = None,
    quick: bool = False,
    only: Sequence[CheckName] | None = None,
    skip: Sequence[CheckName] = (),
    seed: int = 0,
    source: str = "texts",
    name: str | None = None,
    progress: Progress | None = None,
    notify: Callable[[str], object] | None = None,
    loader: Callable[[Any], SentenceTransformer] = _LOAD,
) -> Audit:
    """Check whether a model is served as it was made: pooling, padding, batches, truncation, prompts, weights.

    >>> import cenote
    >>> found = cenote.audit("minilm", ["a pool", "a cave", "deep water", "light"], pooling="cls", only=["pooling"])
    >>> found.passed, found.failed
    (False, ('pooling',))

    Args:
        model: a `SentenceTransformer`, or what `cenote.load` takes. A model in memory is compared with the folder that
            it was loaded from.
        texts: a path, strings, (id, text), mappings, a frame or a table, as `cenote.data.texts.read` takes them; None
            reads a part of the built-in corpus.
        pooling: the pooling that a server uses, which is compared with the declared one; None: the model's own.
        quick: whether to read fewer texts and probe fewer tokens.
        only: names of the checks to run; None: all.
        skip: names of checks to leave out.
        seed: of what is drawn.
        source: what the report calls the texts; `texts` is replaced by the path of a file.
        name: what the report calls the model; None: as it was given.
        progress: called with a step, how much of it is done, and how much there is (0: unknown).
        notify: called with a sentence on what happens.
        loader: loads a model that is given by name; default: `cenote.load`, with `strict=False`.

    Returns:
        An `Audit`: plain data, with `passed`, `checks`, `to_json`, `from_json` and `save`.
    """
    listener = Listener(progress or silent, notify or silent)
    asked = None if pooling is None else canonical(pooling)
    names = choose_checks(only, skip, asked)
    effort = QUICK if quick else FULL
    given = islice(read_builtin(), effort.builtin) if texts is None else texts
    drawn, read = sample_texts(given, effort.drawn, seed, source)
    if len(drawn) < FEWEST_TO_AUDIT:
        few = f"{len(drawn)} texts are too few for an audit: give at least {FEWEST_TO_AUDIT}"
        raise BadInput(f"{few}, or none for the built-in ones.")
    loaded = model if isinstance(model, SentenceTransformer) else loader(model)
    folder = folder_of(model, loaded)
    subject = Subject(
        model=loaded,
        folder=folder,
        asked=asked,
        drawn=drawn,
        effort=effort,
        seed=seed,
        listener=listener,
        reload=None if folder is None else partial(_load_again, model, loaded, folder, loader),
        by_path=loaded is not model,
    )
    _refuse_untokenised(subject)
    where = BUILTIN if texts is None else read.source
    checks = tuple(_run_all(names, subject))
    return Audit(
        schema=Audit.SCHEMA,
        passed=passes(checks, None if asked is None else _POOLING),
        model=name or name_of(model, loaded),
        fingerprint=fingerprint_of_weights(loaded),
        pooling=pooling_of(loaded),
        temperature=temperature_of(loaded),
        limit=limit_of(loaded),
        texts=AuditedTexts(where, read.given, len(subject.texts), read.fingerprint),
        checks=checks,
        settings=_settings(asked, quick, names, seed),
        versions=versions_of(),
    )


def _settings(asked: tuple[str, ...] | None, quick: bool, names: Sequence[str], seed: int) -> dict[str, Any]:
    """Return what repeats an audit, besides the model and the texts."""
    return {
        "pooling": None if asked is None else "+".join(asked),
        "quick": bool(quick),
        "left_out": [one for one in CHECKS if one not in names],
        "seed": int(seed),
    }


def _refuse_untokenised(subject: Subject) -> None:
    """Raise if the model makes no tokens of the texts: then no check can run."""
    try:
        _ = subject.tokens
    except CenoteError:
        raise
    except Exception as error:  # tokenizers and models have classes of their own
        raise BadInput(f"the model cannot tokenise the texts: {_in_words(error)}.") from error


def _load_again(given: Any, loaded: SentenceTransformer, folder: Path, loader: Any) -> SentenceTransformer:
    """Load a model a second time, as it was loaded first: on its device, in its dtype; without repeated warnings."""
    with warnings.catch_warnings(), quiet_transformers():
        warnings.simplefilter("ignore")
        if not isinstance(given, SentenceTransformer):
            found: SentenceTransformer = loader(given)
            return found
        # Code of the model's repository that runs in this process was trusted before.
        own_code = any(type(module).__module__.startswith("transformers_modules") for module in loaded.modules())
        dtype = weights_dtype(loaded)
        return load(folder, device=loaded.device, dtype=dtype, trust_remote_code=own_code, strict=False)


def choose_checks(only: Sequence[str] | None, skip: Sequence[str], asked: tuple[str, ...] | None = None) -> list[str]:
    """Return the names of the checks to run, in the order of the table; raise for a name that there is none of.

    Raise too if a pooling is asked for, and the check that compares it is left out.

    >>> choose_checks(["hubs", "weights"], ())
    ['weights', 'hubs']
    """
    for label, wanted in (("only", only), ("skip", skip)):
        if isinstance(wanted, str):
            raise BadInput(f"{label}={wanted!r}: pass a list of names.")
        for one in wanted or ():
            choose(one, CHECKS, "check")
    found = [one for one in CHECKS if (only is None or one in only) and one not in skip]
    if not found:
        raise BadInput(f"no check is left: there are {', '.join(CHECKS)}.")
    if asked is not None and _POOLING not in found:
        raise BadInput(
            f"the pooling {'+'.join(asked)!r} is compared by the check {_POOLING!r}, which is left out: run it too, or "
            "name no pooling."
        )
    return found


def _in_words(error: Exception) -> str:
    """Return the class and the first line of an error, without a point at its end."""
    said = first_line(error).removesuffix(".")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _run_all(names: Sequence[str], subject: Subject) -> Iterator[Check]:
    step = subject.listener.step("checks", len(names))
    for one in names:
        yield _run(one, subject)
        step(1)


def _run(name: str, subject: Subject) -> Check:
    """Run one check; what it cannot measure is not decided, and an error of the model is a failure."""
    try:
        found = CHECKS[name].load()(subject)
    except CenoteError as error:
        found = Finding(None, f"Could not be measured: {error}")
    except Exception as error:  # whatever the model raises must not lose the other checks
        if is_out_of_memory(error):
            found = Finding(None, f"Could not be measured, memory ran out: {_in_words(error)}.")
        else:
            found = Finding(False, f"The model raises {_in_words(error)}.", _MEND)
    return Check(name, found.passed, found.evidence, found.remedy, found.measured)
