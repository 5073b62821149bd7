//! SASL ANONYMOUS (RFC 4505): a guest of a server that makes the name up.

use crate::pass::InitialResponse;

/// No trace is given: the server would keep it, and who a guest is on the web is none of its business.
pub(crate) fn initial_response() -> InitialResponse {
    InitialResponse { mechanism: "ANONYMOUS", payload: None }
}
