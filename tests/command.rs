//! The program as an administrator runs it: `vestibule check`, `vestibule run`, and its end by a signal.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Output;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::process::ChildStderr;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const SITE: &str = "[[site]]\nhosts = ['www.example.org']\nwithout_session = 'refuse'\n\
    [site.registered]\ndomain = 'xmpp.example.org'\nupstream = '127.0.0.1:1'\nsecret = 'a ticket secret of the tests'\n\
    [site.session.jwt]\ncookie = 'session'\nsecret = 'THE-COOKIE-SECRET-OF-THE-TESTS!!'\n";

#[tokio::test]
async fn check_says_what_is_wrong_by_line_and_key_and_exits_with_78() {
    let folder = folder_with("[listen]\nhttp = ['0.0.0.0:8080']\n[upstream]\nholdd = '3s'\n");

    let output = vestibule(&folder, "check").output().await.unwrap();

    assert_eq!(output.status.code(), Some(78));
    let complaint = complaint(&output);
    assert!(complaint.contains("proxy.toml:2") && complaint.contains("listen.http"), "{complaint}");
    assert!(complaint.contains("proxy.toml:4") && complaint.contains("holdd"), "{complaint}");
}

#[tokio::test]
async fn check_is_content_with_the_shipped_file_the_demos_and_the_readmes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let in_readme = readme.split("```toml").nth(1).unwrap().split("```").next().unwrap();
    let shipped = fs::read_to_string(root.join("proxy.toml")).unwrap();
    let demo = fs::read_to_string(root.join("examples/demo/proxy.toml")).unwrap();

    for config in [in_readme, &shipped, &demo] {
        let folder = folder_with(config);
        fs::create_dir(folder.path().join("prosody")).unwrap();
        for secret in ["ticket.secret", "whois.secret", "prosody/ticket.secret"] {
            fs::write(folder.path().join(secret), "a secret of the tests\n").unwrap();
        }
        // The README's certificate is the administrator's own.
        let output = vestibule(&folder, "check").output().await.unwrap();
        let complaint = complaint(&output);
        let good = output.status.success()
            || complaint.contains("tls.certificate: cannot read /etc/letsencrypt");
        assert!(good, "{config}\n{complaint}");
    }
}

#[tokio::test]
async fn check_is_content_with_every_block_of_the_documentation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    pages.extend(fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    let mut checked = 0;

    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for block in text.split("```toml\n").skip(1) {
            let config = completed(block.split("```").next().unwrap());
            let folder = folder_with(&config);
            let key = rcgen::KeyPair::generate().unwrap();
            fs::write(folder.path().join("jwt.pem"), key.public_key_pem()).unwrap();
            for secret in ["ticket.secret", "whois.secret", "internal.secret", "jwt.secret"] {
                fs::write(
                    folder.path().join(secret),
                    "a secret of the tests, of 32 bytes or more\n",
                )
                .unwrap();
            }

            let output = vestibule(&folder, "check").output().await.unwrap();

            let complaints = complaint(&output);
            // The README's certificate is the administrator's own.
            let own = |line: &&str| line.contains("cannot read /etc/letsencrypt");
            let wrong: Vec<&str> = complaints.lines().filter(|line| !own(line)).collect();
            assert_eq!(wrong, [""; 0], "{}: {config}", page.display());
            checked += 1;
        }
    }
    assert!(checked >= 8, "{checked}");
}

/// A block of the documentation with as much around it as makes it a whole `proxy.toml`.
fn completed(block: &str) -> String {
    let (before_session, session) = SITE.split_at(SITE.find("[site.session").unwrap());
    match block {
        whole if whole.contains("[[site]]") => whole.to_owned(),
        session if session.starts_with("[site.session") => format!("{before_session}{session}"),
        registered if registered.starts_with("[site.registered]") => {
            let (site, _) = SITE.split_at(SITE.find("[site.registered]").unwrap());
            format!("{site}{registered}{session}")
        }
        domain if domain.starts_with("[site.") => format!("{SITE}{domain}"),
        edge if edge.starts_with('[') => format!("{edge}{SITE}"),
        keys => {
            let without_upstream: Vec<&str> =
                before_session.lines().filter(|line| !line.starts_with("upstream")).collect();
            format!("{}\n{keys}{session}", without_upstream.join("\n"))
        }
    }
}

