"""Commands, exports, benchmarks and panels."""
