//! Unified diffs as Python's difflib makes them, and its port to Go: which lines are taken for the same is decided by
//! the longest run of equal lines, and then again on both sides of it (Ratcliff and Obershelp's gestalt matching).

use std::{collections::HashMap, ops::Range};

/// Equal lines that are shown before and behind a change.
const CONTEXT: usize = 3;
/// So many lines make frequent ones unfit to begin a match with: those that are more than a hundredth of all.
const MANY_LINES: usize = 200;
/// How much is compared before remaining lines are taken for different. Without a limit the effort is quadratic;
/// pods with a hundred containers stay far below.
const STEPS: usize = 1 << 24;

/// Lines from the old text that give way to lines from the new one.
struct Change {
    old: Range<usize>,
    new: Range<usize>,
}

/// A run of lines that both texts have.
#[derive(Clone, Copy)]
struct Match {
    old: usize,
    new: usize,
    length: usize,
}

/// The difference of two texts, without a header; empty if there is none.
pub fn unified_diff(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.split('\n').collect(), new.split('\n').collect());
    let changes = changes(&old, &new);
    let near = |before: &Change, after: &Change| after.old.start - before.old.end <= 2 * CONTEXT;
    changes.chunk_by(near).map(|hunk| shown(hunk, &old, &new)).collect()
}

/// Changes with the lines around and between them.
fn shown(hunk: &[Change], old: &[&str], new: &[&str]) -> String {
    let ([first, ..], [.., last]) = (hunk, hunk) else { return String::new() };
    let before = CONTEXT.min(first.old.start);
    let end = old.len().min(last.old.end + CONTEXT);
    let old_range = header(first.old.start - before, end);
    let new_range = header(first.new.start - before, last.new.end + (end - last.old.end));
    let mut text = format!("@@ -{old_range} +{new_range} @@\n");
    show(&mut text, ' ', &old[first.old.start - before..first.old.start]);
    let ends = hunk.iter().skip(1).map(|next| next.old.start).chain([end]);
    for (change, end) in hunk.iter().zip(ends) {
        show(&mut text, '-', &old[change.old.clone()]);
        show(&mut text, '+', &new[change.new.clone()]);
        show(&mut text, ' ', &old[change.old.end..end]);
    }
    text
}

fn show(text: &mut String, sign: char, lines: &[&str]) {
    for line in lines {
        text.push(sign);
        text.push_str(line);
        text.push('\n');
    }
}

/// First line and number of lines. Lines are counted from one; an empty range is said to begin at the line before it.
fn header(start: usize, end: usize) -> String {
    match end - start {
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        length => format!("{},{length}", start + 1),
    }
}

fn changes(old: &[&str], new: &[&str]) -> Vec<Change> {
    let end = Match { old: old.len(), new: new.len(), length: 0 };
    let (mut changes, mut at) = (Vec::new(), (0, 0));
    for same in Matcher::new(old, new).matches().into_iter().chain([end]) {
        if at != (same.old, same.new) {
            changes.push(Change { old: at.0..same.old, new: at.1..same.new });
        }
        at = (same.old + same.length, same.new + same.length);
    }
    changes
}

/// Finds what two texts have in common. Lines go by numbers, which equal lines share.
struct Matcher {
    old: Vec<usize>,
    new: Vec<usize>,
    /// Where the lines are in the new text, but for frequent ones.
    places: Vec<Vec<usize>>,
    steps_left: usize,
}

