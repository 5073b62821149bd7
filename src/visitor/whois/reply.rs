//! What a site answers to the question who a visitor is, and what it may do instead.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use serde::Deserialize;
use tokio::time::Instant;

use crate::outbound;
use crate::site::Site;
use crate::throttle::Throttles;
use crate::visitor;
use crate::visitor::Said;
use crate::visitor::whois::known::Answer;

/// Why a site has not said who a visitor is; for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("whois cannot be asked")]
    Request(#[from] outbound::Error),
    #[error("whois answered {0}: its secret and ours differ")]
    Secret(StatusCode),
    #[error("whois answered {0}")]
    Status(StatusCode),
    #[error("whois answered something else than the JSON of its contract: {0}")]
    Json(String),
    #[error("whois did not answer in time")]
    Deadline,
    #[error("no question is asked any more")]
    Closed,
}

/// What whois answers.
#[derive(Debug, Deserialize)]
struct Reply {
    authenticated: bool,
    /// How many seconds the answer is good for.
    #[serde(default)]
    expires_in: Option<u64>,
}

/// What the answer says, asked for at `asked` and good for `keep` at most; names that can be no address are told to the log
/// as `nameless` has it.
pub(super) fn read(
    site: &Site,
    response: &hyper::Response<Bytes>,
    (asked, keep): (Instant, Duration),
    nameless: &Throttles,
) -> Result<Answer, Failure> {
    match response.status() {
        StatusCode::OK => {}
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            return Err(Failure::Secret(status));
        }
        status => return Err(Failure::Status(status)),
    }
    let reply: Reply = serde_json::from_slice(response.body()).map_err(|error| not_json(&error))?;
    let member = if reply.authenticated {
        let said: Said =
            serde_json::from_slice(response.body()).map_err(|error| not_json(&error))?;
        visitor::member(site, said, nameless)
    } else {
        None
    };
    let keep = reply.expires_in.map_or(keep, |seconds| keep.min(Duration::from_secs(seconds)));
    Ok(Answer { member, asked, keep, bytes: response.body().len() })
}

/// What is wrong with an answer, without the text that stands there instead: it is somebody's, and nobody knows what it is.
fn not_json(error: &serde_json::Error) -> Failure {
    let text = error.to_string();
    let around = text
        .split_once('"')
        .and_then(|(before, rest)| rest.rsplit_once('"').map(|(_, after)| (before, after)));
    Failure::Json(
        around.map_or_else(|| text.clone(), |(before, after)| format!("{before}\"…\"{after}")),
    )
}
