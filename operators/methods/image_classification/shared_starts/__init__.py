"""Methods whose prompt starts from what other trials have learned."""
