//! A browser as Strophe is, and a BOSH session, with a bad network between them: nothing is lost, doubled or out of order.
//!
//! The input is a letter for how it begins, then a letter and a number for each thing that happens, and five bytes behind
//! an `F` for what becomes of the next attempt to send a request. `tests/conversation` plays it.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/conversation/browser.rs"]
mod browser;
#[path = "../../tests/conversation/network.rs"]
mod network;
#[path = "../../tests/conversation/world/mod.rs"]
mod world;

use crate::network::Fate;
use crate::network::Told;
use crate::world::scenario::Beginning;
use crate::world::scenario::Scenario;
use crate::world::scenario::Step;

fuzz_target!(|input: &[u8]| {
    let Some((kind, mut rest)) = input.split_first() else { return };
    let beginning = if *kind == b'p' { Beginning::Prebound } else { Beginning::ByBrowser };
    let gap = if kind.is_ascii_uppercase() { 3 } else { 30 };
    let mut scenario = Scenario { beginning, gap, fates: Vec::new(), steps: Vec::new() };

    // More of them find no more, only later.
    while scenario.steps.len() < 60 && scenario.fates.len() < 40 {
        let Some((letter, after)) = rest.split_first() else { break };
        if *letter == b'F' {
            let Some((fate, after)) = after.split_first_chunk() else { break };
            scenario.fates.push(read_fate(*fate));
            rest = after;
        } else {
            let Some((number, after)) = after.split_first() else { break };
            scenario.steps.extend(read_step(*letter, u32::from(*number)));
            rest = after;
        }
    }
    scenario.play();
});

fn read_step(letter: u8, number: u32) -> Option<Step> {
    let few = u8::try_from(number % 4).expect("few");
    match letter {
        b's' => Some(Step::Say(few)),
        b'h' => Some(Step::Hear(few)),
        b'p' => Some(Step::Pass(number)),
        b'w' => Some(Step::Pass(number * 300)),
        b'z' => Some(Step::Sleep(number * 110)),
        b'r' => Some(Step::Reload(number * 8)),
        b'u' => Some(Step::Pause(60 + number % 60)),
        _ => None,
    }
}

fn read_fate([arrives, breaks, read, noticed, told]: [u8; 5]) -> Fate {
    // A letter beyond the digits is a loss.
    let delay = |byte: u8| (byte < b'a').then(|| u32::from(byte) * 25);
    Fate {
        arrives: delay(arrives),
        breaks: delay(breaks).map(|delay| delay * 8),
        read: delay(read),
        noticed: u32::from(noticed) * 6,
        told: match told {
            b'n' => Told::Never,
            b'w' => Told::WithTheAnswer,
            after => Told::After(u32::from(after) * 2),
        },
    }
}
