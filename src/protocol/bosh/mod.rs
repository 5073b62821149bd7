//! BOSH, the server's side: requests in, answers out, one session as a machine (XEP-0124, XEP-0206).
//!
//! [`body`] reads what a browser posts, [`answer`] writes what it gets, [`session`] decides between the two.

pub mod answer;
pub mod body;
pub mod condition;
pub mod end;
pub mod event;
mod inbox;
pub mod payload;
mod presence;
mod queue;
mod recent;
pub mod session;
pub mod settings;
pub mod window;
