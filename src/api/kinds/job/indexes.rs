//! Indexes of an indexed job's pods as texts name them: `0-2,5`.

/// How many indexes a text such as `0-2,5` names, or what is wrong with it.
pub fn count(text: &str, completions: i32) -> Result<i32, String> {
    Ok(intervals(text, completions)?.iter().map(|(first, end)| end - first + 1).sum())
}

/// The first index that both texts name.
pub fn overlap(one: &str, other: &str, completions: i32) -> Option<i32> {
    let (one, other) = (intervals(one, completions).ok()?, intervals(other, completions).ok()?);
    let (mut one, mut other) = (one.into_iter().peekable(), other.into_iter().peekable());
    loop {
        let (a, b) = (*one.peek()?, *other.peek()?);
        if a.0 <= b.1 && b.0 <= a.1 {
            return Some(a.0.max(b.0));
        }
        if a.0 <= b.0 {
            one.next()
        } else {
            other.next()
        };
    }
}

fn intervals(text: &str, completions: i32) -> Result<Vec<(i32, i32)>, String> {
    let mut all: Vec<(i32, i32)> = Vec::new();
    for interval in text.split(',').filter(|_| !text.is_empty()) {
        let (first, end) = parse_interval(interval, completions)?;
        if let Some((_, last)) = all.last().filter(|(_, last)| *last >= first) {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        all.push((first, end));
    }
    Ok(all)
}

fn parse_interval(interval: &str, completions: i32) -> Result<(i32, i32), String> {
    let limits: Vec<&str> = interval.split('-').collect();
    if limits.len() > 2 {
        return Err(format!(
            "the fragment \"{interval}\" violates the requirement that an index interval can have at most two parts separated by '-'"
        ));
    }
    let first = parse_index(limits[0], completions)?;
    let Some(second) = limits.get(1) else { return Ok((first, first)) };
    let end = parse_index(second, completions)?;
    if first >= end {
        return Err(format!("non-increasing order, previous: {first}, current: {end}"));
    }
    Ok((first, end))
}

fn parse_index(text: &str, completions: i32) -> Result<i32, String> {
    let index = text.parse::<i32>().map_err(|_| format!("cannot convert string to integer for index: \"{text}\""))?;
    if index >= completions { Err(format!("too large index: \"{text}\"")) } else { Ok(index) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_counted_and_compared() {
        assert_eq!(count("0-2,5", 6), Ok(4));
        assert_eq!(count("", 6), Ok(0));
        assert_eq!(count("7", 3), Err("too large index: \"7\"".to_owned()));
        assert_eq!(overlap("0-2,5", "3,5", 6), Some(5));
        assert_eq!(overlap("0-2", "3", 6), None);
    }
}
