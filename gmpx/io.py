"""Waiting for descriptors, and plain sockets whose methods park the goroutine, not the thread."""

from gmpx._core import notify_closing, wait_readable, wait_writable

__all__ = ["notify_closing", "wait_readable", "wait_writable"]
