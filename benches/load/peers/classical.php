<?php
// How a site makes a chat session before its page asks, where nothing does it for the site: five requests to BOSH, one after
// the other, each on a connection of its own, as the published PHP libraries for it do. (They build and read XML with DOM; here
// it is text, which costs PHP less.)
//
//   php classical.php URL DOMAIN < LINES-OF-NAME-AND-PASSWORD
//
// For each line it makes one session, and writes how long that took, and PHP's own CPU time in it, in microseconds.

const BODY = 'http://jabber.org/protocol/httpbind';

[, $url, $domain] = $argv;

function ask(string $url, int &$rid, string $attributes, string $stanza, string $due): string
{
    $rid += 1;
    $request = curl_init($url);
    curl_setopt_array($request, [
        CURLOPT_POST => true,
        CURLOPT_POSTFIELDS => "<body xmlns='" . BODY . "' content='text/xml; charset=utf-8' rid='$rid' xml:lang='en' $attributes>$stanza</body>",
        CURLOPT_HTTPHEADER => ['Content-Type: text/xml; charset=utf-8'],
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 60,
    ]);
    $answer = curl_exec($request);
    if ($answer === false || !str_contains($answer, $due)) {
        echo "asked $stanza, answered: ", $answer === false ? curl_error($request) : $answer, "\n";
        exit(1);
    }
    return $answer;
}

function session(string $url, string $domain, string $name, string $password): void
{
    $rid = random_int(1000000000, 10000000000);
    $xmpp = "xmlns:xmpp='urn:xmpp:xbosh'";
    $begun = ask($url, $rid, "to='$domain' hold='1' wait='60' ver='1.6' xmpp:version='1.0' $xmpp", '', '<mechanism');
    if (!preg_match('/\ssid=["\']([^"\']+)/', $begun, $found)) {
        echo "no session: $begun\n";
        exit(1);
    }
    $sid = "sid='$found[1]'";
    $credentials = base64_encode("\0$name\0$password");
    ask($url, $rid, $sid, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>$credentials</auth>", '<success');
    ask($url, $rid, "$sid to='$domain' xmpp:restart='true' $xmpp", '', '<bind');
    ask($url, $rid, $sid, "<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
        . "<resource>page</resource></bind></iq>", '<jid>');
    ask($url, $rid, $sid, "<iq xmlns='jabber:client' type='set' id='session'>"
        . "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>", 'result');
}

function spent(): int
{
    $usage = getrusage();
    return ($usage['ru_utime.tv_sec'] + $usage['ru_stime.tv_sec']) * 1000000 + $usage['ru_utime.tv_usec'] + $usage['ru_stime.tv_usec'];
}

while (($line = fgets(STDIN)) !== false) {
    [$name, $password] = explode(' ', trim($line));
    $spent = spent();
    $begun = hrtime(true);
    session($url, $domain, $name, $password);
    echo intdiv(hrtime(true) - $begun, 1000), ' ', spent() - $spent, "\n";
}
