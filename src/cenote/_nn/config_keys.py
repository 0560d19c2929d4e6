"""Cenote's keys in a transformers `config.json`: a file format that does not change. Public as `cenote.nn.*`."""

# The temperature that a saved model runs at: {"temperature", "layers", "scale_bias"}.
KEPT_IN_CONFIG = "cenote_temperature"
# The temperature that is folded into the weights.
BAKED_IN_CONFIG = "cenote_baked_temperature"
