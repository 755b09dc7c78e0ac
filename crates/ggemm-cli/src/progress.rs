//! Progress of slow steps, on standard error; nothing where that is no terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// Steps that a bar is divided into.
const STEPS: u64 = 1000;

/// A bar for a step that reports the part done, from 0 to 1. It disappears when dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar with a label.
    pub(crate) fn new(label: String) -> Self {
        let bar = ProgressBar::new(STEPS);
        // The template is a constant; should it ever be wrong, indicatif's own style serves as well.
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {percent:>3}% {elapsed}, {eta} left") {
            bar.set_style(style);
        }
        bar.set_message(label);
        Progress(bar)
    }

    /// Says what the bar is about now.
    pub(crate) fn about(&self, label: &str) {
        self.0.set_message(label.to_owned());
    }

    /// Does something else on the terminal, out of the bar's way.
    pub(crate) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }

    /// Shows the part done.
    pub(crate) fn show(&self, part: f64) {
        // Threads report out of order.
        let step = (part * STEPS as f64) as u64;
        if step > self.0.position() {
            self.0.set_position(step);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
