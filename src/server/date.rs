//! The date that answers bear, written once a second.

use std::cell::RefCell;
use std::time::SystemTime;

use hyper::header::HeaderValue;

/// The date of now (RFC 9110 §6.6.1).
pub(super) fn now() -> HeaderValue {
    WRITTEN.with_borrow_mut(|(written, value)| {
        let now = SystemTime::now();
        let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if second != *written {
            // A date is never anything but letters.
            if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(now)) {
                (*written, *value) = (second, date);
            }
        }
        value.clone()
    })
}

thread_local! {
    static WRITTEN: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
}
