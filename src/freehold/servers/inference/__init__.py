"""The inference server: OpenAI's, Anthropic's and Ollama's APIs over the engines."""