impl Matcher {
    fn new<'a>(old: &[&'a str], new: &[&'a str]) -> Self {
        let mut numbers = HashMap::new();
        let mut number = |line: &&'a str| {
            let next = numbers.len();
            *numbers.entry(*line).or_insert(next)
        };
        let old: Vec<usize> = old.iter().map(&mut number).collect();
        let new: Vec<usize> = new.iter().map(&mut number).collect();
        let mut places = vec![Vec::new(); numbers.len()];
        new.iter().enumerate().for_each(|(place, line)| places[*line].push(place));
        if new.len() >= MANY_LINES {
            places.iter_mut().filter(|places| places.len() > new.len() / 100 + 1).for_each(Vec::clear);
        }
        Self { old, new, places, steps_left: STEPS }
    }

    /// All matches, in the order of the texts.
    fn matches(&mut self) -> Vec<Match> {
        let mut open = vec![(0..self.old.len(), 0..self.new.len())];
        let mut matches = Vec::new();
        while let Some((old, new)) = open.pop() {
            let found = self.longest(&old, &new);
            if found.length > 0 {
                open.push((old.start..found.old, new.start..found.new));
                open.push((found.old + found.length..old.end, found.new + found.length..new.end));
                matches.push(found);
            }
        }
        matches.sort_unstable_by_key(|found| found.old);
        matches
    }

    /// The longest match within both ranges: among equally long ones the first in the old text, then in the new one.
    fn longest(&mut self, old: &Range<usize>, new: &Range<usize>) -> Match {
        let mut longest = Match { old: old.start, new: new.start, length: 0 };
        // Runs that end with the line before, as where they end in the new text and how long they are.
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for (line, at) in self.old[old.clone()].iter().zip(old.clone()) {
            let places = within(&self.places[*line], new);
            let Some(steps_left) = self.steps_left.checked_sub(places.len() + 1) else { break };
            self.steps_left = steps_left;
            let mut before = runs.into_iter().peekable();
            let grown = |place: &usize| {
                while before.next_if(|(end, _)| end < place).is_some() {}
                (place + 1, before.next_if(|(end, _)| end == place).map_or(1, |(_, length)| length + 1))
            };
            runs = places.iter().map(grown).collect();
            for &(end, length) in &runs {
                if length > longest.length {
                    longest = Match { old: at + 1 - length, new: end - length, length };
                }
            }
        }
        self.extended(longest, old, new)
    }

    /// The match with equal lines on both sides of it, which frequent lines may be.
    fn extended(&self, mut found: Match, old: &Range<usize>, new: &Range<usize>) -> Match {
        while found.old > old.start && found.new > new.start && self.old[found.old - 1] == self.new[found.new - 1] {
            found = Match { old: found.old - 1, new: found.new - 1, length: found.length + 1 };
        }
        let (behind_old, behind_new) = (found.old + found.length..old.end, found.new + found.length..new.end);
        let equal = self.old[behind_old].iter().zip(&self.new[behind_new]).take_while(|(old, new)| old == new);
        found.length += equal.count();
        found
    }
}

/// Those of sorted places that are in the range.
fn within<'a>(places: &'a [usize], range: &Range<usize>) -> &'a [usize] {
    let from = places.partition_point(|place| *place < range.start);
    let to = places.partition_point(|place| *place < range.end);
    &places[from..to.max(from)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A word is a line, and a line of the result.
    fn of_words(old: &str, new: &str) -> String {
        unified_diff(&old.replace(' ', "\n"), &new.replace(' ', "\n")).replace('\n', "|")
    }

    /// What Python's difflib says.
    #[test]
    fn differences_are_those_of_difflib() {
        let cases = [
            ("a b c", "a b c", ""),
            ("a", "b", "@@ -1 +1 @@|-a|+b|"),
            ("a b c d e f g h i", "a b c d x f g h i", "@@ -2,7 +2,7 @@| b| c| d|-e|+x| f| g| h|"),
            ("a b", "x a b", "@@ -1,2 +1,3 @@|+x| a| b|"),
            ("a b c d e", "b c d e", "@@ -1,4 +1,3 @@|-a| b| c| d|"),
            // Six equal lines hold a hunk together, seven do not.
            ("1 a b c d e f 2", "x a b c d e f y", "@@ -1,8 +1,8 @@|-1|+x| a| b| c| d| e| f|-2|+y|"),
            (
                "1 a b c d e f g 2",
                "x a b c d e f g y",
                "@@ -1,4 +1,4 @@|-1|+x| a| b| c|@@ -6,4 +6,4 @@| e| f| g|-2|+y|",
            ),
            // The longest run counts, and not that the first lines are equal.
            ("a b", "a c a b", "@@ -1,2 +1,4 @@|+a|+c| a| b|"),
            // Runs that meet in one of the texts only.
            ("q a b x c d", "a b y c d f", "@@ -1,6 +1,6 @@|-q| a| b|-x|+y| c| d|+f|"),
            // Of two that are equally long, the first one.
            ("a b", "b a", "@@ -1,2 +1,2 @@|+b| a|-b|"),
        ];
        for (old, new, expected) in cases {
            assert_eq!(of_words(old, new), expected, "{old} to {new}");
        }
    }

    #[test]
    fn frequent_lines_of_long_texts_begin_no_match() {
        let long = |middle: &str| format!("{}{middle}{}", "a b ".repeat(100), " a b".repeat(100));
        let difference = of_words(&long("x"), &long("y"));
        assert!(difference.starts_with("@@ -198,204 +198,204 @@| b| a| b|-x|-a|-b|-a|"), "{difference}");
    }

    #[test]
    fn effort_is_bounded() {
        let lengths = |steps_left| {
            let mut matcher = Matcher { steps_left, ..Matcher::new(&["a", "b", "c", "d"], &["a", "x", "c", "d"]) };
            matcher.matches().iter().map(|found| found.length).collect::<Vec<_>>()
        };
        assert_eq!(lengths(STEPS), [1, 2]);
        assert_eq!(lengths(0), [1]);
    }
}
