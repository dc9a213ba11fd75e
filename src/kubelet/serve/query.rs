//! The parameters of requests, as upstream's API server sends them to a kubelet.

use jiff::{SignedDuration, Timestamp};

/// A parameter that is out of its range. The wording goes to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: Invalid value: \"{value}\": {problem}")]
pub struct Invalid {
    name: &'static str,
    value: String,
    problem: &'static str,
}

/// The decoded query of a URL.
pub struct Query {
    pairs: Vec<(String, String)>,
}

/// What of a log is wanted (`v1.PodLogOptions`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on with what is written later.
    pub follow: bool,
    /// The run before the current one.
    pub previous: bool,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// Lines from then on.
    pub since: Option<Timestamp>,
    /// So many lines from the end.
    pub tail_lines: Option<u64>,
    /// So many bytes.
    pub limit_bytes: Option<u64>,
    /// `stdout` or `stderr` only.
    pub stream: Option<&'static str>,
}

/// Which streams of a command are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error; with a terminal it comes with standard output.
    pub stderr: bool,
    /// A terminal.
    pub tty: bool,
}

impl Query {
    /// Decodes the query of a URL.
    pub fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        Self { pairs }
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
    }

    /// The streams of exec and attach. The API calls them stdin, stdout and stderr; between API
    /// server and kubelet they are input, output and error.
    pub fn streams(&self) -> StreamOptions {
        let either = |one, other| self.flag(one) || self.flag(other);
        let tty = self.flag("tty");
        StreamOptions {
            stdin: either("input", "stdin"),
            stdout: either("output", "stdout"),
            stderr: either("error", "stderr") && !tty,
            tty,
        }
    }

    /// The options of a log at the time `now`.
    pub fn log_options(&self, now: Timestamp) -> Result<LogOptions, Invalid> {
        let stream = match self.get("stream") {
            None | Some("" | "All") => None,
            Some("Stdout") => Some("stdout"),
            Some("Stderr") => Some("stderr"),
            Some(other) => return Err(invalid("stream", other, "must be one of All, Stdout, Stderr")),
        };
        let tail_lines = self.number("tailLines", 0, "must be greater than or equal to 0")?;
        if stream.is_some() && tail_lines.is_some() {
            let value = self.get("tailLines").unwrap_or_default();
            return Err(invalid(
                "tailLines",
                value,
                "`tailLines` and specific `stream` are mutually exclusive for now",
            ));
        }
        Ok(LogOptions {
            follow: self.flag("follow"),
            previous: self.flag("previous"),
            timestamps: self.flag("timestamps"),
            since: self.since(now)?,
            tail_lines,
            limit_bytes: self.number("limitBytes", 1, "must be greater than 0")?,
            stream,
        })
    }

    fn since(&self, now: Timestamp) -> Result<Option<Timestamp>, Invalid> {
        if let Some(seconds) = self.number("sinceSeconds", 1, "must be greater than 0")? {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            // Further back than time itself means from the beginning.
            return Ok(Some(now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN)));
        }
        let time = self.get("sinceTime").filter(|time| !time.is_empty());
        time.map(|time| time.parse().map_err(|_| invalid("sinceTime", time, "must be an RFC 3339 time"))).transpose()
    }

    /// `1` and `true` are true, as Kubernetes' parameter decoding has it.
    fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value, "" | "0" | "false" | "False" | "f" | "F"))
    }

    fn number(&self, name: &'static str, least: u64, problem: &'static str) -> Result<Option<u64>, Invalid> {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let number = text.parse::<u64>().ok().filter(|number| *number >= least);
        number.map(Some).ok_or_else(|| invalid(name, text, problem))
    }
}

fn invalid(name: &'static str, value: &str, problem: &'static str) -> Invalid {
    Invalid { name, value: value.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_the_streams_are_known() {
        let wanted = StreamOptions { stdin: true, stdout: true, stderr: true, tty: false };
        assert_eq!(Query::parse(Some("input=1&output=1&error=1")).streams(), wanted);
        let query = Query::parse(Some("command=ls&command=-l%20x&stdin=true&stdout=true&stderr=true&tty=false"));
        assert_eq!(query.streams(), wanted);
        assert_eq!(query.all("command"), ["ls", "-l x"]);
        assert!(!Query::parse(Some("stderr=true&tty=true")).streams().stderr);
    }

    #[test]
    fn log_options_are_checked() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let options = |query| Query::parse(Some(query)).log_options(now);
        let wanted = options("follow=true&tailLines=0&sinceSeconds=60&limitBytes=5").unwrap();
        assert_eq!(wanted.since, Some("2026-01-01T00:00:00Z".parse().unwrap()));
        assert_eq!((wanted.follow, wanted.tail_lines, wanted.limit_bytes), (true, Some(0), Some(5)));
        assert_eq!(
            options("tailLines=-1").unwrap_err().to_string(),
            "tailLines: Invalid value: \"-1\": must be greater than or equal to 0"
        );
        for query in ["limitBytes=0", "sinceSeconds=x", "sinceTime=monday", "stream=Both", "stream=Stdout&tailLines=1"]
        {
            assert!(options(query).is_err(), "{query}");
        }
        assert_eq!(options("").unwrap(), LogOptions::default());
    }
}
