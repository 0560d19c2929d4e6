"""Keys of Cenote in a transformers `config.json`. They are a file format and do not change."""

# The temperature that a saved model runs at: {"temperature", "layers", "scale_bias"}.
KEPT_IN_CONFIG = "cenote_temperature"
# The temperature that is folded into the weights.
BAKED_IN_CONFIG = "cenote_baked_temperature"
