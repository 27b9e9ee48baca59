//! The configuration: one YAML file, overridden by `OTEL_*` variables, overridden by flags.
