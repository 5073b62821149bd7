//! The bodies of BOSH: whatever comes, an answer or an error; and what is passed on is whole elements without a sender.
#![no_main]

use libfuzzer_sys::fuzz_target;

use vestibule::protocol::bosh::body::Body;
use vestibule::protocol::xml::check::Limits;
use vestibule::protocol::xml::check::check;

fuzz_target!(|input: &[u8]| {
    let limits = Limits::default();
    let Ok(body) = Body::parse(input, &limits) else { return };
    let Ok(payload) = body.payload else { return };
    // Twice as many, because what the body declares is in scope in its elements too.
    let of_all = Limits { attributes: 2 * limits.attributes, ..limits };
    let start = input.windows(5).position(|tag| tag == b"<body").expect("it begins somewhere");
    check(&input[start..], &of_all).expect("what is read piece by piece is one whole element");

    for (element, _) in payload.elements() {
        let root = check(element, &limits).expect("each element stands alone");
        assert!(root.from.is_none(), "nobody says who sends");
    }
});
