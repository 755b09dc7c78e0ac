//! Makes the checks in a process of their own: a damaged driver may end the process that asks it, and a stuck GPU may
//! never answer.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::examine::{Examined, Lost, examine};

/// The longest that a check may take: a machine with many GPUs needs some of it to start its driver.
const LIMIT: Duration = Duration::from_secs(120);

/// Set in the process that makes the checks: those not to make, as JSON. It is no flag, since nobody else is to set it.
const VARIABLE: &str = "GGEMM_DOCTOR_LOST";

/// A line from the process that makes the checks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Message {
    /// A check begins.
    Begins(String),
    /// All are done.
    Examined(Examined),
}

/// Makes all checks, come what may.
pub(super) fn examined() -> Examined {
    let myself = |lost: &[Lost]| {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("doctor").env(VARIABLE, serde_json::to_string(lost)?);
        Ok(command)
    };
    // Where no process can be started, the checks are made in this one.
    supervised(myself, LIMIT).unwrap_or_else(|failure| {
        tracing::debug!(error = %failure.error, "making the checks without supervision");
        examine(&failure.lost, |_| {})
    })
}

/// Whether this process is the one that makes the checks, and which it is not to make.
pub(super) fn asked() -> Option<Vec<Lost>> {
    serde_json::from_str(&std::env::var(VARIABLE).ok()?).ok()
}

/// Makes the checks for the process that started this one, and tells it of each.
pub(super) fn report(lost: &[Lost]) -> io::Result<()> {
    let mut broken = Ok(());
    let examined = examine(lost, |check| {
        if let Err(error) = send(&Message::Begins(check.to_owned())) {
            broken = Err(error);
        }
    });
    broken?;
    send(&Message::Examined(examined))
}

fn send(message: &Message) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, message)?;
    writeln!(stdout)?;
    stdout.flush()
}

/// Why there is no report, and the checks that are known to end a process.
#[derive(Debug)]
struct Failure {
    error: io::Error,
    lost: Vec<Lost>,
}

/// Starts a process as `start` says and waits for what it found, no longer than `limit` for any one check. It is started
/// again without a check that ended it.
fn supervised(start: impl Fn(&[Lost]) -> io::Result<Command>, limit: Duration) -> Result<Examined, Failure> {
    let mut lost: Vec<Lost> = Vec::new();
    loop {
        match start(&lost).and_then(|command| attempt(command, limit)) {
            Ok(Attempt::Examined(examined)) => return Ok(examined),
            Ok(Attempt::Lost(new)) if !lost.iter().any(|known| known.check == new.check) => lost.push(new),
            Ok(Attempt::Lost(again)) => return Err(Failure { error: io::Error::other(again.how), lost }),
            Err(error) => return Err(Failure { error, lost }),
        }
    }
}

/// How a process ended.
enum Attempt {
    Examined(Examined),
    Lost(Lost),
}

fn attempt(mut command: Command, limit: Duration) -> io::Result<Attempt> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let lines = lines(&mut child);
    let mut current = None;
    loop {
        let how = match lines.recv_timeout(limit) {
            Ok(Message::Begins(check)) => {
                current = Some(check);
                continue;
            }
            Ok(Message::Examined(examined)) => {
                // A library may yet spoil the end of the process.
                _ = child.wait();
                return Ok(Attempt::Examined(examined));
            }
            Err(RecvTimeoutError::Timeout) => {
                // It is not waited for: what is stuck in a driver may not even die.
                _ = child.kill();
                format!("the check did not end within {} s", limit.as_secs_f64())
            }
            Err(RecvTimeoutError::Disconnected) => format!("the check ended its process: {}", child.wait()?),
        };
        return match current {
            Some(check) => Ok(Attempt::Lost(Lost { check, how })),
            None => Err(io::Error::other(how)),
        };
    }
}

/// What the process writes, but for lines that a library wrote.
fn lines(child: &mut Child) -> Receiver<Message> {
    let (sender, receiver) = channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(message) = serde_json::from_str(&line)
                    && sender.send(message).is_err()
                {
                    break;
                }
            }
        });
    }
    receiver
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::super::finding::Finding;
    use super::*;

    /// A shell in place of the command: `$#` is the number of checks that are lost.
    fn shell(script: &str) -> impl Fn(&[Lost]) -> io::Result<Command> {
        move |lost| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script, "sh"]).args(lost.iter().map(|lost| format!("{}: {}", lost.check, lost.how)));
            Ok(command)
        }
    }

    const DONE: &str = r#"echo "{\"examined\": {\"findings\": [{\"check\": \"$1\", \"status\": \"ok\", \"found\": \"$2\"}], \"gpus\": [], \"kernels\": []}}""#;

    #[test]
    fn a_check_that_kills_its_process_or_never_ends_is_left_out() {
        let script = format!(
            "echo '{{\"begins\": \"driver\"}}'; test $# = 0 && kill -9 $$
             echo noise; echo '{{\"begins\": \"launch\"}}'; test $# = 1 && exec sleep 60
             {DONE}"
        );
        let examined = supervised(shell(&script), Duration::from_millis(300)).unwrap();
        let [found] = &examined.findings[..] else { panic!("{examined:?}") };
        assert!(found.check.starts_with("driver: the check ended its process: signal: 9"), "{found:?}");
        assert_eq!(found.found, "launch: the check did not end within 0.3 s");
    }

    #[test]
    fn a_report_stands_however_its_process_ends() {
        let examined = supervised(shell(&format!("{DONE}; kill -9 $$")), LIMIT).unwrap();
        assert_eq!(examined.findings, [Finding::ok("", "")]);
    }

    #[test]
    fn a_process_that_gets_nowhere_is_an_error_and_is_not_started_for_ever() {
        assert!(supervised(shell("exit 3"), LIMIT).is_err());
        let failure = supervised(shell("echo '{\"begins\": \"driver\"}'; exit 3"), LIMIT).unwrap_err();
        assert!(failure.error.to_string().contains("exit status: 3"), "{failure:?}");
        let [lost] = &failure.lost[..] else { panic!("{failure:?}") };
        assert_eq!(lost.check, "driver", "it is not made without supervision either");
    }
}
