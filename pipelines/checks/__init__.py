"""What `mnist doctor` looks at: one module a place, each finding one line for a person."""
