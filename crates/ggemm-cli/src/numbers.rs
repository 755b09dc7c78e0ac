//! How reports write numbers.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// A number of a report: JSON has no NaN and no infinity, so these are strings there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Number(pub(crate) f64);

impl fmt::Display for Number {
    /// Every digit where there are few, else ten that count: one more than an f32 takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        let magnitude = value.abs();
        if !value.is_finite() || value == 0.0 {
            write!(f, "{value}")
        } else if (1e-3..1e9).contains(&magnitude) {
            let places = (9 - magnitude.log10().floor() as i32).max(0) as usize;
            let text = format!("{value:.places$}");
            f.write_str(if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text })
        } else {
            let text = format!("{value:.9e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            write!(f, "{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() { serializer.serialize_f64(self.0) } else { serializer.collect_str(&self.0) }
    }
}

/// A time with three digits that count and a unit that suits it.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (value, unit) = match seconds {
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s => (s * 1e6, "us"),
    };
    format!("{value:.*} {unit}", places(value))
}

/// Bytes in binary units, for people.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let places = if unit == 0 { 0 } else { places(value) };
    format!("{value:.places$} {}", UNITS[unit])
}

/// A rate with three digits that count.
pub(crate) fn rate(value: f64) -> String {
    if value > 0.0 && value < 1e-6 { format!("{value:.2e}") } else { format!("{value:.*}", places(value)) }
}

/// Decimals that leave three digits.
fn places(value: f64) -> usize {
    match value {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        v if v >= 0.9995 => 2,
        v if v > 0.0 => (2 - v.log10().floor() as i32).clamp(3, 9) as usize,
        _ => 0,
    }
}

/// A part of a whole in percent, `0.00%` of nothing.
pub(crate) fn percent(part: usize, whole: usize) -> String {
    let ratio = if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    format!("{:.2}%", ratio * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_the_digits_that_count() {
        let text = |v: f64| Number(v).to_string();
        assert_eq!(text(72.3125), "72.3125");
        assert_eq!(text(-174.25), "-174.25");
        assert_eq!(text(1000.0), "1000");
        assert_eq!(text(1.0 / 3.0), "0.3333333333");
        assert_eq!(text(123_456_789.4), "123456789.4");
        assert_eq!(text(1.5e-7), "1.5e-7");
        assert_eq!(text(0.0), "0");
        assert_eq!(text(f64::NAN), "NaN");
        assert_eq!(serde_json::to_string(&[Number(0.5), Number(f64::INFINITY)]).unwrap(), r#"[0.5,"inf"]"#);
    }

    #[test]
    fn quantities_have_units() {
        assert_eq!(time(Duration::from_micros(1234)), "1.23 ms");
        assert_eq!(time(Duration::from_secs(100)), "100 s");
        assert_eq!(time(Duration::from_nanos(500)), "0.500 us");
        assert_eq!(bytes(512), "512 bytes");
        assert_eq!(bytes(3 << 29), "1.50 GiB");
        assert_eq!([0.0371, 1.5e-5, 650.2, 0.0].map(rate), ["0.0371", "0.0000150", "650", "0"]);
        assert_eq!(percent(1, 3), "33.33%");
        assert_eq!(percent(0, 0), "0.00%");
    }
}
