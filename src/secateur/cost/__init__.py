"""What a model costs: parameters, multiply-adds, bytes and measured latency."""
