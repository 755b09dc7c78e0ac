//! What `GGEMM_LOG` asks to see, on standard error.

use tracing_subscriber::EnvFilter;

use crate::error::CliError;

const VARIABLE: &str = "GGEMM_LOG";

/// Starts logging; warnings only where the variable says nothing.
pub(crate) fn start() -> Result<(), CliError> {
    let value = std::env::var(VARIABLE).unwrap_or_default();
    let directives = if value.is_empty() { "warn" } else { &value };
    let filter = EnvFilter::builder()
        .parse(directives)
        .map_err(|error| CliError::LogFilter { value: value.clone(), reason: error.to_string() })?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    Ok(())
}
