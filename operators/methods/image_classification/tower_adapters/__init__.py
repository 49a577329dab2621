"""Methods that change layers of both towers: low-rank maps and adapters."""
