//! The day of a run.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::DateError;

/// A day of the Gregorian calendar, written as `2026-01-31`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// Today by the system's clock, in UTC. A clock from before 1970 gives its first day.
    pub fn today() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::of_day(since.as_secs() / 86_400)
    }

    /// The day so many days after 1970-01-01; 9999-12-31 past it.
    fn of_day(mut days: u64) -> Self {
        let mut year = 1970;
        while year < 9999 && days >= days_of_year(year) {
            days -= days_of_year(year);
            year += 1;
        }
        let mut month = 1;
        while month < 12 && days >= u64::from(days_of_month(year, month)) {
            days -= u64::from(days_of_month(year, month));
            month += 1;
        }
        let day = days.min(u64::from(days_of_month(year, month)) - 1) as u8 + 1;
        Date { year, month, day }
    }
}

fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

fn days_of_year(year: u16) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_of_month(year: u16, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u8::from(is_leap(year)),
        _ => 31,
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl FromStr for Date {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        let refused = || DateError { value: text.to_owned() };
        let mut parts = text.split('-');
        let mut part = |digits: usize| {
            let part = parts.next().filter(|p| p.len() == digits && p.bytes().all(|b| b.is_ascii_digit()));
            part.and_then(|p| p.parse::<u16>().ok()).ok_or_else(refused)
        };
        let (year, month, day) = (part(4)?, part(2)? as u8, part(2)? as u8);
        let exists = (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day);
        if exists && parts.next().is_none() { Ok(Date { year, month, day }) } else { Err(refused()) }
    }
}

impl TryFrom<String> for Date {
    type Error = DateError;

    fn try_from(text: String) -> Result<Self, DateError> {
        text.parse()
    }
}

impl From<Date> for String {
    fn from(date: Date) -> Self {
        date.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_follow_each_other() {
        let day = |days| Date::of_day(days).to_string();
        assert_eq!((day(0), day(58), day(59), day(364), day(365)).0, "1970-01-01");
        assert_eq!([day(58), day(59), day(365)], ["1970-02-28", "1970-03-01", "1971-01-01"]);
        // `date -u -d @1709164800`, and 100 is no leap year while 400 is.
        assert_eq!(day(1_709_164_800 / 86_400), "2024-02-29");
        assert_eq!(day(47_540), "2100-02-28");
        assert_eq!(day(47_541), "2100-03-01");
        assert_eq!(day(u64::MAX), "9999-12-31");
        for days in 0..60_000 {
            let date = Date::of_day(days);
            assert_eq!(date.to_string().parse(), Ok(date));
            assert!(date < Date::of_day(days + 1));
        }
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for bad in [
            "",
            "2026",
            "2026-1-01",
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-04-31",
            "2026-01-01-01",
            "+026-01-01",
        ] {
            let error = bad.parse::<Date>().expect_err(bad);
            assert_eq!(error, DateError { value: bad.to_owned() });
        }
        assert!("2024-02-29".parse::<Date>().is_ok());
    }
}
