"""The turn engine: what happens between a pending chat and a finished answer."""
