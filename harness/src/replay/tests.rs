//! Replays of small captures, packet by packet.
