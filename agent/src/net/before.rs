//! The connections that were open when fathom came, one by one: listed by the kernel, until its records tell of them.

use std::{
    collections::{HashMap, HashSet},
    io,
    ops::ControlFlow,
    path::Path,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use fathom_abi::{ConnectionId, Role, flow::Owner};

use super::{
    Ends, Flow,
    flows::Change,
    open::Moved,
    sockets::{self, Extensions, Found, Socket, diag::State, info::TcpInfo, owners},
};

/// Connections that are listed; of more, only what the records tell.
pub const LISTED: usize = 1 << 15;

/// Connections that records tell of while the list is made, and that are known not to be from before.
const MET: usize = 1 << 16;

/// How long the walk over the descriptors of all processes may take.
const WALK_LIMIT: Duration = Duration::from_secs(2);

/// One connection of the list.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// Its socket.
    pub socket: Socket,
    /// Which end opened it, as far as ports tell.
    pub role: Role,
    /// Its network namespace.
    pub netns: u32,
    /// Where it stood.
    pub info: Option<TcpInfo>,
    /// The process that has it open; 0 where none was found.
    pub pid: u32,
}

impl Listed {
    /// What a list of sockets found; none where it is just being opened: of that the records tell.
    pub fn of(found: &Found<'_>) -> Option<Self> {
        (found.socket.state != State::SYN_SENT).then(|| Self {
            socket: *found.socket,
            role: found.role,
            netns: u32::try_from(found.namespace).unwrap_or_default(),
            info: found.details.tcp_info(),
            pid: 0,
        })
    }

    fn ends(&self) -> Ends {
        Ends::new(self.netns, self.socket.local, self.socket.remote)
    }

    /// As a flow that has just been found. Its times are not known.
    pub fn flow(&self, now_ns: u64) -> Flow {
        let info = self.info.as_ref();
        let number = |of: fn(&TcpInfo) -> Option<u32>| info.and_then(of).unwrap_or(0);
        let moved = info.map(|info| Moved::by(info, self.socket.state));
        let moved = moved.unwrap_or_default();
        Flow {
            // The kernel's cookie is a number that no other socket gets; a time of birth of 0 tells it from the ids of records.
            id: ConnectionId {
                sock: self.socket.cookie,
                born_ns: 0,
            },
            change: Change::Existing,
            outcome: None,
            role: self.role,
            tgid: self.pid,
            owner: owner_of(self.pid),
            comm: [0; 16],
            netns: self.netns,
            cgroup: None,
            local: self.socket.local,
            remote: self.socket.remote,
            at_ns: now_ns,
            connect_ns: None,
            established_ns: None,
            accepted_ns: None,
            first_received_ns: None,
            first_sent_ns: None,
            bytes_sent: moved.sent,
            bytes_received: moved.received,
            segments_sent: number(|info| info.segments_sent),
            segments_received: number(|info| info.segments_received),
            srtt_us: info.and_then(|info| info.rtt_us),
            min_rtt_us: info.and_then(|info| info.min_rtt_us),
            retransmits: moved.retransmits,
            reset_sent: false,
            reset_received: false,
            closed_by: None,
            signal: None,
            error: 0,
        }
    }
}

/// Whether a flow is one of the list of which nothing but its ends and its process is known: no connection is there without a segment.
pub fn is_bare(flow: &Flow) -> bool {
    let has_segments = flow.segments_sent > 0 || flow.segments_received > 0;
    flow.change == Change::Existing && flow.id.born_ns == 0 && !has_segments
}

/// A list of sockets that is being made.
type Listing = JoinHandle<sockets::List<Vec<Listed>>>;

/// What was told of a connection when it was listed.
#[derive(Clone, Copy, Debug)]
struct Told {
    id: ConnectionId,
    pid: u32,
    role: Role,
}

