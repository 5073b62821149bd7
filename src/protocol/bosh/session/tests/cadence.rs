//! Browsers that are slow, and not gone (XEP-0124 §10).

use super::*;

/// A tab that nobody looks at: it asks when its timer runs, is answered, and asks no more before the timer runs again.
fn poll_and_stay_away(scene: &mut Scene, rid: u64, away: Duration) -> Vec<Done> {
    scene.poll(rid);
    scene.stanza("message");
    scene.done();
    scene.pass(away)
}

#[test]
fn tab_whose_timers_run_once_a_minute_is_not_ended() {
    let mut scene = Scene::prebound();

    for rid in 1..=100 {
        assert_eq!(poll_and_stay_away(&mut scene, rid, seconds(61)), [], "rid {rid}");
    }
}

#[test]
fn slow_tab_may_be_away_for_twice_as_long_as_it_was() {
    let mut scene = Scene::prebound();
    assert_eq!(poll_and_stay_away(&mut scene, 1, seconds(60)), []);

    assert_eq!(poll_and_stay_away(&mut scene, 2, seconds(119)), []);
    assert_eq!(scene.pass(seconds(1)), [Over(End::Inactive)]);
}

#[test]
fn slow_tab_is_not_waited_for_beyond_the_bound() {
    let mut scene = Scene::with(Settings { slowest: seconds(100), ..Settings::default() });
    assert_eq!(poll_and_stay_away(&mut scene, 1, seconds(60)), []);
    assert_eq!(poll_and_stay_away(&mut scene, 2, seconds(99)), []);

    assert_eq!(poll_and_stay_away(&mut scene, 3, seconds(99)), []);
    assert_eq!(scene.pass(seconds(1)), [Over(End::Inactive)]);
}

#[test]
fn browser_may_never_be_away_for_less_than_it_was_told() {
    for slowest in [10, 75, 180] {
        let settings = Settings { slowest: seconds(slowest), ..Settings::default() };
        let mut scene = Scene::begun_with(settings, "", "");
        let done = scene.done();
        assert!(matches!(&done[..], [Answered(1, told)] if told.contains(" inactivity='75'")));
        scene.session.receive(Event::SignedIn(b"<success/>"), scene.now);

        for rid in 2..=10 {
            let away = poll_and_stay_away(&mut scene, rid, seconds(74));
            assert_eq!(away, [], "rid {rid}, slowest {slowest}");
        }
    }
}

#[test]
fn tab_that_is_looked_at_again_is_soon_missed_as_soon_as_any() {
    let mut scene = Scene::prebound();
    assert_eq!(poll_and_stay_away(&mut scene, 1, seconds(70)), []);
    for rid in 2..=8 {
        assert_eq!(poll_and_stay_away(&mut scene, rid, seconds(0)), []);
    }

    assert_eq!(scene.pass(seconds(74)), []);
    assert_eq!(scene.pass(seconds(1)), [Over(End::Inactive)]);
}

#[test]
fn pause_that_was_asked_for_makes_no_browser_slow() {
    let mut scene = Scene::prebound();
    scene.post(1, "pause='120'", "");
    scene.done();
    assert_eq!(scene.pass(seconds(119)), []);

    assert_eq!(poll_and_stay_away(&mut scene, 2, seconds(74)), []);
    assert_eq!(scene.pass(seconds(1)), [Over(End::Inactive)]);
}

#[test]
fn time_that_a_request_is_held_is_no_absence() {
    let mut scene = Scene::prebound();
    for rid in 1..=3 {
        scene.poll(rid);
        assert_eq!(scene.pass(seconds(60)), [Answered(rid, EMPTY.into())]);
    }

    assert_eq!(scene.pass(seconds(74)), []);
    assert_eq!(scene.pass(seconds(1)), [Over(End::Inactive)]);
}
