"""chatd: the control plane for AI agent chats."""
