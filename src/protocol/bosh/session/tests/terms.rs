//! What is agreed on when a session begins (XEP-0124 §7, §12, §16).

use super::*;

/// The value of an attribute of the first answer.
fn told(wishes: &str, name: &str) -> Option<String> {
    let done = Scene::begun(wishes, "").done();
    let [Answered(1, body)] = done.as_slice() else { panic!("{done:?}") };
    let (_, rest) = body.split_once(&format!(" {name}='"))?;
    Some(rest.split('\'').next()?.to_owned())
}

fn told_number(wishes: &str, name: &str) -> u64 {
    told(wishes, name).unwrap().parse().unwrap()
}

// §7.2: the lower of both, where each part is a number of its own.
#[test]
fn version_is_the_lower_of_the_browsers_and_ours() {
    for (theirs, agreed) in [("1.6", "1.6"), ("1.10", "1.10"), ("1.12", "1.11"), ("2.0", "1.11")] {
        assert_eq!(told(&format!("ver='{theirs}'"), "ver").as_deref(), Some(agreed), "{theirs}");
    }
}

// §7.2: "less than or equal to the value specified in the session request".
#[test]
fn wait_is_never_longer_than_the_browser_asks_for_nor_than_the_setting() {
    assert_eq!(told_number("wait='20'", "wait"), 20);
    assert_eq!(told_number("wait='3600'", "wait"), 60);
    assert_eq!(told_number("", "wait"), 60);
}

#[test]
fn agreed_wait_is_kept() {
    let mut scene = Scene::begun("wait='20' hold='1'", "");
    scene.done();
    let poll = scene.poll(2);

    assert_eq!(scene.pass(Duration::from_millis(19_999)), []);
    assert_eq!(scene.pass(Duration::from_millis(1)), [Answered(poll, EMPTY.into())]);
}

// §7.2: `hold` is not greater than asked for, `requests` is larger than the `hold` that was asked for.
#[test]
fn hold_is_one_at_most_and_more_requests_are_allowed_than_are_to_be_held() {
    for (asked, hold, requests) in [(0, 0, 1), (1, 1, 2), (2, 1, 3), (200, 1, 5)] {
        let wishes = format!("wait='60' hold='{asked}'");
        assert_eq!(told_number(&wishes, "hold"), hold, "{asked}");
        assert_eq!(told_number(&wishes, "requests"), requests, "{asked}");
    }
}

// §12: by more than the polling interval.
#[test]
fn session_that_polls_may_be_inactive_for_longer() {
    let normal = told_number("wait='60' hold='1'", "inactivity");

    for wishes in ["wait='60' hold='0'", "wait='0' hold='1'"] {
        let polling = told_number(wishes, "polling");
        assert_eq!(told_number(wishes, "hold"), 0);
        assert!(told_number(wishes, "inactivity") > normal + polling, "{wishes}");
    }
}

#[test]
fn session_that_polls_ends_after_the_inactivity_it_was_told() {
    let mut scene = Scene::begun("wait='60' hold='0'", "");
    scene.session.receive(Event::SignedIn(b""), scene.now);
    scene.done();

    assert_eq!(scene.pass(seconds(149)), []);
    assert_eq!(scene.pass(seconds(1)), [Over(End::Inactive)]);
}

// §7.2, §16.2: what is not there is not told.
#[test]
fn first_answer_offers_no_encodings_and_no_further_streams() {
    for name in ["accept", "charsets", "stream", "ack"] {
        assert_eq!(told("wait='60' hold='1' ver='1.11'", name), None, "{name}");
    }
}

// §16.3: without `stream` in the first answer, the attributes are ignored.
#[test]
fn request_for_a_second_stream_is_an_ordinary_poll() {
    let mut scene = Scene::prebound();
    let second = scene.post(1, "to='other.example' route='xmpp:other.example:5222'", "");
    let named = scene.post(2, "stream='nowhere'", "<message/>");
    assert_eq!(scene.done(), [Sent("<message/>".into()), Answered(second, EMPTY.into())]);

    scene.stanza("iq");

    assert_eq!(scene.done(), [Answered(named, stanzas(&["iq"]))]);
}

// §10: "the response to the pause request MUST NOT contain any payloads".
#[test]
fn answer_to_a_pause_carries_nothing_and_what_waited_comes_after_it() {
    let mut scene = Scene::prebound();
    scene.stanza("message");

    let pause = scene.post(1, "pause='60'", "");
    assert_eq!(scene.done(), [Answered(pause, EMPTY.into())]);

    let back = scene.poll(2);
    assert_eq!(scene.done(), [Answered(back, stanzas(&["message"]))]);
}

// §10: a pause may also be shorter than the inactivity.
#[test]
fn pause_that_is_shorter_than_the_inactivity_ends_a_lost_session_sooner() {
    let mut scene = Scene::prebound();
    scene.post(1, "pause='5'", "");
    scene.done();

    assert_eq!(scene.pass(seconds(4)), []);
    assert_eq!(scene.pass(seconds(1)), [Over(End::Inactive)]);
}

// §14.3, §17.3: the session goes on, and the answer goes to the latest connection.
#[test]
fn request_that_is_repeated_while_it_waits_for_its_turn_is_answered_with_a_recoverable_error() {
    let mut scene = Scene::prebound();
    let early = scene.post(2, "", "<message/>");

    let again = scene.post(2, "", "<message/>");

    assert_eq!(scene.done(), [Answered(early, ERROR.into())]);
    let first = scene.poll(1);
    assert_eq!(scene.done(), [Sent("<message/>".into()), Answered(first, EMPTY.into())]);
    scene.stanza("iq");
    assert_eq!(scene.done(), [Answered(again, stanzas(&["iq"]))]);
}
