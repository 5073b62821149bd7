//! A legacy browser, which names no version, is told by statuses of HTTP (XEP-0124 §17.1).

use super::*;

fn legacy() -> Scene {
    let mut scene = Scene::begun("wait='60' hold='1'", "");
    scene.session.receive(Event::SignedIn(b""), scene.now);
    scene.done();
    scene
}

#[test]
fn legacy_browser_gets_400_for_a_body_that_is_none() {
    let mut scene = legacy();

    let broken = scene.post(2, "", "<message><!-- comment --></message>");

    assert_eq!(scene.done(), [Refused(broken, 400), Over(End::BadRequest)]);
}

#[test]
fn legacy_browser_gets_403_for_breaking_the_rules() {
    let mut scene = legacy();
    for rid in [2, 4, 5, 6] {
        scene.post(rid, "", "<message/>");
    }
    scene.done();

    let fifth = scene.post(7, "", "<message/>");

    let done = scene.done();
    assert_eq!(done.first(), Some(&Refused(fifth, 403)));
    // There was no status for this one.
    assert_eq!(done.get(1), Some(&Answered(2, terminate("other-request"))));
    assert_eq!(done.last(), Some(&Over(End::TooManyRequests)));
}

#[test]
fn legacy_browser_gets_404_for_a_rid_outside_the_window_and_behind_the_end() {
    let mut scene = legacy();

    let beyond = scene.poll(9);
    assert_eq!(scene.done().first(), Some(&Refused(beyond, 404)));

    let late = scene.poll(10);
    assert_eq!(scene.done(), [Refused(late, 404)]);
}

#[test]
fn legacy_browser_is_told_of_everything_else_in_xml() {
    let mut scene = legacy();
    let held = scene.poll(2);

    scene.end(End::UpstreamLost);

    assert_eq!(
        scene.done(),
        [Answered(held, terminate("system-shutdown")), Over(End::UpstreamLost)]
    );
}

#[test]
fn browser_that_names_a_version_is_never_told_by_a_status() {
    let mut scene = Scene::begun("ver='1.6'", "");
    scene.done();

    let beyond = scene.poll(9);

    assert_eq!(scene.done().first(), Some(&Answered(beyond, terminate("item-not-found"))));
}
