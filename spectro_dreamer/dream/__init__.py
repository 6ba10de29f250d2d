"""What a model imagines, completes and restyles."""
