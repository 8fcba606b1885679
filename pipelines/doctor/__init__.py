"""What `mnist doctor` checks on this machine."""
