"""Other ways of making sound and music."""
