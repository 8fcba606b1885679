"""The checks of `mnist doctor` on this machine."""
