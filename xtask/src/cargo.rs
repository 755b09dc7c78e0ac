//! Starting cargo.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::{Result, root};

/// The cargo that runs this program, in the workspace's root.
fn command(arguments: &[&str], variables: &[(&str, OsString)]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).envs(variables.iter().map(|(name, value)| (*name, value))).current_dir(root());
    command
}

/// Runs cargo.
pub(crate) fn cargo(arguments: &[&str], variables: &[(&str, OsString)]) -> Result<()> {
    let status = command(arguments, variables).status().map_err(|error| format!("cannot run cargo: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`cargo {}` ended with {status}", arguments.join(" ")).into()) }
}

/// Runs a cargo command that builds, and returns the executable that it made of the target of this name.
pub(crate) fn build(arguments: &[&str], variables: &[(&str, OsString)], target: &str) -> Result<PathBuf> {
    let arguments = [arguments, &["--message-format=json-render-diagnostics"]].concat();
    let mut command = command(&arguments, variables);
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("`cargo {}` ended with {}", arguments.join(" "), output.status).into());
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    executable(&messages, target)
        .ok_or_else(|| format!("`cargo {}` made no executable `{target}`", arguments.join(" ")).into())
}

/// What cargo says of a target that it built.
#[derive(Deserialize)]
struct Artifact {
    target: Named,
    executable: Option<PathBuf>,
}

/// The target's name.
#[derive(Deserialize)]
struct Named {
    name: String,
}

/// The executable of the target of this name, by cargo's messages.
fn executable(messages: &str, target: &str) -> Option<PathBuf> {
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    artifacts.filter(|artifact| artifact.target.name == target).find_map(|artifact| artifact.executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executable_is_found_among_the_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"ggemm","kind":["lib"]},"executable":null}
{"reason":"build-script-executed","package_id":"x"}
no JSON
{"reason":"compiler-artifact","target":{"name":"gpu","kind":["test"]},"executable":"/t/gpu-1f"}
{"reason":"compiler-artifact","target":{"name":"ggemm","kind":["bin"]},"executable":"/t/ggemm"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages, "ggemm"), Some("/t/ggemm".into()));
        assert_eq!(executable(messages, "gpu"), Some("/t/gpu-1f".into()));
        assert_eq!(executable(messages, "cpu"), None);
    }
}
