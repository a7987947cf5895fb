"""The initial model of a training: the starting weights, in the paradigm to be trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from transformers import CONFIG_MAPPING

from probe.errors import ProbeError
from probe.memory import available_memory, readable
from probe.models.layout import LAYOUTS, stock_class
from probe.models.loading import load
from probe.models.model import Model
from probe.models.tokenizers import load_tokenizer
from probe.paradigms import named
from probe.training.recipe import Recipe
from probe.zoo import CHARACTERS

_BYTES_A_PARAMETER = 16  # its weight, its gradient and the optimizer's two moments, in float32

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def initial_model(recipe: Recipe) -> Model:
    """The initial model: the starting weights, in the recipe's paradigm."""
    if recipe.start is not None:
        start = load(recipe.start, selftest="off")
        tokenizer, backbone, attachments = start.tokenizer, start.backbone, start.attachments
    else:
        (tokenizer, backbone), attachments = _from_nothing(recipe), {}
    settings = recipe.paradigm_settings()
    if recipe.teacher is not None:
        settings["teacher"] = load(recipe.teacher, selftest="off")
    paradigm = named(recipe.paradigm)(mask_id=_mask_of(tokenizer, recipe), **settings)
    model = Model(backbone, paradigm, tokenizer, name=recipe.name)
    for name, kind in paradigm.attaches.items():
        if name in attachments:
            model.attachments[name] = attachments[name]
        elif name in paradigm.needs:
            model.attachments[name] = kind(model).to(model.device)
    return model


def _from_nothing(recipe: Recipe) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    from probe.tasks import vocabulary

    assert recipe.shape is not None
    shape = recipe.shape
    tokenizer = vocabulary.shipped() if recipe.tokenizer is None else load_tokenizer(_words(recipe.tokenizer), "")
    _refuse_too_large(recipe.name, shape.parameters(len(tokenizer)))
    fields = {
        **shape.config_fields(),
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": None,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = CONFIG_MAPPING[shape.model_type](**fields)
    return tokenizer, stock_class(LAYOUTS[shape.model_type])(config)


def _refuse_too_large(name: str, parameters: int) -> None:
    """Refuse a shape that does not fit into free memory for training, before any is allocated."""
    needed, free = _BYTES_A_PARAMETER * parameters, available_memory()
    if needed > free:
        raise ProbeError(
            f"recipe {name!r}, shape",
            expected=f"a model whose training fits into the {readable(free)} of free memory",
            found=f"{parameters:,} parameters, which take {readable(needed)}",
            remedy="Give fewer layers, or a smaller d_model or d_mlp.",
        )


def _words(tokenizer: str) -> Path:
    """The folder of a tokenizer that a recipe names."""
    return CHARACTERS if tokenizer == CHARACTERS.name else Path(tokenizer).expanduser()


def _mask_of(tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> int:
    if recipe.mask is not None:
        mask = tokenizer.convert_tokens_to_ids(recipe.mask)
        known = isinstance(mask, int) and tokenizer.convert_ids_to_tokens(mask) == recipe.mask
        if known and mask in tokenizer.added_tokens_decoder:
            return int(mask)
        raise ProbeError(
            f"recipe {recipe.name!r}",
            expected="a special token of the tokenizer for its 'mask'",
            found=repr(recipe.mask),
            remedy="Choose one that text never contains: "
            + ", ".join(str(token) for token in list(tokenizer.added_tokens_decoder.values())[:20]),
        )
    mask = tokenizer.mask_token_id
    if isinstance(mask, int):
        return mask
    raise ProbeError(
        f"recipe {recipe.name!r}",
        expected="a start whose tokenizer has a mask token",
        found="a tokenizer without one",
        remedy="Give its tokenizer_config.json a mask_token that is a row of the embedding.",
    )