#[tokio::test]
async fn check_names_a_certificate_that_is_not_there() {
    let folder = folder_with("[tls]\ncertificate = 'site.pem'\nkey = 'site.key'\n");

    let output = vestibule(&folder, "check").output().await.unwrap();

    assert_eq!(output.status.code(), Some(78));
    let complaint = complaint(&output);
    assert!(
        complaint.contains("proxy.toml:2: tls.certificate: cannot read site.pem: No such file")
            && complaint.contains("proxy.toml:3: tls.key: cannot read site.key: No such file"),
        "{complaint}"
    );
}

#[tokio::test]
async fn check_warns_of_a_certificate_that_is_over_or_for_another_name_and_is_content() {
    let folder = folder_with(&format!("[tls]\ncertificate = 'a.pem'\nkey = 'a.key'\n{SITE}"));
    let keys = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    fs::write(folder.path().join("a.pem"), params.self_signed(&keys).unwrap().pem()).unwrap();
    fs::write(folder.path().join("a.key"), keys.serialize_pem()).unwrap();

    let output = vestibule(&folder, "check").output().await.unwrap();

    let (warnings, said) = (complaint(&output), String::from_utf8(output.stdout).unwrap());
    assert_eq!(output.status.code(), Some(0), "{warnings}");
    assert_eq!(said, "proxy.toml is good: one site, but for the warnings\n");
    let expected = [
        "vestibule: warning: proxy.toml:2: tls.certificate: a.pem expired on 2020-01-01T00:00:00Z",
        "vestibule: warning: proxy.toml:5: site.hosts: no certificate is for www.example.org: browsers will warn of the one they are shown",
    ];
    assert_eq!(warnings.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn run_without_a_site_says_which_keys_to_write() {
    let folder = folder_with("");

    let output = vestibule(&folder, "run").output().await.unwrap();

    assert_eq!(output.status.code(), Some(78));
    let complaint = complaint(&output);
    for key in [
        "[[site]]",
        "hosts",
        "[site.registered]",
        "domain",
        "upstream",
        "secret",
        "[site.session.whois]",
    ] {
        assert!(complaint.contains(key), "{complaint}");
    }
}

#[tokio::test]
async fn help_names_the_commands() {
    let folder = folder_with("");

    let output = vestibule(&folder, "--help").output().await.unwrap();

    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && help.contains("run") && help.contains("check"), "{help}");
}

#[tokio::test]
async fn first_run_makes_a_development_certificate_and_warns_of_it() {
    let folder = folder_with(&format!("[listen]\nhttps = ['127.0.0.1:0']\n{SITE}"));
    let mut first = vestibule(&folder, "run").stderr(Stdio::piped()).spawn().unwrap();
    let said = said_until_it_listens(&mut first).await.0;
    let made = fs::read(folder.path().join("certs/development.pem")).unwrap();
    first.kill().await.unwrap();
    let mut second = vestibule(&folder, "run").stderr(Stdio::piped()).spawn().unwrap();
    let said_again = said_until_it_listens(&mut second).await.0;

    assert!(said.contains("WARN") && said.contains("development certificate"), "{said}");
    assert!(!said_again.contains("development certificate"), "{said_again}");
    assert_eq!(made, fs::read(folder.path().join("certs/development.pem")).unwrap());
    assert!(folder.path().join("certs/development.pem").exists());
    let key = fs::metadata(folder.path().join("certs/development.key")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
}

#[tokio::test]
async fn sigterm_and_ctrl_c_end_it_in_order() {
    for signal in ["TERM", "INT"] {
        let folder = folder_with(&format!("[listen]\nhttps = ['127.0.0.1:0']\n{SITE}"));
        let (mut child, _log) = started(&folder).await;

        let pid = child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().await.unwrap().success());
        let status = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();

        assert_eq!(status.code(), Some(0), "by SIG{signal}");
    }
}

#[tokio::test]
async fn a_reverse_proxy_is_served_on_a_unix_socket_also_one_that_a_dead_process_left() {
    let folder = folder_with(&format!("[listen]\nhttps = []\nhttp = ['unix:v.sock']\n{SITE}"));
    let path = folder.path().join("v.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let (_child, _log) = started(&folder).await;

    let mut socket = UnixStream::connect(&path).await.unwrap();
    let request = "GET /.well-known/host-meta.json HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, socket.read_to_string(&mut answer)).await.unwrap().unwrap();

    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("wss://www.example.org/xmpp-websocket"), "{answer}");
}

#[tokio::test]
async fn the_log_is_json_where_that_is_wanted_and_holds_no_secret_at_any_level() {
    let folder = folder_with(&format!(
        "[log]\nformat = 'json'\nlevel = 'trace'\n[upstream]\nhold = '10ms'\n[listen]\nhttps = []\nhttp = ['unix:v.sock']\n{SITE}"
    ));
    let (mut child, mut log) = started(&folder).await;
    let mut socket = UnixStream::connect(folder.path().join("v.sock")).await.unwrap();
    let request = "GET /prebind HTTP/1.1\r\nHost: www.example.org\r\nSec-Fetch-Site: same-origin\r\n\
        Cookie: session=THE-COOKIE-OF-THE-TESTS; PHPSESSID=ANOTHER-COOKIE\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    child.start_kill().unwrap();

    let mut said = String::new();
    log.read_to_string(&mut said).await.unwrap();

    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    for line in said.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    for secret in ["THE-COOKIE", "ANOTHER-COOKIE", "a ticket secret"] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[tokio::test]
async fn a_session_is_one_line_of_the_log_with_who_how_from_where_and_why_it_ended() {
    let event = line_of_a_session("").await;

    let fields = &event["fields"];
    assert_eq!(event["level"], "INFO");
    assert_eq!(fields["message"], "session ended");
    assert_eq!(fields["site"], "www.example.org");
    assert_eq!(fields["visitor"], "nobody");
    assert_eq!(fields["transport"], "websocket");
    assert_eq!(fields["address"], "127.0.0.1");
    assert_eq!(fields["reason"], "the browser left");
}

#[tokio::test]
async fn the_log_says_of_an_address_what_it_may() {
    for (setting, address) in [("truncated", "127.0.0.0/24"), ("none", "-")] {
        let event = line_of_a_session(&format!("addresses = '{setting}'")).await;

        assert_eq!(event["fields"]["address"], address);
    }
}

/// What is logged of one session, with this in `[log]`.
async fn line_of_a_session(log: &str) -> serde_json::Value {
    let folder = folder_with(&format!(
        "[log]\nformat = 'json'\n{log}\n[upstream]\nhold = '10ms'\n[listen]\nhttps = []\nhttp = ['127.0.0.1:0']\n{SITE}"
    ));
    let mut child = vestibule(&folder, "run").stderr(Stdio::piped()).spawn().unwrap();
    let (said, mut log) = said_until_it_listens(&mut child).await;
    let listening: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let address = listening["fields"]["address"].as_str().unwrap().strip_prefix("http://").unwrap();
    let mut request = "ws://www.example.org/xmpp-websocket".into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("origin", "https://www.example.org".parse().unwrap());
    headers.insert("sec-websocket-protocol", "xmpp".parse().unwrap());

    let connection = TcpStream::connect(address).await.unwrap();
    let (mut socket, _) = client_async(request, connection).await.unwrap();
    socket.close(None).await.unwrap();
    drop(socket);
    let mut line = String::new();
    timeout(PATIENCE, log.read_line(&mut line)).await.unwrap().unwrap();
    serde_json::from_str(&line).unwrap()
}

/// A folder with this `proxy.toml`.
fn folder_with(config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("proxy.toml"), config).unwrap();
    folder
}

fn vestibule(folder: &TempDir, command: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    program
        .current_dir(folder.path())
        .arg(command)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    program
}

/// The program, once it listens, and what it logs from then on.
async fn started(folder: &TempDir) -> (Child, BufReader<ChildStderr>) {
    let mut child = vestibule(folder, "run").stderr(Stdio::piped()).spawn().unwrap();
    let (_, log) = said_until_it_listens(&mut child).await;
    (child, log)
}

async fn said_until_it_listens(child: &mut Child) -> (String, BufReader<ChildStderr>) {
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("listening") {
        let read = timeout(PATIENCE, log.read_line(&mut said)).await.unwrap().unwrap();
        assert_ne!(read, 0, "it ended: {said}");
    }
    (said, log)
}

fn complaint(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(30);
