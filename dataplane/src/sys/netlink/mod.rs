//! Links, addresses, routes, neighbours, the ingress drop and the redirect into the underlay, over rtnetlink.
//!
//! One socket, one request at a time, answered before the call returns: the kernel handles a request within
//! `sendmsg`, so nothing here waits for anybody. Requests carry `NLM_F_ACK`; a refusal becomes an
//! [`io::Error`] of the kernel's error number with what was asked and, where the kernel gives one, its own
//! words (extended acknowledgement, Linux 4.12). Control side only: each call allocates.
//!
//! The socket belongs to the network namespace of the thread that opened it and stays there. Wire format:
//! rtnetlink(7), by the crates `netlink-packet-route` and `netlink-sys`.

mod address;
mod changes;
mod ingress_drop;
mod link;
mod neighbour;
mod redirect;
mod route;

use std::cell::Cell;
use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REPLACE,
    NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

pub use changes::Changes;
pub use link::{Link, Vxlan};
pub use neighbour::Neighbour;
pub use route::{NextHop, Route};

/// `NLMSGERR_ATTR_MSG` of `linux/netlink.h`: the kernel's words about a refused request.
const ERROR_MESSAGE_ATTRIBUTE: u16 = 1;

/// Larger than any datagram the kernel makes of a dump (32 KiB at most).
const RECEIVE_BYTES: usize = 64 * 1024;

/// How often a dump that changed under the reader is asked for again.
const DUMP_ATTEMPTS: usize = 5;

const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;
const REPLACE: u16 = NLM_F_CREATE | NLM_F_REPLACE;

/// A socket to rtnetlink in one network namespace.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: Cell<u32>,
}

/// The answers to one request, and whether the kernel says that they may not fit one another.
struct Answers {
    messages: Vec<RouteNetlinkMessage>,
    interrupted: bool,
}

impl Netlink {
    /// Opens a socket in the namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Both only make errors readable; a kernel without them is none the worse.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        Ok(Self { socket, sequence: Cell::new(0) })
    }

    /// Sends a request that is answered by an acknowledgement, or by messages and an acknowledgement.
    fn request(
        &self,
        what: impl FnOnce() -> String,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.exchange(&message, NLM_F_ACK | flags)
            .map(|answers| answers.messages)
            .map_err(|error| annotate(&error, &what()))
    }

    /// Asks for everything of a kind.
    fn dump(&self, what: &str, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..DUMP_ATTEMPTS {
            let answers = self.exchange(&message, NLM_F_DUMP).map_err(|error| annotate(&error, what))?;
            if !answers.interrupted {
                return Ok(answers.messages);
            }
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, format!("{what}: the kernel's tables keep changing")))
    }

    fn exchange(&self, message: &RouteNetlinkMessage, flags: u16) -> io::Result<Answers> {
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message.clone()));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        retry(|| self.socket.send(&bytes, 0))?;

        let mut answers = Answers { messages: Vec::new(), interrupted: false };
        let mut datagram = Vec::with_capacity(RECEIVE_BYTES);
        loop {
            datagram.clear();
            retry(|| self.socket.recv(&mut datagram, 0))?;
            if take(&datagram, sequence, &mut answers)? {
                return Ok(answers);
            }
        }
    }
}

/// Takes the messages of one datagram; true once the exchange is over.
fn take(datagram: &[u8], sequence: u32, answers: &mut Answers) -> io::Result<bool> {
    let mut rest = datagram;
    while let Ok(frame) = NetlinkBuffer::new_checked(rest) {
        let length = usize::try_from(frame.length()).unwrap_or(usize::MAX);
        let Some((bytes, _)) = rest.split_at_checked(length) else { break };
        // Messages are padded to four bytes, the last one perhaps not.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        if frame.sequence_number() != sequence {
            continue;
        }
        let flags = frame.flags();
        answers.interrupted |= flags & NLM_F_DUMP_INTR != 0;
        let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) else {
            // A link or filter of a kind that the codec cannot read is not one that we made.
            tracing::debug!(kind = frame.message_type(), "skipped a netlink message that cannot be read");
            continue;
        };
        match message.payload {
            NetlinkPayload::Error(error) if error.code.is_none() => return Ok(true),
            NetlinkPayload::Error(error) => {
                let words = if flags & NLM_F_ACK_TLVS == 0 { None } else { kernel_words(&error.header) };
                let number = io::Error::from_raw_os_error(error.raw_code().saturating_abs());
                return Err(words.map_or(number, |words| refusal(error.raw_code(), words)));
            }
            NetlinkPayload::Done(done) if done.code < 0 => {
                return Err(io::Error::from_raw_os_error(done.code.saturating_abs()));
            }
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Overrun(_) => return Err(io::Error::from_raw_os_error(libc::ENOBUFS)),
            NetlinkPayload::InnerMessage(inner) => answers.messages.push(inner),
            _ => {}
        }
    }
    Ok(false)
}

/// The kernel's own words: attributes behind the header of the refused request (`NETLINK_CAP_ACK` leaves
/// out the request's body).
fn kernel_words(payload: &[u8]) -> Option<String> {
    const HEADER_BYTES: usize = 16;
    let attributes = payload.get(HEADER_BYTES..)?;
    let words = NlasIterator::new(attributes)
        .filter_map(Result::ok)
        .find(|nla| nla.kind() == ERROR_MESSAGE_ATTRIBUTE)?;
    let text = words.value().split(|&byte| byte == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// An error number together with the kernel's words. [`io::Error`] holds either, so the number stays
/// readable through [`os_error`].
#[derive(Debug)]
struct Refusal {
    number: i32,
    text: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refusal {}

fn refusal(code: i32, words: String) -> io::Error {
    let number = code.saturating_abs();
    let plain = io::Error::from_raw_os_error(number);
    io::Error::new(plain.kind(), Refusal { number, text: format!("{plain}: {words}") })
}

/// Says what was asked, in front of why it was refused.
fn annotate(error: &io::Error, what: &str) -> io::Error {
    let text = format!("{what}: {error}");
    match os_error(error) {
        Some(number) => io::Error::new(error.kind(), Refusal { number, text }),
        None => io::Error::new(error.kind(), text),
    }
}

/// The kernel's error number behind an error of this module (`ENODEV`, `EEXIST`), which
/// [`io::Error::raw_os_error`] does not know once there are words about it.
pub fn os_error(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or_else(|| error.get_ref()?.downcast_ref::<Refusal>().map(|refusal| refusal.number))
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
