//! The flags that choose flows.

use crate::{
    cli::Failure,
    net::filter::{Filter, parse},
};

/// Each takes a list, and may be given more than once.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(
    next_help_heading = "Which connections: of each list one entry has to fit, and all flags have to"
)]
pub struct Args {
    /// Only these processes
    #[arg(short, long = "pid", value_name = "PID,…", value_delimiter = ',')]
    pids: Vec<String>,
    /// Only processes of this name: the service's, or the kernel's (comm)
    #[arg(long = "process", value_name = "NAME,…", value_delimiter = ',')]
    processes: Vec<String>,
    /// Only these ports, of either end, or of the pod behind a service's address
    #[arg(long = "port", value_name = "PORT,…", value_delimiter = ',')]
    ports: Vec<String>,
    /// Only these addresses or networks (10.0.0.0/8), of either end, or of the pod behind a service's address
    #[arg(long = "address", value_name = "ADDRESS,…", value_delimiter = ',')]
    addresses: Vec<String>,
    /// Only what is open, closed (it was open), failed (it never was) or lost (its end was not seen), or has ended so: reset, aborted, timed_out,
    /// killed, destroyed, refused, unreachable, abandoned
    #[arg(long = "state", value_name = "STATE,…", value_delimiter = ',')]
    states: Vec<String>,
    /// Only where the connect, the wait for accept(2) or the round trip takes longer, such as 500us, 20ms or 2s
    #[arg(long, value_name = "TIME")]
    slower_than: Option<String>,
    /// Only what ended otherwise than in order: never established, reset by either end, timed out, or its process killed
    #[arg(long)]
    failed: bool,
}

impl Args {
    /// The filter that they are.
    ///
    /// # Errors
    /// The first value that can't be used.
    pub fn filter(&self) -> Result<Filter, Failure> {
        let slower_than = self.slower_than.as_deref();
        Ok(Filter {
            pids: list("--pid", &self.pids, parse::pid)?,
            processes: list("--process", &self.processes, parse::process)?,
            ports: list("--port", &self.ports, parse::port)?,
            addresses: list("--address", &self.addresses, parse::address)?,
            states: list("--state", &self.states, parse::state)?,
            slower_than: slower_than
                .map(|text| value("--slower-than", text, parse::time))
                .transpose()?,
            failed: self.failed,
        })
    }

    /// The first flag that is given of those that fit some of a connection's records and not others.
    pub fn of_a_moment(&self) -> Option<&'static str> {
        [
            (!self.states.is_empty(), "--state"),
            (self.slower_than.is_some(), "--slower-than"),
            (self.failed, "--failed"),
        ]
        .into_iter()
        .find_map(|(is_given, flag)| is_given.then_some(flag))
    }
}

fn list<T>(
    flag: &str,
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, parse::Bad>,
) -> Result<Vec<T>, Failure> {
    texts.iter().map(|text| value(flag, text, &parse)).collect()
}

/// One value of a flag.
pub(super) fn value<T>(
    flag: &str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, parse::Bad>,
) -> Result<T, Failure> {
    parse(text).map_err(|bad| Failure::Usage(anyhow::anyhow!("{flag}: {bad}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        choice: Args,
    }

    fn filter(flags: &[&str]) -> Result<Filter, Failure> {
        let all = std::iter::once("fathom").chain(flags.iter().copied());
        Cli::try_parse_from(all).expect("flags").choice.filter()
    }

    #[test]
    fn lists_are_given_with_commas_and_again() {
        let chosen = filter(&[
            "--pid",
            "1,2",
            "--pid",
            "3",
            "--process",
            "nginx,shop",
            "--port",
            "80,443",
            "--address",
            "10.0.0.0/8,::1",
            "--state",
            "reset,failed",
            "--slower-than",
            "20ms",
            "--failed",
        ])
        .expect("a filter");
        assert_eq!(chosen.pids, [1, 2, 3]);
        assert_eq!(chosen.processes, ["nginx", "shop"]);
        assert_eq!(chosen.ports, [80, 443]);
        assert_eq!(chosen.addresses.len(), 2);
        assert_eq!(chosen.states.len(), 2);
        assert!(chosen.failed && chosen.slower_than.is_some());
        assert_eq!(filter(&[]).expect("a filter"), Filter::default());
    }

    #[test]
    fn what_is_wrong_is_one_line_that_names_the_flag() {
        for (flag, value) in [
            ("--pid", "x"),
            ("--process", ""),
            ("--port", "80,http"),
            ("--address", "10.0.0.1:80"),
            ("--state", "listening"),
            ("--slower-than", "soon"),
        ] {
            let Err(Failure::Usage(error)) = filter(&[flag, value]) else {
                panic!("{flag} {value} is taken");
            };
            let line = error.to_string();
            assert!(line.starts_with(&format!("{flag}: ")), "{line}");
            assert!(
                line.contains("; accepted is ") && !line.contains('\n'),
                "{line}"
            );
        }
    }
}
