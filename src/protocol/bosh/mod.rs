//! BOSH, the server's side: requests in, answers out, one session as a machine (XEP-0124, XEP-0206).
//!
//! [`body`] reads what a browser posts, [`answer`] writes what it gets, [`session`] decides between the two.

mod acknowledgements;
pub mod answer;
pub mod body;
pub mod condition;
mod content;
mod delivery;
pub mod end;
pub mod event;
mod farewell;
mod head;
mod inbox;
pub mod keys;
mod overtaking;
mod pace;
pub mod payload;
mod presence;
mod prolog;
mod queue;
mod recent;
pub mod session;
pub mod settings;
mod terms;
pub mod window;
pub mod wishes;
