"""What runs inside the sandbox: the answer's process and the tests' process. Imports nothing of Freehold."""
