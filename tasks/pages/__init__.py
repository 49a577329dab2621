"""What people read: the board, pages, artifacts."""
