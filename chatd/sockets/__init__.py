"""WebSocket consumers: the stream of one chat, and the watch of one's own chats."""
