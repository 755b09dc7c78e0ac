//! What several tests need.

use std::path::Path;
use std::process::Command;

/// Puts an executable shell script there.
///
/// Another process writes it. Were it this one, a process forked by another test could still hold it open for
/// writing, and running it would fail with "text file busy".
pub(crate) fn script(path: &Path, text: &str) {
    let write = r#"mkdir -p "$(dirname "$1")" && printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod 755 "$1""#;
    let status = Command::new("/bin/sh").args(["-c", write, "sh"]).arg(path).arg(text).status().unwrap();
    assert!(status.success());
}
