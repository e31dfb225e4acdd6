//! Bulk transfers over TCP in a lab in memory: both ends compute the digest of what passed.

use std::time::Duration;

use super::client::{Client, TcpClient};
use super::{MemoryLab, unknown};
use crate::lab::LabError;
use crate::lab::plan::Family;
use crate::traffic::pattern::{Pattern, Sum};
use crate::traffic::servers::Request;

/// What moves, and which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Whether the server sends; else the client does.
    pub download: bool,
    /// How many bytes.
    pub length: u64,
    /// Which bytes.
    pub seed: u64,
}

/// A transfer under way.
#[derive(Debug, PartialEq, Eq)]
pub struct TransferId {
    number: usize,
    transfer: Transfer,
}

impl Transfer {
    fn begin(self, lab: &mut MemoryLab, ends: (&str, &str, u16), family: Family) -> Result<usize, LabError> {
        let to = lab.socket_address(ends.1, family, ends.2)?;
        let src = lab.position(ends.0)?;
        let client = lab.start(src, |host| {
            let client = if self.download {
                let mut request = vec![Request::Send as u8];
                request.extend_from_slice(&self.seed.to_be_bytes());
                request.extend_from_slice(&self.length.to_be_bytes());
                TcpClient::connect(host, to, request, None)
            } else {
                let upload = Some((self.seed, self.length));
                TcpClient::connect(host, to, vec![Request::Sum as u8], upload)
            };
            Client::Tcp(Box::new(client))
        });
        client.ok_or_else(|| unknown(ends.0))
    }

    /// The digest of all its bytes.
    fn sum(self) -> Sum {
        use sha2::{Digest, Sha256};
        let mut pattern = Pattern::new(self.seed);
        let mut digest = Sha256::new();
        let (mut left, mut chunk) = (self.length, vec![0; 4096]);
        while left > 0 {
            let size = usize::try_from(left).unwrap_or(chunk.len()).min(chunk.len());
            pattern.fill(chunk.get_mut(..size).unwrap_or_default());
            digest.update(chunk.get(..size).unwrap_or_default());
            left = left.saturating_sub(size as u64);
        }
        digest.finalize().into()
    }
}

impl MemoryLab {
    /// Begins a transfer between the client `src` and the server at `dst` and a port of it.
    ///
    /// # Errors
    /// There is no host of one of those names.
    pub fn begin_transfer(
        &mut self,
        transfer: Transfer,
        src: &str,
        dst: (&str, u16),
        family: Family,
    ) -> Result<TransferId, LabError> {
        self.meet()?;
        let number = transfer.begin(self, (src, dst.0, dst.1), family)?;
        Ok(TransferId { number, transfer })
    }

    /// Bytes that have come back to the client so far.
    pub fn received(&self, id: &TransferId) -> u64 {
        self.tcp_client(id).map_or(0, TcpClient::count)
    }

    /// Whether a transfer is over, whichever way.
    pub fn is_over(&self, id: &TransferId) -> bool {
        self.tcp_client(id).is_none_or(|client| client.is_finished() || client.is_refused())
    }

    /// Whether all bytes arrived, and at both ends with the same digest.
    pub fn arrived_whole(&self, id: &TransferId) -> bool {
        let Some(client) = self.tcp_client(id).filter(|client| client.is_finished()) else { return false };
        let TransferId { transfer, .. } = id;
        if transfer.download {
            return client.count() == transfer.length && client.received_sum() == transfer.sum();
        }
        // What the server counted and summed up.
        let mut answer = transfer.length.to_be_bytes().to_vec();
        answer.extend_from_slice(&client.sent_sum());
        client.kept() == answer && client.sent_sum() == transfer.sum()
    }

    /// Runs a transfer to its end, for `limit` of simulated time at the most. Says whether it arrived whole.
    ///
    /// # Errors
    /// There is no host of one of those names.
    pub fn transfer(
        &mut self,
        transfer: Transfer,
        src: &str,
        dst: (&str, u16),
        family: Family,
        limit: Duration,
    ) -> Result<bool, LabError> {
        let id = self.begin_transfer(transfer, src, dst, family)?;
        self.run_until(limit, |lab| lab.is_over(&id))?;
        let whole = self.arrived_whole(&id);
        self.end_transfer(id);
        Ok(whole)
    }

    /// Forgets a transfer; what is under way of it stops without a word.
    pub fn end_transfer(&mut self, id: TransferId) {
        self.end_client(id.number);
    }

    fn tcp_client(&self, id: &TransferId) -> Option<&TcpClient> {
        match self.client(id.number)? {
            Client::Tcp(client) => Some(client),
            Client::Udp(_) | Client::Ping(_) => None,
        }
    }
}
