//! What is wrong with an expression, and what went wrong while it was evaluated, in upstream's words.

/// One thing that is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Line, from one.
    pub line: usize,
    /// Column in characters, from zero.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// Why a text is no program. Displays as upstream words it: `compilation failed: ERROR: …` with each
/// line that has a problem and a caret below it, or `must evaluate to bool but got int`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The text has syntax or type errors.
    #[error("compilation failed: {text}")]
    Issues {
        /// All issues as they are shown.
        text: String,
        /// The issues.
        issues: Vec<Issue>,
    },
    /// The result is of another type than it should be.
    #[error("must evaluate to {expected} but got {found}")]
    Output {
        /// The type it should have, or `one of [bool string]`.
        expected: String,
        /// The type it has.
        found: String,
    },
    /// A constant in the text cannot be what it is used for, such as a pattern that is none.
    #[error("program instantiation failed: {0}")]
    Constant(String),
}

/// Why an evaluation has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// The expression failed: `no such key: x`, `division by zero`, or that it costs more than one
    /// expression may.
    #[error("{0}")]
    Failed(String),
    /// The [`Budget`](super::Budget) that several expressions share is used up: no other may run.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    OutOfBudget,
}

/// Why a part of an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// An error, which `&&`, `||` and the macros built on them may make good.
    Error(String),
    /// The call's limit is reached: nothing makes that good.
    Limit,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self::Error(message.into())
    }

    /// A function that is not for such arguments.
    pub fn no_overload() -> Self {
        Self::new("no such overload")
    }
}

impl From<Failure> for EvaluationError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Error(message) => Self::Failed(message),
            Failure::Limit => Self::Failed("operation cancelled: actual cost limit exceeded".into()),
        }
    }
}

/// More are not shown.
const MOST: usize = 100;
/// Longer lines are not shown.
const LINE_LIMIT_BYTES: usize = 16 * 1024;

/// Issues by their places in bytes (`None`: the text as a whole), sorted and shown.
pub(super) fn issues(source: &str, found: Vec<(Option<usize>, String)>) -> CompileError {
    let place = |(at, message)| {
        let Some(at): Option<usize> = at else { return Issue { line: 0, column: 0, message } };
        let before = &source[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        Issue { line, column, message }
    };
    let mut issues: Vec<Issue> = found.into_iter().map(place).collect();
    issues.sort_by_key(|issue| (issue.line, issue.column));
    let mut shown: Vec<String> = issues.iter().take(MOST).map(|issue| show(source, issue)).collect();
    if issues.len() > MOST {
        shown.push(format!("{} more errors were truncated", issues.len() - MOST));
    }
    CompileError::Issues { text: shown.join("\n"), issues }
}

fn show(source: &str, issue: &Issue) -> String {
    let Issue { line, column, message } = issue;
    if *line == 0 {
        return format!("ERROR: :-1:0: {message}");
    }
    let head = format!("ERROR: <input>:{line}:{}: {message}", column + 1);
    let text = source.split('\n').nth(line - 1).unwrap_or_default().replace('\t', " ");
    if text.len() > LINE_LIMIT_BYTES {
        return head;
    }
    let wide = |next: Option<char>| next.is_some_and(|next| next.len_utf8() > 1);
    let mut dots = String::new();
    let mut rest = text.chars();
    for _ in 0..*column {
        let Some(next) = rest.next() else { break };
        dots.push_str(if wide(Some(next)) { "\u{ff0e}" } else { "." });
    }
    let caret = if wide(rest.next()) { "\u{ff3e}" } else { "^" };
    format!("{head}\n | {text}\n | {dots}{caret}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issue_is_shown_below_its_line() {
        let error = issues("a\n b\u{e4}\tc", vec![(Some(7), "no c".into()), (Some(3), "no b".into())]);
        let expected = "compilation failed: ERROR: <input>:2:2: no b\n |  b\u{e4} c\n | .^\n\
                        ERROR: <input>:2:5: no c\n |  b\u{e4} c\n | ..\u{ff0e}.^";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn issues_are_counted_when_there_are_many() {
        let many = (0..105).map(|_| (Some(0), "x".to_owned())).collect();
        assert!(issues("a", many).to_string().ends_with("\n5 more errors were truncated"));
    }
}
