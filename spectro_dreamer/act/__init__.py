"""Acting in dreams, and learning from them."""
