//! HTTP/2 (RFC 9113), the server's part: what a browser's bytes are, and what it is answered.
//!
//! [`connection::Connection`] is the machine: bytes go in, requests and pieces of their bodies come out; answers go in, and
//! bytes come out. It keeps nothing that is not needed: of a connection with a request under way, two windows, a few numbers
//! for each stream, and the table of fields that the browser has built.

mod calm;
pub mod code;
pub mod connection;
pub mod frame;
pub mod hpack;
mod request;
mod settings;
mod streams;
mod window;
