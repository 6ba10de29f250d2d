"""What a model is worth, beside rivals."""
