"""Conversations and messages. The way of a message: sending -> publishing -> activity."""
