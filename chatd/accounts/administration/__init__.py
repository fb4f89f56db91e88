"""The pages on which people, organisations, groups and tokens are administered."""
