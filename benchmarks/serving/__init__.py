"""What serving a language model costs: the engine beside plain ways to generate, and the gateway beside the engine."""
