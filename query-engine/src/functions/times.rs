//! Functions of the calendar and of evaluation times. All in UTC.

use super::CallContext;
use crate::eval::value::{Bits, Grid, Row, Value};
use storage_engine::model::Labels;

/// A part of a date.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Part {
    Minute,
    Hour,
    DayOfWeek,
    DayOfMonth,
    DayOfYear,
    DaysInMonth,
    Month,
    Year,
}

/// The part that the function of that name tells.
pub(super) fn part(name: &str) -> Option<Part> {
    Some(match name {
        "minute" => Part::Minute,
        "hour" => Part::Hour,
        "day_of_week" => Part::DayOfWeek,
        "day_of_month" => Part::DayOfMonth,
        "day_of_year" => Part::DayOfYear,
        "days_in_month" => Part::DaysInMonth,
        "month" => Part::Month,
        "year" => Part::Year,
        _ => return None,
    })
}

impl Part {
    /// Of a sample that holds seconds since the epoch.
    pub(super) fn of_value(self, seconds: f64) -> f64 {
        // What Go's conversion gives on x86 for what no integer can hold.
        let whole =
            if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&seconds) {
                seconds as i64
            } else {
                i64::MIN
            };
        self.of(whole)
    }

    fn of(self, seconds: i64) -> f64 {
        // Go counts seconds from the year -292277022399 in 64 unsigned bits: what lies before that comes out far in the future.
        let seconds = if seconds < -GO_SECONDS_BEFORE_EPOCH {
            i128::from(seconds) + (1 << 64)
        } else {
            i128::from(seconds)
        };
        let second = seconds.rem_euclid(86_400) as i64;
        // The quotient of 65 bits and 86,400 fits into 64 bits.
        let days = seconds.div_euclid(86_400) as i64;
        let date = Date::of_day(days);
        let value = match self {
            Part::Minute => second / 60 % 60,
            Part::Hour => second / 3600,
            // Day 0 was a Thursday; Sunday is 0.
            Part::DayOfWeek => (days + 4).rem_euclid(7),
            Part::DayOfMonth => date.day,
            Part::DayOfYear => days - Date::first_day_of(date.year, 1) + 1,
            Part::DaysInMonth => {
                let (year, month) = match date.month {
                    12 => (date.year + 1, 1),
                    m => (date.year, m + 1),
                };
                Date::first_day_of(year, month) - Date::first_day_of(date.year, date.month)
            }
            Part::Month => date.month,
            Part::Year => date.year,
        };
        value as f64
    }
}

/// A day of the proleptic Gregorian calendar.
struct Date {
    year: i64,
    month: i64,
    day: i64,
}

/// From Go's earliest year to the epoch.
const GO_SECONDS_BEFORE_EPOCH: i64 = 9_223_371_966_579_724_800;
/// Days in 400 years.
const ERA_DAYS: i64 = 146_097;
/// Days from 1 March of year 0 to the epoch.
const EPOCH_DAYS: i64 = 719_468;

impl Date {
    /// From days since the epoch. Years start in March here, so the leap day is a year's last.
    fn of_day(days: i64) -> Date {
        let days = days + EPOCH_DAYS;
        let (era, day) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        Date {
            year: era * 400 + year + i64::from(month <= 2),
            month,
            day,
        }
    }

    /// Days since the epoch of a month's first day.
    fn first_day_of(year: i64, month: i64) -> i64 {
        let year = if month <= 2 { year - 1 } else { year };
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let month = (month + 9) % 12;
        let day = (153 * month + 2) / 5;
        era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + day - EPOCH_DAYS
    }
}

/// A part of each step's own time: the function without an argument.
pub(super) fn of_steps(ctx: &CallContext<'_>, part: Part) -> Value {
    let steps = ctx.each_step(|t| part.of(t / 1000));
    Value::Vector(vec![everywhere(Labels::empty(), steps)])
}

/// A row with a number at every step.
pub(super) fn everywhere(labels: Labels, steps: Vec<f64>) -> Row {
    Row {
        labels,
        drop_name: false,
        present: Bits::ones(steps.len()),
        histograms: None,
        values: steps,
    }
}

/// `timestamp` of something computed: the evaluation time of each present step, seconds.
pub(super) fn timestamps(rows: Vec<Row>, grid: Grid) -> Vec<Row> {
    let mut rows = rows;
    for row in &mut rows {
        row.histograms = None;
        for (k, v) in row.values.iter_mut().enumerate() {
            *v = grid.at(k) as f64 / 1000.0;
        }
    }
    rows
}