/// The list, and who of it was met again in records.
#[derive(Default)]
pub struct Before {
    /// The walk to the list's owners, under way.
    walk: Option<JoinHandle<Vec<Listed>>>,
    /// Who was met meanwhile.
    met: HashSet<Ends>,
    /// Those of which no record has told, as no byte has moved on them, and those that rest again.
    resting: HashMap<Ends, Told>,
    /// The look at where they stand, under way, and when the one before began.
    look: Option<Listing>,
    looked: Option<Instant>,
    /// The search for those whose end was lost, under way.
    search: Option<Listing>,
    /// The others by the ids that their records have.
    known: HashMap<ConnectionId, Told>,
}

impl Before {
    /// Begins to find out whose the connections are that [`existing::Search`](super::existing::Search) has listed.
    ///
    /// # Errors
    /// Where its thread can't be started.
    pub fn start(mut listed: Vec<Listed>) -> io::Result<Self> {
        let walk = thread::Builder::new()
            .name("fathom-before".to_owned())
            .spawn(move || {
                find_owners(&mut listed);
                listed
            })?;
        Ok(Self {
            walk: Some(walk),
            ..Self::default()
        })
    }

    /// The list, once, when it is there; without those that records have told of meanwhile. Each is to be remembered.
    pub fn take(&mut self) -> Vec<Listed> {
        match self.walk.take_if(|walk| walk.is_finished()) {
            Some(walk) => self.unmet(walk.join().unwrap_or_default()),
            None => Vec::new(),
        }
    }

    fn unmet(&mut self, mut list: Vec<Listed>) -> Vec<Listed> {
        list.retain(|one| !self.met.contains(&one.ends()));
        self.met = HashSet::new();
        list
    }

    /// Where those stand of which no record has told: a look at all sockets is begun once in each interval while there are any. To be called often; what
    /// a look that takes longer finds comes later.
    pub fn resting(&mut self, interval: Duration, limit: Duration, now_ns: u64) -> Vec<Flow> {
        if let Some(look) = self.look.take_if(|look| look.is_finished()) {
            let list = look.join().unwrap_or_default();
            return self.stand(&list.into, now_ns);
        }
        let is_due = self.looked.is_none_or(|at| at.elapsed() >= interval);
        if is_due && self.look.is_none() && !self.resting.is_empty() {
            // The first interval begins when they are listed.
            let is_first = self.looked.replace(Instant::now()).is_none();
            if !is_first {
                self.look = look(limit).ok();
            }
        }
        Vec::new()
    }

    fn stand(&self, found: &[Listed], now_ns: u64) -> Vec<Flow> {
        let of = |one: &Listed| {
            let told = self
                .resting
                .get(&one.ends())
                .filter(|told| told.id.sock == one.socket.cookie)?;
            let known = Listed {
                pid: told.pid,
                role: told.role,
                ..*one
            };
            Some(Flow {
                change: Change::Alive,
                ..known.flow(now_ns)
            })
        };
        found.iter().filter_map(of).collect()
    }

    /// Begins to look which of those are gone of which no record has told, if there are any: to be called where records were lost, or changes of state kept from
    /// the programs, and one of them may have been of an end.
    ///
    /// # Errors
    /// Where its thread can't be started.
    pub fn search(&mut self, limit: Duration) -> io::Result<()> {
        if self.search.is_none() && !self.resting.is_empty() {
            self.search = Some(look(limit)?);
        }
        Ok(())
    }

    /// Those that the search did not find, once it is done. If the last record of one is not lost, it has its place in the ring.
    pub fn gone(&mut self) -> Vec<ConnectionId> {
        let Some(search) = self.search.take_if(|search| search.is_finished()) else {
            return Vec::new();
        };
        let list = search.join().unwrap_or_default();
        let (found, listed) = (list.into, list.listed);
        // One that broke off, or panicked, has not seen all.
        if listed.namespaces == 0 || listed.incomplete > 0 || found.len() >= LISTED {
            return Vec::new();
        }
        self.missing_in(&found)
    }

    fn missing_in(&self, found: &[Listed]) -> Vec<ConnectionId> {
        let found: HashSet<u64> = found.iter().map(|one| one.socket.cookie).collect();
        let ids = self.resting.values().map(|told| told.id);
        ids.filter(|id| !found.contains(&id.sock)).collect()
    }

