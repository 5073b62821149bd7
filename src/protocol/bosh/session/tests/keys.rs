//! Keys that follow from one another (XEP-0124 §15).

use aws_lc_rs::digest;

use super::*;

/// K(n) … K(1) of a seed: what a browser shows first comes first (§15.3).
fn sequence(seed: &str, length: usize) -> Vec<String> {
    let hash = |text: &str| {
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        hash.as_ref().iter().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"))
    };
    let mut keys = vec![hash(seed)];
    while keys.len() < length {
        keys.push(hash(keys.last().unwrap()));
    }
    keys.reverse();
    keys
}

/// A session with keys, whose browser has signed in; rid 2 is to show the second of `keys`.
fn keyed(keys: &[String]) -> Scene {
    let mut scene = Scene::begun(&format!("ver='1.11' newkey='{}'", keys[0]), "");
    scene.session.receive(Event::SignedIn(b""), scene.now);
    scene.done();
    scene
}

fn key(key: &str) -> String {
    format!("key='{key}'")
}

/// The session ended for the key of this request.
fn assert_ended(scene: &mut Scene, request: u64) {
    let done = scene.done();
    assert!(done.contains(&Answered(request, terminate("item-not-found"))), "{done:?}");
    assert_eq!(done.last(), Some(&Over(End::WrongKey)));
    assert!(!done.iter().any(|done| matches!(done, Sent(_))), "nothing of it is acted on");
}

// §15.4
#[test]
fn requests_that_show_the_next_key_each_go_on() {
    let keys = sequence("seed", 10);
    let mut scene = keyed(&keys);

    for (rid, shown) in (2..).zip(&keys[1..]) {
        scene.post(rid, &key(shown), "<message/>");

        assert!(scene.done().contains(&Sent("<message/>".into())), "{rid}");
    }
}

#[test]
fn case_of_keys_means_nothing() {
    let keys = sequence("seed", 3);
    let mut scene = Scene::begun(&format!("ver='1.11' newkey='{}'", keys[0].to_uppercase()), "");
    scene.session.receive(Event::SignedIn(b""), scene.now);
    scene.done();

    scene.post(2, &key(&keys[1]), "<message/>");

    assert!(scene.done().contains(&Sent("<message/>".into())));
}

#[test]
fn wrong_key_ends_the_session_with_item_not_found() {
    let keys = sequence("seed", 5);
    for wrong in
        [key(&keys[0]), key(&keys[2]), key(&sequence("other", 5)[1]), key("x"), String::new()]
    {
        let mut scene = keyed(&keys);

        let request = scene.post(2, &wrong, "<message/>");

        assert_ended(&mut scene, request);
    }
}

// §15.5
#[test]
fn last_key_of_a_sequence_brings_the_first_of_another() {
    let (old, new) = (sequence("old", 2), sequence("new", 3));
    let mut scene = keyed(&old);

    scene.post(2, &format!("key='{}' newkey='{}'", old[1], new[0]), "<message/>");
    assert!(scene.done().contains(&Sent("<message/>".into())));
    scene.post(3, &key(&new[1]), "<message/>");
    assert!(scene.done().contains(&Sent("<message/>".into())));

    let forged = scene.post(4, &key(&old[1]), "<message/>");
    assert_ended(&mut scene, forged);
}

// §14.3: a repetition is "an exact copy of the original request".
#[test]
fn repeated_rid_gets_its_answer_again_for_the_same_key_and_no_other() {
    let keys = sequence("seed", 5);
    let mut scene = keyed(&keys);
    scene.stanza("message");
    scene.post(2, &key(&keys[1]), "");
    scene.done();

    let again = scene.post(2, &key(&keys[1]), "");
    assert_eq!(scene.done(), [Answered(again, stanzas(&["message"]))]);

    let forged = scene.post(2, &key(&keys[2]), "");
    assert_ended(&mut scene, forged);
}

#[test]
fn first_request_may_be_repeated_with_its_key() {
    let keys = sequence("seed", 5);
    let mut scene = keyed(&keys);

    scene.post(1, &format!("ver='1.11' newkey='{}'", keys[0]), "");

    let done = scene.done();
    assert!(
        matches!(done.as_slice(), [Answered(_, body)] if body.contains("sid='SID'")),
        "{done:?}"
    );
}

#[test]
fn keys_are_checked_in_the_order_of_rids() {
    let keys = sequence("seed", 5);
    let mut scene = keyed(&keys);
    scene.post(3, &key(&keys[2]), "<message id='b'/>");

    scene.post(2, &key(&keys[1]), "<message id='a'/>");

    let done = scene.done();
    assert_eq!(done[..2], [Sent("<message id='a'/>".into()), Sent("<message id='b'/>".into())]);
}

#[test]
fn request_that_was_done_without_breaks_no_sequence_and_shows_its_own_key_when_it_comes_late() {
    let keys = sequence("seed", 6);
    let mut scene = keyed(&keys);
    scene.post(3, &key(&keys[2]), "<message id='b'/>");
    let sent = Sent("<message id='b'/>".into());
    assert!(scene.pass(seconds(40)).contains(&sent));

    scene.post(2, &key(&keys[1]), "<message id='a'/>");
    assert!(scene.done().contains(&Sent("<message id='a'/>".into())));

    scene.post(4, &key(&keys[3]), "<message id='c'/>");
    assert!(scene.done().contains(&Sent("<message id='c'/>".into())));
}

#[test]
fn end_of_the_session_is_told_only_for_the_key_that_is_due() {
    let keys = sequence("seed", 5);
    let mut scene = keyed(&keys);
    scene.stanza("message");
    scene.end(End::UpstreamLost);

    let forged = scene.post(2, &key(&keys[3]), "");
    assert_eq!(scene.done(), [Answered(forged, terminate("item-not-found"))]);

    let rightful = scene.post(2, &key(&keys[1]), "");
    assert_eq!(scene.done(), [Answered(rightful, stanzas(&["message"]))]);

    let forged = scene.post(3, &key(&keys[3]), "");
    assert_eq!(scene.done(), [Answered(forged, terminate("item-not-found"))]);
    let rightful = scene.post(3, &key(&keys[2]), "");
    assert_eq!(
        scene.done(),
        [Answered(rightful, terminate("system-shutdown")), Over(End::UpstreamLost)]
    );
}

#[test]
fn browser_without_keys_may_send_what_it_likes_as_one() {
    let mut scene = Scene::prebound();

    scene.post(1, "key='x'", "<message/>");

    assert_eq!(scene.done(), [Sent("<message/>".into())]);
}
