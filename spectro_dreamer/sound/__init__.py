"""From spectrograms to sound, and what is heard of it."""
