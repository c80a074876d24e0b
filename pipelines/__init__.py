"""KFP pipelines, and the command that compiles and runs them."""
