"""The story that `toadstone demo` plays, on the real samples."""