    /// Nothing will come of these any more.
    pub fn forget(&mut self, ids: &[ConnectionId]) {
        if ids.iter().any(|id| id.born_ns == 0) {
            let ids: HashSet<_> = ids.iter().collect();
            self.resting.retain(|_, told| !ids.contains(&told.id));
        }
    }

    /// Remembers one of the list, which `flow` was made of.
    pub fn remember(&mut self, flow: &Flow) {
        let told = Told {
            id: flow.id,
            pid: flow.tgid,
            role: flow.role,
        };
        self.resting.insert(Ends::of(flow), told);
    }

    /// Has a record of a connection that was listed go on with what was told of it: it gets that id, and what the record itself lacks.
    pub fn resume(&mut self, flow: &mut Flow) {
        if self.walk.is_some() && self.met.len() < MET && names_its_namespace(flow) {
            self.met.insert(Ends::of(flow));
        }
        if let Some(told) = self.met_as(flow) {
            told.fill(flow);
            if !flow.change.is_end() {
                // It is known to exist.
                flow.change = Change::Alive;
            }
        }
    }

    fn met_as(&mut self, flow: &Flow) -> Option<Told> {
        let is_end = flow.change.is_end();
        if let Some(&told) = self.known.get(&flow.id) {
            if is_end || flow.change == Change::Resting {
                self.known.remove(&flow.id);
            }
            if flow.change == Change::Resting {
                self.resting.insert(Ends::of(flow), told);
            }
            return Some(told);
        }
        if self.resting.is_empty() || !names_its_namespace(flow) {
            return None;
        }
        let told = self.resting.remove(&Ends::of(flow))?;
        // One that begins now has the ends of one whose end was not seen.
        if matches!(flow.change, Change::Established | Change::ConnectFailed) {
            return None;
        }
        if !is_end {
            self.known.insert(flow.id, told);
        }
        Some(told)
    }

    /// Whether a connection that was listed is open, and its records have this id.
    pub fn has(&self, id: ConnectionId) -> bool {
        self.known.contains_key(&id)
    }

    /// The ids that records have of those among the listed ones that are open, and of which a record has told.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = ConnectionId> {
        self.known.keys().copied()
    }
}

impl Told {
    /// Where no call was seen on it, as when the other end resets one that rests, its record has nobody.
    fn fill(self, flow: &mut Flow) {
        flow.id = self.id;
        if flow.tgid == 0 {
            flow.tgid = self.pid;
            flow.owner = owner_of(self.pid);
        }
        if flow.role == Role::UNKNOWN {
            flow.role = self.role;
        }
    }
}

/// How the process was learned that a list has a socket with.
fn owner_of(pid: u32) -> Owner {
    if pid == 0 {
        Owner::UNKNOWN
    } else {
        Owner::USER
    }
}

/// Whether a record says in which namespace its ends are: of a connection whose end was not seen, the kernel can't be asked any more.
fn names_its_namespace(flow: &Flow) -> bool {
    flow.change != Change::Lost
}

/// Begins to list all connections, with where they stand.
fn look(limit: Duration) -> io::Result<Listing> {
    sockets::list(
        limit,
        Extensions::TCP_INFO,
        Vec::new(),
        |into: &mut Vec<Listed>, found| {
            if into.len() < LISTED {
                into.extend(Listed::of(found));
            }
        },
    )
}

/// Fills in the processes. Of a socket that several have open, the first that is found counts.
fn find_owners(listed: &mut [Listed]) {
    let mut owners: HashMap<u32, u32> = listed
        .iter()
        .filter(|one| one.socket.inode != 0)
        .map(|one| (one.socket.inode, 0))
        .collect();
    let until = Instant::now() + WALK_LIMIT;
    owners::each(Path::new("/proc"), 0, until, |descriptor, inode| {
        if let Some(owner) = owners.get_mut(&inode)
            && *owner == 0
        {
            *owner = descriptor.pid;
        }
        ControlFlow::Continue(())
    });
    for one in listed {
        one.pid = owners.get(&one.socket.inode).copied().unwrap_or(0);
    }
}

#[cfg(test)]
mod tests;
