use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike, Months, TimeDelta, Utc};

/// Periods that follow one another without a gap, before and after one that begins at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Periods {
    /// How long each is.
    pub length: Length,
    /// When one of them begins.
    pub start: DateTime<Utc>,
}

/// How long a period is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Whole seconds, at least one.
    Of(Duration),
    /// To the same day and time of the next month; to its last day, where it has no such day.
    Month,
}

impl Periods {
    /// The second since 1970 at which the period ends that this moment is in.
    pub fn end(&self, now: DateTime<Utc>) -> u64 {
        let end = match self.length {
            Length::Of(length) => {
                let length = i64::try_from(length.as_secs()).unwrap_or(i64::MAX).max(1);
                let passed = (now - self.start).num_seconds().div_euclid(length);
                let until_end = TimeDelta::try_seconds((passed + 1).saturating_mul(length));
                until_end.and_then(|time| self.start.checked_add_signed(time)).unwrap_or(DateTime::<Utc>::MAX_UTC)
            }
            Length::Month => self.month_after(now),
        };
        u64::try_from(end.timestamp()).unwrap_or_default()
    }

    /// All months are counted from the same start: that of the 31st ends on the 30th of April, and on the 31st of May.
    fn month_after(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let passed = 12 * (i64::from(now.year()) - i64::from(self.start.year())) + i64::from(now.month0())
            - i64::from(self.start.month0());
        let end = |months: i64| {
            let count = Months::new(u32::try_from(months.unsigned_abs()).unwrap_or(u32::MAX));
            match months {
                0.. => self.start.checked_add_months(count).unwrap_or(DateTime::<Utc>::MAX_UTC),
                _ => self.start.checked_sub_months(count).unwrap_or(DateTime::<Utc>::MIN_UTC),
            }
        };
        // The first is in this month of the calendar, and may be over.
        [passed, passed + 1].map(end).into_iter().find(|end| *end > now).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

impl fmt::Debug for Periods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length {
            Length::Of(length) => length.fmt(f)?,
            Length::Month => f.write_str("month")?,
        }
        if self.start == DateTime::UNIX_EPOCH { Ok(()) } else { write!(f, " from {}", self.start) }
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    fn end(length: Length, start: &str, now: &str) -> String {
        let periods = Periods { length, start: start.parse().unwrap() };
        let end = periods.end(now.parse().unwrap());
        DateTime::from_timestamp(end.cast_signed(), 0).unwrap().format("%F %T").to_string()
    }

    #[test]
    fn a_period_ends_where_the_next_begins() {
        let day = Length::Of(Duration::from_secs(86_400));
        for (length, start, now, ends) in [
            (day, "1970-01-01T00:00:00Z", "2026-11-25T10:00:00Z", "2026-11-26 00:00:00"),
            (day, "1970-01-01T00:00:00Z", "2026-11-26T00:00:00Z", "2026-11-27 00:00:00"),
            (day, "2026-01-01T09:30:00+01:00", "2026-11-25T10:00:00Z", "2026-11-26 08:30:00"),
            (day, "2030-01-01T06:00:00Z", "2026-11-25T05:59:59Z", "2026-11-25 06:00:00"),
            (Length::Month, "1970-01-01T00:00:00Z", "2026-11-25T10:00:00Z", "2026-12-01 00:00:00"),
            (Length::Month, "1970-01-01T00:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01 00:00:00"),
            (Length::Month, "2026-01-15T12:00:00Z", "2026-02-15T11:59:59Z", "2026-02-15 12:00:00"),
            (Length::Month, "2026-01-31T00:00:00Z", "2026-02-10T00:00:00Z", "2026-02-28 00:00:00"),
            (Length::Month, "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31 00:00:00"),
            (Length::Month, "2026-05-31T00:00:00Z", "2026-04-30T00:00:00Z", "2026-05-31 00:00:00"),
            (Length::Month, "2027-01-15T00:00:00Z", "2026-11-25T10:00:00Z", "2026-12-15 00:00:00"),
        ] {
            assert_eq!(end(length, start, now), ends, "{now}, counted from {start}");
        }
    }

    /// Every moment is in one period: its end is later, and no end is between.
    #[test]
    fn months_have_no_gap() {
        let periods = Periods { length: Length::Month, start: "2024-01-30T10:00:00Z".parse().unwrap() };
        let mut now: DateTime<Utc> = "2019-06-01T00:00:00Z".parse().unwrap();
        let mut last = periods.end(now);
        while now.timestamp() < 1_900_000_000 {
            let end = periods.end(now);
            assert!(end > u64::try_from(now.timestamp()).unwrap(), "{now}");
            assert!(end == last || last <= u64::try_from(now.timestamp()).unwrap(), "{now}: {last} then {end}");
            (last, now) = (end, now + TimeDelta::hours(7));
        }
    }
}
