"""People: users, organisations, membership, API tokens, and who may do what."""
