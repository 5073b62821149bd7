//! Sessions in numbers: browsers that sign in to a gateway and talk, the scripted server that may stand behind it, and what
//! they cost the processes in between.

pub mod target;
pub mod tunnel;

pub mod visitors;

pub mod websocket;

pub mod http;

pub mod http2;

pub mod bosh;

pub mod client;

pub mod session;

pub mod latency;

pub mod phase;

pub mod process;

pub mod sink;

pub mod report;
