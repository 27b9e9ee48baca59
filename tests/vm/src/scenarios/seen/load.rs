//! A subject's client does its plans: first several at a time, then one after the other, where a clock runs.

use std::fmt;

use anyhow::{Context as _, Result, ensure};

use super::{Amount, End, Role, WORKERS, latency::Window};
use crate::subjects::{
    Subject, Wire,
    plan::{self, Plan},
    program::{Done, Ground, Library, Program, Server, service},
    truth::{self, Log},
};

/// Whose clock fathom's is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The program's own.
    Own,
    /// The access log's, which has milliseconds: for answers that take forty of them.
    AccessLog,
    /// The kernel's time stamps of packets, where a library keeps its connection to itself.
    Wire,
    /// None: such a library, and packets that can't be read or say something else.
    Hidden,
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Own => "its own",
            Self::AccessLog => "access log",
            Self::Wire => "packets",
            Self::Hidden => "none: its library keeps its connection to itself",
        })
    }
}

/// Requests that were made one after the other, and how long they took by a clock that is not fathom's.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Whose clock.
    pub by: Clock,
    /// When they were made.
    pub window: Window,
    /// How many there were.
    pub requests: usize,
    /// How long they took, seconds; one median for all where the program tells no more.
    pub times: Vec<f64>,
    /// The same by a second clock, where there is one: what they really took lies between the two. It is the library's where `times` is that of packets: a
    /// client's begins before what `times` tells of and ends after it; a server's begins when its library has read, and ends before that has written. Or it is
    /// the library's longest time where `times` is its shortest.
    pub bound: Vec<f64>,
}

/// A subject at work.
pub struct Load<'a> {
    pub ground: &'a Ground,
    pub number: usize,
    pub subject: &'a Subject,
    pub server: &'a Server,
    pub amount: Amount,
}

impl Load<'_> {
    /// Does everything, and hears both ends.
    pub fn run(&self) -> Result<[End; 2]> {
        let Done { library, mut log } = self.ask(&self.plan(WORKERS, self.amount.rounds))?;
        let [of_server, of_client] = match self.amount.timed_rounds {
            0 => [None, None],
            _ => self.measure(&mut log)?.map(Some),
        };
        let answered = self.server.answered(truth::total(&log.answers))?;
        ensure!(
            answered.answers == log.answers,
            "subject {}: the server answered {:?}, the client heard {:?}",
            self.number,
            answered.answers,
            log.answers
        );
        let end = |role, library: Library, service, timing| End {
            number: self.number,
            of: *self.subject,
            role,
            library,
            service,
            answers: log.answers.clone(),
            timing,
        };
        let (server, client) = (self.server, service(self.number, self.subject.client, "c"));
        Ok([
            end(
                Role::Server,
                server.library.clone(),
                server.service.clone(),
                of_server,
            ),
            end(Role::Client, library, client, of_client),
        ])
    }

    /// Measures once more what an end's requests take.
    pub fn again(&self, role: Role) -> Result<Timing> {
        let mut log = self.server.answered(0)?;
        let [server, client] = self.measure(&mut log)?;
        Ok(match role {
            Role::Server => server,
            Role::Client => client,
        })
    }

    /// Has requests made one after the other, adds them to what was done so far, and gives back what they took at the server and at the client.
    fn measure(&self, so_far: &mut Log) -> Result<[Timing; 2]> {
        let clocks = [
            self.clock(Role::Server, self.subject.server),
            self.clock(Role::Client, self.subject.client),
        ];
        let wire = clocks
            .contains(&Clock::Wire)
            .then(|| {
                let file = format!("{}-wire", service(self.number, self.subject.client, "c"));
                Wire::tap(self.server.port, self.ground.dir.join(file))
            })
            .transpose()?;
        let mut timed = self.timed(&self.plan(1, self.amount.timed_rounds), so_far)?;
        let packets = wire.map(Wire::times).transpose()?.unwrap_or_default();
        for (timing, by) in timed.iter_mut().zip(clocks) {
            timing.by = by;
            match by {
                Clock::Own | Clock::AccessLog => {}
                Clock::Wire => {
                    timing.bound = std::mem::replace(&mut timing.times, packets.clone());
                }
                Clock::Hidden => timing.times.clear(),
            }
        }
        let [server, client] = timed;
        if self.subject.server != Program::Nginx {
            return Ok([server, client]);
        }
        let by = Clock::AccessLog;
        let [server, slow] = self.timed(&plan::slow(), so_far)?;
        let client = match client.times.is_empty() {
            // It has no clock, so the server's log of the same requests has to do.
            true => Timing {
                by,
                times: server.times.clone(),
                ..slow
            },
            false => client,
        };
        Ok([Timing { by, ..server }, client])
    }

    /// Has one plan done.
    fn timed(&self, plan: &Plan, so_far: &mut Log) -> Result<[Timing; 2]> {
        let before = self.server.answered(truth::total(&so_far.answers))?;
        let since = Window::now();
        let done = self.ask(plan)?.log;
        let window = since.until_now();
        let (times, at_most) = (done.times.clone(), done.at_most.clone());
        so_far.append(done);
        let mut after = self.server.answered(truth::total(&so_far.answers))?;
        let timing = |times, bound| Timing {
            by: Clock::Own,
            window,
            requests: plan.iter().map(Vec::len).sum(),
            times,
            bound,
        };
        let of_server = after.times.split_off(before.times.len());
        Ok([timing(of_server, Vec::new()), timing(times, at_most)])
    }

    fn ask(&self, plan: &Plan) -> Result<Done> {
        self.subject
            .client
            .ask(self.ground, self.subject, self.number, self.server, plan)
            .with_context(|| format!("subject {}", self.number))
    }

    fn plan(&self, workers: usize, rounds: usize) -> Plan {
        if self.subject.protocol.is_grpc() {
            plan::grpc(workers, rounds)
        } else {
            plan::http(workers, rounds, self.subject.client.methods())
        }
    }

    /// The libraries of gRPC, and Node's HTTP/2 in a server, keep their connections to themselves. Packets are no clock for the latter: they wait for Node's one
    /// thread to come to read them.
    fn clock(&self, role: Role, program: Program) -> Clock {
        let protocol = self.subject.protocol;
        match program {
            Program::GrpcPython | Program::GrpcRust if !protocol.is_secure() => Clock::Wire,
            Program::GrpcPython | Program::GrpcRust => Clock::Hidden,
            Program::Node if role == Role::Server && protocol.is_http2() => Clock::Hidden,
            _ => Clock::Own,
        }
    }
}
