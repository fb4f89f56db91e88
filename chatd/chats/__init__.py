"""Chats: the state machine, messages, the queue, and the shapes clients see."""
