//! A browser, a BOSH session and upstream, with a network between them that delays, loses and breaks: a model that is a list
//! per direction and knows no window holds the session to its promises.
//!
//! `PROPTEST_CASES=100000 cargo test --test conversation` plays more of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod browser;
mod network;
mod world;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;

use crate::network::Fate;
use crate::network::Told;
use crate::world::scenario::Beginning;
use crate::world::scenario::Scenario;
use crate::world::scenario::Step;

fn fate() -> impl Strategy<Value = Fate> {
    let told = prop_oneof![
        Just(Told::Never),
        (0..500_u32).prop_map(Told::After),
        Just(Told::WithTheAnswer),
    ];
    let delay = || prop_oneof![4 => 0..50_u32, 1 => 0..2_500_u32];
    let arrives = weighted(0.85, delay());
    let breaks = weighted(0.2, 0..20_000_u32);
    let read = weighted(0.85, delay());
    (arrives, breaks, read, 0..1_500_u32, told).prop_map(
        |(arrives, breaks, read, noticed, told)| Fate { arrives, breaks, read, noticed, told },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..4_u8).prop_map(Step::Say),
        4 => (1..4_u8).prop_map(Step::Hear),
        4 => (0..200_u32).prop_map(Step::Pass),
        2 => (0..70_000_u32).prop_map(Step::Pass),
        1 => (0..30_000_u32).prop_map(Step::Sleep),
        1 => (0..2_000_u32).prop_map(Step::Reload),
        1 => (60..120_u32).prop_map(Step::Pause),
    ]
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let beginning = prop_oneof![Just(Beginning::Prebound), Just(Beginning::ByBrowser)];
    let gap = prop_oneof![3 => Just(30), 1 => Just(3)];
    (beginning, gap, vec(fate(), 0..40), vec(step(), 0..60))
        .prop_map(|(beginning, gap, fates, steps)| Scenario { beginning, gap, fates, steps })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_network_does_nothing_is_lost_doubled_or_out_of_order(scenario in scenario()) {
        scenario.play();
    }
}
