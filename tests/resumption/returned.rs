//! What a browser says and the server may never have got comes back before its session ends.

use crate::bob;
use crate::carol;
use crate::is_terminate;
use crate::last;
use crate::message;
use crate::support::forwarder::Way;
use crate::support::prosody::Prosody;
use crate::texts;
use crate::through;

/// The ids of the messages that came back.
fn returned(heard: &str) -> Vec<String> {
    let errors = heard.replace('"', "'");
    let messages =
        errors.split("<message ").skip(1).filter(|rest| rest.contains("remote-server-timeout"));
    let ids = messages.filter_map(|rest| rest.split_once(" id='")?.1.split('\'').next());
    ids.map(str::to_owned).collect()
}

#[tokio::test]
async fn what_is_said_while_there_is_no_connection_comes_back_when_there_will_be_none() {
    let prosody = Prosody::start().await;
    let (proxy, forwarder) = through(&prosody, "[stream_management]\nresume = '3s'").await;
    let mut bob = bob(&proxy).await;
    let mut carol = carol(&prosody).await;
    let to = "carol@xmpp.localhost";
    for number in 0..30 {
        bob.send(
            &(message(to, &format!("b{number}")) + "<iq xmlns='jabber:client' type='get' id='p'/>"),
        )
        .await;
    }
    let heard = carol.read_until(&["<body>b29</body></message>"]).await;
    assert_eq!(texts(&heard, "b").len(), 30);

    forwarder.now(Way::Cut);
    let answer = bob.send(&message(to, "lost")).await;

    let returned = returned(&answer.body);
    assert!(answer.body.contains("not known whether this has arrived"), "{answer:?}");
    assert_eq!(returned.last().map(String::as_str), Some("lost"), "{returned:?}");
    // Most of what has arrived was acknowledged, and is in no doubt.
    assert!(returned.len() < 15 && !returned.contains(&"b9".to_owned()), "{returned:?}");
    let answer = last(&mut bob).await;
    assert!(is_terminate(&answer, "system-shutdown"), "{answer:?}");
}
