//! Texts in the shapes that Go's tools give them.

/// Columns padded as Go's `tabwriter` does with a least width of 13 and two spaces between; the last one is not padded.
pub(super) fn columns(rows: &[Vec<String>]) -> Vec<String> {
    const WIDTH_MIN: usize = 13;
    const GAP: usize = 2;
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            (longest + GAP).max(WIDTH_MIN)
        })
        .collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if column + 1 < row.len() {
                let missing = widths[column] - cell.chars().count();
                line.extend(std::iter::repeat_n(' ', missing));
            }
        }
        line
    };
    rows.iter().map(line).collect()
}

/// Milliseconds as Go prints a duration: `1h50m0s`, `15s`, `250ms`.
pub(super) fn go_duration(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    if ms == 0 {
        return "0s".to_owned();
    }
    if ms < 1000 {
        return format!("{sign}{ms}ms");
    }
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let seconds = match ms % 1000 {
        0 => format!("{}s", ms / 1000 % 60),
        part => {
            let part = format!("{part:03}");
            format!("{}.{}s", ms / 1000 % 60, part.trim_end_matches('0'))
        }
    };
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}"),
    }
}

/// Bytes in powers of 1024 as `promtool` prints them: `1KiB512B` is `1536`.
pub(super) fn base2_bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["EiB", "PiB", "TiB", "GiB", "MiB", "KiB", "B"];
    if bytes == 0 {
        return "0B".to_owned();
    }
    let mut text = String::new();
    for (index, unit) in UNITS.iter().enumerate() {
        let part = (bytes >> (10 * (UNITS.len() - 1 - index))) & 1023;
        if part > 0 {
            text.push_str(&format!("{part}{unit}"));
        }
    }
    text
}

/// Milliseconds since the epoch as Go prints a time in UTC: `2023-11-14 22:10:00 +0000 UTC`.
pub(super) fn go_time(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(time) => {
            let seconds = time.strftime("%Y-%m-%d %H:%M:%S");
            format!("{seconds} +0000 UTC")
        }
        Err(_) => ms.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_prints_them() {
        for (ms, text) in [
            (0, "0s"),
            (7_200_000, "2h0m0s"),
            (6_600_000, "1h50m0s"),
            (6_600_001, "1h50m0.001s"),
            (61_500, "1m1.5s"),
            (250, "250ms"),
            (-15_000, "-15s"),
        ] {
            assert_eq!(go_duration(ms), text);
        }
        assert_eq!(base2_bytes(1536), "1KiB512B");
        assert_eq!(base2_bytes(0), "0B");
        assert_eq!(base2_bytes(1 << 30), "1GiB");
        assert_eq!(go_time(1_699_999_800_000), "2023-11-14 22:10:00 +0000 UTC");
        let row = |cells: &[&str]| cells.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
        let lines = columns(&[
            row(&["a", "much longer than 13", "x"]),
            row(&["bb", "c", "y"]),
        ]);
        assert_eq!(lines[0], "a            much longer than 13  x");
        assert_eq!(lines[1], "bb           c                    y");
    }
}
